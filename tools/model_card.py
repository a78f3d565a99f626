"""What README and model card say of the model that ships, out of the reports in docs/model.

    python tools/model_card.py            # prints the parts
    python tools/model_card.py --write    # puts them into README.md and docs/MODEL_CARD.md

What lies in docs/model is put there by tools/model_evidence.py, `fer-edge compare` and `fer-edge bench`.
"""

import argparse
import json
from math import ceil
from pathlib import Path
from typing import Any

from marked import begin, write

from fer_edge.edge_runtime.bench_claims import float_ratios
from fer_edge.edge_runtime.bundle import REPORT_FILE, SHIPPED
from fer_edge.edge_runtime.vocabulary import EMOTIONS

ROOT = Path(__file__).resolve().parents[1]
README, CARD, REPORTS = ROOT / "README.md", ROOT / "docs" / "MODEL_CARD.md", ROOT / "docs" / "model"
ENGINES = {"tflite": "LiteRT", "onnx": "ONNX Runtime", "openvino": "OpenVINO"}
INT8 = tuple(f"{engine}/int8" for engine in ENGINES)
Json = dict[str, Any]


def read(name: str) -> Json:
    """One of the reports."""
    found: Json = json.loads((REPORTS / name).read_text(encoding="utf-8"))
    if name != "bench.json" and found.get("data", {}).get("split", "test") != "test":
        raise SystemExit(f"{name} was judged on another split than PublicTest; make it with --split test")
    return found


def percent(share: float, digits: int = 2) -> str:
    """0.673 as 67.30%."""
    return f"{share:.{digits}%}"


def span(interval: list[float], digits: int = 2) -> str:
    """Both ends in percent."""
    return f"{interval[0]:.{digits}%} to {interval[1]:.{digits}%}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    rule = "|" + "---|" * len(head)
    return "\n".join([_line(head), rule, *map(_line, rows)])


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def headline(report: Json) -> str:
    """README's first bullet."""
    float_, rows = report["reference"], [report["variants"][name] for name in INT8]
    most = ceil(100 * max(row["drop_pp"] for row in rows)) / 100
    loses = f"loses more than {most:.2f} points" if most > 0 else "loses any"
    return (
        "- **An int8 model that was judged, not just converted.** The one that ships: "
        f"{percent(float_['accuracy'])} on PublicTest in float32, and no engine's\n  int8 {loses}, measured on all "
        f"{float_['images']:,} images with intervals, flips both ways and an exact test."
    )


def shipped(report: Json, bench: Json) -> str:
    """README's table: accuracy, what int8 costs, bytes, and time as a share of float32's in the same engine."""
    ratios = float_ratios(bench)
    sizes = {row["variant"]: row["file_bytes"] for row in bench["variants"]}
    float_ = report["reference"]
    top1 = f"{percent(float_['accuracy'])} ({span(float_['accuracy_interval'], 1)})"
    rows = [["float32, Keras", top1, "", "", "", ""]]
    for name in INT8:
        row, ratio = report["variants"][name], ratios[name]
        low, high = drop_interval(row)
        times = [ratio["time_ratio"], *ratio["interval"]]
        rows.append(
            [
                f"int8, {ENGINES[name.split('/')[0]]}",
                f"{percent(row['accuracy'])} ({span(row['accuracy_interval'], 1)})",
                f"{row['drop_pp']:+.2f} ({low:+.2f} to {high:+.2f})",
                f"{row['flips']} of {row['images']:,}",
                f"{sizes[name] / 1e6:.2f} MB",
                "{:.2f} ({:.2f} to {:.2f})".format(*times),
            ]
        )
    head = ["variant", "top-1 on PublicTest (95% interval)", "drop against float, pp (95% interval)"]
    return table([*head, "labels that differ", "file", "time of float32's"], rows)


def drop_interval(row: Json) -> list[float]:
    """Tango's where the report has it, else the bootstrap's."""
    found: list[float] = row.get("drop_score_interval_pp") or row["drop_interval_pp"]
    return found


