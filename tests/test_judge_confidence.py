"""Temperature and calibration error against other implementations, and against numbers worked out by hand."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize, special

from fer_edge.train import judge_confidence as jc
from fer_edge.train.temperature import (
    Logits,
    Temperature,
    consistent_temperature,
    fit_temperature,
    log_probabilities,
    nll_by_image,
)

Labels = NDArray[np.uint8]


def sampled(n: int, temperature: float, seed: int = 0) -> tuple[NDArray[np.float32], Labels]:
    """Logits (n, 7) and labels drawn from the softmax of logits / temperature: that temperature makes them true."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, 7)).astype(np.float32)
    p = special.softmax(logits.astype(np.float64) / temperature, axis=1)
    return logits, (rng.random((n, 1)) > p.cumsum(1)).sum(1).clip(0, 6).astype(np.uint8)


# Temperature

Fit = Callable[[Logits, Labels], Temperature | None]
both = pytest.mark.parametrize("fit", [fit_temperature, consistent_temperature])


@both
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 4.0])
def test_the_temperature_that_the_labels_were_drawn_with_is_found(fit: Fit, temperature: float) -> None:
    found = fit(*sampled(20_000, temperature, seed=1))
    assert found is not None
    assert found.low < temperature < found.high
    assert found.value == pytest.approx(temperature, rel=0.05)


def test_the_temperature_has_the_least_likelihood_of_all() -> None:
    logits, labels = sampled(500, 1.7)
    found = fit_temperature(logits, labels)
    assert found is not None

    def nll(log_t: float) -> float:
        p = special.log_softmax(logits.astype(np.float64) / np.exp(log_t), axis=1)
        return -float(p[np.arange(500), labels].mean())

    other = optimize.minimize_scalar(nll, bounds=(-3, 3), method="bounded", options={"xatol": 1e-10})
    assert found.value == pytest.approx(np.exp(other.x), rel=1e-5)
    assert nll_by_image(logits, labels, found.value).mean() == pytest.approx(other.fun, rel=1e-12)


def test_the_consistent_temperature_makes_confidence_what_is_right_and_the_other_not() -> None:
    logits, labels = sampled(4000, 1.7)
    # Wrong labels far from what the logits say cost likelihood most, and the hotter network is too modest then.
    rng = np.random.default_rng(5)
    labels = np.where(rng.random(4000) < 0.1, rng.integers(0, 7, 4000), labels).astype(np.uint8)
    gaps = {}
    for fit in (fit_temperature, consistent_temperature):
        found = fit(logits, labels)
        assert found is not None
        of = jc.scored(logits, labels, found.value)
        gaps[fit] = abs(float(of.confidence.mean() - of.right.mean()))
    assert gaps[consistent_temperature] < 1e-9
    assert gaps[fit_temperature] > 0.005


@both
def test_the_interval_of_the_temperature_is_that_of_a_bootstrap(fit: Fit) -> None:
    logits, labels = sampled(800, 1.3, seed=4)
    # A twentieth of the labels are any: no temperature fits, and the plain likelihood interval would be too short.
    rng = np.random.default_rng(5)
    labels = np.where(rng.random(800) < 0.05, rng.integers(0, 7, 800), labels).astype(np.uint8)
    found = fit(logits, labels)
    values = []
    for _ in range(600):
        at = rng.integers(0, 800, 800)
        again = fit(logits[at], labels[at])
        assert again is not None
        values.append(again.value)
    assert found is not None
    low, high = np.percentile(values, (2.5, 97.5))
    assert (found.low, found.high) == pytest.approx((low, high), rel=0.04)


@both
def test_the_interval_holds_the_truth_in_nearly_95_of_100_samples(fit: Fit) -> None:
    held = 0
    for seed in range(200):
        found = fit(*sampled(300, 1.5, seed))
        assert found is not None
        held += found.low <= 1.5 <= found.high
    assert 181 <= held <= 199  # 99.8% of binomial(200, 0.95)


@both
@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.eye(7), np.arange(7)),  # all right: the colder, the better
        (np.eye(7), (np.arange(7) + 1) % 7),  # all wrong: the hotter, the better
        (np.zeros((5, 7)), np.zeros(5)),  # no logit says anything
        (np.eye(7)[:1] * 1e30, np.zeros(1)),
        (np.zeros((0, 7)), np.zeros(0)),
    ],
)
def test_where_no_temperature_fits_there_is_none(
    fit: Fit, logits: NDArray[np.float64], labels: NDArray[np.int64]
) -> None:
    assert fit(logits.astype(np.float32), labels.astype(np.uint8)) is None


def test_log_probabilities_of_huge_logits_are_finite() -> None:
    logits = np.array([[1e30, -1e30, 0, 0, 0, 0, 0]], np.float32)
    assert np.isfinite(log_probabilities(logits)).all()
    np.testing.assert_allclose(np.exp(log_probabilities(np.zeros((1, 7), np.float32))), 1 / 7)


# Calibration error


def guo(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 15) -> float:
    """The loop of Guo et al. 2017's published code, in numpy."""
    error = 0.0
    for low, high in pairwise(np.linspace(0, 1, bins + 1)):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            error += abs(confidence[inside].mean() - right[inside].mean()) * inside.mean()
    return error


def test_the_calibration_error_is_that_of_guo() -> None:
    rng = np.random.default_rng(1)
    confidence = rng.uniform(1 / 7, 1, 1000)
    right = rng.random(1000) < confidence**2
    bins = jc.equal_width(confidence)
    assert jc.calibration_error(confidence, right, bins) == pytest.approx(guo(confidence, right))


