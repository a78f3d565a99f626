"""The gate: when a face gets no emotion's name, and why. Measures of one face against thresholds out of the bundle.

Must not know how thresholds are learned (`convert/gate.py`), nor what a track does between the two questions that it
asks: of the face's pixels (`doubt_of_face`) and, after smoothing, of its probabilities (`is_unsure`).
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.vocabulary import FACE_SIDE, Doubt

_SECOND_DIFFERENCES = tuple(
    (np.array(kernel, np.float32), step_squared)
    for kernel, step_squared in (
        ([[1, -2, 1]], 1),
        ([[1], [-2], [1]], 1),
        ([[1, 0, 0], [0, -2, 0], [0, 0, 1]], 2),
        ([[0, 0, 1], [0, -2, 0], [1, 0, 0]], 2),
    )
)
"""Across, down and along both diagonals, whose neighbours are the square root of 2 away."""
_HIGHEST = {"min_side_px": 10_000.0, "min_brightness": 255.0, "min_sharpness": 1_000.0, "min_margin": 1.0}


def side_px(box_xyxy: tuple[int, int, int, int]) -> int:
    """The longer side of a face's box, in pixels of the frame: what `min_side_px` is compared with."""
    x0, y0, x1, y1 = box_xyxy
    return max(x1 - x0, y1 - y0)


def brightness(face_u8: NDArray[np.uint8]) -> float:
    """Mean gray of a face (48, 48) uint8, 0 to 255."""
    return float(cv2.mean(face_u8)[0])


def sharpness(face_u8: NDArray[np.uint8]) -> float:
    """Energy of the second difference along the direction where it is least, over the variance of the gray, no unit.

    The variance of the Laplacian (Pech-Pacheco et al. 2000) adds up directions and so overlooks a face that moved along
    one; over the gray's variance, a face is not blurred for being dark or flat. A face of one gray has 0.

    Args:
        face_u8: (48, 48) uint8.
    """
    deviation = float(cv2.meanStdDev(face_u8)[1][0, 0])
    least = math.inf
    second = None
    for kernel, step_squared in _SECOND_DIFFERENCES:
        second = cv2.filter2D(face_u8, cv2.CV_16S, kernel, dst=second)
        least = min(least, cv2.norm(second, cv2.NORM_L2SQR) / step_squared**2)
    return least / face_u8.size / (deviation**2 + 1.0)  # 1: rounding to whole grays alone varies by about as much


def margin(probabilities: NDArray[np.float32]) -> float:
    """The best probability minus the second best, 0 to 1, of probabilities (7,)."""
    second, best = np.partition(probabilities, -2)[-2:]
    return float(best - second)


@dataclass(frozen=True, slots=True)
class Gate:
    """The least that a face needs to be named; None is not checked, and a value equal to the threshold passes.

    `min_side_px` is of the face's box in the frame, `min_brightness` and `min_sharpness` are of its 48x48 pixels (see
    `brightness` and `sharpness`), `min_margin` is of its probabilities (see `margin`).

    Raises:
        ValueError: a threshold is not a number, or outside its measure's range.
    """

    min_side_px: float | None = None
    min_brightness: float | None = None
    min_sharpness: float | None = None
    min_margin: float | None = None

    def __post_init__(self) -> None:
        for name, highest in _HIGHEST.items():
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= highest:
                raise ValueError(f"expected {name} as a number in 0..{highest:g} or null, got {value!r}")

    def doubt(self, side_px: float, face_u8: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> Doubt | None:
        """Why this face is not named, else None; the first that applies of small, dark, blurred, unsure.

        Args:
            side_px: the longer side of its box in the frame, pixels.
            face_u8: (48, 48) uint8, as the model takes it.
            probabilities: (7,).
        """
        return self.doubt_of_face(side_px, face_u8) or (Doubt.UNSURE if self.is_unsure(probabilities) else None)

    def doubt_of_face(self, side_px: float, face_u8: NDArray[np.uint8]) -> Doubt | None:
        """As `doubt`, by the face's pixels alone.

        Raises:
            ValueError: the face is not (48, 48) uint8.
        """
        if face_u8.shape != (FACE_SIDE, FACE_SIDE) or face_u8.dtype != np.uint8:
            raise ValueError(f"expected a face (48, 48) uint8, got {face_u8.shape} {face_u8.dtype}")
        if self.min_side_px is not None and side_px < self.min_side_px:
            return Doubt.SMALL
        if self.min_brightness is not None and brightness(face_u8) < self.min_brightness:
            return Doubt.DARK
        if self.min_sharpness is not None and sharpness(face_u8) < self.min_sharpness:
            return Doubt.BLURRED
        return None

    def is_unsure(self, probabilities: NDArray[np.float32]) -> bool:
        """Whether the two best of the probabilities (7,) lie closer than `min_margin`."""
        return self.min_margin is not None and margin(probabilities) < self.min_margin

    def with_overrides(
        self,
        *,
        min_side_px: float | None = None,
        min_brightness: float | None = None,
        min_sharpness: float | None = None,
        min_margin: float | None = None,
    ) -> "Gate":
        """This gate with the thresholds that are not None replaced; 0 turns a check off.

        Raises:
            ValueError: a threshold is outside its measure's range.
        """
        given = {
            "min_side_px": min_side_px,
            "min_brightness": min_brightness,
            "min_sharpness": min_sharpness,
            "min_margin": min_margin,
        }
        return dataclasses.replace(self, **{name: value for name, value in given.items() if value is not None})

    def as_dict(self) -> dict[str, float | None]:
        """What `from_dict` takes back: each threshold by name, None where it is not checked."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> "Gate":
        """The gate of a manifest; a threshold that is missing is not checked.

        Raises:
            ValueError: not a dictionary, an unknown threshold, or a value that is not a number in its range.
        """
        if not isinstance(values, dict):
            raise ValueError(f"expected thresholds by name, got {values!r}")
        unknown = [name for name in values if name not in _HIGHEST]
        if unknown:
            raise ValueError(f"unknown threshold {unknown[0]!r}; known are {', '.join(_HIGHEST)}")
        return cls(**values)