def accuracy(report: Json) -> str:
    """Every variant against the float network."""
    rows = []
    for name, row in {report["reference"]["name"]: report["reference"], **report["variants"]}.items():
        low, high = drop_interval(row)
        flips = f"{row['flips_right_to_wrong']} / {row['flips_wrong_to_right']}"
        rows.append(
            [
                *(name, percent(row["accuracy"]), span(row["accuracy_interval"])),
                *(f"{row['drop_pp']:+.2f}", f"{low:+.2f} to {high:+.2f}", flips, f"{row['mcnemar_p']:.2f}"),
            ]
        )
    head = ["variant", "top-1", "95% interval", "drop, pp", "95% interval", "flips right→wrong / wrong→right"]
    return table([*head, "exact McNemar p"], rows)


def recalls(report: Json) -> str:
    """By emotion, float and each int8."""
    float_ = report["reference"]
    rows = [["images", *(f"{float_['recall'][name]['images']:,}" for name in EMOTIONS)]]
    named = {"float32, Keras": float_} | {
        f"int8, {ENGINES[name.split('/')[0]]}": report["variants"][name] for name in INT8 if name in report["variants"]
    }
    rows += [[what, *(percent(row["recall"][name]["recall"], 1) for name in EMOTIONS)] for what, row in named.items()]
    return table(["variant", *EMOTIONS], rows)


def thresholds(report: Json) -> str:
    """What makes a face uncertain, and what the model knows around there."""
    gate = report["gate"]
    least, check = gate["thresholds"], gate["check"]
    named = check["coverage"] * check["accuracy_covered"]
    left = (check["accuracy_all"] - named) / (1 - check["coverage"]) if check["coverage"] < 1 else None
    unnamed = "-" if left is None else f"of PublicTest's faces that the gate does not name, {left:.0%} are right"
    rows = [
        ("small", "longer side of the face's box in the frame", "min_side_px", "{:g} px", _around(gate, "min_side_px")),
        ("dark", "mean gray of the 48×48 face", "min_brightness", "{:.1f}", _around(gate, "min_brightness")),
        (
            "blurred", "energy of the second difference along its weakest direction, over the variance of the gray",
            "min_sharpness", "{:.4f}", _around(gate, "min_sharpness"),
        ),
        ("unsure", "best probability minus the second best", "min_margin", "{:.3f}", unnamed),
    ]  # fmt: skip
    cells = [
        [f"`{name}`", what, "-" if least[key] is None else form.format(least[key]), says]
        for name, what, key, form, says in rows
    ]
    return table(["reason", "measure", "named from", "what the model knows about there"], cells)


def _around(gate: Json, measure: str) -> str:
    """Of the steps that made faces worse, the two before and the two after half of the faces are right."""
    steps = [step for step in gate["measures"][measure]["steps"] if not step["what"].startswith("moved")]
    steps.sort(key=lambda step: -step["median"])
    under = next((at for at, step in enumerate(steps) if step["accuracy"] < 0.5), len(steps))
    near = steps[max(0, under - 2) : under + 2]
    return ", ".join(f"{step['accuracy']:.0%} right at {_degree(measure, step)}" for step in near)


def _degree(measure: str, step: Json) -> str:
    """How bad the faces of a step are: small ones by the box that the gate measures, others by what was done."""
    return f"{step['median']:g} px" if measure == "min_side_px" else step["what"].removeprefix("defocus, ")


def refused(report: Json, recipe: Json) -> str:
    """How many faces taught the thresholds, and how many good ones darkness and blur refuse."""
    found = report["gate"]["validation"]
    chosen = "" if recipe["choose"] == "last" else ", though its epoch was chosen on them"
    return (
        f"The thresholds are in bundle.json, each learned from the {found['n']:,} faces on which the run validated "
        f"(a part of Training that\nthe network was not fitted to{chosen}), with the int8 model as it ships. "
        "`dark` and `blurred` may each refuse\nat most 0.5% of these as they are; here they refuse "
        f"{found['rejected']['dark']} and {found['rejected']['blurred']}."
    )


def covered(report: Json) -> str:
    """How many faces are named, and how many of them rightly."""
    gate = report["gate"]
    rows = []
    for what, found in (
        ("validation, where the thresholds were chosen", gate["validation"]),
        ("PublicTest, as a check", gate["check"]),
    ):
        rows.append(
            [
                *(what, f"{found['n']:,}", percent(found["accuracy_all"], 1), span(found["accuracy_all_interval"], 1)),
                *(percent(found["coverage"], 1), f"**{percent(found['accuracy_covered'], 1)}**"),
                span(found["accuracy_covered_interval"], 1),
            ]
        )
    head = ["faces as they are", "images", "top-1 of all", "95% interval", "named", "top-1 of those", "95% interval"]
    return table(head, rows)


