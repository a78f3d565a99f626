"""What range of an activation the 256 levels of int8 are spread over: pure functions from a histogram to a range.

Wide ranges make coarse steps, narrow ones clip. Four answers: all that was seen (`minmax`), all but a share
(`percentile`), the least information lost (`entropy`), the least squared error (`mse`). Knows no engine.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_edge.calibration.histogram import BINS, Histogram

METHODS = ("minmax", "percentile", "entropy", "mse")
LEVELS = 256
CANDIDATES = 1024
"""Thresholds that `entropy` tries, evenly spaced over the bins in use."""
CLIPS = 128
"""Clip values that `mse` tries at each end, evenly spaced."""


@dataclass(frozen=True, slots=True)
class Range:
    """Ends of what can be represented; zero is inside, because padding and ReLU need it exact (Jacob et al. 2018)."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (
            np.isfinite(self.low) and np.isfinite(self.high) and self.low <= 0 <= self.high and self.low < self.high
        ):
            raise ValueError(f"expected low <= 0 <= high and low < high, got {self.low} and {self.high}")

    def nudged(self) -> "Range":
        """The nearest range of the same width with zero on one of the levels (Jacob et al. 2018, section 3)."""
        scale = (self.high - self.low) / (LEVELS - 1)
        below = round(-self.low / scale)
        return Range(-below * scale, (LEVELS - 1 - below) * scale)


def range_of(histogram: Histogram, method: str, percent: float = 99.99) -> Range:
    """The range by one of `METHODS`; `percent` is for `percentile` alone.

    Raises:
        ValueError: the method is unknown, or the percentile is outside 50 to 100.
    """
    if method == "percentile":
        return percentile(histogram, percent)
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(METHODS)}")
    return {"minmax": minmax, "entropy": entropy, "mse": mse}[method](histogram)


def minmax(histogram: Histogram) -> Range:
    """Everything that was seen, and zero."""
    return _range(histogram.minimum, histogram.maximum)


def percentile(histogram: Histogram, percent: float) -> Range:
    """From the (100 - percent)th to the percent-th percentile of all values, zeros too, to a bin's outer edge.

    Raises:
        ValueError: `percent` is not over 50 and at most 100.
    """
    if not 50 < percent <= 100:
        raise ValueError(f"expected a percentile over 50 and at most 100, got {percent}")
    total, share = histogram.total, 1 - percent / 100
    edges, counts = histogram.edges(), histogram.counts
    beyond = int(np.floor(total * share + 1e-9))  # so many may lie outside, on each side
    low = edges[int(np.argmax(np.cumsum(counts) > beyond))]
    high = edges[2 * BINS - int(np.argmax(np.cumsum(counts[::-1]) > beyond))]
    return _range(max(low, histogram.minimum), min(high, histogram.maximum))


def entropy(histogram: Histogram) -> Range:
    """The range whose 256 levels lose the least information of the distribution (Migacz 2017, "8-bit Inference with
    TensorRT", pages 33 to 38).

    For every threshold: what lies beyond is added to the outermost bin (P), the bins inside are merged into levels and
    each level spread again over its bins that are not empty (Q); the threshold with the least divergence of Q from P is
    taken. Of a tensor with both signs the window grows on both sides of zero alike. Exact zeros are left out: no
    threshold loses them, and the spike would be charged to every level that shares its bin.
    """
    counts = histogram.counts.astype(np.float64)
    counts[BINS] -= histogram.zeros
    filled = np.flatnonzero(counts)
    if len(filled) == 0:
        return minmax(histogram)
    first, last = min(int(filled[0]), BINS), max(int(filled[-1]) + 1, BINS)
    reach = max(BINS - first, last - BINS)
    sides = (first < BINS) + (last > BINS)
    least = LEVELS // sides
    if reach <= least:
        return minmax(histogram)
    window = np.unique(np.linspace(least, reach, min(CANDIDATES, reach - least + 1)).astype(int))
    starts, stops = np.maximum(BINS - window, first), np.minimum(BINS + window, last)
    best = int(np.argmin(_divergence(counts, starts, stops)))
    edges = histogram.edges()
    return _range(max(edges[starts[best]], histogram.minimum), min(edges[stops[best]], histogram.maximum))


