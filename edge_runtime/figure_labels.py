"""Writes names beside the points of a picture so that none covers another. Knows no report."""

from collections.abc import Sequence
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from fer_edge.edge_runtime import figure_style as fs

_SIZE_PT = 11.5
_MARK_PT = 4.5
"""Half the side of a point."""
_GAP_PT = 3.0
_LINE_PT = 1.5
_LINE_FROM_PT = 11.5
"""A name further from its point than so is tied to it by a line."""
_REACH_PT = np.arange(0.0, 121.0, 8.0)
_DIRECTIONS = np.arange(16) * np.pi / 8
_COVERS_TEXT, _COVERS_LINE, _NOT_RIGHT = 1000.0, 2.0, 2.0
"""Costs, in points of distance: of a square point of overlap, and of not being right of the point."""
Point = tuple[float, float]
Box = NDArray[np.float64]
"""Left, bottom, right, top in points, or many of them in rows."""


def label_points(
    axes: Axes, points: Sequence[Point], names: Sequence[str], lines: Sequence[tuple[Point, Point]] = ()
) -> list[Bbox]:
    """Write each name near its point: right of it where there is room, else around it and further out.

    The axes' limits must be final. The place is the one that covers least, and of those the nearest.

    Args:
        axes: where the points are drawn already.
        points: of each name.
        names: what to write.
        lines: upright or level ones that names had better not cross.

    Returns:
        Where each name stands, in points from the figure's lower left corner.
    """
    figure = cast(Figure, axes.figure)
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # the layout is settled when a figure is drawn
    to_pt = 72 / figure.dpi
    middles = axes.transData.transform(points) * to_pt
    marks = np.concatenate((middles - _MARK_PT, middles + _MARK_PT), axis=1)
    ends = [axes.transData.transform(sorted(line)) * to_pt for line in lines]
    bars = np.array([[*(low - _LINE_PT), *(high + _LINE_PT)] for low, high in ends]).reshape(-1, 4)
    room = np.asarray(axes.get_window_extent().extents) * to_pt
    taken: list[Box] = []
    for name, point, middle in zip(names, points, middles, strict=True):
        text = axes.text(0, 0, name, fontsize=_SIZE_PT)
        box = text.get_window_extent(canvas.get_renderer())
        text.remove()
        places, reaches = _places(middle, box.width * to_pt, box.height * to_pt)
        dense = np.concatenate((marks, np.array(taken).reshape(-1, 4)))
        place = places[np.argmin(_cost(places, room, dense, bars) + reaches)]
        taken.append(place)
        _write(axes, name, point, place - np.tile(middle, 2))
    return [Bbox.from_extents(*place) for place in taken]


def _places(middle: Box, width: float, height: float) -> tuple[Box, Box]:
    """Boxes (P, 4) of a name around a point, and what their distance costs (P,)."""
    reach, angle = (grid.ravel() for grid in np.meshgrid(_REACH_PT, _DIRECTIONS, indexing="ij"))
    across, up = np.cos(angle), np.sin(angle)
    away = _MARK_PT + _GAP_PT + reach
    x = middle[0] + across * away + width / 2 * np.clip(1.4 * across, -1, 1)
    y = middle[1] + up * (away + height / 2)
    places = np.stack((x - width / 2, y - height / 2, x + width / 2, y + height / 2), axis=1)
    return places, reach + np.where(across > 0.9, 0.0, _NOT_RIGHT)


def _cost(places: Box, room: Box, dense: Box, bars: Box) -> Box:
    area = (places[:, 2] - places[:, 0]) * (places[:, 3] - places[:, 1])
    outside = area - _shared(places, room[None])
    return _COVERS_TEXT * (outside + _shared(places, dense)) + _COVERS_LINE * _shared(places, bars)


def _shared(places: Box, others: Box) -> Box:
    """The area (P,) that each place has in common with the others (M, 4)."""
    low = np.maximum(places[:, None, :2], others[None, :, :2])
    high = np.minimum(places[:, None, 2:], others[None, :, 2:])
    shared: Box = np.clip(high - low, 0, None).prod(axis=2).sum(axis=1)
    return shared


def _write(axes: Axes, name: str, point: Point, place: Box) -> None:
    """The name in its place, (4,) in points from the point, and a line to it from afar."""
    low, high = place[:2], place[2:]
    made = axes.annotate(
        name, point, tuple((low + high) / 2), textcoords="offset points", ha="center", va="center",
        fontsize=_SIZE_PT, color=fs.INK,
    )  # fmt: skip
    made.set_in_layout(False)
    nearest = np.clip(0, low, high)
    if np.hypot(*nearest) > _LINE_FROM_PT:
        line = axes.annotate(
            "", point, tuple(nearest), textcoords="offset points",
            arrowprops={"arrowstyle": "-", "color": fs.GREY, "linewidth": 0.8},
        )  # fmt: skip
        line.set_in_layout(False)
