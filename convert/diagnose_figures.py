"""Draws a diagnosis as SVG, each picture from the report alone; where its page needs matplotlib."""

from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fer_edge.convert.diagnose_signal import NO_NOISE_DB
from fer_edge.edge_runtime import figure_style as fs

Row = dict[str, Any]
_COLUMNS = 2
_LEAST = 1e-6
"""Of a histogram's shares: fewer than this are single values of two million."""


def blame(rows: list[Row]) -> str:
    """By point, in shares of the loss: what it wins back in float, with an interval, and what it costs alone."""
    with fs.style():
        figure, (axes,) = fs.canvas(66 + 22 * len(rows))
        places = np.arange(len(rows))[::-1]
        for at, row in zip(places, rows, strict=True):
            won, alone = row["left_out"], row["alone"]
            axes.barh(at + 0.17, won["share_of_loss"] or 0, 0.32, color=fs.BLUE)
            axes.barh(at - 0.17, alone["share_of_loss"] or 0, 0.32, color=fs.ORANGE)
            if won["share_interval"] is not None:
                axes.plot(won["share_interval"], [at + 0.17] * 2, color=fs.INK, linewidth=1.4)
        _points(axes, rows, places)
        axes.axvline(0, color=fs.GREY, linewidth=1.2)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel("share of the loss; blue: won back in float, orange: lost alone")
        return fs.svg(figure)


def noise(rows: list[Row]) -> str:
    """By point: SQNR of its values as they arrive, of its own rounding alone, and of its weights; exact ones are not
    drawn."""
    series = (
        ("arrives", fs.BLUE, "o", lambda row: row["signal"]["arrived_db"]),
        ("own rounding", fs.ORANGE, "s", lambda row: row["signal"]["alone_db"]),
        ("weights", fs.GREEN, "^", lambda row: row["weights"] and row["weights"]["sqnr_db"]),
    )
    with fs.style():
        figure, (axes,) = fs.canvas(92 + 20 * len(rows))
        places = np.arange(len(rows))[::-1]
        for label, colour, marker, value in series:
            known = [(at, value(row)) for at, row in zip(places, rows, strict=True) if (value(row) or 0) < NO_NOISE_DB]
            known = [(at, db) for at, db in known if db is not None]
            axes.plot([v for _, v in known], [at for at, _ in known], marker, color=colour, label=label, markersize=6)
        _points(axes, rows, places)
        axes.set_xlabel("signal to quantization noise, dB")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(series))
        return fs.svg(figure)


def ranges(rows: list[Row]) -> str:
    """By point: how its float values are spread, shares on a logarithmic scale, and the range that int8 has for it."""
    deep = ceil(len(rows) / _COLUMNS)
    with fs.style():
        figure = Figure(figsize=(fs.WIDTH_PT / 72, (24 + 92 * deep) / 72), layout="constrained")
        every = figure.subplots(deep, _COLUMNS, squeeze=False).ravel()
        for axes, row in zip(every, rows, strict=False):
            _histogram(axes, row)
        for axes in every[len(rows) :]:
            axes.set_axis_off()
        figure.supxlabel("value; dashed: the ends of the range", fontsize=11.5, color=fs.SOFT)
        return fs.svg(figure)


def _histogram(axes: Axes, row: Row) -> None:
    held, ends = row["signal"]["histogram"], row["signal"]["range"]
    edges = np.linspace(held["low"], held["high"], len(held["shares"]) + 1)
    axes.stairs(np.maximum(held["shares"], _LEAST), edges, fill=True, color=fs.BLUE, alpha=0.75, baseline=_LEAST)
    axes.set_yscale("log")
    axes.set_ylim(_LEAST, 2)
    axes.set_yticks([1e-6, 1e-3, 1], labels=["10⁻⁶", "10⁻³", "1"])
    axes.minorticks_off()
    axes.xaxis.set_major_locator(MaxNLocator(4))
    for end in ends or []:
        axes.axvline(end, color=fs.ORANGE, linewidth=1.6, dashes=(4, 2))
    axes.set_title(row["name"] if ends else f"{row['name']}, not rounded")


def _points(axes: Axes, rows: list[Row], places: np.ndarray) -> None:
    axes.set_yticks(places, labels=[row["name"] for row in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(visible=False, axis="y")
