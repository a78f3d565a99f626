"""Ratios of times and their intervals, honest where neighbouring rounds are alike. Arrays in, numbers out.

What makes rounds alike: a clock that drifts, a neighbour that stays for seconds, a state of the caches. Resampling
single rounds would then give intervals that are too narrow; blocks of rounds keep what neighbours share. Must not know
engines.
"""

from collections.abc import Sequence
from itertools import chain
from math import ceil, log10, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.latency import quantile_ranks

RESAMPLES = 2000
MIN_ROUNDS = 6
"""With fewer rounds no 95% interval of a median exists: all could lie on one side (1/2^5 > 2.5%)."""
_LEAST_BLOCK = 0.2
"""A block holds at least so much of all rounds. In simulated runs of 70 rounds with lanes of a correlation of 0.5 to
0.8 the automatic length alone called equal variants different in 9 to 18%; with a fifth of all it is 4 to 7%, and where
there is no correlation the interval is only a tenth wider."""
_CHUNK = 1 << 20
_T_TABLE = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Student's t, 97.5%, by degrees of freedom from 1; more than ten count as ten, which errs to the wide side."""
Floats = NDArray[np.float64]


def paired_ratio(mine_ns: Sequence[float], base_ns: Sequence[float], seed: int) -> dict[str, Any]:
    """The median of the ratios within rounds, and its 95% interval.

    Args:
        mine_ns: a time by round, such as the round's median.
        base_ns: the other's, of the same rounds.
        seed: of the resampling.

    Returns:
        `{"time_ratio", "interval": [low, high], "rounds"}`; under 1, mine is faster. The interval is None with fewer
        than `MIN_ROUNDS` rounds.
    """
    logs = np.log(np.asarray(mine_ns, float) / np.asarray(base_ns, float))
    found = median_interval(logs, seed)
    return {
        "time_ratio": float(np.exp(np.median(logs))),
        "interval": None if found is None else [float(np.exp(end)) for end in found],
        "rounds": len(logs),
    }


def unpaired_ratio(mine_ns: Sequence[float], base_ns: Sequence[float], seed: int) -> dict[str, Any]:
    """The ratio of the medians of two runs, and its 95% interval; as `paired_ratio`, but no round of one belongs to one
    of the other. `rounds` is the smaller number of the two.

    It knows the spread within each run alone: what differs from one start of a program to the next is not in it.
    """
    mine, base = (np.log(np.asarray(times, float)) for times in (mine_ns, base_ns))
    middle = float(np.median(mine) - np.median(base))
    rounds = min(len(mine), len(base))
    interval = None
    if rounds >= MIN_ROUNDS:
        sides = [_widened_medians(logs, seed + at) for at, logs in enumerate((mine, base))]
        low, high = np.percentile(sides[0] - sides[1], (2.5, 97.5))
        interval = [float(np.exp(min(low, middle))), float(np.exp(max(high, middle)))]
    return {"time_ratio": float(np.exp(middle)), "interval": interval, "rounds": rounds}


def runs_ratio(mine_ns: Sequence[Sequence[float]], base_ns: Sequence[Sequence[float]], seed: int) -> dict[str, Any]:
    """As `unpaired_ratio`, from several runs of each: Welch's interval (1947) of the runs' log medians, so that what
    differs from one start to the next is in it; never narrower than that of the rounds of all runs together.

    Args:
        mine_ns, base_ns: two runs at least; of each the times by round.
        seed: of the resampling.
    """
    sides = [np.array([np.median(np.log(run)) for run in runs]) for runs in (mine_ns, base_ns)]
    squares = [float(np.var(side, ddof=1)) / len(side) for side in sides]
    total = sum(squares)
    freedom = (
        total**2 / sum(square**2 / (len(side) - 1) for square, side in zip(squares, sides, strict=True)) if total else 1
    )
    reach = _T_TABLE[min(int(freedom), len(_T_TABLE)) - 1] * sqrt(total)
    middle = float(sides[0].mean() - sides[1].mean())
    within = unpaired_ratio([*chain(*mine_ns)], [*chain(*base_ns)], seed)
    ends = [float(np.exp(middle - reach)), float(np.exp(middle + reach))]
    if within["interval"] is not None:
        ends = [min(ends[0], within["interval"][0]), max(ends[1], within["interval"][1])]
    return {"time_ratio": float(np.exp(middle)), "interval": ends, "rounds": within["rounds"]}


