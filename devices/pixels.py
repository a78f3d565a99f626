"""From a driver's bytes to gray and BGR. Every camera format here holds its gray already: it is never computed."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.buffer_pool import BufferPool

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Packing:
    """`luma` is the channel that holds gray in pixels of two bytes; None where gray is a plane of its own."""

    luma: int | None
    to_bgr: int | None


MJPG = "MJPG"
_PACKINGS = {
    "YUYV": _Packing(0, cv2.COLOR_YUV2BGR_YUYV),
    "UYVY": _Packing(1, cv2.COLOR_YUV2BGR_UYVY),
    "NV12": _Packing(None, cv2.COLOR_YUV2BGR_NV12),
    "I420": _Packing(None, cv2.COLOR_YUV2BGR_I420),
    "GREY": _Packing(None, None),
}
WITHOUT_COLOUR = "GREY"


def raw_shape(fourcc: str, width: int, height: int) -> tuple[int, ...] | None:
    """The shape that OpenCV gives an unconverted picture; None for MJPG, whose length is another each time."""
    if fourcc == MJPG:
        return None
    if _PACKINGS[fourcc].luma is not None:
        return (height, width, 2)
    return (height, width) if _PACKINGS[fourcc].to_bgr is None else (height * 3 // 2, width)


def unpack(fourcc: str, raw: Pixels, pool: BufferPool, *, colour: bool) -> tuple[Pixels, Pixels | None] | None:
    """Gray (H, W) and, with `colour`, BGR (H, W, 3), in the pool's arrays; planar gray is a view of `raw`.

    Args:
        fourcc: one of MJPG, YUYV, UYVY, NV12, I420, GREY.
        raw: (H, W, 2) for YUYV and UYVY, (H * 3 / 2, W) for NV12 and I420, (H, W) for GREY, any shape for MJPG.

    Returns:
        None for a JPEG that cannot be decoded.
    """
    if fourcc == MJPG:
        return _decoded(raw, pool, colour=colour)
    packing = _PACKINGS[fourcc]
    if packing.luma is not None:
        gray = pool.take(raw.shape[:2])
        cv2.extractChannel(raw, packing.luma, gray)
    else:
        gray = raw if packing.to_bgr is None else raw[: raw.shape[0] * 2 // 3]
    if not colour or packing.to_bgr is None:
        return gray, None
    bgr = pool.take((*gray.shape, 3))
    cv2.cvtColor(raw, packing.to_bgr, dst=bgr)
    return gray, bgr


def _decoded(jpeg: Pixels, pool: BufferPool, *, colour: bool) -> tuple[Pixels, Pixels | None] | None:
    flags = cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE  # gray: libjpeg decodes the luma alone
    try:
        picture = cv2.imdecode(jpeg.reshape(-1), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # an empty buffer, or a header that promises more pixels than OpenCV takes
        return None
    if picture is None:
        return None
    if not colour:
        return picture, None  # type: ignore[return-value]
    gray = pool.take(picture.shape[:2])
    cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY, dst=gray)
    return gray, picture  # type: ignore[return-value]
