"""The comparison of models as one HTML page that stands alone; every number in it is in compare-models.json.

Must not measure, and shows no face.
"""

from typing import Any

from fer_edge.edge_runtime.html_page import (
    Raw,
    badge,
    code,
    details,
    facts,
    figure,
    figures,
    join,
    note,
    page,
    paragraph,
    section,
    table,
    verdict,
)
from fer_edge.train import ranking_figures as draw
from fer_edge.train import ranking_words as words
from fer_edge.train.ranking import COSTS

_SHOWN = 8
"""Lines in the picture of robustness: more cannot be told apart."""


def ranking_page(made: dict[str, Any]) -> str:
    """The page of what `fer-edge compare-models` found."""
    data = made["data"]
    lead = (
        f"{len(made['models'])} models, each judged on the same {data['images']:,} {data['split']} images of "
        f"{data['source']}, image by image"
    )
    best = [pair for pair in made["pairs"] if pair["better"] == made["models"][0]["name"]]
    sections = [
        verdict(words.headline(made), "good" if all(pair["differ"] for pair in best) else "warn", _also(made)),
        _overview(made),
        _cost(made),
        *([_times(made["side_by_side"])] if made["side_by_side"] is not None else []),
        _tests(made),
        _classes(made),
        _robustness(made),
        _how(made),
    ]
    return page("Which model?", lead, sections, f"fer-edge compare-models, {made['made_at']}")


def _also(made: dict[str, Any]) -> Raw:
    """Who is on a front."""
    said = []
    for cost in COSTS:
        names = [row["name"] for row in made["models"] if row["on_front"][cost]]
        if names:
            said.append(paragraph(f"On the front of accuracy against {words.COST_NAMES[cost]}: {', '.join(names)}."))
    return join(*said)


def _overview(made: dict[str, Any]) -> Raw:
    columns = [
        *("model", "accuracy", "macro F1", "worst class", "ECE", "parameters", "MACs", "bytes"),
        *("latency, ms", "training", "front"),
    ]
    rows = [
        [
            row["name"],
            _two(words.percent(row["accuracy"]), words.interval(row["accuracy_interval"])),
            words.percent(row["macro_f1"], 1),
            _two(words.percent(row["worst_class"]["recall"], 1), row["worst_class"]["name"]),
            words.percent(row["ece"], 1),
            *(words.count(row[key]) for key in ("parameters", "macs", "size_bytes")),
            _two(words.milliseconds(row), f"{words.batched(row)} of 256"),
            _training(row),
            _fronts(row),
        ]
        for row in made["models"]
    ]
    return section(
        "All models",
        table(columns, rows, caption="The most accurate first; in small type the 95% interval, %"),
        note(
            "Front: no other model is as accurate at so few multiply-adds (MACs), or in so small a file (size). "
            "Training times are those of the machines that trained. Latency is the median for one face; in small type "
            "for one of 256 that go in together. ",
            words.latency_note(made),
        ),
        anchor="models",
    )


def _fronts(row: dict[str, Any]) -> Raw:
    return join(*(join(badge(words.COST_NAMES[cost], "good"), " ") for cost in COSTS if row["on_front"][cost]))


def _training(row: dict[str, Any]) -> Raw | None:
    of = row["training"] or {}
    took = words.duration(of.get("seconds"))
    epochs = of.get("epochs_run")
    return None if took is None else _two(took, f"{epochs} epoch{'' if epochs == 1 else 's'}" if epochs else "")


def _two(first: str | None, second: str) -> Raw | None:
    """A figure, and below it in small type what belongs to it."""
    return None if first is None else join(first, Raw("<small>"), second, Raw("</small>"))


def _cost(made: dict[str, Any]) -> Raw:
    drawn, missing = [], []
    for cost in COSTS:
        picture, left_out = draw.accuracy_against(made["models"], cost)
        name = words.COST_NAMES[cost]
        if picture:
            said = f"Accuracy with its 95% interval against {name}. Round and joined: the front."
            drawn.append(figure(picture, said, f"Accuracy against {name}, a point a model"))
        if left_out:
            missing.append(note(f"{', '.join(left_out)}: {name} not known, so not in that picture."))
    return section(
        "Accuracy and cost",
        figures(*drawn),
        *missing,
        anchor="cost",
    )


