"""The first value type of the pipeline: what a camera, a clip or an image gives."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm")


def redacted(address: str) -> str:
    """An address without its user and password, for screens, logs and reports."""
    return re.sub(r"://[^/@]*@", "://***@", address)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture. `gray` (H, W) uint8; `bgr` (H, W, 3) uint8 where the source has colour; time is monotonic."""

    gray: NDArray[np.uint8]
    bgr: NDArray[np.uint8] | None
    seq: int
    t_capture_ns: int
    name: str | None = None

    def __post_init__(self) -> None:
        if self.gray.ndim != 2 or self.gray.dtype != np.uint8 or 0 in self.gray.shape:
            raise ValueError(f"expected gray (H, W) uint8, got {self.gray.shape} {self.gray.dtype}")
        if self.bgr is not None and self.bgr.shape != (*self.gray.shape, 3):
            raise ValueError(f"expected bgr {(*self.gray.shape, 3)}, got {self.bgr.shape}")


class FrameSource(Protocol):
    """A context manager that yields frames until the source ends.

    `still` says that frames have nothing to do with each other (photos); `live` that they come at their own time
    (a camera); `fps` is the source's own rate where it has one.
    """

    name: str
    still: bool
    live: bool
    fps: float | None

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[Frame]: ...
