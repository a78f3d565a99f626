"""Faces drawn with OpenCV: what each emotion looks like and how a face is put together from polygons.

Training draws its stand-in for FER-2013 with it, and the `fake:` camera its actors. Must not know what becomes of the
pictures; at random is only what the caller makes so.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

BALD = -2.0
"""Of hair lengths, the one with no hair; the others say how far down it falls behind the head."""
_SHIFT = 4
"""OpenCV takes polygons in fixed point with this many fractional bits; whole pixels would make lines jump."""
_T = np.linspace(-1, 1, 13)
"""Where curves are sampled, from one end to the other."""
_BOW = 1 - _T**2
_TURN = np.linspace(0, 2 * np.pi, 25)
_RING = np.column_stack([np.cos(_TURN), np.sin(_TURN)])
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Expression:
    """What the muscles do; 0 is a resting face except where said, 1 about as far as people go.

    `brow_slope` is positive where the inner ends rise; `eye_open` and `mouth_width` are factors, 1 at rest;
    `squint` lifts the lower lid; `mouth_curve` is positive where the corners rise.
    """

    brow_raise: float = 0
    brow_slope: float = 0
    eye_open: float = 1
    squint: float = 0
    nose_wrinkle: float = 0
    lip_raise: float = 0
    mouth_curve: float = 0
    mouth_open: float = 0
    mouth_width: float = 1


EXPRESSIONS = {
    "angry": Expression(-0.8, -1.0, 0.95, 0.3, 0.3, 0.2, -0.5, 0.2, 0.95),
    "disgust": Expression(-0.5, -0.5, 0.6, 0.8, 1.0, 1.0, -0.6, 0.2, 0.95),
    "fear": Expression(0.8, 0.8, 1.5, 0.0, 0.0, 0.0, -0.4, 0.6, 1.0),
    "happy": Expression(0.1, 0.0, 0.8, 0.6, 0.0, 0.2, 1.0, 0.4, 1.35),
    "neutral": Expression(),
    "sad": Expression(-0.1, 1.0, 0.65, 0.1, 0.0, 0.0, -1.0, 0.0, 0.9),
    "surprise": Expression(1.1, 0.2, 1.55, 0.0, 0.0, 0.0, 0.0, 0.95, 0.8),
}


@dataclass(frozen=True)
class Person:
    """What stays when the expression changes. Grays are 0 to 255; lengths are in half face heights."""

    skin: float
    hair: float
    head_width: float
    jaw: float
    hairline: float
    hair_length: float
    eye_gap: float
    eye_size: float
    brow_weight: float
    nose_length: float
    mouth_y: float
    beard: bool
    glasses: bool


class Canvas:
    """A gray picture that is drawn on in face coordinates: x right, y down, the chin at (0, 1).

    Args:
        pixels: (H, W) uint8, drawn on in place.
        origin: where (0, 0) lies, (x, y) in pixels.
        turn: (2, 2), from face coordinates to pixels: rotation times half the face's height.
        look: yaw and pitch; how far what stands out of the head moves, in face coordinates.
        line_scale: pixels of a line that is as wide as half a face.
    """

    def __init__(
        self, pixels: cv2.typing.MatLike, origin: Points, turn: Points, look: Points, line_scale: float
    ) -> None:
        self.pixels = pixels
        self._origin, self._turn, self._look = origin, turn, look
        self._line_scale = line_scale

    def _place(self, points: Points, *, flat: bool) -> list[NDArray[np.int32]]:
        if not flat:  # what stands out of the head moves when it turns: a small yaw and pitch
            depth = np.sqrt(np.maximum(1 - (points * points).sum(axis=1), 0))
            points = points + depth[:, None] * self._look
        return [np.rint((points @ self._turn + self._origin) * (1 << _SHIFT)).astype(np.int32)]

    def fill(self, points: Points, gray: float, *, flat: bool = False) -> None:
        """Fill a polygon; `flat` for what lies on the head's outline and stays when the head turns."""
        cv2.fillPoly(self.pixels, self._place(points, flat=flat), gray, cv2.LINE_AA, _SHIFT)

    def stroke(self, points: Points, gray: float, width: float) -> None:
        """Draw a line `width` half face heights wide."""
        pixels = max(1, round(width * self._line_scale))
        cv2.polylines(self.pixels, self._place(points, flat=False), False, gray, pixels, cv2.LINE_AA, _SHIFT)