def _times(made: dict[str, Any]) -> Raw:
    return section(
        "Latency, side by side",
        table(
            ["model", "median, ms", "times the fastest", "95% interval"],
            words.times_rows(made),
            caption="One face at a time",
        ),
        note(words.times_note(made)),
        anchor="side-by-side",
    )


def _tests(made: dict[str, Any]) -> Raw:
    rows = [
        [
            f"{pair['better']} − {pair['other']}",
            f"{pair['difference_pp']:+.2f}",
            words.signed_interval(pair["interval_pp"]),
            f"{pair['only_better']} / {pair['only_other']}",
            words.p_value(pair["mcnemar_p"]),
            words.p_value(pair["mcnemar_p_holm"]),
            badge("differ", "good") if pair["differ"] else badge("not shown", "unknown"),
        ]
        for pair in made["pairs"]
    ]
    return section(
        "Are the leaders different?",
        table(
            ["pair", "difference, pp", "95% interval", "only one right", "p", "after Holm", ""],
            rows,
            caption=f"The {len(made['leaders'])} most accurate, all pairs",
        ),
        note(
            "“Only one right”: images that only the first names rightly, and only the second. p is of McNemar's exact "
            f"test on these, adjusted after Holm over the {len(rows)} pairs; the interval is Tango's and is not "
            "adjusted, so it can leave out 0 where a pair is not shown to differ. Who leads was chosen on these images."
        ),
        anchor="tests",
    )


def _classes(made: dict[str, Any]) -> Raw:
    first = made["models"][0]["by_class"]
    rows = [
        [row["name"], *(words.percent(row["by_class"][name]["recall"], 1) for name in made["classes"])]
        for row in made["models"]
    ]
    counts = ", ".join(f"{name} {first[name]['support']:,}" for name in made["classes"])
    return section(
        "Recall by class",
        figure(
            draw.recall_map(made["models"], made["classes"]),
            "The share of a class's images that are named so, %.",
            "Recall by class and model, darker is higher",
        ),
        note(f"Images: {counts}."),
        details("The figures", table(["model", *made["classes"]], rows)),
        anchor="classes",
    )


def _robustness(made: dict[str, Any]) -> Raw:
    conditions, accuracies, left_out = words.common_conditions(made["models"])
    if not conditions:
        return section("Robustness", paragraph("No model was judged on degraded faces."), anchor="robustness")
    shown = dict(list(accuracies.items())[:_SHOWN])
    rows = [
        [condition["what"], *(words.percent(accuracies[name][at], 1) for name in accuracies)]
        for at, condition in enumerate(conditions)
    ]
    parts: list[object] = [
        figure(
            draw.robustness(conditions, shown),
            "Accuracy as the faces get worse" + ("." if len(shown) == len(accuracies) else ", of the most accurate."),
            "Accuracy under harm to the faces, a line a model",
        ),
        table(["faces", *accuracies], rows, caption=f"Accuracy on {conditions[1]['images']:,} images"),
    ]
    if left_out:
        parts.append(note(f"Not judged under these conditions: {', '.join(left_out)}."))
    return section("Robustness", *parts, anchor="robustness")


def _how(made: dict[str, Any]) -> Raw:
    data = made["data"]
    columns = ["model", "what", "identity", "evaluated", "processor"]
    rows = [
        [
            row["name"],
            ", ".join(filter(None, (row["model"], row["variant"], row["precision"]))),
            code(row["identity"]),
            row["evaluated_at"],
            row["machine"]["cpu"],
        ]
        for row in made["models"]
    ]
    return section(
        "How it was compared",
        facts(
            [
                ("command", code(" ".join(made["command"]))),
                ("data", f"{data['source']}, {data['sha256'][:12]}"),
                ("split", f"{data['split']}, {data['images']:,} images"),
            ]
        ),
        table(columns, rows, align="lllll"),
        anchor="how",
    )
