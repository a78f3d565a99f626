"""What a run looks like from outside: counts, percentiles by stage, camera, machine; one dict for all outputs."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_edge import __version__
from fer_edge.devices.fresh import CaptureCounts, FreshFrames
from fer_edge.edge_runtime.labeller import STAGES
from fer_edge.edge_runtime.latency import summarize
from fer_edge.edge_runtime.release import release_id
from fer_edge.edge_runtime.vocabulary import UNCERTAIN, Observation

if TYPE_CHECKING:
    from fer_edge.edge_runtime.pipeline import Pipeline

OF_SINGLE_FACES = ("faces", "labels", "labels_changed", "looks", "full_scans")
"""What privacy mode leaves out of the status: read often enough, these follow one face."""
_KEPT_FRAMES = 10_000
_RANK_EVERY_S = 1.0
_RATE_WINDOW_NS = 5_000_000_000
_MINUTE_NS = 60_000_000_000
_CAMERA = tuple(field.name for field in fields(CaptureCounts))


class Summary:
    """Counts, and percentiles over the last 10,000 frames, so that a run of months stays as small. Thread-safe.

    Args:
        clock_ns: the monotonic clock; for tests.
    """

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._minute_began_ns = clock_ns()
        self._in_minute = 0
        self._last_minute: int | None = None
        self.frames = self.faces = 0
        self.labels: Counter[str] = Counter()
        self._ns = np.zeros((_KEPT_FRAMES, len(STAGES) + 1), np.int64)
        self._at_ns = np.zeros(_KEPT_FRAMES, np.int64)
        self._lock = threading.Lock()

    def put(self, observation: Observation) -> None:
        """Count one frame."""
        now_ns = self._clock_ns()
        with self._lock:
            self._turn_minute(now_ns)
            row = self.frames % _KEPT_FRAMES
            self.frames += 1
            self.faces += len(observation.predictions)
            for prediction in observation.predictions:
                self.labels[prediction.label] += 1
                self._in_minute += prediction.label != UNCERTAIN
            for column, stage in enumerate(STAGES):
                self._ns[row, column] = observation.stage_ns[stage]
            self._ns[row, -1] = int(observation.age_ms * 1e6)
            self._at_ns[row] = now_ns

    def labels_a_minute(self) -> int | None:
        """Labels given in the last full minute, frame by frame and face by face, without `uncertain`; None before."""
        with self._lock:
            self._turn_minute(self._clock_ns())
            return self._last_minute

    def _turn_minute(self, now_ns: int) -> None:
        over = (now_ns - self._minute_began_ns) // _MINUTE_NS
        if over > 0:  # a thread that waited for the lock may come with an earlier time
            self._last_minute = self._in_minute if over == 1 else 0  # 0: a whole minute went by without a frame
            self._in_minute = 0
            self._minute_began_ns += over * _MINUTE_NS

    def stages(self) -> dict[str, dict[str, float | int | None]]:
        """`latency.summarize` by stage."""
        with self._lock:
            kept = self._ns[: self.frames].copy()
        return {stage: summarize(kept[:, column]) for column, stage in enumerate(STAGES)}

    def age(self) -> dict[str, float | int | None]:
        """`latency.summarize` of sensor to label."""
        with self._lock:
            kept = self._ns[: self.frames, -1].copy()
        return summarize(kept)

    def frames_per_second(self) -> float | None:
        """Rate of the pipeline itself: frames over the time spent from capture to label."""
        with self._lock:
            spent = self._ns[: self.frames, STAGES.index("total")]
            return len(spent) / int(spent.sum()) * 1e9 if spent.any() else None

    def recent_rate(self) -> float | None:
        """Labelled frames a second over the last five; None before there were two."""
        now = self._clock_ns()
        with self._lock:
            at = self._at_ns[: self.frames]
            recent = at[at > now - _RATE_WINDOW_NS]
        span = now - int(recent.min()) if len(recent) > 1 else 0
        return len(recent) / span * 1e9 if span else None


class Monitor:
    """Everything that is known of a running pipeline.

    Args:
        pipeline: what runs.
        health: gives `{"temp_c", "throttled", "clock_mhz"}` with None for what is not known.
        sinks: gives each outlet's counts by its sink's name.
    """

    def __init__(
        self, pipeline: "Pipeline", health: Callable[[], dict[str, Any]], sinks: Callable[[], dict[str, Any]]
    ) -> None:
        self.summary = Summary()
        self._pipeline, self._health, self._sinks = pipeline, health, sinks
        self._started_s = time.monotonic()
        self._release = release_id()
        self._ranked_s = -_RANK_EVERY_S
        self._ranked: tuple[Any, Any] = ({}, {})
        self.ended = False

    def state(self) -> str:
        """`starting` before the first frame, `live`, `away` while the camera gives nothing, `ended`."""
        if self.ended:
            return "ended"
        source = self._pipeline.source
        if isinstance(source, FreshFrames) and source.away:
            return "away"
        return "live" if self.summary.frames else "starting"

    def _percentiles(self) -> tuple[Any, Any]:
        """By stage and of the age; ranked once a second at most, for it takes milliseconds from the frame loop."""
        now_s = time.monotonic()
        if self.ended or now_s - self._ranked_s >= _RANK_EVERY_S:
            self._ranked_s, self._ranked = now_s, (self.summary.stages(), self.summary.age())
        return self._ranked

    def status(self) -> dict[str, Any]:
        """The whole picture, ready for JSON; what was not measured is None."""
        p, summary = self._pipeline, self.summary
        stages, age = self._percentiles()
        follower = p.labeller.follower
        camera = p.source.as_dict() if isinstance(p.source, FreshFrames) else dict.fromkeys(_CAMERA)
        return {
            "state": self.state(),
            "version": __version__,
            "release": self._release,
            "source": p.source.name,
            "bundle": {"name": p.bundle.name, "sha256": p.bundle.sha256},
            "engine": f"{p.engine.spec.engine}/{p.engine.spec.precision}",
            "detector": p.detector.name,
            "uptime_s": round(time.monotonic() - self._started_s, 3),
            "frames": summary.frames,
            "faces": summary.faces,
            "labels": dict(summary.labels),
            "labels_a_minute": summary.labels_a_minute(),
            "fps": summary.recent_rate(),
            "age_ms": age,
            "stages": stages,
            "camera": camera,
            "scan_every": follower.scan_every,
            "full_scans": follower.full_scans,
            "looks": follower.looks,
            "health": self._health(),
            "labels_changed": p.labeller.steady.counts.as_dict(),
            "sinks": self._sinks(),
        }
