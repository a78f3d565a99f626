"""Draws the pictures of the data's pages: figures as SVG from the report alone, faces side by side as PNG."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter
from numpy.typing import NDArray

from fer_edge.edge_runtime import figure_style as fs
from fer_edge.edge_runtime.gray_png import gray_png

_SERIES = (fs.BLUE, fs.ORANGE, fs.GREEN, fs.PURPLE)
_GAP_GRAY = 128


def tiled(faces: Sequence[NDArray[np.uint8]], columns: int) -> bytes:
    """Faces (48, 48) uint8 side by side in rows, one gray pixel between them, as PNG; a last row may be short."""
    rows = -(-len(faces) // columns)
    height, width = faces[0].shape
    sheet = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), _GAP_GRAY, np.uint8)
    for at, face in enumerate(faces):
        top, left = at // columns * (height + 1), at % columns * (width + 1)
        sheet[top : top + height, left : left + width] = face
    return gray_png(sheet)


def bars(values: Mapping[str, Mapping[str, float]], what: str, *, is_share: bool = False) -> str:
    """Horizontal bars: a row a name, in it one bar a series (at most four), with its figure.

    Args:
        values: by series, then by name; all series have the same names.
        what: the axis, with its unit.
        is_share: figures as percent, on an axis that ends at 100% where one comes near it.
    """
    names = list(next(iter(values.values())))
    with fs.style():
        figure, (axes,) = fs.canvas(56 + 44 * len(names))
        labels = [(name, " · ".join(_figure(series[name], is_share) for series in values.values())) for name in names]
        thick = 0.34 / len(values)
        for at, height in enumerate(fs.rows_of(axes, labels)):
            for k, series in enumerate(values.values()):
                axes.barh(height + 0.16 - k * thick, series[names[at]], thick * 0.86, color=_SERIES[k], zorder=2)
        most = max(max(series.values()) for series in values.values())
        axes.set_xlim(0, 1 if is_share and most > 0.5 else most * 1.3)
        axes.set_xlabel(what)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(PercentFormatter(1) if is_share else lambda value, _: f"{value:,.0f}")
        _legend(figure, axes, list(values))
        return fs.svg(figure)


def gray_lines(series: Mapping[str, dict[str, Any]], grays_a_bin: int) -> str:
    """Histograms of gray levels as lines over one another; `series` as `explore.grays` gives them."""
    with fs.style():
        figure, (axes,) = fs.canvas(250)
        for k, (name, made) in enumerate(series.items()):
            axes.step(*_steps(made["histogram"], grays_a_bin), where="mid", color=_SERIES[k], label=name)
        _gray_axes(axes)
        _legend(figure, axes, list(series))
        return fs.svg(figure)


def gray_rows(series: Mapping[str, dict[str, Any]], whole: dict[str, Any], grays_a_bin: int) -> str:
    """A histogram a row, each before the line of the `whole`."""
    with fs.style():
        figure, rows = fs.canvas(70 + 62 * len(series), len(series), sharex=True, sharey=True)
        for axes, (name, made) in zip(rows, series.items(), strict=True):
            grays, shares = _steps(made["histogram"], grays_a_bin)
            axes.fill_between(grays, shares, step="mid", color=fs.BLUE, alpha=0.45, linewidth=0)
            axes.step(*_steps(whole["histogram"], grays_a_bin), where="mid", color=fs.ORANGE, linewidth=1.2)
            axes.set_title(f"{name}: mean {made['mean']:.0f}, deviation {made['deviation']:.0f}")
            _gray_axes(axes)
            axes.set_xlabel("")
            axes.yaxis.set_major_locator(MaxNLocator(2))
        rows[-1].set_xlabel("gray level")
        return fs.svg(figure)


def sizes(counts: Mapping[str, int]) -> str:
    """How many groups have so many images, on a logarithmic axis."""
    with fs.style():
        figure, (axes,) = fs.canvas(230)
        axes.bar([int(size) for size in counts], list(counts.values()), width=0.8, color=fs.BLUE)
        axes.set(yscale="log", ylim=(0.7, None), xlabel="images in the group", ylabel="groups")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return fs.svg(figure)


def errors(values: NDArray[np.float64], threshold: float) -> str:
    """Histogram of reconstruction errors, what is above the threshold in another colour."""
    with fs.style():
        figure, (axes,) = fs.canvas(250)
        edges = np.linspace(0, max(float(np.percentile(values, 99.9)), threshold * 1.2), 81)
        counts, _ = np.histogram(np.minimum(values, edges[-1]), edges)
        middle = (edges[1:] + edges[:-1]) / 2
        colours = [fs.ORANGE if at > threshold else fs.BLUE for at in middle]
        axes.bar(middle, counts, width=np.diff(edges), color=colours)
        axes.axvline(threshold, color=fs.ORANGE, linewidth=1.5, dashes=(4, 3))
        axes.set(xlabel="mean squared error, grays 0 to 1; dashed: the threshold", ylabel="images")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        return fs.svg(figure)


def _steps(histogram: list[float], grays_a_bin: int) -> tuple[NDArray, NDArray]:
    return (np.arange(len(histogram)) + 0.5) * grays_a_bin, np.array(histogram)


def _gray_axes(axes: Any) -> None:
    axes.set(xlim=(0, 256), ylim=(0, None), xlabel="gray level")
    axes.set_xticks([0, 64, 128, 192, 255])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))


def _legend(figure: Any, axes: Any, names: list[str]) -> None:
    if len(names) > 1:
        handles = [axes.plot([], [], color=colour, linewidth=5)[0] for colour, _ in zip(_SERIES, names, strict=False)]
        figure.legend(handles, names, loc="outside upper left", ncols=len(names), handlelength=1, borderaxespad=0.2)


def _figure(value: float, is_share: bool) -> str:
    return f"{value:.1%}" if is_share else f"{value:,.0f}"
