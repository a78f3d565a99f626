"""How a figure of a report is drawn: size, type, colours, and SVG out. Knows no report.

matplotlib without pyplot: no window, no global figure, no choice of backend.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from fer_edge.edge_runtime.html_style import COLOURS

INK, SOFT, LINE, GROUND = (COLOURS[name][0] for name in ("ink", "soft", "line", "ground"))
BLUE, ORANGE, GREEN, PURPLE, GREY = (COLOURS[name][0] for name in ("blue", "orange", "green", "purple", "grey"))
PRECISION_COLOURS = {
    "int8": BLUE, "float32": ORANGE, "float16": PURPLE, "dynamic-int8": GREEN,
}  # fmt: skip
"""One colour a precision in every figure of every report; anything else is grey."""
WIDTH_PT = 460.0
"""Narrow, so that labels stay legible where a phone shrinks it, and two figures fit beside one another."""
_RC: dict[Any, Any] = {
    "font.size": 12.5, "axes.titlesize": 12.5, "axes.labelsize": 12.5, "xtick.labelsize": 12, "ytick.labelsize": 12,
    "legend.fontsize": 12, "font.family": ["DejaVu Sans"], "svg.fonttype": "none", "text.parse_math": False,
    "text.color": INK, "axes.labelcolor": SOFT, "axes.titlecolor": INK, "axes.titlelocation": "left",
    "xtick.color": SOFT, "ytick.color": SOFT, "xtick.labelcolor": SOFT, "ytick.labelcolor": INK,
    "axes.edgecolor": LINE, "axes.linewidth": 1.0, "axes.facecolor": "none", "figure.facecolor": "none",
    "axes.grid": True, "grid.color": LINE, "grid.linewidth": 0.8, "axes.axisbelow": True,
    "axes.spines.top": False, "axes.spines.right": False, "xtick.major.size": 0, "ytick.major.size": 0,
    "xtick.minor.size": 0, "ytick.minor.size": 0, "legend.frameon": False, "lines.linewidth": 1.8,
    "svg.hashsalt": "fer-edge", "hatch.linewidth": 0.8,
}  # fmt: skip


@contextmanager
def style() -> Iterator[None]:
    """Our type and colours while a figure is made and written."""
    with matplotlib.rc_context(_RC):
        yield


def canvas(
    height_pt: float,
    rows: int = 1,
    *,
    sharex: bool = False,
    sharey: bool = False,
    ratios: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """A figure of the common width with `rows` axes below one another, as high to each other as `ratios`."""
    figure = Figure(figsize=(WIDTH_PT / 72, height_pt / 72), layout="constrained")
    axes = figure.subplots(rows, 1, squeeze=False, sharex=sharex, sharey=sharey, height_ratios=ratios)
    return figure, list(axes[:, 0])


def svg(figure: Figure) -> str:
    """The figure as SVG text with real text in it, the same bytes for the same figure."""
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return out.getvalue()


def rows_of(axes: Axes, labels: Sequence[tuple[str, str]]) -> list[float]:
    """Make the axes a list: each row's name above its left end, its figures above the right; heights of the rows.

    Names above rows rather than beside them leave the whole width to the data, on a phone too.
    """
    heights = [float(len(labels) - 1 - at) for at in range(len(labels))]
    axes.set_ylim(-0.4, len(labels) - 0.12)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    for (name, figures), height in zip(labels, heights, strict=True):
        for at, label, colour, side in ((0, name, INK, "left"), (1, figures, SOFT, "right")):
            axes.text(
                at, height + 0.5, label, color=colour, ha=side, va="center", fontsize=12,
                transform=axes.get_yaxis_transform(), bbox={"facecolor": GROUND, "edgecolor": "none", "pad": 1},
            )  # fmt: skip
        axes.axhline(height - 0.3, color=LINE, linewidth=0.8)
    return heights


def spread(axes: Axes, which: Literal["x", "y"], low: float, high: float) -> None:
    """A logarithmic axis with plain numbers where the data span more than a factor of three, else a linear one."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    if low > 0 and high / low > 3:
        axes.set(**{f"{which}scale": "log"})
        axis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 200 else (1.0, 2.0, 5.0)))
        axis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        axis.set_minor_formatter(NullFormatter())
    else:
        axis.set_major_locator(MaxNLocator(6))
        axis.set_major_formatter(ScalarFormatter(useOffset=False))


def interval(axes: Axes, value: float, ends: Sequence[float], height: float, colour: str) -> None:
    """A value and the ends of its interval, lying, at a height of `rows_of`."""
    axes.plot(ends, [height, height], color=colour, linewidth=3.2, solid_capstyle="butt", alpha=0.55)
    axes.plot([value], [height], "o", color=colour, markersize=6)


def matrix(shades: Sequence[Sequence[tuple[str, float]]], texts: Sequence[Sequence[str]], names: Sequence[str]) -> str:
    """A confusion as SVG: squares of a colour and strength with a text in each, true classes by row."""
    size = len(names)
    with style():
        figure, (axes,) = canvas(380)
        for y in range(size):
            for x in range(size):
                hue, strength = shades[y][x]
                axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=hue, alpha=strength, linewidth=0))
                axes.text(x, y, texts[y][x], ha="center", va="center", fontsize=11)
        axes.set_xlim(-0.5, size - 0.5)
        axes.set_ylim(size - 0.5, -0.5)
        axes.set_xticks(range(size), names, fontsize=10 if size < 8 else 9)
        axes.set_yticks(range(size), names)
        axes.set_xlabel("named")
        axes.set_ylabel("true")
        axes.grid(visible=False)
        for y in range(size + 1):
            axes.axhline(y - 0.5, color=LINE, linewidth=0.8)
            axes.axvline(y - 0.5, color=LINE, linewidth=0.8)
        return svg(figure)


def intervals(
    labels: Sequence[tuple[str, str]],
    values: Sequence[tuple[float, float, float]],
    colours: Sequence[str],
    what: str,
    *,
    title: str = "",
    reference: float | None = None,
    bounds: tuple[float, float] | None = None,
) -> str:
    """A forest plot as SVG.

    Args:
        labels: a row's name and its figures.
        values: low, middle, high of a row.
        colours: of each row.
        what: the axis, with its unit.
        title: above the rows.
        reference: where to draw a dashed line.
        bounds: of the axis, where several plots are to share one; else as far as the values reach.
    """
    figure, (axes,) = canvas((54 if title else 36) + 38 * len(labels))
    low, high = bounds or (min(low for low, _, _ in values), max(high for _, _, high in values))
    spread(axes, "x", low, high)
    if bounds is not None:
        margin = (high / low) ** 0.03
        axes.set_xlim(low / margin, high * margin)
    if reference is not None:
        axes.axvline(reference, color=GREY, linewidth=1.2, dashes=(4, 3))
    for height, (least, middle, most), colour in zip(rows_of(axes, labels), values, colours, strict=True):
        axes.plot([least, most], [height, height], color=colour, linewidth=3.2, solid_capstyle="butt", alpha=0.55)
        axes.plot([middle], [height], "o", color=colour, markersize=7)
    axes.set_xlabel(what)
    axes.set_title(title)
    return svg(figure)
