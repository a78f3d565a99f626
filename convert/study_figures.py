"""Pictures of a calibration study: what more images, another draw, another method or other classes change. SVG out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer_edge.convert.study_words import FIGURES, Row, balances_compared, methods_compared
from fer_edge.devices.files import replacing_file
from fer_edge.edge_runtime import figure_style as fs

COLOURS = (fs.BLUE, fs.ORANGE, fs.GREEN, fs.PURPLE)
_MARKS = ("o", "s", "D", "^")
_APART = 1.035
"""Neighbouring series stand so far apart on the axis of counts: their spreads would hide one another."""
Compared = Sequence[tuple[str, list[Row]]]


def by_count(compared: Compared, figure: str, floor: float | None = None) -> str:
    """Means over counts, a bar from the least to the greatest seed; `floor` is a dashed line, in the figure's unit."""
    with fs.style():
        canvas, (axes,) = fs.canvas(250)
        _draw(axes, compared, figure)
        title, times, _ = FIGURES[figure]
        if floor is not None:
            axes.axhline(floor * times, color=fs.GREY, linewidth=1.2, dashes=(4, 3))
        axes.set_title(title)
        axes.set_xlabel("calibration images")
        _legend(canvas, axes)
        return fs.svg(canvas)


def write_overview(path: Path, made: dict[str, Any]) -> None:
    """Write the study as one picture, PNG, whole or not at all.

    Raises:
        OutputError: the disk refuses.
    """
    with fs.style(), replacing_file(path) as temporary:
        _overview(made).savefig(temporary, format="png", dpi=110, facecolor=fs.GROUND)


def _overview(made: dict[str, Any]) -> Figure:
    """Agreement, KL and ranges by method, KL by class balance."""
    methods, balances = methods_compared(made), balances_compared(made)
    panels = [("agreement", methods, ""), ("mean_kl", methods, ""), ("width", methods, "")]
    if balances:
        panels.append(("mean_kl", balances, f", {made['plan']['methods'][0]}"))
    canvas, axes = fs.canvas(70 + 170 * len(panels), len(panels), sharex=True)
    for each, (figure, compared, what) in zip(axes, panels, strict=True):
        _draw(each, compared, figure)
        each.set_title(FIGURES[figure][0] + what)
    if balances:
        axes[-1].legend(loc="upper right")
    axes[-1].set_xlabel("calibration images")
    _legend(canvas, axes[0])
    return canvas


def by_point(made: dict[str, Any], method: str) -> str:
    """How the upper end of each point's range settles: mean over seeds, 100% at the largest count."""
    first = made["plan"]["balances"][0]
    trials = [t for t in made["trials"] if (t["balance"], t["method"]) == (first, method)]
    counts = sorted({t["count"] for t in trials})
    points = list(trials[0]["highs"])
    with fs.style():
        canvas, (axes,) = fs.canvas(250)
        for at, point in enumerate(points):
            means = [float(np.mean([t["highs"][point] for t in trials if t["count"] == count])) for count in counts]
            share = [100 * value / means[-1] for value in means]
            axes.plot(counts, share, color=COLOURS[at % 4], marker=_MARKS[at // 4 % 4], markersize=4, label=point)
        _counts_axis(axes, counts)
        axes.set_title(f"upper end of each range by {method}, %")
        axes.set_xlabel("calibration images")
        _legend(canvas, axes)
        return fs.svg(canvas)


def _draw(axes: Axes, compared: Compared, figure: str) -> None:
    times = FIGURES[figure][1]
    counts = sorted({row["count"] for _, rows in compared for row in rows})
    for at, (name, rows) in enumerate(compared):
        colour, shift = COLOURS[at % 4], _APART ** (at - (len(compared) - 1) / 2)
        places = [row["count"] * shift for row in rows]
        means, lows, highs = ([times * row[figure][key] for row in rows] for key in ("mean", "low", "high"))
        axes.vlines(places, lows, highs, color=colour, linewidth=2.4, alpha=0.45)
        axes.plot(places, means, color=colour, marker=_MARKS[at % 4], markersize=5, linewidth=1.5, label=name)
    if figure == "mean_kl":
        values = [times * row[figure][key] for _, rows in compared for row in rows for key in ("low", "high")]
        fs.spread(axes, "y", min(values), max(values))
    _counts_axis(axes, counts)


def _legend(canvas: Figure, axes: Axes) -> None:
    """Above the axes, where it hides no point."""
    canvas.legend(
        *axes.get_legend_handles_labels(), loc="outside upper left", ncols=4, handlelength=1.2, columnspacing=1
    )


def _counts_axis(axes: Axes, counts: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
