"""Percentiles that the sample supports: integer nanoseconds in, milliseconds out, None where there are too few."""

from collections.abc import Sequence

import numpy as np

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
