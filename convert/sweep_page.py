"""A sweep as one HTML page that stands alone; every number in it is in sweep.json. Must not run anything, and shows no
face."""

from pathlib import Path
from typing import Any

import numpy as np

from fer_edge.convert import sweep_figures as draw
from fer_edge.convert.sweep_result import failures
from fer_edge.convert.sweep_words import columns, headline, ranked_rows, sentences, shared_words, short, shown, unit
from fer_edge.devices.files import replacing_file
from fer_edge.edge_runtime.html_page import (
    Raw,
    Section,
    badge,
    block,
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

_KIND = {"finished": "good", "failed": "bad", "stopped": "warn", "waiting": "unknown"}


def write_page(path: Path, made: dict[str, Any]) -> None:
    """Write the page, whole or not at all.

    Raises:
        OutputError: the disk refuses.
    """
    text = sweep_page(made)
    with replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sweep_page(made: dict[str, Any]) -> str:
    """The page of what `fer-edge sweep` found."""
    models = list(dict.fromkeys(trial["model"] for trial in made["trials"]))
    seeds = {trial["seed"] for trial in made["trials"]}
    lead = (
        f"{len(made['trials'])} trainings of {', '.join(models)} with {len(seeds)} "
        f"seed{'s' * (len(seeds) != 1)} on {made['data']['source']}, ranked by {unit(made['metric'])}"
    )
    parts = [_headline(made), _ranking(made), _epochs(made), _quantized(made), _trials(made), _how(made)]
    if shared := shared_words(made):
        lead += f"; all with {', '.join(shared)}"
    return page("Sweep", lead, [part for part in parts if part], f"fer-edge sweep, {made['made_at']}")


def _headline(made: dict[str, Any]) -> Raw:
    say, clear = headline(made)
    failed = failures(made)
    kind: Any = "bad" if not made["ranking"]["rows"] else "good" if clear and not failed else "warn"
    return verdict(say, kind, bullets([*sentences(made)[1:], *(f"failed: {sentence}" for sentence in failed)]))


def _ranking(made: dict[str, Any]) -> Section | None:
    rows = made["ranking"]["rows"]
    if not rows:
        return None
    best = f"The best {draw.MOST} of {len(rows)}" if len(rows) > draw.MOST else "Every setting"
    return section(
        "Ranking",
        figure(
            draw.ranked(made),
            f"{best}: a ring is a seed, the dot their mean, the bar the 95% interval of the mean.",
            alt=f"{unit(made['metric'])} by setting and seed",
        ),
        table(columns(made), ranked_rows(made)),
        note(
            "± is the standard deviation between seeds; a seed decides the weights, the order of the images and, where "
            "the data has no validation split, which faces validate. The interval is Student's, of the mean: with two "
            "seeds it is wide, and where two intervals meet, more seeds may turn the order round. The best of many "
            "settings is also the luckiest: judge it once on test images, with fer-edge compare or evaluate."
        ),
        anchor="ranking",
    )


def _epochs(made: dict[str, Any]) -> Section | None:
    key = "val_loss" if made["metric"] == "val_loss" else "val_accuracy"
    with_epochs = [t for t in made["trials"] if t["epochs"] and None not in t["by_epoch"][key]]
    order = [row["setting"] for row in made["ranking"]["rows"]]
    settings = list(dict.fromkeys([*order, *(t["setting"] for t in with_epochs)]))[: draw.MOST]
    groups = [settings[at : at + 4] for at in range(0, len(settings), 4)]
    pictures = []
    for group in groups:
        own = [t for name in group for t in with_epochs if t["setting"] == name]
        if own:
            pictures.append(figure(draw.by_epoch(made, own, key), "A line is a seed.", alt=f"{unit(key)} by epoch"))
    return section("By epoch", figures(*pictures), anchor="epochs") if pictures else None


def quantized_rows(made: dict[str, Any]) -> list[dict[str, Any]]:
    """Each quantization setting over all runs: points lost, their mean, the worst of them; least lost first."""
    rows = []
    for one in made["quantizations"]:
        entries = [e for t in made["trials"] for e in t["quantized"] if e["name"] == one["name"]]
        judged = [e for e in entries if e["accuracy"] is not None]
        if judged:
            drops = [e["drop_pp"] for e in judged]
            rows.append({
                "name": one["name"], "drops": drops, "mean": float(np.mean(drops)), "worst": max(drops),
                "accuracy": float(np.mean([e["accuracy"] for e in judged])), "runs": len(judged),
            })  # fmt: skip
    return sorted(rows, key=lambda row: row["mean"])


def _quantized(made: dict[str, Any]) -> Section | None:
    rows = quantized_rows(made)
    if not rows:
        return None
    split = made["quantized_on"]
    judged = "the faces that the run validated on" if split == "val" else f"{split} images"
    cells = [
        [short(made, trial["setting"]), str(trial["seed"]), entry["name"], *_int8_cells(entry)]
        for trial in made["trials"]
        for entry in trial["quantized"]
        if entry["accuracy"] is not None
    ]
    return section(
        "int8",
        figure(
            draw.quantized(rows[: draw.MOST]),
            "A ring is a run, the dot their mean; the dashed line is the float network.",
            alt="Accuracy lost by quantization setting",
        ),
        table(
            ["quantization", "int8 accuracy, %", "lost, pp", "most lost, pp", "runs"],
            [
                [r["name"], f"{r['accuracy'] * 100:.2f}", f"{r['mean']:+.2f}", f"{r['worst']:+.2f}", str(r["runs"])]
                for r in rows
            ],
        ),
        note(f"Means over runs, judged on {judged}; no such image calibrated."),
        details(
            "Every run",
            table(
                [
                    "setting",
                    "seed",
                    "quantization",
                    "int8, %",
                    "float, %",
                    "lost, pp",
                    "95% interval, pp",
                    "bytes",
                    "s",
                ],
                cells,
                align="lrlrrrrrr",
            ),
            is_raw=True,
        ),
        anchor="int8",
    )


def _int8_cells(entry: dict[str, Any]) -> list[str]:
    low, high = entry["drop_score_interval_pp"]
    return [
        *(f"{entry[key] * 100:.2f}" for key in ("accuracy", "float_accuracy")),
        *(f"{entry['drop_pp']:+.2f}", f"{low:+.2f} to {high:+.2f}"),
        *(f"{entry['size_bytes']:,}", f"{entry['seconds']:.1f}"),
    ]


def _trials(made: dict[str, Any]) -> Section:
    rows = [
        [
            short(made, trial["setting"]),
            str(trial["seed"]),
            badge(trial["status"], _KIND[trial["status"]]),  # type: ignore[arg-type]
            str(trial["epochs"]),
            shown("val_accuracy", trial["val_accuracy"]),
            shown("val_loss", trial["val_loss"]),
            "–" if trial["seconds"] is None else f"{trial['seconds']:,.0f}",
        ]
        for trial in made["trials"]
    ]
    heads = ["setting", "seed", "status", "epochs", "val accuracy, %", "val loss", "training, s"]
    return section(
        "Every trial",
        table(heads, rows, align="lrlrrrr"),
        note("Figures are those of the epoch that the recipe keeps."),
        anchor="trials",
    )


def _how(made: dict[str, Any]) -> Section:
    machine = made["machine"]
    return section(
        "How it was made",
        facts(
            [
                ("command", code(" ".join(made["command"]))),
                ("data", f"{made['data']['source']}, {made['data']['sha256'][:12]}"),
                ("early stopping", made["early_stopping"]),
                ("cores a trial", str(made["cores"])),
                ("processor of the driver", machine.get("cpu")),
                ("Ray", made["versions"].get("ray")),
            ]
        ),
        paragraph("The file:"),
        block(made["spec"].strip()),
        anchor="how",
    )
