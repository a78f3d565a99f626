"""The sink behind the web page: keeps the newest picture and record, and wakes the clients that wait for them.

Filled on its outlet's thread, read on the web server's event loop; neither ever waits for the other. Knows no HTTP.
"""

import asyncio
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import OutputError
from fer_edge.devices.frame import Frame
from fer_edge.edge_runtime.annotate import annotated
from fer_edge.edge_runtime.record import observation_record
from fer_edge.edge_runtime.vocabulary import Observation
from fer_edge.edge_runtime.web_timeline import Timeline

LONGEST_SIDE = 960
_PICTURE_EVERY_S = 1 / 16  # a little less than every second frame at 30 a second takes
_QUALITY = 80


@dataclass(frozen=True, slots=True)
class Newest:
    """What there is at a moment: `seq` counts changes, `jpeg_seq` pictures; `jpeg_at` is in seconds, monotonic."""

    seq: int = 0
    record: dict[str, Any] | None = None
    jpeg_seq: int = 0
    jpeg: bytes | None = None
    jpeg_at: float = 0.0


class WebSink:
    """Takes every frame's observation for the web page; see `Sink`.

    Args:
        pictures: False keeps frames away altogether, for a page that shows no faces.
    """

    name = "web"

    def __init__(self, *, pictures: bool = True) -> None:
        self.needs_pixels = pictures
        self.timeline = Timeline()
        self.closed = False
        self._newest = Newest()
        self._encoded_at = -_PICTURE_EVERY_S
        self._watchers: set[Watcher] = set()
        self._lock = threading.Lock()

    @property
    def newest(self) -> Newest:
        """The newest record and picture."""
        return self._newest

    @property
    def watchers(self) -> int:
        """Clients that look at pictures at the moment."""
        return sum(watcher.pictures for watcher in tuple(self._watchers))

    def put(self, observation: Observation, frame: Frame | None) -> None:
        """Take one frame's observation.

        Raises:
            OutputError: its picture cannot be encoded.
        """
        self.timeline.add(prediction.label for prediction in observation.predictions)
        record, jpeg, now = observation_record(observation), None, time.monotonic()
        if frame is not None and self.needs_pixels and self.watchers and now - self._encoded_at >= _PICTURE_EVERY_S:
            jpeg, self._encoded_at = jpeg_of(annotated(frame, observation)), now
        with self._lock:
            old = self._newest
            if jpeg is None:
                self._newest = Newest(old.seq + 1, record, old.jpeg_seq, old.jpeg, old.jpeg_at)
            else:
                self._newest = Newest(old.seq + 1, record, old.jpeg_seq + 1, jpeg, now)
        self.wake()

    def idle(self) -> None:
        """Nothing to do: clients keep their own time."""

    def close(self) -> None:
        """Let picture streams end; the last record stays to be read."""
        self.closed = True
        self.wake()

    def wake(self) -> None:
        """Make every waiting client look again."""
        for watcher in tuple(self._watchers):
            watcher.wake()

    def watch(self, *, pictures: bool) -> "Watcher":
        """A client's view of this sink, to be entered on its event loop."""
        return Watcher(self, pictures=pictures)

    def _enter(self, watcher: "Watcher") -> None:
        with self._lock:
            self._watchers = {*self._watchers, watcher}

    def _leave(self, watcher: "Watcher") -> None:
        with self._lock:
            self._watchers = self._watchers - {watcher}


class Watcher:
    """A context manager in which one client waits for what is new; slow clients skip what they missed."""

    def __init__(self, sink: WebSink, *, pictures: bool) -> None:
        self.pictures = pictures
        self._sink, self._changed = sink, asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        self._sink._enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sink._leave(self)

    def wake(self) -> None:
        """From any thread: end the wait."""
        try:
            self._loop.call_soon_threadsafe(self._changed.set)
        except RuntimeError:  # the server has stopped under this client
            self._sink._leave(self)

    async def change(self, timeout_s: float) -> Newest:
        """The newest, once something has come since the last call, the sink has closed or the time is over."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()
        return self._sink.newest


def jpeg_of(bgr: NDArray[np.uint8], longest_side: int = LONGEST_SIDE) -> bytes:
    """A JPEG of (H, W, 3) uint8 BGR, shrunk so that its longer side is at most `longest_side` pixels.

    Raises:
        OutputError: OpenCV could not encode it.
    """
    height, width = bgr.shape[:2]
    scale = longest_side / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    done, buffer = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise OutputError(f"cannot encode a picture of {width}x{height} pixels for the web page")
    return buffer.tobytes()