def random_person(rng: np.random.Generator) -> Person:
    """Somebody: skin, hair and proportions by chance."""
    skin = rng.uniform(110, 210)
    return Person(
        skin=skin,
        hair=rng.uniform(15, 0.6 * skin) if rng.random() < 0.8 else rng.uniform(150, 225),
        head_width=rng.uniform(0.68, 0.8),
        jaw=rng.uniform(0.0, 0.2),
        hairline=rng.uniform(-0.85, -0.65),
        hair_length=rng.choice([BALD, -0.3, 0.1, 1.2], p=[0.15, 0.35, 0.25, 0.25]),
        eye_gap=rng.uniform(0.31, 0.37),
        eye_size=rng.uniform(0.9, 1.12),
        brow_weight=rng.uniform(0.035, 0.075),
        nose_length=rng.uniform(0.19, 0.25),
        mouth_y=rng.uniform(0.51, 0.55),
        beard=bool(rng.random() < 0.08),
        glasses=bool(rng.random() < 0.1),
    )


def draw(canvas: Canvas, person: Person, shown: Expression, blur: int) -> None:
    """One face; `blur` is the odd side in pixels of the filter that makes shading out of what is drawn first."""
    outline = _skull(canvas, person)
    _folds(canvas, person, shown)
    _hair(canvas, person, outline)
    cv2.GaussianBlur(canvas.pixels, (blur, blur), 0, canvas.pixels)  # what was drawn so far becomes shading
    for side in (-1, 1):
        _eye(canvas, person, shown, side)
        _brow(canvas, person, shown, side)
    _nose(canvas, person, shown)
    _mouth(canvas, person, shown)
    if person.glasses:
        _glasses(canvas, person)


def _skull(canvas: Canvas, person: Person) -> Points:
    """Hair that falls behind, neck, ears, and the head, darker towards its outline, which is returned."""
    skin = person.skin
    behind = _RING * (person.head_width + 0.13, 1.12)
    behind[:, 1] = np.minimum(behind[:, 1], person.hair_length)
    if person.hair_length > BALD:
        canvas.fill(behind, person.hair, flat=True)
    neck = np.array([[-0.6, 0.6], [0.6, 0.6], [0.6, 1.6], [-0.6, 1.6]]) * (person.head_width, 1)
    canvas.fill(neck, 0.7 * skin, flat=True)
    for side in (-1, 1):
        canvas.fill(_RING * (0.09, 0.19) + (side * person.head_width, 0.05), 0.8 * skin, flat=True)
    outline = _RING * (person.head_width, 1.0)
    outline[:, 0] *= 1 + person.jaw * np.sin(np.pi * np.maximum(_RING[:, 1], 0))  # wide above the chin
    canvas.fill(outline, 0.82 * skin, flat=True)
    canvas.fill(outline * (0.87, 0.93), skin, flat=True)
    return outline


def _hair(canvas: Canvas, person: Person, outline: Points) -> None:
    """Hair over the forehead and beard, which both hide the folds under them."""
    if person.beard:
        beard = np.vstack([outline[_RING[:, 1] > 0.1] * 0.98, [[-0.5, 0.3], [0.5, 0.3]]])
        canvas.fill(beard, 0.45 * person.skin + 0.2 * person.hair, flat=True)
    if person.hair_length > BALD:
        fringe = np.column_stack([_T * person.head_width * 1.04, person.hairline + 0.35 * _T**4])
        canvas.fill(np.vstack([fringe, outline[_RING[:, 1] < -0.3][::-1] * 1.08]), person.hair, flat=True)


def _folds(canvas: Canvas, person: Person, shown: Expression) -> None:
    """Shading that muscles make: eye sockets, cheek folds, forehead lines, frown lines, a wrinkled nose."""
    skin = person.skin
    fold, frown = max(0.7 * shown.mouth_curve, shown.nose_wrinkle), -shown.brow_slope
    cheek = [[0.13, person.nose_length], [0.26, 0.33], [0.3 * shown.mouth_width + 0.1, person.mouth_y]]
    for side in (-1, 1):
        canvas.fill(_RING * (0.2, 0.13) + (side * person.eye_gap, -0.17), 0.88 * skin)
        canvas.stroke(np.array(cheek) * (side, 1), _darker(skin, 0.4 * fold), 0.045)
        canvas.stroke(np.array([[0.05, -0.42], [0.05, -0.24]]) * (side, 1), _darker(skin, 0.45 * frown), 0.03)
    for k in range(3):
        forehead = np.column_stack([0.3 * _T, -0.66 + 0.08 * k - 0.03 * _BOW])
        canvas.stroke(forehead, _darker(skin, 0.25 * shown.brow_raise), 0.025)
        bridge = np.column_stack([0.1 * _T, -0.17 + 0.08 * k - 0.04 * _BOW])
        canvas.stroke(bridge, _darker(skin, 0.45 * shown.nose_wrinkle), 0.03)


