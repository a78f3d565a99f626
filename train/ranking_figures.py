"""Pictures of the comparison of models: accuracy against cost, recall by class, robustness. SVG out."""

import re
from itertools import pairwise
from textwrap import fill
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fer_edge.edge_runtime import figure_style as fs
from fer_edge.edge_runtime.figure_labels import label_points
from fer_edge.train.ranking_words import short

Row = dict[str, Any]
AXES = {"macs": "multiply-adds (MACs) for a face", "size_bytes": "size of the model's file, bytes"}
_COLOURS = (fs.BLUE, fs.ORANGE, fs.GREEN, fs.PURPLE, fs.GREY)
_MARKERS = "os^Dv<>P"
_NAME_CHARS = 16
_ACROSS = 3
"""Panels beside one another."""


def accuracy_against(models: list[Row], cost: str) -> tuple[str, list[str]]:
    """Accuracy over a cost, logarithmic; those that no other beats are joined by steps.

    Returns:
        The picture, and the names of those whose cost is not known, which are not in it; the picture is empty without
        any other.
    """
    known = [row for row in models if row[cost]]
    left_out = [row["name"] for row in models if not row[cost]]
    if not known:
        return "", left_out
    with fs.style():
        figure, (axes,) = fs.canvas(300)
        points = [_point(row, cost) for row in known]
        for row, (x, low, y, high) in zip(known, points, strict=True):
            hue = fs.BLUE if row["on_front"][cost] else fs.GREY
            axes.plot([x, x], [low, high], color=hue, linewidth=2, alpha=0.35, solid_capstyle="butt")
            axes.plot([x], [y], "o" if row["on_front"][cost] else "s", color=hue, markersize=7)
        front = sorted(p for row, p in zip(known, points, strict=True) if row["on_front"][cost])
        axes.step([p[0] for p in front], [p[2] for p in front], where="post", color=fs.BLUE, linewidth=1.2, zorder=1)
        _limits(axes, points)
        axes.set_xlabel(AXES[cost])
        axes.set_title("accuracy, %")
        steps = [((a[0], a[2]), (b[0], a[2])) for a, b in pairwise(front)]
        steps += [((b[0], a[2]), (b[0], b[2])) for a, b in pairwise(front)]
        bars = [((x, low), (x, high)) for x, low, _, high in points]
        label_points(axes, [(p[0], p[2]) for p in points], [row["name"] for row in known], [*bars, *steps])
        return fs.svg(figure), left_out


def _point(row: Row, cost: str) -> tuple[float, float, float, float]:
    low, high = row["accuracy_interval"]
    return float(row[cost]), 100 * low, 100 * row["accuracy"], 100 * high


def _limits(axes: Any, points: list[tuple[float, float, float, float]]) -> None:
    """A logarithmic axis even where the costs are alike, with room at the sides for names."""
    least, most = min(p[0] for p in points), max(p[0] for p in points)
    middle, reach = (least * most) ** 0.5, max((most / least) ** 0.5, 2.0)
    room = 1.35 * reach**0.3
    fs.spread(axes, "x", middle / reach, middle * reach)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: re.sub(r"\.0+(?=\D|$)", "", short(value))))
    axes.set_xlim(middle / reach / room, middle * reach * room)
    low, high = min(p[1] for p in points), max(p[3] for p in points)
    axes.set_ylim(max(0.0, low - 0.08 * (high - low)), min(100.0, high + 0.08 * (high - low)))
    axes.yaxis.set_major_locator(MaxNLocator(6))


def recall_map(models: list[Row], classes: list[str]) -> str:
    """Recall of each class by each model, in %, the darker the higher; empty where the data have none of a class."""
    with fs.style():
        figure, (axes,) = fs.canvas(46 + 30 * len(models))
        for y, row in enumerate(models):
            for x, name in enumerate(classes):
                recall = row["by_class"][name]["recall"]
                if recall is None:
                    continue
                axes.add_patch(
                    Rectangle((x - 0.5, y - 0.5), 1, 1, color=fs.BLUE, alpha=0.04 + 0.6 * recall, linewidth=0)
                )
                axes.text(x, y, f"{100 * recall:.0f}", ha="center", va="center", fontsize=12)
        axes.set_xlim(-0.5, len(classes) - 0.5)
        axes.set_ylim(len(models) - 0.5, -0.5)
        axes.set_xticks(range(len(classes)), classes, fontsize=10)
        axes.xaxis.tick_top()
        axes.set_yticks(range(len(models)), [_wrapped(row["name"]) for row in models], fontsize=11)
        axes.grid(visible=False)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        return fs.svg(figure)


def _wrapped(name: str) -> str:
    return fill(name.replace("_", "_\u200b"), _NAME_CHARS, break_long_words=True)


def robustness(conditions: list[Row], accuracies: dict[str, list[float]]) -> str:
    """Accuracy of the models as the faces get worse, a panel a kind of harm.

    Args:
        conditions: `{"condition", "level", "what"}` of each, unharmed first.
        accuracies: by model, as many as conditions.
    """
    kinds = list(dict.fromkeys(c["condition"] for c in conditions[1:]))
    deep = -(-len(kinds) // _ACROSS)
    with fs.style():
        height = 40 + 150 * deep + 10 * len(accuracies)
        figure = Figure(figsize=(fs.WIDTH_PT / 72, height / 72), layout="constrained")
        grid = figure.subplots(deep, min(_ACROSS, len(kinds)), sharey=True, squeeze=False)
        panels = [axes for row in grid for axes in row]
        for axes in panels[len(kinds) :]:
            axes.set_visible(False)
        for axes, kind in zip(panels, kinds, strict=False):
            at = [0, *(i for i, c in enumerate(conditions) if c["condition"] == kind)]
            for k, (name, values) in enumerate(accuracies.items()):
                axes.plot(
                    [100 * values[i] for i in at], color=_COLOURS[k % len(_COLOURS)], marker=_MARKERS[k % 8],
                    markersize=4.5, linewidth=1.2, label=name,
                )  # fmt: skip
            axes.set_xticks(range(len(at)), ["–", *(f"{conditions[i]['level']:g}" for i in at[1:])], fontsize=10)
            axes.set_title(kind)
            axes.grid(visible=False, axis="x")
        for row in grid:
            row[0].set_ylabel("accuracy, %")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
        return fs.svg(figure)