def test_the_calibration_error_by_hand() -> None:
    # Two bins: 0.9, 0.9 of which one is right: |0.5 - 0.9|; 0.5, 0.5 of which both are: |1 - 0.5|; half each.
    confidence = np.array([0.9, 0.9, 0.5, 0.5])
    right = np.array([True, False, True, True])
    assert jc.calibration_error(confidence, right, jc.equal_width(confidence)) == pytest.approx(0.45)


@pytest.mark.parametrize(("confidence", "at"), [(1 / 15, 0), (0.0667, 1), (1.0, 14), (0.0, 0), (14 / 15 + 1e-9, 14)])
def test_a_bin_holds_its_upper_end(confidence: float, at: int) -> None:
    assert jc.equal_width(np.array([confidence]))[0] == at


def test_bins_of_equal_mass() -> None:
    bins = jc.equal_mass(np.random.default_rng(0).random(47))
    assert sorted(np.bincount(bins, minlength=15)) == [3] * 13 + [4] * 2


def test_the_error_of_a_model_whose_confidence_is_true_is_chance() -> None:
    logits, labels = sampled(1500, 1.0)
    of = jc.scored(logits, labels)
    chance = jc.error_if_calibrated(of)
    errors = []
    for seed in range(200):
        again = jc.scored(*sampled(1500, 1.0, seed + 1))
        errors.append(jc.calibration_error(again.confidence, again.right, jc.equal_width(again.confidence)))
    assert chance["mean"] == pytest.approx(np.mean(errors), rel=0.06)
    assert chance["p95"] == pytest.approx(np.quantile(errors, 0.95), rel=0.1)


def test_reliability_counts_every_image_once() -> None:
    of = jc.scored(*sampled(500, 2.0))
    rows = jc.reliability(of)
    assert sum(row["images"] for row in rows) == 500
    weighed = sum(abs(r["accuracy"] - r["confidence"]) * r["images"] for r in rows if r["images"]) / 500
    assert weighed == pytest.approx(jc.summary(of)["ece"])
    assert all(row["accuracy"] is None for row in rows if row["images"] == 0)


def test_brier_and_likelihood_by_hand() -> None:
    of = jc.scored(np.log(np.array([[0.5, 0.25, 0.05, 0.05, 0.05, 0.05, 0.05]], np.float32)), np.array([1], np.uint8))
    assert of.brier == pytest.approx(0.5**2 + 0.75**2 + 5 * 0.05**2)
    assert of.nll[0] == pytest.approx(np.log(4))
    assert of.confidence[0] == pytest.approx(0.5)
    assert not of.right[0]


# Before and after


def halves(temperature: float, n: int = 3000) -> jc.Halves:
    fit, fit_labels = sampled(n, temperature, 1)
    judge, judge_labels = sampled(n, temperature, 2)
    return jc.Halves(fit, fit_labels, judge, judge_labels)


def test_the_temperature_mends_what_it_can() -> None:
    reference = halves(1.0)
    hot = jc.Halves(reference.fit * 3, reference.fit_labels, reference.judge * 3, reference.judge_labels)
    made = jc.judge_confidence({"float": reference, "hot": hot}, "float")
    assert made["float"]["temperature"] == pytest.approx(1.0, rel=0.05)
    assert made["hot"]["temperature"] == pytest.approx(3 * made["float"]["temperature"], rel=1e-6)
    assert made["hot"]["before"]["ece"] > 5 * made["hot"]["after"]["ece"]
    assert made["hot"]["before"]["ece"] > made["hot"]["before"]["ece_if_calibrated"]["p95"]
    assert made["hot"]["after"]["ece"] < made["hot"]["after"]["ece_if_calibrated"]["p95"]
    assert made["hot"]["after"]["nll"] == pytest.approx(made["float"]["after"]["nll"])
    assert made["float"]["rise_before"] is None
    assert made["hot"]["rise_before"]["ece_interval"][0] > 0
    assert made["hot"]["rise_before"]["nll_interval"][0] > 0
    assert made["hot"]["rise_after"]["ece"] == pytest.approx(0, abs=1e-9)


def test_equal_models_rise_by_nothing() -> None:
    own = halves(1.5, 300)
    rise = jc.judge_confidence({"float": own, "same": own}, "float")["same"]["rise_before"]
    assert (rise["ece"], rise["ece_interval"], rise["nll"], rise["nll_interval"]) == (0.0, [0.0, 0.0], 0.0, [0.0, 0.0])


def test_the_interval_of_a_likelihoods_rise_is_that_of_paired_differences() -> None:
    own = halves(1.0, 900)
    rng = np.random.default_rng(3)
    off = (own.judge + rng.normal(0, 0.5, own.judge.shape)).astype(np.float32)
    worse, reference = jc.scored(off, own.judge_labels), jc.scored(own.judge, own.judge_labels)
    made = jc.rise(worse, reference)
    difference = worse.nll - reference.nll
    half = 1.96 * difference.std() / 30
    assert made["nll_interval"] == pytest.approx([difference.mean() - half, difference.mean() + half], abs=half / 10)


def test_without_a_temperature_there_is_no_after() -> None:
    logits, labels = np.eye(7, dtype=np.float32), np.arange(7, dtype=np.uint8)
    own = jc.Halves(logits, labels, logits, labels)
    made = jc.judge_confidence({"float": own, "same": own}, "float")["same"]
    assert (made["temperature"], made["temperature_interval"]) == (None, None)
    assert (made["after"], made["rise_after"]) == (None, None)
    assert made["before"]["ece"] == pytest.approx(1 - np.e / (np.e + 6), rel=1e-6)
