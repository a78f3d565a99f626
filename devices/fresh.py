"""Keeps a camera's newest frame, and the camera alive: a capture thread, one slot, reopening with backoff.

A camera's driver queues frames while the loop is busy; read one after the other they would grow old. So a thread reads
them all and the loop takes the newest. Owns what is counted about a camera: frames, drops, gaps.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from fer_edge.devices.errors import SourceError
from fer_edge.devices.frame import Camera, Closing, Frame, FrameSource

CAPTURE_THREAD = "capture"
_AWAY_S = 1.0
_BACKOFF_S = (0.25, 0.5, 1.0, 2.0, 4.0)
_POLL_S = 0.25
_JOIN_S = 0.5


@dataclass(slots=True)
class CaptureCounts:
    """`captured` came from the camera; of these `dropped` were replaced by a newer one before they were looked at.

    `gaps` are the times without frames (over 1 s, or since the camera vanished), `gap_s` how long those lasted that are
    over, `reopened` how often the camera came back from having vanished.
    """

    captured: int = 0
    dropped: int = 0
    damaged: int = 0
    gaps: int = 0
    gap_s: float = 0.0
    reopened: int = 0


class FreshFrames(Closing):
    """A live FrameSource out of a camera that may vanish.

    Args:
        camera: what is opened, and opened again after a loss.
        give_up_s: without a frame for so long, iterating raises.
        say: called with one line when the camera goes away and when it is back; from any thread.

    `ends_when` may be set: it is asked while no frame comes, and ends the iteration.

    Raises:
        SourceError: the camera is not there at the start; later, while iterating, when `give_up_s` is over.
    """

    still, live = False, True

    def __init__(self, camera: Camera, *, give_up_s: float, say: Callable[[str], None] | None = None) -> None:
        self.name = camera.name
        self.fps: float | None = None
        self.counts = CaptureCounts()
        self.away = False
        self.ends_when: Callable[[], bool] = lambda: False
        self._camera, self._give_up_s, self._say = camera, give_up_s, say or (lambda text: None)
        self._changed = threading.Condition()
        self._slot: Frame | None = None
        self._stop = threading.Event()
        self._opened = self._ended = False
        self._error: BaseException | None = None
        self._last_s = time.monotonic()
        self._thread = threading.Thread(target=self._work, name=CAPTURE_THREAD, daemon=True)
        self._thread.start()
        try:
            with self._changed:
                while not (self._opened or self._ended):
                    self._changed.wait(_POLL_S)  # with a limit, so that a signal is heeded
            self._raise_error()
        except BaseException:
            self.close()
            raise

    @property
    def damaged(self) -> int:
        """Pictures that could not be decoded, over all openings."""
        return self.counts.damaged

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self._next()) is not None:
            yield frame

    def close(self) -> None:
        """Stop capturing. A read that hangs in a driver is left to its own timeout, on its daemon thread."""
        self._stop.set()
        with self._changed:
            self._slot = None
            self._changed.notify_all()
        self._thread.join(_JOIN_S)

    def as_dict(self) -> dict[str, Any]:
        """For the status."""
        return asdict(self.counts)

    def _next(self) -> Frame | None:
        while not self.ends_when():
            with self._changed:
                if self._slot is None and not self._ended:
                    self._changed.wait(_POLL_S)
                frame, self._slot = self._slot, None
                self._changed.notify_all()
                ended = self._ended
            if frame is not None:
                return frame
            if ended:
                self._raise_error()
                return None
            self._judge_silence()
        return None

    def _judge_silence(self) -> None:
        with self._changed:
            silent_s = time.monotonic() - self._last_s
            newly = silent_s > _AWAY_S and self._mark_away()
        if newly:
            self._say(f"{self.name} gives no frames; waiting for it")
        if silent_s > self._give_up_s:
            raise SourceError(f"{self.name} gave no frame for {self._give_up_s:g} s; is the camera still connected?")

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            self._capture()
        except BaseException as caught:  # raised again where frames are taken
            error = caught
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def _capture(self) -> None:
        failures = 0
        while not self._stop.is_set():
            before = self.counts.captured
            try:
                with self._camera.open() as source:
                    self._note_open(source)
                    self._read(source)
                return
            except SourceError as error:
                if not self._opened:
                    raise
                with self._changed:
                    newly = self._mark_away()
                if newly:
                    self._say(f"{error}; waiting for it")
            failures = 0 if self.counts.captured > before else failures + 1
            self._stop.wait(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])

    def _read(self, source: FrameSource) -> None:
        damaged_before = self.counts.damaged
        try:
            for frame in source:
                self.counts.damaged = damaged_before + source.damaged
                if self._stop.is_set():
                    return
                self._offer(frame)
        finally:
            self.counts.damaged = damaged_before + source.damaged

    def _note_open(self, source: FrameSource) -> None:
        with self._changed:
            self.counts.reopened += self._opened
            self.fps = source.fps
            self._opened = True
            if self.counts.captured == 0:
                self._last_s = time.monotonic()
            self._changed.notify_all()

    def _mark_away(self) -> bool:
        """Whether this is news; called with the lock, while words are said without it: whoever listens may be slow."""
        known, self.away = self.away, True
        self.counts.gaps += not known
        return not known

    def _offer(self, frame: Frame) -> None:
        gap_ms = None
        with self._changed:
            now = time.monotonic()
            if self.away:
                self.away, gap_ms = False, (now - self._last_s) * 1000
                self.counts.gap_s += gap_ms / 1000
            self._last_s = now
            returned_ms = gap_ms
            while self._camera.every_frame and self._slot is not None and not self._stop.is_set():
                self._changed.wait(_POLL_S)
                self._last_s = time.monotonic()
            if self._slot is not None:
                self.counts.dropped += 1
                gap_ms = gap_ms if gap_ms is not None else self._slot.gap_ms
            self._slot = Frame(
                frame.gray, frame.bgr, self.counts.captured, frame.t_capture_ns, frame.name, frame.t_media_ns, gap_ms
            )
            self.counts.captured += 1
            self._changed.notify_all()
        if returned_ms is not None:
            self._say(f"{self.name} gives frames again after {returned_ms / 1000:.1f} s")
