"""Percentiles that the sample supports: integer nanoseconds in, milliseconds out, None where there are too few."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_SAMPLES = {50: 11, 90: 64, 95: 130, 99: 662}
"""Samples that a percentile needs (MLPerf Inference's early-stopping rule, 99% confidence)."""


def percentile_ms(samples_ns: Sequence[int] | np.ndarray, percent: int) -> float | None:
    """The percentile in milliseconds, or None when the sample is too small for it."""
    if len(samples_ns) < MIN_SAMPLES[percent]:
        return None
    return float(np.percentile(samples_ns, percent)) / 1e6


def summarize(samples_ns: Sequence[int] | np.ndarray) -> dict[str, float | int | None]:
    """Count, mean, minimum and the percentiles that the count supports; all but the count in milliseconds."""
    summary: dict[str, float | int | None] = {
        "count": len(samples_ns),
        "mean_ms": float(np.mean(samples_ns)) / 1e6 if len(samples_ns) else None,
        "min_ms": float(np.min(samples_ns)) / 1e6 if len(samples_ns) else None,
    }
    return summary | {f"p{percent}_ms": percentile_ms(samples_ns, percent) for percent in MIN_SAMPLES}


def distribution(samples_ns: Sequence[int] | np.ndarray) -> dict[str, Any]:
    """What a bench report says of a sample: `summarize`, the maximum, and each percentile with its 95% interval.

    Returns:
        `{"count", "mean_ms", "min_ms", "max_ms", "p50": {"ms", "low_ms", "high_ms"}, "p90", "p95", "p99"}`; a
        percentile is None where the sample is too small for it.
    """
    ordered = np.sort(np.asarray(samples_ns))
    known = len(ordered) > 0
    made: dict[str, Any] = {
        "count": len(ordered),
        "mean_ms": float(ordered.mean()) / 1e6 if known else None,
        "min_ms": float(ordered[0]) / 1e6 if known else None,
        "max_ms": float(ordered[-1]) / 1e6 if known else None,
    }
    return made | {f"p{percent}": _with_interval(ordered, percent) for percent in MIN_SAMPLES}


def _with_interval(ordered: np.ndarray, percent: int) -> dict[str, float] | None:
    value = percentile_ms(ordered, percent)
    ranks = quantile_ranks(len(ordered), percent / 100) if value is not None else None
    if value is None or ranks is None:
        return None
    low, high = (float(ordered[rank - 1]) / 1e6 for rank in ranks)
    return {"ms": value, "low_ms": low, "high_ms": high}


def quantile_ranks(n: int, quantile: float, confidence: float = 0.95) -> tuple[int, int] | None:
    """Ranks of the two order statistics, from 1, between which the quantile lies with this confidence at least.

    Distribution-free: how many of n independent samples lie below a quantile q is binomial(n, q), whatever the
    distribution (Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2). Each side may err with half of
    what is left. None where n is too small for it.
    """
    tail = (1 - confidence) / 2
    below = np.cumsum(_binomial(n, quantile))  # P(at most k of the samples lie below the quantile)
    low = int(np.searchsorted(below, tail, side="right"))  # the largest with P(fewer than low) <= tail
    high = int(np.searchsorted(below, 1 - tail, side="left")) + 1  # the smallest with P(high or more) <= tail
    return (low, high) if low >= 1 and high <= n else None


def _binomial(n: int, p: float) -> NDArray[np.float64]:
    """The probabilities of 0 to n successes; by logarithms, which do not overflow."""
    k = np.arange(n)
    log_choose = np.concatenate(([0.0], np.cumsum(np.log((n - k) / (k + 1)))))
    successes = np.arange(n + 1)
    return np.exp(log_choose + successes * np.log(p) + (n - successes) * np.log1p(-p))
