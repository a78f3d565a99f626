"""A camera without hardware: `fake:?size=640x480&fps=30&faces=2&seed=0&frames=300`, drawn people who change their mood.

For trying things out and for tests. Every frame is drawn from its number and the seed alone, so two runs see the same.
Each face goes through the seven emotions, a few seconds each, and either detector finds it.
"""

import time
from collections.abc import Iterator
from dataclasses import astuple, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.buffer_pool import BufferPool
from fer_edge.devices.camera_uri import Parser, parse_uri, size
from fer_edge.devices.camera_uri import fps as camera_fps
from fer_edge.devices.drawn_face import EXPRESSIONS, Canvas, Expression, Person, draw, random_person
from fer_edge.devices.errors import SourceError
from fer_edge.devices.frame import Closing, Frame

MOST_FACES = 4
MOOD_S = 3.0
"""How long an emotion is worn, the change to it included."""
_CHANGE_S = 0.6
_STRENGTH = 0.85
_USUAL_FPS = 30.0
_MOODS = np.array([astuple(shown) for shown in EXPRESSIONS.values()])
_REST = _MOODS[list(EXPRESSIONS).index("neutral")]
_SHOULDERS = np.array([[-0.5, 1.1], [0.5, 1.1], [1.3, 1.5], [1.6, 9], [-1.6, 9], [-1.3, 1.5]])


def _rate(text: str) -> float:
    return 0.0 if text == "0" else camera_fps(text)


def _faces(text: str) -> int:
    if not (text.isdigit() and int(text) <= MOST_FACES):
        raise ValueError(f"0 to {MOST_FACES} faces")
    return int(text)


OPTIONS: dict[str, Parser] = {"size": size, "fps": _rate, "faces": _faces, "seed": int, "frames": int}


class FakeSource(Closing):
    """People before a wall.

    Args:
        word: `fake:` with options. `fps=0` draws as fast as frames are read, and their time is then the camera's own
            (`t_media_ns`), 30 a second. With `frames` it ends after so many.

    Raises:
        SourceError: an option that is not there, or wrong.
    """

    still, live = False, True

    def __init__(self, word: str) -> None:
        uri = parse_uri(word, OPTIONS)
        if uri.target:
            raise SourceError(f"{word}: fake: has no name before its options, as in fake:?faces=2")
        self.name, self.damaged = word, 0
        rate = uri.options.get("fps", _USUAL_FPS)
        self.fps: float | None = rate or None
        self._frames = uri.options.get("frames")
        self._scene = Scene(
            uri.options.get("size", (640, 480)),
            uri.options.get("faces", 1),
            uri.options.get("seed", 0),
        )
        self._closed = False

    def __iter__(self) -> Iterator[Frame]:
        pool, seq, due_ns = BufferPool(), 0, time.monotonic_ns()
        clock_fps = self.fps or _USUAL_FPS
        while not self._closed and (self._frames is None or seq < self._frames):
            if self.fps:
                time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
                due_ns = max(due_ns + round(1e9 / self.fps), time.monotonic_ns())  # who comes late is not caught up on
            taken_ns = time.monotonic_ns()
            gray, bgr = pool.take(self._scene.shape), pool.take((*self._scene.shape, 3))
            self._scene.paint(gray, seq / clock_fps)
            cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR, dst=bgr)
            yield Frame(gray, bgr, seq, taken_ns, None, None if self.fps else round(seq / clock_fps * 1e9))
            del gray, bgr  # else they count as in use while the next frame is drawn
            seq += 1

    def close(self) -> None:
        """Ends the iteration; harmless twice."""
        self._closed = True


class Scene:
    """What the camera looks at, at any second.

    Args:
        size_wh: width and height in pixels.
        faces: how many people stand side by side.
        seed: who they are and how they move.
    """

    def __init__(self, size_wh: tuple[int, int], faces: int, seed: int) -> None:
        width, height = size_wh
        self.shape = (height, width)
        self._wall = np.repeat(np.linspace(170, 120, height).astype(np.uint8)[:, None], width, axis=1)
        self._people = [_actor(np.random.default_rng([seed, at])) for at in range(faces)]
        self._phases = np.random.default_rng([seed, MOST_FACES]).uniform(0, 2 * np.pi, (MOST_FACES, 4))
        self._place = width / max(faces, 1)

    def paint(self, gray: NDArray[np.uint8], second: float) -> None:
        """Draw the moment `second` into (H, W) uint8."""
        np.copyto(gray, self._wall)
        for at, person in enumerate(self._people):
            self._paint_person(gray, person, at, second)

    def _paint_person(self, gray: NDArray[np.uint8], person: Person, at: int, second: float) -> None:
        height = self.shape[0]
        sway, bob, near, tilt = np.sin(self._phases[at] + second * np.array([0.9, 1.3, 0.5, 0.7]))
        half = min(0.21 * height, 0.34 * self._place) * (1 + 0.08 * near)
        origin = np.array([(at + 0.5 + 0.15 * sway) * self._place, (0.45 + 0.05 * bob) * height])
        roll = 0.04 * tilt
        turn = half * np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
        look = np.array([0.04 * sway, 0.02 * bob])
        Canvas(gray, origin, turn, look, half).fill(_SHOULDERS, 0.35 * person.skin, flat=True)
        left, top = (int(max(0, v)) for v in origin - half * np.array([1.4, 1.4]))
        region = gray[top : int(origin[1] + 1.8 * half), left : int(origin[0] + 1.4 * half)]
        canvas = Canvas(region, origin - (left, top), turn, look, half)
        draw(canvas, person, _mood(second + at * MOOD_S), blur=2 * int(half / 26) + 1)


def _actor(rng: np.random.Generator) -> Person:
    """Somebody whom a Haar cascade, too, finds: dark hair, eyes that nothing hides."""
    person = random_person(rng)
    skin = float(np.clip(person.skin, 150, 200))
    return replace(
        person,
        skin=skin,
        hair=rng.uniform(0.15, 0.35) * skin,
        hair_length=float(rng.choice([0.1, 1.2])),
        brow_weight=min(person.brow_weight, 0.05),
        beard=False,
        glasses=False,
    )


def _mood(second: float) -> Expression:
    """The expression that is worn, or on the way from the one before."""
    number, since_s = divmod(second, MOOD_S)
    before, now = (_MOODS[int(number + step) % len(_MOODS)] for step in (-1, 0))
    share = min(since_s / _CHANGE_S, 1.0)
    values = _REST + _STRENGTH * (before + share * (now - before) - _REST)
    return Expression(*values.tolist())
