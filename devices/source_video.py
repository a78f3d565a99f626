"""Clips and network streams through OpenCV's FFmpeg, decoded into buffers that are used again."""

import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import cv2
import numpy as np

from fer_edge.devices.buffer_pool import BufferPool
from fer_edge.devices.errors import SourceError
from fer_edge.devices.frame import Closing, Frame, redacted

OPEN_TIMEOUT_MS = 10_000
READ_TIMEOUT_MS = 5_000


class VideoSource(Closing):
    """A clip (`live` False: read as fast as it is asked for), or an RTSP or HTTP stream (`live` True).

    Raises:
        SourceError: it does not open; while iterating, a stream that stops or a clip that gives no frame.
    """

    still = False

    def __init__(self, word: str, *, live: bool) -> None:
        self.name, self.live = redacted(word), live
        self.damaged = 0
        self._capture = _opened(word, live)
        if not self._capture.isOpened():
            raise SourceError(_why_not(word, live))
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps: float | None = rate if 0 < rate < 1000 else None
        self._shape: tuple[int, ...] = (
            int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            3,
        )
        self._pool = BufferPool()

    def __iter__(self) -> Iterator[Frame]:
        seq = 0
        while (bgr := self.read()) is not None:
            now = time.monotonic_ns()
            gray = self._pool.take(bgr.shape[:2], np.uint8)
            cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY, dst=gray)
            media_ns = None if self.live or not self.fps else round(seq / self.fps * 1e9)
            yield Frame(gray, bgr, seq, now, None, media_ns)
            del gray, bgr  # else they count as in use while the next one is read
            seq += 1
        if self.live:
            raise SourceError(f"{self.name} stopped giving frames after {seq}; is the camera still connected?")
        if seq == 0:
            raise SourceError(f"{self.name} opened but gave no frame; the file may be damaged")

    def read(self) -> np.ndarray | None:
        """The next picture (H, W, 3) uint8, or None at the end."""
        buffer = self._pool.take(self._shape, np.uint8) if 0 not in self._shape else None
        ok, bgr = self._capture.read(buffer)
        if not ok:
            return None
        self._shape = bgr.shape
        return bgr if bgr.ndim == 3 else cv2.cvtColor(bgr, cv2.COLOR_GRAY2BGR)

    def rewind(self) -> None:
        """Back to a clip's first frame."""
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)

    def close(self) -> None:
        """Give the decoder back; harmless twice."""
        self._capture.release()


def _opened(word: str, live: bool) -> cv2.VideoCapture:
    if not live:
        return cv2.VideoCapture(word)
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS]
    return cv2.VideoCapture(word, cv2.CAP_FFMPEG, timeouts)


def _why_not(word: str, live: bool) -> str:
    if live:
        host = urlsplit(word).hostname
        seconds = OPEN_TIMEOUT_MS // 1000
        return f"{redacted(word)} does not answer within {seconds} s or gives no video" + ("" if host else " (no host)")
    return f"{word} is not a readable video or image"
