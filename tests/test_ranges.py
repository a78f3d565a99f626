"""Ranges of activations: histograms that add exactly, and four methods on distributions whose best range is known."""

import math

import numpy as np
import pytest

from fer_edge.calibration.histogram import BINS, Histogram
from fer_edge.calibration.ranges import (
    LEVELS,
    METHODS,
    Range,
    _divergence,
    entropy,
    minmax,
    mse,
    percentile,
    range_of,
)

RNG = np.random.default_rng(2013)
NORMAL = RNG.normal(size=1_000_000).astype(np.float32)
OUTLIER = np.append(np.abs(NORMAL), np.float32(60))


def of(*values: float) -> Histogram:
    return Histogram.of(np.array(values, np.float32))


def same(a: Histogram, b: Histogram) -> bool:
    about = [(h.exponent, h.zeros, h.minimum, h.maximum) for h in (a, b)]
    return about[0] == about[1] and np.array_equal(a.counts, b.counts)


# Histograms


def test_bins_are_powers_of_two_wide_and_hold_what_they_say() -> None:
    histogram = of(0, 0.5, 3, 3, -1)
    assert histogram.width == 4 / BINS  # 3 is under 4: the 4,096 bins on each side reach just that far
    filled = {float(histogram.edges()[i]): int(histogram.counts[i]) for i in np.flatnonzero(histogram.counts)}
    assert filled == {-1: 1, 0: 1, 0.5: 1, 3: 2}
    assert (histogram.total, histogram.zeros, histogram.minimum, histogram.maximum) == (5, 1, -1, 3)


@pytest.mark.parametrize("value", [1.0, 0.999, 1e-30, 3e38])
@pytest.mark.parametrize("sign", [1, -1])
def test_any_float_has_a_bin(value: float, sign: int) -> None:
    histogram = of(sign * value)
    (at,) = np.flatnonzero(histogram.counts)
    start = float(histogram.edges()[at])
    assert start <= np.float32(sign * value) <= start + histogram.width
    assert abs(at - BINS) >= BINS // 2 - 1  # at least half of the bins are in use


def test_adding_is_exact_whatever_the_order_and_the_parts() -> None:
    values = np.concatenate([NORMAL[:5000], NORMAL[:300] * 1000, np.zeros(7, np.float32), NORMAL[:20] * 1e-4])
    whole = Histogram.of(values)
    for parts in (np.split(values, [1, 5000, 5100]), np.split(values[::-1], [20, 21])):
        added = Histogram.of(parts[0])
        for part in parts[1:]:
            added = added + Histogram.of(part)
        assert same(added, whole)


def test_zeros_alone_add_to_anything() -> None:
    assert same(of(0, 0) + of(2, -3), of(0, 0, 2, -3))
    assert same(of(2, -3) + of(0, 0), of(0, 0, 2, -3))


@pytest.mark.parametrize("bad", [[], [math.nan], [1, math.inf]])
def test_what_cannot_be_counted_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        of(*bad)


# Ranges


@pytest.mark.parametrize(("low", "high"), [(0, 0), (1, 2), (-2, -1), (0, math.inf), (math.nan, 1)])
def test_a_range_holds_zero_and_has_a_width(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="expected low <= 0 <= high"):
        Range(low, high)


@pytest.mark.parametrize(
    ("given", "nudged"),
    [
        (Range(0, 255), (0, 255)),
        (Range(-0.4, 254.6), (0, 255)),
        (Range(-0.6, 254.4), (-1, 254)),
        (Range(-127.5, 127.5), (-128, 127)),
        (Range(-255, 0), (-255, 0)),
    ],
)
def test_nudging_puts_zero_on_a_level(given: Range, nudged: tuple[float, float]) -> None:
    assert (given.nudged().low, given.nudged().high) == nudged


@pytest.mark.parametrize(
    ("values", "expected"),
    [((1, 2, 3), (0, 3)), ((-1, 2), (-1, 2)), ((-3, -2), (-3, 0)), ((0, 0), (0, 1))],
)
def test_minmax_is_what_was_seen_and_zero(values: tuple[float, ...], expected: tuple[float, float]) -> None:
    found = minmax(of(*values))
    assert (found.low, found.high) == expected


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (-1, 3)])
def test_a_uniform_distribution_is_kept_whole(method: str, low: float, high: float) -> None:
    histogram = Histogram.of(RNG.uniform(low, high, 500_000).astype(np.float32))
    found = range_of(histogram, method, 100)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01 * (high - low))


def test_the_mse_clip_of_a_normal_distribution_is_the_published_one() -> None:
    """3.92 standard deviations in 256 levels (Banner et al. 2019, table of optimal clipping values)."""
    found = mse(Histogram.of(NORMAL))
    assert found.high == pytest.approx(3.92, abs=0.15)
    assert found.low == pytest.approx(-3.92, abs=0.15)


