"""One way of going from frame to label, opened and ready to be measured: what `bench` and `tune` let take turns.

Owns the service time of a frame, by stage. Judges nothing.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from fer_edge.devices.frame import Closing, Frame
from fer_edge.edge_runtime.bench_pipeline_pictures import Pictures, open_pictures
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.labeller import STAGES, Labeller
from fer_edge.edge_runtime.steady import Steadiness
from fer_edge.edge_runtime.vocabulary import FACE_SIDE, Observation

ROUND_FRAMES = 30
"""Frames of one turn: two periods of the usual cadence of full scans."""
_LEAD_IN = 2


@dataclass(frozen=True, slots=True)
class Setup:
    """What `run` can be told that costs time or faces; see RunConfig for what each means."""

    engine: str
    precision: str
    threads: int | None = None
    detector: str | None = None
    detector_model: Path | None = None
    detect_width: int = 320
    scan_every: int = 15

    @property
    def variant(self) -> str:
        """`tflite/int8` and the like."""
        return f"{self.engine}/{self.precision}"


class Observer(Protocol):
    """What a lane asks of a labeller."""

    def observe(self, frame: Frame, started_ns: int | None = None) -> Observation: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Turn:
    """Frames of one turn: nanoseconds by stage, each list as long as there were frames; CPU time of all threads."""

    stage_ns: dict[str, list[int]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    faces: int = 0
    cpu_ns: int = 0

    @property
    def total_ns(self) -> list[int]:
        """From before the frame was fetched to its label."""
        return self.stage_ns["total"]

    @property
    def service_ns(self) -> list[int]:
        """From the frame to its label: what a camera's frame waits for."""
        return [all_ns - fetch_ns for all_ns, fetch_ns in zip(self.total_ns, self.stage_ns["capture"], strict=True)]


class Lane(Closing):
    """A labeller with a reader of its own, so that all lanes see the same frames in the same order.

    Args:
        pictures: what it reads.
        labeller: what it runs.
        lead_in: called before each turn, untimed: another lane's model has had the caches, and its threads spin for a
            while before they sleep.
    """

    def __init__(self, pictures: Pictures, labeller: Observer, lead_in: Callable[[], object] = lambda: None) -> None:
        self.pictures, self.labeller, self._lead_in = pictures, labeller, lead_in

    def turn(self, frames: int) -> Turn:
        """Label the next frames, one as soon as the last is done; winding back at the end of a pass is not timed.

        Raises:
            SourceError: there are no frames.
        """
        taken = Turn()
        self._lead_in()
        cpu_ns = time.process_time_ns()
        for _ in range(frames):
            started_ns = time.perf_counter_ns()
            frame = self.pictures.take()
            if frame is None:
                started_ns = time.perf_counter_ns()
                frame = self.pictures.take_any()
            observation = self.labeller.observe(frame, started_ns)
            del frame  # else its buffers count as in use while the next one is read
            for stage, spent_ns in taken.stage_ns.items():
                spent_ns.append(observation.stage_ns[stage])
            taken.faces += len(observation.predictions)
        taken.cpu_ns = time.process_time_ns() - cpu_ns
        return taken

    def warm_up(self, frames: int = ROUND_FRAMES) -> None:
        """Label some frames that do not count, then begin again with the first."""
        self.turn(frames)
        self.pictures.restart()

    def close(self) -> None:
        """Give engine and decoder back; harmless twice."""
        self.pictures.close()
        self.labeller.close()


def open_lane(path: str, bundle: Bundle, setup: Setup) -> Lane:
    """A lane as `run` would go it: the bundle's gate, the usual steadiness.

    Raises:
        SourceError, BundleError, EngineError: in one sentence.
    """
    pictures = open_pictures(path)
    try:
        labeller = Labeller(
            bundle,
            still=pictures.still,
            engine=setup.engine,
            precision=setup.precision,
            threads=setup.threads,
            detector=setup.detector,
            detector_model=setup.detector_model,
            steadiness=Steadiness(),
            scan_every=setup.scan_every,
            detect_width=setup.detect_width,
        )
    except BaseException:
        pictures.close()
        raise
    blank = np.zeros((1, FACE_SIDE, FACE_SIDE), np.uint8)
    return Lane(pictures, labeller, lambda: [labeller.engine.infer(blank) for _ in range(_LEAD_IN)])
