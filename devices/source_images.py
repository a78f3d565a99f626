"""Photos, each a frame of its own."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from fer_edge.devices.errors import SourceError
from fer_edge.devices.frame import Closing, Frame


class ImageSource(Closing):
    """Yields the readable ones first, then raises SourceError for the others."""

    still, live = True, False
    fps: float | None = None
    damaged = 0

    def __init__(self, name: str, paths: Sequence[Path]) -> None:
        self.name = name
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[Frame]:
        unreadable = []
        for seq, path in enumerate(self._paths):
            now = time.monotonic_ns()
            bgr = _decoded(path)
            if bgr is None:
                unreadable.append(path)
                continue
            yield photo_frame(bgr, seq, now, path.name)
        self.damaged = len(unreadable)
        if unreadable:  # the others were labelled first
            names = ", ".join(str(path) for path in unreadable[:5])
            if len(self._paths) == 1:
                raise SourceError(f"{names} is not a readable image")
            raise SourceError(f"{len(unreadable)} of {len(self._paths)} images cannot be read: {names}")


def photo_frame(bgr: np.ndarray, seq: int, t_capture_ns: int, name: str | None) -> Frame:
    """A frame out of a decoded photo (H, W, 3) uint8."""
    gray = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    return Frame(gray, bgr, seq, t_capture_ns, name)  # type: ignore[arg-type]


def _decoded(path: Path) -> np.ndarray | None:
    try:
        data = np.fromfile(path, np.uint8)
        return cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except (OSError, cv2.error):  # no permission, or a header that promises more pixels than OpenCV takes
        return None