def _darker(skin: float, depth: float) -> float:
    """The gray of a fold; one that is not there has the skin's own."""
    return skin * (1 - min(max(depth, 0.0), 0.45))


def _eye(canvas: Canvas, person: Person, shown: Expression, side: int) -> None:
    size, center = person.eye_size, (side * person.eye_gap, -0.15)
    x = center[0] + 0.16 * size * _T
    above = center[1] - 0.075 * size * shown.eye_open * _BOW
    below = center[1] + 0.05 * size * (0.5 + 0.5 * shown.eye_open - 0.8 * min(shown.squint, 1)) * _BOW
    canvas.fill(_between(x, above, below), min(1.35 * person.skin + 15, 240))
    iris = _RING * 0.075 * size + center - (0, 0.01)
    iris[:, 1] = np.clip(iris[:, 1], np.interp(iris[:, 0], x, above), np.interp(iris[:, 0], x, below))
    canvas.fill(iris, 0.3 * person.skin)
    canvas.stroke(np.column_stack([x, above]), 0.25 * person.skin, 0.028)
    canvas.stroke(np.column_stack([x, below]), 0.6 * person.skin, 0.015)


def _brow(canvas: Canvas, person: Person, shown: Expression, side: int) -> None:
    out = (_T + 1) / 2  # 0 at the inner end, 1 at the outer
    inner = 0.13 + 0.03 * shown.brow_slope
    x = side * (inner + (person.eye_gap + 0.21 - inner) * out)
    y = -0.38 - 0.1 * shown.brow_raise - 0.05 * np.sin(np.pi * out)
    y = y - shown.brow_slope * (0.1 * (1 - out) - 0.05 * out)
    thick = person.brow_weight * (1 - 0.6 * out)
    canvas.fill(_between(x, y - thick, y + thick), min(0.75 * person.hair, 0.55 * person.skin))


def _nose(canvas: Canvas, person: Person, shown: Expression) -> None:
    tip, wide = person.nose_length - 0.05 * shown.nose_wrinkle, 0.085 + 0.03 * shown.nose_wrinkle
    for side in (-1, 1):
        canvas.fill(_RING * (0.035, 0.022) + (side * wide, tip), 0.35 * person.skin)
        wing = np.array([[0.09, tip - 0.12], [wide + 0.06, tip - 0.03], [wide + 0.04, tip + 0.02]])
        canvas.stroke(wing * (side, 1), 0.72 * person.skin, 0.02)


def _mouth(canvas: Canvas, person: Person, shown: Expression) -> None:
    x = 0.3 * shown.mouth_width * _T
    middle = person.mouth_y - 0.14 * shown.mouth_curve * (_T**2 - 0.5)
    above = middle - 0.1 * shown.mouth_open * _BOW - 0.09 * shown.lip_raise * (1 - _T**4)
    below = middle + 0.3 * shown.mouth_open * np.sqrt(_BOW)
    lips = _between(x, above - 0.055 * np.sqrt(_BOW), below + 0.07 * np.sqrt(_BOW))
    canvas.fill(lips, 0.72 * person.skin)
    canvas.fill(_between(x, above, below), 0.22 * person.skin)
    teeth = np.minimum(above + 0.1 * np.sqrt(_BOW), below)
    canvas.fill(_between(0.9 * x, above, teeth), min(1.3 * person.skin + 30, 245))
    canvas.stroke(np.column_stack([x, above]), 0.35 * person.skin, 0.02)
    canvas.stroke(np.column_stack([x, below]), 0.35 * person.skin, 0.02)


def _between(x: Points, above: Points, below: Points) -> Points:
    return np.vstack([np.column_stack([x, above]), np.column_stack([x, below])[::-1]])


def _glasses(canvas: Canvas, person: Person) -> None:
    for side in (-1, 1):
        canvas.stroke(_RING * (0.24, 0.2) + (side * (person.eye_gap + 0.01), -0.13), 25, 0.03)
    canvas.stroke(np.array([[-0.1, -0.16], [0.1, -0.16]]), 25, 0.03)
