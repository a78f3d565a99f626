"""The privacy mode: what leaves is how long which label was seen in a minute, and nothing about a single face."""

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Protocol

from fer_edge.devices.frame import Frame
from fer_edge.edge_runtime.record import SCHEMA, wall_time
from fer_edge.edge_runtime.vocabulary import EMOTIONS, UNCERTAIN, Observation

LABELS = (*EMOTIONS, UNCERTAIN)

_MINUTE_NS = 60 * 10**9
_LATE_NS = 2 * 10**9
_KEPT_MINUTES = 60


@dataclass(frozen=True, slots=True)
class MinuteCounts:
    """What was seen in one minute.

    `start` is the minute in UTC, `2026-01-31T12:03Z`, or for a clip hours and minutes from its start, `00:03`.
    `seconds` of it were watched, in `frames`; `tracks` people were followed; `face_seconds` says how long each label
    was seen, faces added up: two happy faces for a second are two seconds.
    """

    start: str
    seconds: float
    frames: int
    tracks: int
    face_seconds: dict[str, float]


class CountsSink(Protocol):
    """An output that takes minutes; its methods are called on one thread."""

    name: str

    def put_counts(self, counts: MinuteCounts) -> None:
        """Take one minute.

        Raises:
            OutputError: it cannot be written; it is tried again with the next frame.
        """
        ...

    def idle(self) -> None:
        """As `Sink.idle`; it is also called with every frame."""
        ...

    def close(self) -> None:
        """As `Sink.close`."""
        ...


def counts_record(counts: MinuteCounts) -> dict[str, Any]:
    """One minute as plain JSON values."""
    return {
        "v": SCHEMA,
        "start": counts.start,
        "seconds": counts.seconds,
        "frames": counts.frames,
        "tracks": counts.tracks,
        "face_seconds": counts.face_seconds,
    }


@dataclass(slots=True)
class _Minute:
    """A minute under way; times in nanoseconds of the source's clock."""

    start_ns: int
    end_ns: int
    watched_ns: int = 0
    frames: int = 0
    tracks: set[int] = field(default_factory=set)
    label_ns: Counter[str] = field(default_factory=Counter)


class Aggregated:
    """A `Sink` that gives `inner` a `MinuteCounts` a minute; a minute without a frame gives none.

    A label counts from its frame to the next one; the time that a camera was away counts nothing.

    Args:
        inner: what takes the minutes.
        live: minutes are those of UTC, unless the source has a clock of its own; else they count from the first frame.
    """

    needs_pixels = False

    def __init__(self, inner: CountsSink, *, live: bool) -> None:
        self.name = inner.name
        self._inner, self._live = inner, live
        self._minute: _Minute | None = None
        self._first_ns: int | None = None
        self._last_ns = self._step_ns = 0
        self._labels: Counter[str] = Counter()
        self._ready: deque[MinuteCounts] = deque(maxlen=_KEPT_MINUTES)
        self._lost = 0

    @property
    def dropped(self) -> int:
        """What the inner sink lost of its own accord, and the minutes that waited too long for it."""
        return self._lost + getattr(self._inner, "dropped", 0)

    def put(self, observation: Observation, frame: Frame | None) -> None:
        """Count one frame.

        Raises:
            OutputError: a minute cannot be written; the last 60 such are kept and tried again.
        """
        now_ns = observation.clock_ns
        if self._first_ns is None:
            self._first_ns = now_ns
            # A replay that is read as fast as it can be is live, and its minutes are not those of the wall.
            self._live = self._live and now_ns == observation.t_capture_ns
        if self._minute is None or observation.gap_ms is not None or now_ns < self._last_ns:
            self._finish_unless_holds(now_ns)
        else:
            self._step_ns = now_ns - self._last_ns
            self._watch(self._last_ns, now_ns)
        minute = self._minute = self._minute or self._minute_of(now_ns)
        minute.frames += 1
        minute.tracks.update(p.face.track_id for p in observation.predictions if p.face.track_id is not None)
        self._labels = Counter(p.label for p in observation.predictions)
        self._last_ns = now_ns
        self._inner.idle()
        self._give()

    def idle(self) -> None:
        """In live use, finish a minute that is over though no frame comes.

        Raises:
            OutputError: as `put`.
        """
        minute = self._minute
        if self._live and minute is not None and time.monotonic_ns() >= minute.end_ns + _LATE_NS:
            self._finish()
        self._inner.idle()
        self._give()

    def close(self) -> None:
        """Give the minute under way, then close `inner`.

        Raises:
            OutputError: as `put`.
        """
        if self._minute is not None:
            self._watch(self._last_ns, self._last_ns + self._step_ns)  # the last frame lasts as long as the one before
            self._finish()
        try:
            self._give()
        finally:
            self._inner.close()

    def _watch(self, from_ns: int, to_ns: int) -> None:
        """Count the labels of the last frame for a time that may reach over minutes."""
        while from_ns < to_ns:
            minute = self._minute = self._minute or self._minute_of(from_ns)
            until_ns = min(to_ns, minute.end_ns)
            minute.watched_ns += until_ns - from_ns
            for label, faces in self._labels.items():
                minute.label_ns[label] += faces * (until_ns - from_ns)
            from_ns = until_ns
            self._finish_unless_holds(from_ns)

    def _finish_unless_holds(self, t_ns: int) -> None:
        if self._minute is not None and not self._minute.start_ns <= t_ns < self._minute.end_ns:
            self._finish()

    def _finish(self) -> None:
        minute, self._minute = self._minute, None
        if minute is not None:
            self._lost += len(self._ready) == _KEPT_MINUTES
            self._ready.append(self._counts_of(minute))

    def _give(self) -> None:
        while self._ready:
            self._inner.put_counts(self._ready[0])
            self._ready.popleft()

    def _minute_of(self, t_ns: int) -> _Minute:
        offset_ns = time.time_ns() - time.monotonic_ns() if self._live else -(self._first_ns or 0)
        start_ns = (t_ns + offset_ns) // _MINUTE_NS * _MINUTE_NS - offset_ns
        return _Minute(start_ns, start_ns + _MINUTE_NS)

    def _counts_of(self, minute: _Minute) -> MinuteCounts:
        if self._live:
            # Half a minute on, because the two clocks are not read at one instant and the start is a border.
            start = wall_time(minute.start_ns + _MINUTE_NS // 2, "minutes")
        else:
            start = "{:02d}:{:02d}".format(*divmod((minute.start_ns - (self._first_ns or 0)) // _MINUTE_NS, 60))
        return MinuteCounts(
            start,
            round(minute.watched_ns / 1e9, 3),
            minute.frames,
            len(minute.tracks),
            {label: round(minute.label_ns[label] / 1e9, 3) for label in LABELS},
        )
