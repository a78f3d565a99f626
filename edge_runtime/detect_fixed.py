"""Detectors that do not look: a fixed region of the frame, or the frame itself, is the face."""

import re

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import EngineError
from fer_edge.edge_runtime.vocabulary import Face


class FixedDetector:
    """One face, always at the same place; score 1.

    Args:
        box_xyxy: pixels of the frame, end exclusive; None is the whole frame.

    Raises:
        EngineError: while finding, when the region does not meet the frame.
    """

    looks = False

    def __init__(self, box_xyxy: tuple[int, int, int, int] | None = None) -> None:
        self.name = "none (the frame is the face)" if box_xyxy is None else f"region {box_xyxy}"
        self._box = box_xyxy

    def find(self, gray: NDArray[np.uint8], min_side: int) -> list[Face]:
        """The region, whatever is in it."""
        height, width = gray.shape
        box = self._box or (0, 0, width, height)
        if box[0] >= width or box[1] >= height:
            raise EngineError(f"--detector region:{box[0]},{box[1]},… lies outside the {width}x{height} frame")
        return [Face(box, 1.0)]


def parse_region(text: str) -> tuple[int, int, int, int]:
    """`100,50,300,250` as a box x0, y0, x1, y1.

    Raises:
        EngineError: not four numbers, or no area.
    """
    if not re.fullmatch(r"\d+(,\d+){3}", text):
        raise EngineError(
            f"--detector region:{text}: expected region:X0,Y0,X1,Y1 in pixels, such as region:100,50,300,250"
        )
    x0, y0, x1, y1 = (int(word) for word in text.split(","))
    if x1 <= x0 or y1 <= y0:
        raise EngineError(f"--detector region:{text} has no area; expected X0 < X1 and Y0 < Y1")
    return x0, y0, x1, y1
