"""Open loop: frames arrive at a rate, whether or not the last one is done, through the capture thread that `run` uses.

A frame's age counts from when it was due, not from when it was fetched: a loop that is late must not be measured as if
the frame had waited for it (coordinated omission, Tene 2013).
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from fer_edge.devices.frame import Camera, Closing, Frame
from fer_edge.devices.fresh import CaptureCounts, FreshFrames
from fer_edge.edge_runtime.bench_pipeline_lane import ROUND_FRAMES, Lane
from fer_edge.edge_runtime.bench_pipeline_pictures import Pictures
from fer_edge.edge_runtime.bench_rounds import collector_off

_GIVE_UP_S = 30.0


@dataclass(frozen=True, slots=True)
class Clock:
    """The monotonic clock in nanoseconds, and how to wait until a time of it."""

    now_ns: Callable[[], int]
    wait_until_ns: Callable[[int], None]


def _wait_until_ns(due_ns: int) -> None:
    time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)


REAL = Clock(time.monotonic_ns, _wait_until_ns)


class Paced(Closing):
    """A camera of so many frames at a fixed rate, stamped with the time at which each was due.

    Args:
        pictures: what it shows; stays open.
        fps: frames a second.
        frames: after so many it ends.
        clock: what the rate goes by.

    `late` counts frames that were fetched more than a period after they were due.
    """

    still, live, damaged = False, True, 0

    def __init__(self, pictures: Pictures, fps: float, frames: int, clock: Clock = REAL) -> None:
        self.name = pictures.name
        self.fps: float | None = fps
        self.late = 0
        self._period_ns = 1e9 / fps
        self._pictures, self._frames, self._clock = pictures, frames, clock

    def __iter__(self) -> Iterator[Frame]:
        period_ns = self._period_ns
        begun_ns = self._clock.now_ns()
        for at in range(1, self._frames + 1):
            frame = self._pictures.take_any()
            due_ns = begun_ns + round(at * period_ns)
            self.late += self._clock.now_ns() > due_ns + period_ns
            self._clock.wait_until_ns(due_ns)
            yield replace(frame, t_capture_ns=due_ns, t_media_ns=None)
            del frame  # else its buffers count as in use while the next one is read


class Capture(Protocol):
    """What is asked of the capture thread."""

    counts: CaptureCounts

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Open:
    """What a lane made of the frames that came; `wall_ns` is how long they came, `busy_ns` the part spent labelling."""

    fps: float
    age_ns: list[int] = field(default_factory=list)
    interval_ns: list[int] = field(default_factory=list)
    frames: int = 0
    dropped: int = 0
    late: int = 0
    gaps: int = 0
    rounds: int = 0
    busy_ns: int = 0
    wall_ns: int = 0

    @property
    def utilisation(self) -> float | None:
        """0 to 1; None before anything was measured."""
        return min(1.0, self.busy_ns / self.wall_ns) if self.wall_ns else None


def open_loop(
    lanes: Sequence[Lane],
    fps: float,
    *,
    min_seconds: float,
    max_frames: int,
    seed: int,
    step: Callable[[str], None],
) -> list[Open]:
    """Let the lanes take turns at the same frames, in a new order each round.

    Args:
        lanes: warmed up.
        fps: arrivals a second.
        min_seconds: how long frames come to each lane at least.
        max_frames: that come to each lane at most, whatever `min_seconds` says.
        seed: of the order.
        step: told what is being done.
    """
    taken = [Open(fps) for _ in lanes]
    order = list(zip(lanes, taken, strict=True))
    shuffle = random.Random(seed).shuffle
    for lane in lanes:
        lane.pictures.restart()
    with collector_off():
        while lanes and taken[0].frames < max_frames and (not taken[0].rounds or taken[0].frames / fps < min_seconds):
            shuffle(order)
            frames = min(ROUND_FRAMES, max_frames - taken[0].frames)
            for lane, opened in order:
                open_turn(lane, opened, frames)
            step(f"open loop at {fps:g} frames a second, {taken[0].frames} frames")
    return taken


def open_turn(
    lane: Lane,
    opened: Open,
    frames: int,
    *,
    clock: Clock = REAL,
    capture: Callable[[Camera], Capture] = lambda camera: FreshFrames(camera, give_up_s=_GIVE_UP_S),
) -> None:
    """One turn of a lane: so many frames come, the newest is labelled; what happened is added to `opened`.

    Raises:
        SourceError: no frames come.
    """
    source = Paced(lane.pictures, opened.fps, frames, clock)
    begun_ns = clock.now_ns()
    labelled_ns: int | None = None
    fresh = capture(Camera(source.name, lambda: source))
    try:
        for frame in fresh:
            taken_ns, due_ns = clock.now_ns(), frame.t_capture_ns
            lane.labeller.observe(frame)
            del frame  # else its buffers count as in use while the next one is read
            now_ns = clock.now_ns()
            opened.busy_ns += now_ns - taken_ns
            opened.age_ns.append(now_ns - due_ns)
            if labelled_ns is not None:
                opened.interval_ns.append(now_ns - labelled_ns)
            labelled_ns = now_ns
    finally:
        fresh.close()
    opened.wall_ns += clock.now_ns() - begun_ns
    opened.rounds += 1
    opened.frames += fresh.counts.captured
    opened.dropped += fresh.counts.dropped
    opened.gaps += fresh.counts.gaps
    opened.late += source.late