def test_the_mse_clip_of_a_laplace_distribution_is_the_published_one() -> None:
    """9.89 times the scale b in 256 levels (the same table)."""
    found = mse(Histogram.of(RNG.laplace(size=2_000_000).astype(np.float32)))
    assert found.high == pytest.approx(9.89, abs=0.4)


def squared_error(values: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / 255
    kept = np.clip(values, low, high)
    return float(((np.rint(kept / step) * step - values) ** 2).mean())


@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_no_other_clip_has_a_smaller_error_on_the_values_themselves(shift: float) -> None:
    values = np.maximum(NORMAL[:200_000] + np.float32(shift), 0)
    found = mse(Histogram.of(values))
    best = min(squared_error(values, 0, high) for high in np.linspace(0.3, 1, 71) * values.max())
    assert squared_error(values, 0, found.high) <= best * 1.01


def test_percentile_leaves_out_its_share_on_each_side() -> None:
    values = np.arange(-1000, 1001, dtype=np.float32)
    found = percentile(Histogram.of(values), 99)
    outside = ((values < found.low).sum(), (values > found.high).sum())
    assert outside == (20, 20)
    assert percentile(Histogram.of(values), 100) == Range(-1000, 1000)
    assert percentile(Histogram.of(np.maximum(values, 0)), 99).low == 0


@pytest.mark.parametrize("percent", [50, 100.1, math.nan])
def test_a_percentile_out_of_bounds_is_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="expected a percentile over 50 and at most 100"):
        percentile(of(1, 2), percent)


def test_an_outlier_is_kept_by_minmax_alone() -> None:
    """One value of 60 among a million up to 5: for mse, keeping costs more in steps than clipping costs once."""
    histogram = Histogram.of(OUTLIER)
    assert minmax(histogram).high == 60
    assert percentile(histogram, 99.99).high == pytest.approx(3.9, abs=0.1)
    assert entropy(histogram).high < 10
    # Least of (60 - c)^2 / n + (c / 255)^2 / 12: where its derivative is 0.
    n = len(OUTLIER)
    assert mse(histogram).high == pytest.approx(60 / (1 + n / (12 * 255**2)), abs=0.5)


def test_an_outlier_below_is_cut_too() -> None:
    histogram = Histogram.of(np.append(NORMAL, np.float32(-60)))
    for method in ("percentile", "entropy", "mse"):
        found = range_of(histogram, method)
        assert -40 < found.low < -3.5, method
        assert 3.5 < found.high < 5, method


def test_exact_zeros_have_no_say_in_entropy_and_mse() -> None:
    half = np.maximum(NORMAL, 0)
    for method in ("entropy", "mse"):
        with_zeros = range_of(Histogram.of(half), method)
        assert with_zeros == range_of(Histogram.of(half[half > 0]), method)


@pytest.mark.parametrize("method", METHODS)
def test_few_values_are_no_trouble(method: str) -> None:
    for values in ((0.0,), (0.0, 0.0), (5.0,), (-5.0,), (1e-30, 2e-30), (-1.0, 1.0)):
        found = range_of(of(*values), method)
        assert found.low <= 0 <= found.high


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown method 'kmeans'; choose one of minmax, percentile, entropy, mse"):
        range_of(of(1), "kmeans")


def divergence_by_the_book(counts: np.ndarray, start: int, stop: int) -> float:
    """Migacz 2017, pages 36 to 38, bin by bin."""
    p = counts[start:stop].astype(float)
    quantized = p.copy()
    p[0] += counts[:start].sum()
    p[-1] += counts[stop:].sum()
    q = np.zeros_like(p)
    width = stop - start
    for level in range(LEVELS):
        own = slice(level * width // LEVELS, (level + 1) * width // LEVELS)
        filled = p[own] > 0
        if filled.any():
            q[own] = np.where(filled, max(quantized[own].sum(), 0.5) / filled.sum(), 0)
    p, q = p / p.sum(), q / quantized_sum(quantized, p, width)
    return float(sum(x * math.log(x / y) for x, y in zip(p, q, strict=True) if x > 0))


def quantized_sum(quantized: np.ndarray, p: np.ndarray, width: int) -> float:
    """Of Q: what its levels hold, half a value where only clipped ones fall into a level."""
    levels = [slice(at * width // LEVELS, (at + 1) * width // LEVELS) for at in range(LEVELS)]
    return sum(max(quantized[own].sum(), 0.5) for own in levels if p[own].sum() > 0)


@pytest.mark.parametrize(("start", "stop"), [(0, 4000), (0, 700), (300, 1200), (900, 1300), (3000, 3300)])
def test_the_divergence_is_that_of_the_book(start: int, stop: int) -> None:
    counts = np.random.default_rng(1).poisson(np.exp(-np.linspace(0, 8, 4000)) * 40)
    found = _divergence(counts.astype(float), np.array([start]), np.array([stop]))
    assert found[0] == pytest.approx(divergence_by_the_book(counts, start, stop), rel=1e-9)