def median_interval(values: Floats, seed: int) -> tuple[float, float] | None:
    """95% interval of the median of a series whose neighbours may be alike; None with fewer than `MIN_ROUNDS` values.

    Percentiles of a circular block bootstrap (Politis and Romano 1992), widened as `_widening` says; never narrower
    than the exact interval for independent values (`quantile_ranks`).
    """
    ranks = quantile_ranks(len(values), 0.5) if len(values) >= MIN_ROUNDS else None
    if ranks is None:
        return None
    low, high = np.percentile(_widened_medians(values, seed), (2.5, 97.5))
    ordered = np.sort(values)
    return float(min(low, ordered[ranks[0] - 1])), float(max(high, ordered[ranks[1] - 1]))


def _widened_medians(values: Floats, seed: int) -> Floats:
    """Medians of resamples, their distances from the series' own median widened."""
    n = len(values)
    block = min(n, ceil(max(block_length(_ranks(values)), _LEAST_BLOCK * n)))
    middle = np.median(values)
    return middle + (_resampled_medians(values, block, seed) - middle) * _widening(block / n)


def _resampled_medians(values: Floats, block: int, seed: int) -> Floats:
    """Medians (RESAMPLES,) of as many values each, put together from blocks of neighbours around the circle."""
    n, rng = len(values), np.random.default_rng(seed)
    blocks = -(-n // block)
    medians = []
    for done in range(0, RESAMPLES, at_once := max(1, _CHUNK // n)):  # a Pi has no room for all at once
        starts = rng.integers(0, n, (min(at_once, RESAMPLES - done), blocks, 1))
        picked = ((starts + np.arange(block)) % n).reshape(len(starts), -1)[:, :n]
        medians.append(np.median(values[picked], axis=1))
    return np.concatenate(medians)


def _widening(share: float) -> float:
    """How much wider than the bootstrap's an interval must be whose blocks hold this share of the series.

    The bootstrap's variance is the long-run variance with Bartlett's kernel of the block's length (Künsch 1989), from
    few blocks, so it is too small and too uncertain for the normal's 1.96: the critical value that heeds both is that
    of Kiefer and Vogelsang (2005, Econometric Theory 21, 1130, table 1, Bartlett, 97.5%).
    """
    return (1.96 + 2.9694 * share + 0.416 * share**2 - 0.5324 * share**3) / 1.96


def block_length(values: Floats) -> float:
    """How many neighbours belong together, at least 1: Politis and White (2004), corrected by Patton, Politis and White
    (2009, Econometric Reviews 28, 372), for the circular block bootstrap."""
    n = len(values)
    centred = values - values.mean()
    window = max(5, ceil(sqrt(log10(n))))
    longest = min(ceil(sqrt(n)) + window, n - 1)
    covariance = np.array([centred[: n - lag] @ centred[lag:] / n for lag in range(longest + 1)])
    if covariance[0] == 0:
        return 1.0
    noise = 2 * sqrt(log10(n) / n)
    quiet = np.abs(covariance[1:] / covariance[0]) < noise
    last = next((lag for lag in range(longest - window + 1) if quiet[lag : lag + window].all()), None)
    if last is None:  # no lag from which on all is noise
        last = longest - int(np.argmin(quiet[::-1]))
    width = min(2 * max(last, 1), longest)
    lags = np.arange(-width, width + 1)
    flat_top = np.clip(2 * (1 - np.abs(lags) / width), 0, 1)
    weighed = flat_top * covariance[np.abs(lags)]
    spread = weighed.sum()
    if spread <= 0:
        return 1.0
    length = (2 * (np.abs(lags) @ weighed) ** 2 / (4 / 3 * spread**2)) ** (1 / 3) * n ** (1 / 3)
    return float(np.clip(length, 1, ceil(min(3 * sqrt(n), n / 3))))


def _ranks(values: Floats) -> Floats:
    """Ranks from 0: a stall must not hide how alike the neighbours are."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks
