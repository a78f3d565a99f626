"""What was on the faces in the last five minutes, a second at a time. Knows no pictures and no clients."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

SECONDS = 300
_LONGEST_STEP_S = 1.0


@dataclass(slots=True)
class _Second:
    at: int
    frames: int = 0
    face_s: dict[str, float] = field(default_factory=dict)

    def add(self, other: "_Second") -> None:
        self.frames += other.frames
        for label, s in other.face_s.items():
            self.face_s[label] = self.face_s.get(label, 0.0) + s

    def as_dict(self) -> dict[str, Any]:
        return {
            "t": self.at,
            "frames": self.frames,
            "face_s": {label: round(s, 3) for label, s in self.face_s.items()},
            "dominant": max(self.face_s, key=lambda label: self.face_s[label], default=None),
        }


class Timeline:
    """Sums face-seconds by label; holds at most `SECONDS` entries and forgets older ones.

    Args:
        clock: seconds; only its differences and its order count.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._seconds: deque[_Second] = deque(maxlen=SECONDS)
        self._last: float | None = None
        self._lock = threading.Lock()

    def add(self, labels: Iterable[str]) -> None:
        """Take the labels of one frame; each face is worth the time since the frame before, at most a second."""
        now = self._clock()
        with self._lock:
            step_s = 0.0 if self._last is None else min(max(now - self._last, 0.0), _LONGEST_STEP_S)
            self._last = now
            if not self._seconds or self._seconds[-1].at != int(now):
                self._seconds.append(_Second(int(now)))
            second = self._seconds[-1]
            second.frames += 1
            for label in labels:
                second.face_s[label] = second.face_s.get(label, 0.0) + step_s

    def as_dict(self, step_s: int = 1) -> dict[str, Any]:
        """`steps` lists, oldest first, `{"t": unix seconds, "frames", "face_s": {label: s}, "dominant"}`.

        A step without frames has no entry; `dominant` is None where there was no face.

        Args:
            step_s: seconds that are added up; of more than one, only steps that are over are given.
        """
        now = self._clock()
        steps: dict[int, _Second] = {}
        with self._lock:
            for second in self._seconds:
                at = second.at // step_s * step_s
                if now - SECONDS <= at and at + step_s - 1 <= now - (step_s > 1):
                    steps.setdefault(at, _Second(at)).add(second)
        return {
            "v": 1,
            "now": round(now, 3),
            "span_s": SECONDS,
            "step_s": step_s,
            "steps": [step.as_dict() for step in steps.values()],
        }
