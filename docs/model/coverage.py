"""Draws coverage.png out of the gate's part of report.json: `python docs/model/coverage.py`."""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

HERE = Path(__file__).parent
BLUE, ORANGE, RED = "#0b6bcb", "#e07b00", "#c62828"


def draw_margin(axes: Axes, gate: dict[str, Any]) -> None:
    """Accuracy of the named faces over how many are named, as the margin asked for grows."""
    curve = gate["measures"]["min_margin"]["curve"]
    axes.plot([p["coverage"] for p in curve], [p["accuracy"] for p in curve], color=BLUE, label="validation, by margin")
    for name, found, colour, mark in (
        ("validation, the gate", gate["validation"], RED, "o"),
        ("PublicTest, the same gate", gate["check"], ORANGE, "s"),
    ):
        middle = found["accuracy_covered"]
        low, high = found["accuracy_covered_interval"]
        spread = [[middle - low], [high - middle]]
        axes.errorbar(found["coverage"], middle, spread, color=colour, marker=mark, capsize=3, ls="", label=name)
    axes.set(xlabel="share of faces that are named", title=f"unsure: margin under {threshold(gate, 'min_margin'):.2f}")
    axes.legend(frameon=False, loc="lower left")


def draw_steps(axes: Axes, gate: dict[str, Any], name: str, title: str, xlabel: str) -> None:
    """Accuracy of all faces after each step that made them worse, over the measure's median."""
    steps = gate["measures"][name]["steps"]
    kinds = {"moved": [s for s in steps if s["what"].startswith("moved")]}
    kinds["rest"] = [s for s in steps if s not in kinds["moved"]]
    for kind, colour, label in (("rest", BLUE, "out of focus"), ("moved", ORANGE, "moved")):
        points = sorted((s["median"], s["accuracy"]) for s in kinds[kind])
        line = "-" if kind == "rest" else ""
        axes.plot(*zip(*points, strict=True), color=colour, marker=".", ls=line, label=label) if points else None
    if kinds["moved"]:
        axes.legend(frameon=False, loc="upper left")
    axes.axhline(0.5, color="#888888", lw=0.8, ls=":")
    axes.axvline(threshold(gate, name), color=RED, lw=1)
    axes.set(xlabel=xlabel, title=title.format(threshold(gate, name)))


def threshold(gate: dict[str, Any], name: str) -> float:
    """One of the gate's four."""
    return float(gate["thresholds"][name])


def main() -> None:
    """Four panels: the margin's curve, then what size, light and blur do."""
    gate = json.loads((HERE / "report.json").read_text(encoding="utf-8"))["gate"]
    figure, ((margin, side), (light, blur)) = plt.subplots(2, 2, figsize=(9.5, 7), sharey=False)
    draw_margin(margin, gate)
    draw_steps(side, gate, "min_side_px", "small: side under {:g} px", "side of the face's box, px")
    draw_steps(
        light, gate, "min_brightness", "dark: mean gray under {:.1f}", "mean gray of the face (median of the step)"
    )
    draw_steps(
        blur, gate, "min_sharpness", "blurred: sharpness under {:.4f}", "sharpness of the face (median of the step)"
    )
    light.set_xscale("log")
    blur.set_xscale("log")
    for axes in (margin, side, light, blur):
        axes.set_ylabel("named rightly")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("int8, LiteRT, on the faces that the run validated on")
    figure.tight_layout()
    figure.savefig(HERE / "coverage.png", dpi=110)


if __name__ == "__main__":
    main()
