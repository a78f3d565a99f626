"""The first value type of the pipeline: what a camera, a clip or an image gives."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm")


def redacted(address: str) -> str:
    """An address without what may be secret, for screens, logs and reports.

    That is all up to the last @ before the path, since passwords hold @ too, and a network address's query, where many
    cameras take user and password.
    """
    shown = re.sub(r"://[^/?#]*@", "://***@", address)
    return re.sub(r"^((?:rtsps?|https?)://[^?]*\?).+", r"\1***", shown)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture. `gray` (H, W) uint8; `bgr` (H, W, 3) uint8 where the source has colour.

    `t_capture_ns` is when the sensor (or the decoder) gave it, on the monotonic clock. `t_media_ns` is its place on
    the source's own clock where that is another one: a clip that is read faster than it was filmed. `gap_ms` is set on
    the first frame after the camera was away.
    """

    gray: NDArray[np.uint8]
    bgr: NDArray[np.uint8] | None
    seq: int
    t_capture_ns: int
    name: str | None = None
    t_media_ns: int | None = None
    gap_ms: float | None = None

    def __post_init__(self) -> None:
        if self.gray.ndim != 2 or self.gray.dtype != np.uint8 or 0 in self.gray.shape:
            raise ValueError(f"expected gray (H, W) uint8, got {self.gray.shape} {self.gray.dtype}")
        if self.bgr is not None and self.bgr.shape != (*self.gray.shape, 3):
            raise ValueError(f"expected bgr {(*self.gray.shape, 3)}, got {self.bgr.shape}")

    @property
    def clock_ns(self) -> int:
        """The time that things in the picture go by."""
        return self.t_capture_ns if self.t_media_ns is None else self.t_media_ns


class FrameSource(Protocol):
    """A context manager that yields frames until the source ends.

    `still` says that frames have nothing to do with each other (photos); `live` that they come at their own time
    (a camera); `fps` is the source's own rate where it has one; `damaged` counts pictures that came and could not be
    decoded.
    """

    name: str
    still: bool
    live: bool
    fps: float | None

    @property
    def damaged(self) -> int: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[Frame]: ...


@dataclass(frozen=True, slots=True)
class Camera:
    """How a live source is opened, again and again if need be.

    Args:
        name: as it is shown; without a password.
        open: gives an open source; raises SourceError where there is none at the moment.
        every_frame: its frames wait until they are taken (a replay that runs as fast as it is read); else only the
            newest counts.
    """

    name: str
    open: Callable[[], FrameSource]
    every_frame: bool = False


class Closing:
    """What sources and the pipeline share of the context manager: leaving it closes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the device back; harmless twice."""