def named(report: Json) -> str:
    """By emotion, what the gate leaves."""
    of = report["gate"]["check"]["emotions"]
    keys = {"named": "coverage", "recall of all": "recall_all", "recall of those named": "recall_covered"}
    rows = [
        [what, *("-" if of[name][key] is None else percent(of[name][key], 1) for name in EMOTIONS)]
        for what, key in keys.items()
    ]
    return table(["", *EMOTIONS], rows)


def probabilities(report: Json, compare: Json) -> str:
    """The temperature that was put in, and what it does to PublicTest's calibration error."""
    put_in = report.get("temperature")  # a report of before has none
    if put_in is None or put_in["value"] is None:
        why = "" if put_in is None else f": {put_in['why_not']}"
        confidence = compare["confidence"]
        model, judged = confidence["models"]["tflite/int8"], confidence["judged_on"]
        found, (low, high) = model["before"], model["temperature_interval"]
        return (
            f"The probabilities are a softmax of the logits as they were trained; no temperature was put in{why}.\nOn "
            f"{judged['images']:,} images of PublicTest (int8, LiteRT) the expected calibration error is "
            f"{found['ece']:.4f}, where chance alone would show up to {found['ece_if_calibrated']['p95']:.4f};\nthe "
            f"mean confidence is {percent(found['mean_confidence'], 1)}, the log-likelihood {-found['nll']:.4f} nats.\n"
            "A temperature is put in where mean confidence and accuracy of the validation faces ask for one; the least "
            f"likelihood would be at {model['temperature']:.2f} ({low:.2f} to {high:.2f})."
        )
    before, after = put_in["before"], put_in["after"]
    low, high = put_in["interval"]
    return (
        f"The logits are divided by a temperature of {put_in['value']:.3f} ({low:.3f} to {high:.3f}), fitted on the "
        f"{put_in['fitted_on']['images']:,} validation faces. On PublicTest, the expected calibration error is "
        f"{before['ece']:.4f} before and {after['ece']:.4f} after it, where chance alone would show up to "
        f"{after['ece_if_calibrated']['p95']:.4f}; the negative log-likelihood is {before['nll']:.4f} and "
        f"{after['nll']:.4f}, the mean confidence {percent(before['mean_confidence'], 1)} and "
        f"{percent(after['mean_confidence'], 1)}."
    )


def robustness(compare: Json) -> str:
    """Accuracy under bad conditions, float and each int8."""
    found = compare["robustness"]
    order = [name for name in found["models"] if name.endswith("float32")] + [n for n in INT8 if n in found["models"]]
    rows = [
        [condition["what"], *(percent(found["models"][name][at]["accuracy"], 1) for name in order)]
        for at, condition in enumerate(found["conditions"])
    ]
    return table(["faces", *order], rows)


def parts() -> dict[Path, dict[str, str]]:
    """By document, what goes behind each mark."""
    report, compare, bench = read("report.json"), read("compare.json"), read("bench.json")
    tiny = json.loads((SHIPPED["tiny"] / REPORT_FILE).read_text(encoding="utf-8"))
    card = {
        "accuracy": accuracy(report),
        "recall": recalls(report),
        "thresholds": thresholds(report),
        "refused": refused(report, read("recipe.json")["recipe"]),
        "covered": covered(report),
        "named": named(report),
        "probabilities": probabilities(report, compare),
        "robustness": robustness(compare),
        "tiny-accuracy": accuracy(tiny),
        "tiny-recall": recalls(tiny),
    }
    front = {"headline": headline(report), "shipped": shipped(report, bench)}
    return {
        README: {begin("model_card", name): made for name, made in front.items()},
        CARD: {begin("model_card", name): made for name, made in card.items()},
    }


def main() -> None:
    """Print or write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--write", action="store_true", help="put the parts into README.md and docs/MODEL_CARD.md")
    given = parser.parse_args()
    for path, made in parts().items():
        if given.write:
            write(path, made)
        else:
            print("\n\n".join(f"{mark}\n{text}" for mark, text in made.items()))


if __name__ == "__main__":
    main()
