"""A calibration study as one HTML page that stands alone; every number in it is in the study's JSON.

Must not measure, and shows no face.
"""

from pathlib import Path
from typing import Any

from fer_edge.convert import study_figures as draw
from fer_edge.convert.study_words import FIGURES, balance_name, balances_compared, cells, methods_compared, sentences
from fer_edge.devices.files import replacing_file
from fer_edge.edge_runtime.html_page import (
    Raw,
    bullets,
    code,
    details,
    facts,
    figure,
    figures,
    note,
    page,
    paragraph,
    section,
    table,
    verdict,
)


def write_page(path: Path, made: dict[str, Any]) -> None:
    """Write the page, whole or not at all.

    Raises:
        OutputError: the disk refuses.
    """
    text = study_page(made)
    with replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def study_page(made: dict[str, Any]) -> str:
    """The page of what `fer-edge calibrate study` found."""
    about, plan = made["data"], made["plan"]
    lead = (
        f"{made['run']['model']}, int8 by ONNX Runtime for {plan['target']}, judged on {about['validation_images']:,} "
        f"validation images of {about['source']} that calibrate nothing; float accuracy {made['float_accuracy']:.2%}"
    )
    sections: list[object] = [_headline(made), _methods(made)]
    if len(plan["balances"]) > 1:
        sections.append(_balances(made))
    sections += [_ranges(made), _how(made)]
    title = f"{made['run']['model']}: how many images calibrate int8?"
    return page(title, lead, sections, f"fer-edge calibrate study, {made['made_at']}")


def _headline(made: dict[str, Any]) -> Raw:
    best, said = made["conclusion"]["best"], sentences(made)
    first = next(row for row in made["conclusion"]["enough"] if row["method"] == best["method"])
    if first["count"] is None:
        return verdict(f"{best['method']} comes closest; more images than were tried may help", "warn", bullets(said))
    return verdict(
        f"{best['method']} comes closest to float; {first['count']:,} images are enough", "good", bullets(said)
    )


def _methods(made: dict[str, Any]) -> object:
    compared = methods_compared(made)
    return section(
        "Number of images and method",
        _pictures(compared, made),
        _tables(compared),
        note("Mean over seeds ± standard deviation between them; bars in the pictures reach from least to greatest."),
        anchor="methods",
    )


def _balances(made: dict[str, Any]) -> object:
    compared = balances_compared(made)
    alone = balance_name(made, "alone") if "alone" in made["plan"]["balances"] else None
    words = [
        paragraph("The same counts with other shares of the classes, by ", code(made["plan"]["methods"][0]), "."),
        paragraph(f"{alone} is the bad example: what the other emotions excite is never seen.") if alone else "",
    ]
    return section("Balance of the classes", *words, _pictures(compared, made), _tables(compared), anchor="balances")


def _pictures(compared: draw.Compared, made: dict[str, Any]) -> Raw:
    names = ", ".join(name for name, _ in compared)
    drawn = []
    for key, (title, _, _) in FIGURES.items():
        floor = made["float_accuracy"] if key == "accuracy" else None
        caption = f"{title[0].upper()}{title[1:]}{'; the dashed line is float' if floor else ''}."
        drawn.append(figure(draw.by_count(compared, key, floor), caption, alt=f"{title} by images, for {names}"))
    return figures(*drawn)


def _tables(compared: draw.Compared) -> Raw:
    columns = ["images", *(name for name, _ in compared)]
    tables = (table(columns, cells(compared, key), caption=title) for key, (title, _, _) in FIGURES.items())
    return details("The figures", *tables)


def _ranges(made: dict[str, Any]) -> object:
    return section(
        "Ranges by layer",
        figures(
            *(
                figure(
                    draw.by_point(made, method),
                    f"Upper end of each range by {method}, against its own at the largest count.",
                    alt=f"Upper ends of the ranges by images, by layer, {method}",
                )
                for method in made["plan"]["methods"]
            )
        ),
        anchor="ranges",
    )


def _how(made: dict[str, Any]) -> object:
    plan, machine, checked = made["plan"], made["machine"], made["verified"]
    return section(
        "How it was measured",
        paragraph(f"Enough is {made['conclusion']['rule']}."),
        facts(
            [
                ("command", code(" ".join(made["command"]))),
                ("run", made["run"]["identity"]),
                ("data", f"{made['data']['source']}, {made['data']['sha256'][:12]}"),
                ("seeds", str(plan["seeds"])),
                ("percentile", f"{plan['percentile']:g}" if "percentile" in plan["methods"] else None),
                ("networks tried", f"{len(made['trials']):,}"),
                ("took", f"{made['seconds']:,.0f} s"),
                ("processor", machine.get("cpu")),
            ]
        ),
        paragraph(
            f"Checked against ONNX Runtime's own quantization with the same images: {checked['same_labels']:.2%} of "
            f"the labels are equal, logits differ by {checked['max_logit_difference']:.3f} at most. "
            "Every network ran in int8: ",
            ", ".join(f"{n} {name}" for name, n in checked["operators"].items()),
            ".",
        ),
        details(
            "Every network",
            table(
                ["balance", "method", "images", "seed", "accuracy, %", "agreement, %", "mean KL"],
                [_trial(trial) for trial in made["trials"]],
                align="llrrrrr",
            ),
            is_raw=True,
        ),
        anchor="how",
    )


def _trial(trial: dict[str, Any]) -> list[str]:
    return [
        *(trial["balance"], trial["method"], f"{trial['count']:,}", str(trial["seed"])),
        *(f"{trial['accuracy'] * 100:.2f}", f"{trial['agreement'] * 100:.2f}", f"{trial['mean_kl']:.5f}"),
    ]
