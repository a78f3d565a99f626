"""What consumes observations, and the outlet that keeps a slow or broken one from stalling the loop."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from fer_edge.devices.errors import OutputError
from fer_edge.devices.frame import Frame
from fer_edge.edge_runtime.vocabulary import Observation

_DEPTH = 64
_DEPTH_WITH_PIXELS = 4
_IDLE_S = 0.5
CLOSE_S = 1.0
"""SIGTERM is to end a service within two seconds."""


class Sink(Protocol):
    """One output. All its methods are called on one thread, its outlet's; it may block there as long as it must.

    `needs_pixels` says that it draws: without it `frame` is None, so that no picture is held back in a queue.
    """

    name: str
    needs_pixels: bool

    def put(self, observation: Observation, frame: Frame | None) -> None:
        """Take one frame's observation.

        Raises:
            OutputError: it cannot be written; in a live stream that is counted and tried again with the next one.
        """
        ...

    def idle(self) -> None:
        """Called about twice a second while nothing comes: for heartbeats and rotation."""
        ...

    def close(self) -> None:
        """Finish files, say goodbye to brokers."""
        ...


@dataclass(slots=True)
class OutletCounts:
    """`written` was taken by the sink, `dropped` never reached it, `failed` was refused; `error` is the last refusal
    while it lasts."""

    written: int = 0
    dropped: int = 0
    failed: int = 0
    error: str | None = None


class Outlet:
    """A sink behind a bounded queue on a thread of its own.

    Args:
        sink: what takes the observations.
        lossless: for clips and photos, where every frame counts: a full queue makes the loop wait and an error ends
            the run. In a live stream the oldest is dropped and counted, and an error is counted and said once.
        say: called with one line when a live sink starts to fail and when it works again.
    """

    def __init__(self, sink: Sink, *, lossless: bool, say: Callable[[str], None] | None = None) -> None:
        self.sink, self.counts = sink, OutletCounts()
        self._lossless, self._say = lossless, say or (lambda text: None)
        self._queue: deque[tuple[Observation, Frame | None]] = deque()
        self._depth = _DEPTH_WITH_PIXELS if sink.needs_pixels else _DEPTH
        self._changed = threading.Condition()
        self._closing = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=f"sink-{sink.name}", daemon=True)
        self._thread.start()

    def put(self, observation: Observation, frame: Frame) -> None:
        """Hand one over; in a live stream this never waits.

        Raises:
            OutputError: a lossless sink failed. A bug in a sink is raised here as it came.
        """
        with self._changed:
            while self._lossless and len(self._queue) >= self._depth and self._error is None:
                self._changed.wait()
            if self._error is not None:
                raise self._error
            if len(self._queue) >= self._depth:
                self._queue.popleft()
                self.counts.dropped += 1
            self._queue.append((observation, frame if self.sink.needs_pixels else None))
            self._changed.notify_all()

    def finish(self) -> None:
        """Take nothing more; `close` waits for what is queued."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    @property
    def stuck(self) -> bool:
        """Whether the sink did not come back in time and was left behind."""
        return self._closing and self._thread.is_alive()

    def close(self, wait_s: float | None = CLOSE_S) -> None:
        """Let the sink finish what is queued and close, for at most `wait_s`; None waits for as long as it takes.

        Raises:
            OutputError: as in `put`, or the sink could not finish.
        """
        self.finish()
        self._thread.join(wait_s if wait_s is None else max(0.0, wait_s))
        if self.stuck:
            self.counts.dropped += len(self._queue)
        if self._error is not None:
            raise self._error

    def as_dict(self) -> dict[str, Any]:
        """For the status."""
        c = self.counts
        # A sink may have a queue of its own behind this one, as the broker's client has.
        dropped = c.dropped + getattr(self.sink, "dropped", 0)
        return {"written": c.written, "dropped": dropped, "failed": c.failed, "error": c.error}

    def _work(self) -> None:
        try:
            while True:
                with self._changed:
                    if not self._queue and not self._closing:
                        self._changed.wait(_IDLE_S)
                    item = self._queue.popleft() if self._queue else None
                    if item is None and self._closing:
                        break
                    self._changed.notify_all()
                self._guarded(item)
                item = None  # else the picture stays in use until the next one
            self.sink.close()
        except BaseException as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _guarded(self, item: tuple[Observation, Frame | None] | None) -> None:
        try:
            if item is None:
                self.sink.idle()
                return
            self.sink.put(*item)
        except OutputError as error:
            if self._lossless:
                raise
            if item is not None:
                self.counts.failed += 1
            if self.counts.error is None:
                self._say(f"{error}; labelling goes on without it")
            self.counts.error = str(error)
        else:
            self.counts.written += item is not None
            if self.counts.error is not None:
                self.counts.error = None
                self._say(f"{self.sink.name} works again; {self.counts.failed} were lost")
