"""Takes times: warm-up until stable, then rounds in which all lanes take their turn in a new order each time.

A clock that drifts or a neighbour that wakes up then hits all lanes alike, and ratios within a round are fair. Nothing
is clipped. Owns the timed loop; must not know engines, files or reports. The clock is given, so that tests need none.
"""

import gc
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.bench_subject import Stage, Subject

ROUND_SAMPLES = 10
"""Calls in a turn at least, where `min_samples` asks for enough."""
MIN_ROUNDS = 20
"""Fewer give ratios no interval that is worth having."""
_LEAD_IN = 2
"""Calls at the begin of a turn that are not timed: other models have had the caches."""
_QUIET_SHARE, _LOOK_S, _MAX_LOOKS = 0.1, 0.001, 200
_WINDOW_CALLS, _WINDOW_NS = 5, 50_000_000
_STABLE_WINDOWS, _STABLE_SPREAD = 3, 1.05
_MAX_WINDOWS, _MAX_WARMUP = 40, 10_000_000_000
Clock = Callable[[], int]
Step = Callable[[str], None]


@dataclass(eq=False)
class Lane:
    """One subject while it is measured. `times_ns` are (calls, stages) of each turn, `spent_ns` their sum."""

    subject: Subject
    warmup_calls: int = 0
    stable: bool = False
    usual_ns: float = 0.0
    times_ns: list[NDArray[np.int64]] = field(default_factory=list)
    spent_ns: int = 0
    _next: int = 0

    def forget(self) -> None:
        """Begin anew, warm-up included."""
        self.times_ns, self.spent_ns, self.warmup_calls, self.stable = [], 0, 0, False

    def turn(self, calls: int, clock: Clock) -> None:
        """Take a turn in a round, and keep its times."""
        self.take(_LEAD_IN, clock)
        taken = self.take(calls, clock)
        self.times_ns.append(taken)
        self.spent_ns += int(taken.sum())

    def take(self, calls: int, clock: Clock) -> NDArray[np.int64]:
        """Call the subject so often; nanoseconds (calls, stages)."""
        inputs = self.subject.inputs
        chosen = [inputs[(self._next + at) % len(inputs)] for at in range(calls)]
        self._next = (self._next + calls) % len(inputs)
        return timed_calls(self.subject.stages, chosen, clock)

    @property
    def samples_ns(self) -> NDArray[np.int64]:
        """Of whole calls, in order."""
        return np.concatenate([turn.sum(axis=1) for turn in self.times_ns])

    @property
    def stage_samples_ns(self) -> dict[str, NDArray[np.int64]]:
        """Of each stage, in order."""
        whole = np.concatenate(self.times_ns)
        return {name: whole[:, at] for at, (name, _) in enumerate(self.subject.stages)}

    @property
    def round_medians_ns(self) -> list[float]:
        """The median call of each round."""
        return [float(np.median(turn.sum(axis=1))) for turn in self.times_ns]


def timed_calls(stages: Sequence[Stage], inputs: Sequence[Any], clock: Clock) -> NDArray[np.int64]:
    """Nanoseconds (inputs, stages): each input goes through the stages, and the clock is read between them."""
    functions = [function for _, function in stages]
    stamps: list[int] = []
    stamp = stamps.append
    for value in inputs:
        stamp(clock())
        for function in functions:
            value = function(value)
            stamp(clock())
    return np.diff(np.array(stamps, np.int64).reshape(len(inputs), len(functions) + 1))


def timer_overhead_ns(clock: Clock = time.perf_counter_ns) -> float:
    """What the loop itself adds to each stage of each call: the median time of a stage that does nothing."""
    with collector_off():
        return float(np.median(timed_calls([("nothing", lambda value: value)], [None] * 2000, clock)))


def warm_up(lane: Lane, clock: Clock = time.perf_counter_ns) -> None:
    """Call until the medians of three windows on end lie within 5%, or give up after 40 windows or ten seconds.

    A window is 50 ms and five calls at least: a governor takes some of them to raise the clock.
    """
    medians: list[float] = []
    spent = 0
    while not lane.stable and (len(medians) < _STABLE_WINDOWS or (len(medians) < _MAX_WINDOWS and spent < _MAX_WARMUP)):
        window = lane.take(_WINDOW_CALLS, clock).sum(axis=1)
        while 0 < window.sum() < _WINDOW_NS:
            window = np.concatenate((window, lane.take(_WINDOW_CALLS, clock).sum(axis=1)))
        medians.append(float(np.median(window)))
        lane.warmup_calls += len(window)
        spent += int(window.sum())
        latest = medians[-_STABLE_WINDOWS:]
        lane.stable = len(latest) == _STABLE_WINDOWS and max(latest) <= _STABLE_SPREAD * min(latest)
    lane.usual_ns = medians[-1]


def measure(
    lanes: Sequence[Lane],
    *,
    min_seconds: float,
    min_samples: int,
    seed: int,
    between: Callable[[], None] = lambda: None,
    rest: Callable[[], None] = lambda: None,
    step: Step = lambda what: None,
    clock: Clock = time.perf_counter_ns,
) -> int:
    """Warm the lanes up and let them take turns until each has `min_seconds` and `min_samples`.

    A turn is `round_samples(min_samples)` calls at least. A lane whose calls are short takes more, so that all lanes
    reach `min_seconds` in about as many rounds: else the slowest would be measured for minutes.

    Args:
        lanes: what was measured of them before is forgotten.
        seed: of the order of the turns.
        between: called after the turn of the first lane, never within a timed part.
        rest: called after each turn; see `until_quiet`.
        step: told what is being done.
        clock: nanoseconds.

    Returns:
        The number of rounds.
    """
    least = round_samples(min_samples)
    rounds_wanted = max(MIN_ROUNDS, ceil(min_samples / least))
    shuffle, order = random.Random(seed).shuffle, list(lanes)
    with collector_off():
        for lane in lanes:
            lane.forget()
            step(f"warming up {lane.subject.spec.engine}/{lane.subject.spec.precision}")
            warm_up(lane, clock)
        calls = {lane: _calls(lane, least, min_seconds / rounds_wanted) for lane in lanes}
        done = 0
        while done < rounds_wanted or any(lane.spent_ns < min_seconds * 1e9 for lane in lanes):
            shuffle(order)
            for lane in order:
                lane.turn(calls[lane], clock)
                rest()
                if lane is lanes[0]:
                    between()
            done += 1
            if done % 5 == 0 or done == rounds_wanted:
                step(f"round {done} of {max(done, rounds_wanted)}")
    return done


def until_quiet(cpu_s: Callable[[], float] = time.process_time, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until the process uses less than a tenth of a core, a fifth of a second at most.

    The threads of an engine go on spinning for new work after a call (ONNX Runtime's for about 30 ms on the machine
    where it was tried), and would take the cores of whoever comes next.
    """
    for _ in range(_MAX_LOOKS):
        begun = cpu_s()
        sleep(_LOOK_S)
        if cpu_s() - begun < _QUIET_SHARE * _LOOK_S:
            return


def round_samples(min_samples: int) -> int:
    """Calls in a turn at least: ten, or fewer where so few samples are wanted that rounds would become few."""
    return max(1, min(ROUND_SAMPLES, min_samples // MIN_ROUNDS))


def _calls(lane: Lane, least: int, turn_seconds: float) -> int:
    return max(least, ceil(turn_seconds * 1e9 / lane.usual_ns)) if lane.usual_ns else least


@contextmanager
def collector_off() -> Iterator[None]:
    """No garbage collection in the middle of a timed loop; afterwards as it was."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
