"""Writes names beside the points of a picture so that none covers another. Knows no report."""

from collections.abc import Iterator, Sequence
from math import cos, hypot, pi, sin
from typing import cast

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from fer_edge.edge_runtime import figure_style as fs

_SIZE_PT = 11.5
_MARK_PT = 4.5
"""Half the side of a point."""
_GAP_PT = 3.0
_LINE_PT = 1.5
_LINE_FROM_PT = 7.0
"""A name further from its point than so is tied to it by a line."""
_REACH_PT = tuple(range(0, 121, 8))
_DIRECTIONS = tuple(2 * pi * at / 16 for at in range(16))
_COVERS_TEXT, _COVERS_BAR = 1000.0, 2.0
"""Costs of an overlap, in points of distance a square point."""
Point = tuple[float, float]


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
    middles = [axes.transData.transform(point) * to_pt for point in points]
    ends = [axes.transData.transform(sorted(line)) * to_pt for line in lines]
    bars = [Bbox([low - _LINE_PT, high + _LINE_PT]) for low, high in ends]
    marks = [Bbox([middle - _MARK_PT, middle + _MARK_PT]) for middle in middles]
    room = Bbox(axes.get_window_extent().get_points() * to_pt)
    taken: list[Bbox] = []
    for at, name in enumerate(names):
        text = axes.text(0, 0, name, fontsize=_SIZE_PT)
        box = text.get_window_extent(canvas.get_renderer())
        width, height = box.width * to_pt, box.height * to_pt
        text.remove()
        x, y = middles[at]
        places = list(_places(x, y, width, height))
        dense = [*taken, *marks]
        place, reach = min(places, key=lambda p: _cost(p[0], room, dense, bars) + p[1])
        taken.append(place)
        _write(axes, name, (x, y), place, reach)
    return taken


def _places(x: float, y: float, width: float, height: float) -> Iterator[tuple[Bbox, float]]:
    """Boxes for a name around (x, y), with their distance from it; of equal ones the first is preferred."""
    for reach in _REACH_PT:
        for angle in _DIRECTIONS:
            across, up = cos(angle), sin(angle)
            away = _MARK_PT + _GAP_PT + reach
            middle_x = x + across * away + (width / 2) * max(-1.0, min(1.0, 1.4 * across))
            middle_y = y + up * (away + height / 2)
            box = Bbox.from_bounds(middle_x - width / 2, middle_y - height / 2, width, height)
            yield box, reach + (0.0 if across > 0.9 else 2.0)


def _cost(place: Bbox, room: Bbox, dense: Sequence[Bbox], bars: Sequence[Bbox]) -> float:
    outside = place.width * place.height - _shared(place, room)
    covered = sum(_shared(place, other) for other in dense)
    return _COVERS_TEXT * (outside + covered) + _COVERS_BAR * sum(_shared(place, bar) for bar in bars)


def _shared(one: Bbox, other: Bbox) -> float:
    both = Bbox.intersection(one, other)
    return 0.0 if both is None else both.width * both.height


def _write(axes: Axes, name: str, point: tuple[float, float], place: Bbox, reach: float) -> None:
    x, y = (place.x0 + place.x1) / 2 - point[0], (place.y0 + place.y1) / 2 - point[1]
    nearest = (
        min(max(point[0], place.x0), place.x1) - point[0],
        min(max(point[1], place.y0), place.y1) - point[1],
    )
    made = axes.annotate(
        name, axes.transData.inverted().transform([v * axes.figure.dpi / 72 for v in point]), (x, y),
        textcoords="offset points", ha="center", va="center", fontsize=_SIZE_PT, color=fs.INK,
    )  # fmt: skip
    made.set_in_layout(False)
    if hypot(*nearest) > _LINE_FROM_PT + _MARK_PT:
        line = axes.annotate(
            "", axes.transData.inverted().transform([v * axes.figure.dpi / 72 for v in point]), nearest,
            textcoords="offset points", arrowprops={"arrowstyle": "-", "color": fs.GREY, "linewidth": 0.8},
        )  # fmt: skip
        line.set_in_layout(False)
