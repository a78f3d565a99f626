"""What is better: the score of a setting under an aim, whether two differ at all, and which are dominated by none.

Pure functions of samples; lower scores are better.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from fer_edge.edge_runtime.bench_stats import paired_ratio

REACHED = 0.01
"""Part of the frames that may be dropped where a frame rate counts as reached."""
SAME = 0.05
"""Part of a time by which two may differ and count as equally fast."""
T = TypeVar("T")


@dataclass(slots=True)
class Round:
    """One turn of a candidate: nanoseconds from each frame to its label, and the CPU time of all threads for all."""

    service_ns: list[int]
    cpu_ns: int


@dataclass(frozen=True, slots=True)
class Aim:
    """`fps` None: the least p90 from frame to label. Else: so many frames a second with the least CPU time.

    `clip_fps` is the rate that counts where `fps` is None: a p90 hides rare full scans, and the frames that those make
    drop. None asks for no rate.
    """

    fps: float | None = None
    clip_fps: float | None = None

    def __str__(self) -> str:
        return "the least p90 latency" if self.fps is None else f"{self.fps:g} frames a second with the least CPU time"

    def score(self, rounds: Sequence[Round]) -> tuple[float, float]:
        """First whether the rate is missed, then p90 or CPU time; medians over rounds, which a stalled one moves not.

        Returns:
            (missed, milliseconds): the part of frames dropped at the rate, 0 where it is `REACHED` at most; p90, or CPU
            time a frame where the rate is what was asked for and is reached.
        """
        rate = self.fps or self.clip_fps
        lost = 0.0 if rate is None else _median(dropped_share(taken.service_ns, 1e9 / rate) for taken in rounds)
        if lost > REACHED:
            return lost, _median(p90_ms(taken) for taken in rounds)
        return 0.0, _median(self.figure(taken) for taken in rounds)

    def figure(self, taken: Round) -> float:
        """What settings are compared by, of one round: p90 or CPU time in milliseconds."""
        return p90_ms(taken) if self.fps is None else cpu_ms([taken])


def _median(values: Iterable[float]) -> float:
    return float(np.median(list(values)))


def p90_ms(taken: Round) -> float:
    """The 90th percentile, for ranking; whether a sample is large enough to publish it is `latency`'s to say."""
    return float(np.percentile(taken.service_ns, 90)) / 1e6


def cpu_ms(rounds: Sequence[Round]) -> float:
    """CPU time a frame, of all threads."""
    return sum(taken.cpu_ns for taken in rounds) / sum(len(taken.service_ns) for taken in rounds) / 1e6


def dropped_share(service_ns: Sequence[float], period_ns: float) -> float:
    """Part of the frames that would be replaced by a newer one if they came once a period and the newest is taken.

    One slot, as the capture thread has it, on the service times in their order, over and over if need be: arrivals are
    counted until every time was used once.
    """
    now, arrived, dropped = 0.0, 0, 0
    for spent in service_ns:
        newest = max(arrived, int(now // period_ns))  # frame k arrives at k periods
        dropped += newest - arrived
        now = max(now, newest * period_ns) + spent
        arrived = newest + 1
    return dropped / arrived if arrived else 0.0


@dataclass(slots=True)
class Comparison:
    """`ratio` of the two figures with its 95% interval; under 1, the first is better. None with too few rounds."""

    ratio: float
    low: float | None
    high: float | None
    rounds: int

    @property
    def differs(self) -> bool:
        """Whether the whole interval lies on one side of 1."""
        return self.low is not None and self.high is not None and (self.low > 1 or self.high < 1)

    @property
    def is_settled(self) -> bool:
        """Whether they differ, or the whole interval lies within `SAME` of 1: more rounds would change no choice."""
        if self.low is None or self.high is None:
            return False
        return self.differs or (self.low > 1 - SAME and self.high < 1 + SAME)

    @property
    def is_as_good(self) -> bool:
        """Whether the first is not shown to be worse, and by its figure no more than `SAME` worse."""
        return self.ratio < 1 + SAME and (self.low is None or self.low <= 1)


def compared(aim: Aim, mine: Mapping[int, Round], theirs: Mapping[int, Round], seed: int = 0) -> Comparison:
    """Two candidates by the aim's figure, paired by the rounds that both took part in, which go by their numbers."""
    both = sorted(mine.keys() & theirs.keys())
    first, second = ([aim.figure(side[number]) for number in both] for side in (mine, theirs))
    found = paired_ratio(first, second, seed)
    low, high = found["interval"] or (None, None)
    return Comparison(found["time_ratio"], low, high, len(both))


def front(items: Iterable[T], costs: Callable[[T], tuple[float, ...]]) -> list[T]:
    """Those that no other is at least as good as in every cost and better in one (Pareto), by their first cost.

    Of several with equal costs the first is kept.
    """
    rows = sorted(((costs(item), at, item) for at, item in enumerate(items)), key=lambda row: row[:2])
    kept: list[tuple[tuple[float, ...], T]] = []
    for cost, _, item in rows:
        if not any(all(k <= c for k, c in zip(other, cost, strict=True)) for other, _ in kept):
            kept.append((cost, item))
    return [item for _, item in kept]


@dataclass(slots=True)
class Tried:
    """A candidate's rounds so far by their numbers, and in how many halvings it stayed in."""

    by_number: dict[int, Round] = field(default_factory=dict)
    rungs: int = 0

    @property
    def rounds(self) -> list[Round]:
        """In the order in which they were run."""
        return list(self.by_number.values())
