"""The one preprocessing function: a box in a gray frame to the (48, 48) uint8 face that every model takes.

Training's evaluation, calibration, conversion, golden vectors and the camera loop all call it. It uses only operations
that give the same bits on x86-64 and aarch64: a square crop, then area averaging in whole numbers to shrink and exact
linear interpolation to enlarge. Nothing here may be changed without a new `PREPROCESSING_ID`.
"""

from collections.abc import Sequence
from itertools import accumulate

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.vocabulary import FACE_SIDE

PREPROCESSING_ID = "square-area48-v1"


class Scratch:
    """Memory for squares that reach over the frame's border, and for sums; used again for the next one.

    One thread's own.
    """

    def __init__(self) -> None:
        self._pixels = np.empty(0, np.uint8)
        self._numbers = np.empty(0, np.float64)
        self.mean = np.empty((FACE_SIDE, FACE_SIDE))

    def square(self, side: int) -> NDArray[np.uint8]:
        """(side, side) uint8; what is in it is left over."""
        if self._pixels.size < side * side:
            self._pixels = np.empty(2 * side * side, np.uint8)
        return self._pixels[: side * side].reshape(side, side)

    def numbers(self, shapes: Sequence[tuple[int, int]]) -> list[NDArray[np.float64]]:
        """Float64 of these shapes; what is in them is left over."""
        sizes = [height * width for height, width in shapes]
        if self._numbers.size < sum(sizes):
            self._numbers = np.empty(2 * sum(sizes), np.float64)
        ends = list(accumulate(sizes, initial=0))
        return [self._numbers[at : at + n].reshape(shape) for at, n, shape in zip(ends, sizes, shapes, strict=False)]


def square_crop(
    gray: NDArray[np.uint8],
    box_xyxy: tuple[int, int, int, int],
    margin: float = 0.0,
    scratch: Scratch | None = None,
) -> NDArray[np.uint8]:
    """The square around the box's centre, as a view where it lies inside the frame, else with its edge repeated.

    Args:
        gray: (H, W) uint8 frame.
        box_xyxy: the face in pixels, end exclusive.
        margin: how much wider than the box's longer side, as a fraction of that side (0.1 adds 5% on each side).
        scratch: where a square that reaches over the border is put together; the next one overwrites it.
    """
    x0, y0, x1, y1 = box_xyxy
    side = max(1, round(max(x1 - x0, y1 - y0) * (1.0 + margin)))
    left = (x0 + x1 - side) // 2
    top = (y0 + y1 - side) // 2
    height, width = gray.shape
    inside = gray[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    if inside.shape == (side, side):
        return inside
    if inside.size == 0:
        raise ValueError(f"expected a box that meets the {width}x{height} frame, got {box_xyxy}")
    pad_top, pad_left = max(-top, 0), max(-left, 0)
    return cv2.copyMakeBorder(  # type: ignore[return-value]
        inside,
        pad_top,
        side - pad_top - inside.shape[0],
        pad_left,
        side - pad_left - inside.shape[1],
        cv2.BORDER_REPLICATE,
        dst=scratch.square(side) if scratch else None,
    )


def face_pixels(
    gray: NDArray[np.uint8],
    box_xyxy: tuple[int, int, int, int] | None = None,
    margin: float = 0.0,
    out: NDArray[np.uint8] | None = None,
    scratch: Scratch | None = None,
) -> NDArray[np.uint8]:
    """The face in `box_xyxy` of a gray frame as (48, 48) uint8; without a box, the largest centred square.

    Args:
        gray: (H, W) uint8, any size.
        box_xyxy: pixels, end exclusive; may reach over the frame's border but must meet the frame.
        margin: see `square_crop`.
        out: (48, 48) uint8 buffer to write into; returned when given.
        scratch: see `square_crop`.

    Raises:
        ValueError: the frame is not (H, W) uint8, the buffer not (48, 48) uint8, or the box lies outside the frame.
    """
    if gray.ndim != 2 or gray.dtype != np.uint8 or gray.size == 0:
        raise ValueError(f"expected a gray frame (H, W) uint8, got {gray.shape} {gray.dtype}")
    if out is not None and (out.shape != (FACE_SIDE, FACE_SIDE) or out.dtype != np.uint8):
        # OpenCV would leave it as it is and return another array.
        raise ValueError(f"expected a buffer (48, 48) uint8, got {out.shape} {out.dtype}")
    if box_xyxy is None:
        height, width = gray.shape
        side = min(height, width)
        left, top = (width - side) // 2, (height - side) // 2
        crop = gray[top : top + side, left : left + side]
    else:
        crop = square_crop(gray, box_xyxy, margin, scratch)
    side = crop.shape[0]
    if side > FACE_SIDE and side % FACE_SIDE:
        return _area_averages(crop, out, scratch or Scratch())
    # OpenCV sums whole blocks in integers.
    method = cv2.INTER_AREA if side >= FACE_SIDE else cv2.INTER_LINEAR_EXACT
    return cv2.resize(crop, (FACE_SIDE, FACE_SIDE), dst=out, interpolation=method)  # type: ignore[return-value]


def _area_averages(crop: NDArray[np.uint8], out: NDArray[np.uint8] | None, scratch: Scratch) -> NDArray[np.uint8]:
    """What OpenCV's INTER_AREA makes of a square (S, S), in whole numbers: exact, and halves to even.

    OpenCV adds up in float32, so what lies close to a half becomes one gray value more on one processor and not on the
    other: of the sides up to 800, seen on random pixels at 12 (160, 224, 253, 320, ...).

    The picture's integral is linear inside a pixel both ways, so where face pixels meet it is a mean of four whole
    numbers with weights in 48ths. Float64 holds every number here exactly, in whatever order they are added.
    """
    side, lines = crop.shape[0], 2 * (FACE_SIDE + 1)
    shapes = ((side + 1, side + 1), (lines, side + 1), (lines, lines), (FACE_SIDE, lines), (FACE_SIDE, lines))
    sums, rows, corners, weights, halfway = scratch.numbers(shapes)
    at = _weigh(side, weights)
    cv2.integral(crop, sums, cv2.CV_64F)
    np.take(sums, at, 0, rows, "clip")
    np.take(rows, at, 1, corners, "clip")
    np.matmul(weights, corners, halfway)
    mean = np.matmul(halfway, weights.T, scratch.mean)
    mean /= side * side
    np.rint(mean, mean)
    if out is None:
        return mean.astype(np.uint8)
    np.copyto(out, mean, casting="unsafe")
    return out


def _weigh(side: int, weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """The picture's lines (98,) before and after each of the 49 around face pixels, and in `weights` (48, 98) how much
    of each makes a face pixel, in 48ths: what lies before its second line without what lies before its first."""
    before, after = np.divmod(np.arange(FACE_SIDE + 1) * side, FACE_SIDE)
    weights.fill(0)
    flat, step = weights.reshape(-1), weights.shape[1] + 1
    for start, part in ((0, FACE_SIDE - after), (FACE_SIDE + 1, after)):
        flat[start::step][:FACE_SIDE] = -part[:-1]
        flat[start + 1 :: step][:FACE_SIDE] = part[1:]
    return np.concatenate([before, np.minimum(before + 1, side)])
