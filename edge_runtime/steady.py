"""Steady labels: each track averages its logits over time, and what is shown changes only for a good reason.

A network labels every frame by itself, so that the label of one face flickers. Here a track's logits go through an
exponential average; another label must lead by `hysteresis` and keep its lead for `dwell_s` before it is shown. What
that costs in delay, and what it saves in changes, is counted.
"""

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.vocabulary import EMOTIONS, UNCERTAIN, Doubt, softmax

_FORGET_NS = 10_000_000_000
_LONGEST_STEP_NS = 1_000_000_000
_KEPT_DELAYS = 1000
_KEPT_RAW = 128
_RELEASE = 0.5
"""An emotion that is shown stays until its margin is under this part of the one that it needed to be shown."""


@dataclass(frozen=True, slots=True)
class Steadiness:
    """How steady: `smoothing_s` is the average's time constant, 0 for none; `hysteresis` a lead in probability."""

    smoothing_s: float = 0.4
    hysteresis: float = 0.1
    dwell_s: float = 0.3

    def __post_init__(self) -> None:
        if not (0 <= self.smoothing_s <= 60 and 0 <= self.dwell_s <= 60 and 0 <= self.hysteresis < 1):
            raise ValueError(f"expected 0 to 60 s and a hysteresis in 0..1, got {self}")


@dataclass(slots=True)
class _Track:
    logits: NDArray[np.float32]
    t_ns: int
    shown: str
    reason: Doubt | None
    challenger: str | None = None
    challenger_since_ns: int = 0
    raw: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=_KEPT_RAW))


@dataclass(slots=True)
class LabelCounts:
    """Changes of the shown label, and of the label that each frame alone would have had, over `face_s` seconds.

    `delays_ms`: from when most frames by themselves said the new label until it was shown.
    """

    changes: int = 0
    unsmoothed_changes: int = 0
    face_s: float = 0.0
    delays_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT_DELAYS))

    def as_dict(self) -> dict[str, float | None]:
        """Changes per face-minute with and without, and the median delay of a change in ms; None if unknown."""
        minutes = self.face_s / 60
        return {
            "per_face_minute": self.changes / minutes if minutes else None,
            "unsmoothed_per_face_minute": self.unsmoothed_changes / minutes if minutes else None,
            "delay_ms": float(np.median(self.delays_ms)) if self.delays_ms else None,
        }


class SteadyLabels:
    """The labels of all tracks of a stream.

    Args:
        steadiness: see there.
        min_margin: lead of the most likely emotion over the second in probability, under which a face is unsure.
    """

    def __init__(self, steadiness: Steadiness, min_margin: float | None) -> None:
        self._set, self._min_margin = steadiness, min_margin or 0.0
        self._tracks: dict[int | None, _Track] = {}
        self.counts = LabelCounts()

    def update(
        self, track_id: int | None, logits: NDArray[np.float32], doubt: Doubt | None, t_ns: int
    ) -> tuple[NDArray[np.float32], str, Doubt | None]:
        """One face of one frame: smoothed probabilities (7,), the label to show, and why it is `uncertain`.

        Args:
            track_id: the face's track.
            logits: (7,) float32 of this frame.
            doubt: what is wrong with the picture of the face; its logits are then left out of the average.
            t_ns: the source's clock.
        """
        raw = self._raw_label(logits, doubt)
        track = self._tracks.get(track_id)
        if track is None:
            self._forget_old(t_ns)
            probabilities = softmax(logits)
            label, reason = self._candidate(probabilities, doubt, None)
            self._tracks[track_id] = track = _Track(logits.copy(), t_ns, label, reason)
            track.raw.append((t_ns, raw))
            return probabilities, label, reason
        step_ns = max(0, t_ns - track.t_ns)
        track.t_ns = t_ns
        self.counts.face_s += min(step_ns, _LONGEST_STEP_NS) / 1e9
        self.counts.unsmoothed_changes += raw != track.raw[-1][1]
        track.raw.append((t_ns, raw))
        if doubt is None:
            self._average(track, logits, step_ns)
        probabilities = softmax(track.logits)
        self._show(track, *self._candidate(probabilities, doubt, track.shown), t_ns)
        return probabilities, track.shown, track.reason

    def _average(self, track: _Track, logits: NDArray[np.float32], step_ns: int) -> None:
        # Exact for any frame rate: a step of dt towards the input with time constant tau.
        tau_ns = self._set.smoothing_s * 1e9
        weight = 1 - math.exp(-step_ns / tau_ns) if tau_ns else 1.0
        track.logits += np.float32(weight) * (logits - track.logits)

    def _raw_label(self, logits: NDArray[np.float32], doubt: Doubt | None) -> str:
        return self._candidate(softmax(logits), doubt, None)[0]

    def _candidate(
        self, probabilities: NDArray[np.float32], doubt: Doubt | None, shown: str | None
    ) -> tuple[str, Doubt | None]:
        """What to show if nothing but this frame and hysteresis counted."""
        if doubt is not None:
            return UNCERTAIN, doubt
        order = probabilities.argsort()
        best = EMOTIONS[order[-1]]
        held = shown is not None and shown != UNCERTAIN
        needed = self._min_margin * (_RELEASE if held else 1.0)
        if probabilities[order[-1]] - probabilities[order[-2]] < needed:
            return UNCERTAIN, Doubt.UNSURE
        if held and best != shown and shown is not None:
            lead = probabilities[order[-1]] - probabilities[EMOTIONS.index(shown)]
            best = best if lead >= self._set.hysteresis else shown
        return best, None

    def _show(self, track: _Track, label: str, reason: Doubt | None, t_ns: int) -> None:
        if label == track.shown:
            track.reason, track.challenger = reason, None
            return
        if label != track.challenger:
            track.challenger, track.challenger_since_ns = label, t_ns
        if t_ns - track.challenger_since_ns < self._set.dwell_s * 1e9:
            return
        track.shown, track.reason, track.challenger = label, reason, None
        self.counts.changes += 1
        self.counts.delays_ms.append((t_ns - _began_ns(track.raw, label, t_ns)) / 1e6)
        track.raw = deque(list(track.raw)[-1:], maxlen=_KEPT_RAW)

    def _forget_old(self, t_ns: int) -> None:
        for track_id in [i for i, track in self._tracks.items() if t_ns - track.t_ns > _FORGET_NS]:
            del self._tracks[track_id]


def _began_ns(raw: deque[tuple[int, str]], label: str, t_ns: int) -> int:
    """When a label that is shown now was first what most frames since then said by themselves."""
    began, agreed = t_ns, 0
    for count, (at_ns, said) in enumerate(reversed(raw), start=1):
        if said == label:
            agreed += 1
            if 2 * agreed > count:
                began = at_ns
    return began