def _divergence(
    counts: NDArray[np.float64], starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Kullback-Leibler divergence (T,), in nats, of each window of bins in 256 levels from the whole.

    Sums over a level's bins are differences of running sums, so that a threshold costs 256 steps and not one a bin.
    """
    total = counts.sum()
    running = np.concatenate([[0.0], np.cumsum(counts)])
    filled = np.concatenate([[0], np.cumsum(counts > 0)])
    x_log_x = np.concatenate([[0.0], np.cumsum(_x_log_x(counts))])
    left, right = running[starts], total - running[stops]  # what is clipped, on either side
    cut = starts[:, None] + (np.arange(LEVELS + 1) * (stops - starts)[:, None]) // LEVELS
    kept = np.diff(running[cut])
    bins = np.diff(filled[cut])
    ends = ((0, starts, left), (-1, stops - 1, right))
    whole, of_p = kept.copy(), x_log_x[stops] - x_log_x[starts]
    for level, place, clipped in ends:
        whole[:, level] += clipped
        bins[:, level] += (counts[place] == 0) & (clipped > 0)
        of_p += _x_log_x(counts[place] + clipped) - _x_log_x(counts[place])
    # A level that only clipped values fall into has none of Q; half a value keeps what it costs finite.
    kept = np.where(whole > 0, np.maximum(kept, 0.5), 0.0)
    spread = whole * np.log(np.where(whole > 0, kept, 1.0) / np.maximum(bins, 1))
    return (of_p - spread.sum(1)) / total - np.log(total) + np.log(kept.sum(1))


def _x_log_x(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x * np.log(np.where(x > 0, x, 1.0))


def mse(histogram: Histogram) -> Range:
    """The range with the least mean squared error of clipping and rounding together.

    Both ends are first drawn in by one factor, then each alone while that helps. Clipping at 3.92 standard deviations
    is the optimum of a normal distribution in 256 levels (Banner et al. 2019, "Post training 4-bit quantization").
    """
    seen = minmax(histogram)
    factors = np.arange(1, CLIPS + 1) / CLIPS
    errors = _squared_error(histogram, seen.low * factors, seen.high * factors)
    best, error = factors[int(np.argmin(errors))], float(errors.min())
    low, high = seen.low * best, seen.high * best
    while True:
        lows = np.concatenate([seen.low * factors, np.full(CLIPS, low)])
        highs = np.concatenate([np.full(CLIPS, high), seen.high * factors])
        errors = _squared_error(histogram, lows, highs)
        at = int(np.argmin(errors))
        if not errors[at] < error:
            return _range(low, high)
        low, high, error = lows[at], highs[at], float(errors[at])


def _squared_error(histogram: Histogram, lows: NDArray[np.float64], highs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Summed squared error (C,) of each range, values taken as even within a bin; zeros have none."""
    histogram = histogram.coarser(histogram.exponent + 2)  # two bins a level are enough, and four times as fast
    counts = histogram.counts.astype(np.float64)
    counts[BINS] -= histogram.zeros
    filled = np.flatnonzero(counts)
    counts, start = counts[filled], histogram.edges()[filled]
    errors = np.empty(len(lows))
    for at, (low, high) in enumerate(zip(lows, highs, strict=True)):
        step = max((high - low) / (LEVELS - 1), np.finfo(np.float64).tiny)
        inside = _antiderivative(np.clip([start, start + histogram.width], low, high) / step) * step**3
        below = (np.minimum([start, start + histogram.width], low) - low) ** 3 / 3
        above = (np.maximum([start, start + histogram.width], high) - high) ** 3 / 3
        errors[at] = counts @ np.diff(inside + below + above, axis=0)[0]
    return errors / histogram.width


def _antiderivative(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the squared distance of u from the nearest whole number."""
    whole = np.floor(u + 0.5)
    return whole / 12 + (u - whole) ** 3 / 3


def _range(low: float, high: float) -> Range:
    """With zero inside; of zeros alone 0 to 1, since any step holds them."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    return Range(low, high if low < high else 1.0)
