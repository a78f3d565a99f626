"""Intervals and tests of shares and of paired differences: pure functions of counts, each with its source.

Must not know models, logits or emotions. All intervals are two-sided with 95%; drops are in percentage points (pp).
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RESAMPLES = 10_000
CONFIDENCE = 0.95
Z = 1.959963984540054
"""The normal's 97.5% quantile."""


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95% score interval of a proportion (Wilson 1927)."""
    interval = stats.binomtest(successes, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar_exact(only_reference: int, only_variant: int) -> float:
    """Two-sided exact p of McNemar's test: are the discordant images a fair coin? 1.0 when there are none."""
    n = only_reference + only_variant
    return float(stats.binomtest(only_reference, n, 0.5).pvalue) if n else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (Holm 1979), in the order given.

    Calling those under 5% different errs anywhere among them in at most 5% of the studies.
    """
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, p_values[at] * (len(p_values) - rank)))
        adjusted[at] = least
    return adjusted


def paired_bootstrap_drop_pp(
    reference_right: NDArray[np.bool_], variant_right: NDArray[np.bool_], seed: int = 0
) -> tuple[float, float]:
    """95% percentile interval of the accuracy lost, in pp, resampling images in pairs.

    A resample of n pairs is a multinomial draw over the three possible differences (+1, 0, -1), so it is drawn as such.
    """
    difference = reference_right.astype(np.int8) - variant_right.astype(np.int8)
    n = len(difference)
    shares = [float((difference == value).mean()) for value in (1, 0, -1)]
    draws = np.random.default_rng(seed).multinomial(n, shares, RESAMPLES)
    low, high = np.percentile((draws[:, 0] - draws[:, 2]) * 100 / n, (2.5, 97.5))
    return float(low), float(high)


def drop_bound_pp(lost: int, won: int, n: int) -> float:
    """Upper end of the 95% interval of the accuracy lost, in pp.

    Wald's interval after adding 1/2 to each cell of the paired table (Agresti and Min 2005).
    """
    b, c, total = lost + 0.5, won + 0.5, n + 2
    spread = np.sqrt(b + c - (b - c) ** 2 / total)
    return float((b - c + stats.norm.ppf(0.975) * spread) / total * 100)


def score_interval_pp(lost: int, won: int, n: int) -> tuple[float, float]:
    """Tango's 95% score interval of the accuracy lost, in pp (Tango 1998, Statistics in Medicine 17, 891).

    It holds the losses that a score test on the paired table does not refuse. Where few labels differ and most of them
    for the worse, too, a loss beyond its upper end is had in at most 2.5% of samples; Agresti and Min's bound is left
    behind in up to 13% there.

    Args:
        lost: images that only the reference names rightly.
        won: images that only the variant names rightly.
        n: all images.
    """
    return -_score_upper(won, lost, n) * 100, _score_upper(lost, won, n) * 100


def _score_upper(b: int, c: int, n: int) -> float:
    """The difference of shares, above the (b - c) / n that was seen, at which the score statistic falls to -Z."""
    low, high = (b - c) / n, 1.0
    for _ in range(60):  # halves down to the last bit
        delta = (low + high) / 2
        linear = -b - c + (2 * n - b + c) * delta
        root = sqrt(max(linear * linear + 8 * n * c * delta * (1 - delta), 0.0))
        share_c = (root - linear) / (4 * n)  # the most likely share of c if that of b is greater by delta
        spread = sqrt(max(n * (2 * share_c + delta * (1 - delta)), 0.0))
        if b - c - n * delta + Z * spread > 0:
            low = delta
        else:
            high = delta
    return high
