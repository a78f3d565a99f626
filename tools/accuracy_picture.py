"""Draws docs/flagship/accuracy.png: top-1 on FER-2013 over multiply-adds, and over parameters.

    python tools/accuracy_picture.py

Published figures are hollow, over the multiply-adds that `fer-edge models` counts of the same networks; what was
measured here is filled, with Wilson's 95% interval: whole trainings out of docs/results, the
report of what ships, and the package fer's mini-xception.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from results_table import rows

from fer_edge.devices.files import replacing_file
from fer_edge.edge_runtime.bundle import BUNDLED, Bundle
from fer_edge.train.intervals import wilson
from fer_edge.train.zoo import MODELS

DOCS = Path(__file__).resolve().parents[1] / "docs"
SHIPPED_RUN = "flagship-4"
PACKAGED = "mini-xception"
"""The network inside the package fer, whose own weights docs/peers.json measured."""
PUBLISHED_ELSEWHERE = (("a distilled network", 1_200_000, 0.712), ("ResNet18, ten crops", 11_200_000, 0.7370))
"""Name, parameters and accuracy of networks that `fer-edge models` does not have; they are not over multiply-adds."""
BEST_SINGLE = 0.7414
AIMS = {"flagship": 0.71, "tiny": 0.66}
SAME = 0.01
LABELS: dict[str, tuple[int, int, str]] = {"cnn-edge": (4, 7, "left"), "tiny": (7, -9, "left")}
"""Where a label goes that would lie on another: points right and up of the mark, and what of it is there."""
BLUE, GREY, GREEN = "#0b6bcb", "#666666", "#2e7d32"


@dataclass(frozen=True)
class Point:
    """One model; `interval` is there where it was measured here."""

    name: str
    macs: int | None
    parameters: int
    accuracy: float
    interval: tuple[float, float] | None = None


def published() -> list[Point]:
    """Every published figure of a network whose parameters are known."""
    zoo = [
        Point(entry.name, entry.macs, entry.parameters, entry.published_accuracy)
        for entry in MODELS.values()
        if entry.parameters is not None and entry.published_accuracy is not None and entry.name != PACKAGED
    ]
    return zoo + [Point(name, None, parameters, accuracy) for name, parameters, accuracy in PUBLISHED_ELSEWHERE]


def measured() -> list[Point]:
    """The shipped model in int8, whole trainings of ours with an extract, and the package fer's network."""
    report = json.loads((DOCS / "model" / "report.json").read_text(encoding="utf-8"))["variants"]["tflite/int8"]
    model = Bundle.open(BUNDLED).name
    found = {model: [_point(f"{SHIPPED_RUN}, int8", model, report["accuracy"], report["accuracy_interval"])]}
    for row in rows():
        if row.run is None or row.verdict == "short run" or MODELS[row.model].parameters is None:
            continue
        others = found.setdefault(row.model, [])
        if not any(abs(row.run["accuracy"] - other.accuracy) < SAME for other in others):  # it would lie on that one
            others.append(_point(row.name, row.model, row.run["accuracy"], row.run["accuracy_interval"]))
    peer = json.loads((DOCS / "peers.json").read_text(encoding="utf-8"))["peers"]["fer"]
    spread = wilson(round(peer["accuracy"] * peer["faces"]), peer["faces"])
    return [*chain(*found.values()), _point(PACKAGED, PACKAGED, peer["accuracy"], spread)]


def _point(name: str, model: str, accuracy: float, interval: Sequence[float]) -> Point:
    entry, (low, high) = MODELS[model], interval
    assert entry.parameters is not None
    return Point(name, entry.macs, entry.parameters, accuracy, (low, high))


def draw(axes: Axes, x: str, label: str) -> None:
    """One panel; `x` names the field of Point on its axis."""
    for points, colour, filled in ((published(), GREY, False), (measured(), BLUE, True)):
        for point in points:
            left = filled and point.name != PACKAGED  # ours beside the published figure of the same network
            at = getattr(point, x)
            if at is None:
                continue
            if point.interval is not None:
                low, high = point.interval
                axes.plot([at, at], [low, high], color=colour, lw=1)
            axes.plot(at, point.accuracy, "o", color=colour, mfc=colour if filled else "white", ms=6)
            right, up, anchor = LABELS.get(point.name, (-7, -2, "right") if left else (5, -9, "left"))
            axes.annotate(
                point.name, (at, point.accuracy), xytext=(right, up), textcoords="offset points", ha=anchor,
                fontsize=7, color=colour,
            )  # fmt: skip
    for name, aim in AIMS.items():
        limit = {"macs": {"flagship": 60e6, "tiny": 8e6}, "parameters": {"flagship": 1e6, "tiny": 150e3}}[x][name]
        axes.plot(limit, aim, marker="*", color=GREEN, ms=11, ls="")
        axes.annotate(
            f"aim of {name}",
            (limit, aim),
            xytext=(-6, 5),
            textcoords="offset points",
            fontsize=7,
            color=GREEN,
            ha="right",
        )
    axes.axhline(BEST_SINGLE, color=GREY, lw=0.8, ls=":")
    axes.set_xscale("log")
    axes.set(xlabel=label, ylim=(0.25, 0.78))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    axes.margins(x=0.18)


def main() -> None:
    """Draw and write the picture."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), sharey=True, layout="constrained")
    draw(left, "macs", "multiply-adds of one face")
    draw(right, "parameters", "parameters (bytes in int8)")
    left.set_ylabel("top-1, FER-2013")
    said = f"best single network published: {BEST_SINGLE:.2%}"
    left.annotate(said, (0.02, BEST_SINGLE + 0.004), xycoords=("axes fraction", "data"), fontsize=7, color=GREY)
    handles = [
        plt.Line2D([], [], marker="o", color=GREY, mfc="white", ls="", label="published by others"),
        plt.Line2D([], [], marker="o", color=BLUE, ls="-", label="measured here on PublicTest, 95% interval"),
        plt.Line2D([], [], marker="*", color=GREEN, ms=11, ls="", label="what the next models are to reach"),
    ]
    left.legend(handles=handles, frameon=False, loc="lower right", fontsize=7)
    with replacing_file(DOCS / "flagship" / "accuracy.png") as path:
        figure.savefig(path, dpi=120, format="png", metadata={"Software": None})


if __name__ == "__main__":
    main()
