"""Drawn faces with the seven emotions, so that the whole chain runs where FER-2013 is not.

Owns how strongly an emotion shows, how the head is held and how it is lit, all at random.
Must not know what becomes of the faces: no training, no files, nothing heavier than numpy and OpenCV.
"""

from collections.abc import Callable
from dataclasses import astuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.drawn_face import EXPRESSIONS, Canvas, Expression, draw, random_person
from fer_edge.devices.errors import DataError
from fer_edge.edge_runtime.vocabulary import EMOTIONS, FACE_SIDE
from fer_edge.train.dataset import SPLITS, Dataset, build_dataset

SMALLEST_COUNT = 21
"""Two training faces and one test face of every emotion."""
_SIDE = 4 * FACE_SIDE
_HALF_FACE = 0.48 * _SIDE
_BLUR = 7
_TABLE = {emotion: np.array(astuple(shown)) for emotion, shown in EXPRESSIONS.items()}
_JITTER = np.array([0.18, 0.15, 0.12, 0.12, 0.1, 0.1, 0.15, 0.06, 0.07])
_LOWEST = np.array([-1.5, -1.5, 0.2, 0, 0, 0, -1.5, 0, 0.5])


def synthetic_dataset(count: int, seed: int, tick: Callable[[int], None] | None = None) -> Dataset:
    """Draw `count` faces, as many of each emotion; about a fifth is the split `test`, the rest `train`.

    Args:
        count: faces in all, 21 or more.
        seed: the same count and seed give the same bytes.
        tick: called now and then with the number of faces drawn.

    Raises:
        DataError: too few faces for all seven emotions in both splits, or a negative seed.
    """
    if count < SMALLEST_COUNT:
        raise DataError(f"expected {SMALLEST_COUNT} faces or more, got {count}: both splits need all seven")
    if seed < 0:
        raise DataError(f"expected a seed of 0 or more, got {seed}")
    order = np.random.default_rng([seed, 0]).permutation(count)
    labels = (order % len(EMOTIONS)).astype(np.uint8)
    is_test = order // len(EMOTIONS) % 5 == 2  # the third of each five; 21 faces are three of each emotion
    splits = np.where(is_test, SPLITS.index("test"), SPLITS.index("train")).astype(np.uint8)
    faces = np.empty((count, FACE_SIDE, FACE_SIDE), np.uint8)
    for row, label in enumerate(labels):
        faces[row] = draw_face(EMOTIONS[label], np.random.default_rng([seed, 1, row]))
        if tick is not None and ((row + 1) % 100 == 0 or row + 1 == count):
            tick(row + 1)
    return build_dataset(faces, labels, splits, None, source=f"synth-{count}-seed{seed}")


def draw_face(emotion: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One random person showing `emotion`, under random pose and light: (48, 48) uint8."""
    shown, person = _express(emotion, rng), random_person(rng)
    canvas = _canvas(rng)
    draw(canvas, person, shown, _BLUR)
    return _photograph(canvas.pixels, rng)


def _express(emotion: str, rng: np.random.Generator) -> Expression:
    """The emotion at some strength between a hint and all of it: faint ones are what makes the task hard."""
    strength = rng.uniform(0.6, 1.15)
    rest = _TABLE["neutral"]
    values = rest + strength * (_TABLE[emotion] - rest) + rng.normal(0, _JITTER)
    return Expression(*np.maximum(values, _LOWEST).tolist())


def _canvas(rng: np.random.Generator) -> Canvas:
    """A background out of focus, and where and how the head is held before it."""
    patches = np.clip(rng.normal(rng.uniform(30, 220), rng.uniform(5, 35), (5, 5)), 0, 255)
    pixels = cv2.resize(patches.astype(np.uint8), (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR)
    roll, scale = rng.normal(0, 0.05), rng.uniform(1.03, 1.17) * _HALF_FACE
    cos, sin = np.cos(roll) * scale, np.sin(roll) * scale
    origin = _SIDE / 2 + rng.normal((0, -0.03), 0.013) * _SIDE
    return Canvas(pixels, origin, np.array([[cos, sin], [-sin, cos]]), rng.normal(0, (0.05, 0.03)), _HALF_FACE)


def _photograph(picture: cv2.typing.MatLike, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Shrink, then light that falls from one side, exposure, focus and sensor noise."""
    small = cv2.resize(picture, (FACE_SIDE, FACE_SIDE), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (3, 3), rng.uniform(0.2, 0.9))
    ramp = np.linspace(-1, 1, FACE_SIDE)
    across, down = rng.normal(0, 0.12, 2)
    light = rng.uniform(0.75, 1.1) * (1 + across * ramp[None, :] + down * ramp[:, None])
    noise = rng.normal(rng.uniform(-15, 15), rng.uniform(1, 6), small.shape)
    return np.clip(np.rint(small * light + noise), 0, 255).astype(np.uint8)
