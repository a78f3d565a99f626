"""A diagnosis as a part of the judgement's HTML page; every number in it is in the report."""

from typing import Any

from fer_edge.convert import diagnose_figures as draw
from fer_edge.convert.diagnose_evidence import reasons
from fer_edge.convert.diagnose_signal import IDEAL_RMSE, NO_NOISE_DB
from fer_edge.edge_runtime.html_page import (
    Kind,
    Raw,
    badge,
    block,
    bullets,
    details,
    facts,
    figure,
    figures,
    join,
    note,
    paragraph,
    section,
    subheading,
    table,
)

Row = dict[str, Any]
_KINDS: dict[str, tuple[str, Kind]] = {
    "healthy": ("nothing stands out", "good"),
    "layer": ("found", "bad"),
    "tie": ("not told apart", "warn"),
    "several": ("found together", "bad"),
    "spread": ("no single layer", "warn"),
    "refused": ("no blame", "unknown"),
}


def diagnosis_section(made: Row) -> str:
    """The section of one variant: what is to blame, what was measured of each point, what was tried."""
    judged = "left_out" in made["points"][0]
    pictures = [
        figure(draw.blame(made["points"]), "What each point is to the loss.", "Bars of the loss by point")
        if judged
        else Raw(""),
        figure(
            draw.noise(made["points"]),
            "10 dB less is ten times the noise. What arrives holds the noise of all points before.",
            "Signal to quantization noise by point",
        ),
    ]
    return section(
        f"Diagnosis of {made['variant']}",
        _verdict(made),
        _facts(made),
        figures(*pictures),
        _blame(made["points"]) if judged else "",
        _signals(made["points"]),
        _ranges(made["points"]),
        *_fixes(made["proposals"]),
        details("The rule by which a layer is named", paragraph(made["rule"])),
        anchor=f"diagnosis-{made['variant'].replace('/', '-')}",
    )


def _ranges(rows: list[Row]) -> Raw:
    half = (len(rows) + 1) // 2
    caption = (
        "The float values of these images, and the range that int8 has for them. What lies outside is clipped; a range "
        "much wider than its values wastes steps."
    )
    return figures(
        *(
            figure(draw.ranges(part), caption, "Histograms of the values by point with their int8 range")
            for part in (rows[:half], rows[half:])
            if part
        )
    )


def _verdict(made: Row) -> Raw:
    word, kind = _KINDS[made["verdict"]["kind"]]
    first, *rest = made["says"]
    best = next((row for row in made["proposals"] if row["recommended"]), None)
    commands = block("\n".join(best["commands"])) if best else ""
    return join(paragraph(badge(word, kind), " ", first), *map(paragraph, rest), commands)


def _facts(made: Row) -> Raw:
    loss, data, emulation = made["loss"], made["data"], made["emulation"]
    return facts(
        [
            ("images", f"{data['images']:,} {data['split']} of {data['source']}, seed {data['seed']}"),
            ("labels as float's", f"{loss['agreement']:.2%}"),
            ("top-1, float and int8", f"{loss['accuracy_float']:.2%}, {loss['accuracy']:.2%}"),
            ("accuracy lost", f"{loss['drop_pp']:+.2f} pp ({_span(loss['drop_interval_pp'], '+.2f')})"),
            ("KL from float", f"{loss['kl']:.3g} ({_span(loss['kl_interval'], '.3g')})"),
            ("emulation's labels as int8's", f"{emulation['agreement']:.2%}"),
            ("float network", made["float"]),
            ("time", f"{made['seconds']:g} s"),
        ]
    )


def _blame(rows: list[Row]) -> Raw:
    columns = ["point", "won back", "95%", "shown", "labels, pp", "95%", "top-1, pp", "95%", "alone, KL", "share"]
    cells = []
    for row in rows:
        won, alone = row["left_out"], row["alone"]
        cells.append(
            [
                row["name"],
                *_share(won),
                "yes" if won["significant"] else "no",
                f"{won['agreement_gain_pp']:+.2f}",
                _span(won["agreement_gain_interval_pp"], "+.2f"),
                f"{won['accuracy_gain_pp']:+.2f}",
                _span(won["accuracy_gain_interval_pp"], "+.2f"),
                f"{alone['kl']:.3g}",
                _share(alone)[0],
            ]
        )
    return join(
        table(columns, cells, "One point at a time in float, and one alone in int8"),
        note(
            "Won back: the share of the KL from float that goes when the point's weights and range are float and all "
            "else stays int8. Shown: at 95% for all points together. Alone: that point in int8 and all else in float; "
            "an accomplice wins back much and costs little alone."
        ),
    )


def _signals(rows: list[Row]) -> Raw:
    columns = [
        *("point", "arrives, dB", "own, dB", "error, steps", "clipped", "int8 range", "seen", "0.01% to 99.99%"),
        *("weights, dB", "scales", "spread", "lost channels"),
    ]
    return join(
        table(columns, [_signal(row) for row in rows], "What rounding does to each tensor"),
        note(
            f"Error: rounding alone makes {IDEAL_RMSE:.3f} steps, less where many values are exactly 0; look at what "
            "is above 0.7. Spread: the largest weight of the largest channel over that of the median one. Lost: "
            "channels whose weights all round to 0."
        ),
    )


def _signal(row: Row) -> list[str]:
    signal, weights = row["signal"], row["weights"] or {}
    return [
        row["name"],
        _db(signal["arrived_db"]),
        _db(signal["alone_db"]),
        _number(signal["rmse_steps"], ".3f"),
        _number(signal["clipped"], ".3%"),
        "–" if signal["range"] is None else _span(signal["range"], ".4g"),
        _span(signal["seen"], ".4g"),
        _span(signal["p99_99"], ".4g"),
        _db(weights.get("sqnr_db")),
        f"{weights['scales']} of {weights['channels']}" if weights else "–",
        _number(weights.get("spread"), ".3g"),
        str(weights["lost_channels"]) if weights else "–",
    ]


def _fixes(rows: list[Row]) -> list[Raw]:
    if not rows:
        return []
    columns = ["change", "labels", "top-1", "KL", "won back", "95%", "shown"]
    cells = [
        [
            join(row["fix"], " ", badge("take this", "good")) if row["recommended"] else row["fix"],
            f"{row['emulated']['agreement']:.2%}",
            f"{row['emulated']['accuracy']:.2%}",
            f"{row['emulated']['kl']:.3g}",
            *_share(row["emulated"]),
            "yes" if row["emulated"]["significant"] else "no",
        ]
        for row in rows
    ]
    return [
        subheading("Converted again, as emulated"),
        table(columns, cells, "Each change by what it wins back"),
        bullets(f"{', '.join(names)}: {why}" for why, names in reasons(rows).items()),
        details("Commands", bullets(join(row["fix"], block("\n".join(row["commands"]))) for row in rows)),
    ]


def _share(row: Row) -> tuple[str, str]:
    if row["share_of_loss"] is None:
        return "–", "–"
    return f"{row['share_of_loss']:.1%}", _span(row["share_interval"], ".1%")


def _span(ends: list[float], form: str) -> str:
    return f"{ends[0]:{form}} to {ends[1]:{form}}"


def _db(value: float | None) -> str:
    return "exact" if value == NO_NOISE_DB else _number(value, ".1f")


def _number(value: float | None, form: str) -> str:
    """A dash where there is nothing that could be measured: a point without a grid, or without weights."""
    return "–" if value is None else f"{value:{form}}"
