"""Closed loop: each frame is labelled as soon as the last is done, so what is measured is service time.

It cannot say what happens when frames do not wait (coordinated omission): that is what the open loop is for.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from fer_edge.edge_runtime.bench_pipeline_lane import ROUND_FRAMES, Lane, Turn
from fer_edge.edge_runtime.bench_rounds import collector_off
from fer_edge.edge_runtime.labeller import STAGES


@dataclass(slots=True)
class Closed:
    """What a lane took, frame by frame in order: nanoseconds by stage; turns are rounds of `ROUND_FRAMES`."""

    stage_ns: dict[str, list[int]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    round_medians_ns: list[float] = field(default_factory=list)
    faces: int = 0

    @property
    def frames(self) -> int:
        return len(self.stage_ns["total"])

    @property
    def spent_ns(self) -> int:
        return sum(self.stage_ns["total"])

    def add(self, turn: Turn) -> None:
        """One more round."""
        for stage, samples_ns in turn.stage_ns.items():
            self.stage_ns[stage] += samples_ns
        self.round_medians_ns.append(float(np.median(turn.total_ns)))
        self.faces += turn.faces


def closed_loop(
    lanes: Sequence[Lane],
    *,
    min_seconds: float,
    max_frames: int,
    seed: int,
    step: Callable[[str], None],
) -> list[Closed]:
    """Let the lanes take turns over the same frames, in a new order each round.

    Args:
        lanes: warmed up here.
        min_seconds: labelling time that each lane gets at least, and one pass over the clip or the photos.
        max_frames: of each lane at most, whatever `min_seconds` says.
        seed: of the order.
        step: told what is being done.

    Returns:
        What each lane took; all saw the same number of frames.
    """
    taken = [Closed() for _ in lanes]
    for lane in lanes:
        lane.warm_up()
    order = list(zip(lanes, taken, strict=True))
    shuffle = random.Random(seed).shuffle
    with collector_off():
        while not _is_enough(order, min_seconds, max_frames):
            shuffle(order)
            frames = min(ROUND_FRAMES, max_frames - taken[0].frames)
            for lane, closed in order:
                closed.add(lane.turn(frames))
            step(f"closed loop, {taken[0].frames} frames")
    return taken


def _is_enough(order: list[tuple[Lane, Closed]], min_seconds: float, max_frames: int) -> bool:
    if not order or order[0][1].frames >= max_frames:
        return True
    return all(
        closed.spent_ns >= min_seconds * 1e9 and closed.frames >= max(1, lane.pictures.length) for lane, closed in order
    )
