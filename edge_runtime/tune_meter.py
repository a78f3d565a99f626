"""Measures settings on this device for `tune`: finding faces alone, the model alone, and whole settings in turns."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fer_edge.edge_runtime.agreement import agreement
from fer_edge.edge_runtime.bench_pipeline_lane import ROUND_FRAMES, Lane, open_lane
from fer_edge.edge_runtime.bench_pipeline_open import open_loop
from fer_edge.edge_runtime.bench_pipeline_pictures import frames_of, open_pictures
from fer_edge.edge_runtime.bench_rounds import collector_off
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.detect import open_detector
from fer_edge.edge_runtime.engines import open_engine
from fer_edge.edge_runtime.follow import FaceFollower
from fer_edge.edge_runtime.labeller import CONFIRM_FRAMES
from fer_edge.edge_runtime.tune_score import Round
from fer_edge.edge_runtime.tune_search import Looked
from fer_edge.edge_runtime.tune_space import Candidate, Looking, Running
from fer_edge.edge_runtime.vocabulary import Face

_WARM_UP_CALLS, _CALLS = 10, 100
_WHOLE_FRAME = 1 << 30


class DeviceMeter:
    """See `tune_search.Meter`.

    Args:
        path: the clip.
        bundle: what is run.
        best: the detector and its file that say which faces there are.
        max_frames: of the clip that faces are compared on.
        seed: of the turns' order.
    """

    def __init__(
        self, path: str, bundle: Bundle, best: tuple[str, Path | None], *, max_frames: int, seed: int = 0
    ) -> None:
        self._path, self._bundle, self._best, self._max_frames, self._seed = path, bundle, best, max_frames, seed

    def reference(self) -> list[list[Face]]:
        """A full scan of every frame, unshrunk, by the best detector at hand."""
        found, _ = self._look(Looking(*self._best, _WHOLE_FRAME, 1), self._max_frames)
        return found

    def look(self, looking: Looking, wanted: Sequence[Sequence[Face]]) -> Looked:
        """Look as a stream's labeller does, without a model."""
        found, times = self._look(looking, len(wanted))
        return Looked(times, agreement(wanted, found))

    def infer(self, running: Running) -> Round:
        """The golden faces, one at a time."""
        faces = self._bundle.golden().faces
        engine = open_engine(self._bundle, running.engine, running.precision, running.threads)
        try:
            for at in range(_WARM_UP_CALLS):
                engine.infer(faces[at % len(faces)][None])
            taken_ns, cpu_ns = [], time.process_time_ns()
            with collector_off():
                for at in range(_CALLS):
                    begun = time.perf_counter_ns()
                    engine.infer(faces[at % len(faces)][None])
                    taken_ns.append(time.perf_counter_ns() - begun)
            return Round(taken_ns, time.process_time_ns() - cpu_ns)
        finally:
            engine.close()

    def turns(self, candidates: Sequence[Candidate], begin: int, end: int) -> Iterator[tuple[Candidate, int, Round]]:
        """From frame to label in shuffled turns; round n is frames n * ROUND_FRAMES and on, over the clip's end."""
        with ExitStack() as stack:
            lanes = [(c, stack.enter_context(open_lane(self._path, self._bundle, c.setup()))) for c in candidates]
            for _, lane in lanes:
                _wind_to(lane, begin)
            for number in range(begin, end):
                random.Random(self._seed * 1_000_003 + number).shuffle(lanes)
                for candidate, lane in lanes:
                    with collector_off():
                        turn = lane.turn(ROUND_FRAMES)
                    yield candidate, number, Round(turn.service_ns, turn.cpu_ns)

    def arriving(self, candidate: Candidate, fps: float, seconds: float) -> dict[str, Any]:
        """Frames arriving at a rate: what `Open` holds, and its utilisation."""
        with open_lane(self._path, self._bundle, candidate.setup()) as lane:
            lane.warm_up()
            [opened] = open_loop(
                [lane], fps, min_seconds=seconds, max_frames=1 << 30, seed=self._seed, step=lambda text: None
            )
        return asdict(opened) | {"utilisation": opened.utilisation}

    def _look(self, looking: Looking, frames: int) -> tuple[list[list[Face]], Round]:
        detector = open_detector(looking.detector, looking.detector_model)
        follower = FaceFollower(
            detector, scan_width=looking.detect_width, scan_every=looking.scan_every, confirm=CONFIRM_FRAMES
        )
        found, taken_ns, cpu_ns = [], [], 0
        with open_pictures(self._path) as pictures, collector_off():
            for frame in frames_of(pictures, frames):
                cpu, begun = time.process_time_ns(), time.perf_counter_ns()
                found.append(follower.find(frame.gray))
                taken_ns.append(time.perf_counter_ns() - begun)
                cpu_ns += time.process_time_ns() - cpu
                del frame  # else its buffers count as in use while the next one is read
        return found, Round(taken_ns, cpu_ns)


def _wind_to(lane: Lane, number: int) -> None:
    """Warm up, and be at the first frame of a round."""
    if number == 0:
        lane.warm_up()
        return
    for _ in range((number - 1) * ROUND_FRAMES):
        lane.pictures.take_any()
    lane.turn(ROUND_FRAMES)
