"""The judgement of int8 against numbers that were worked out elsewhere: by hand, or in print."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fer_edge.convert.judge import (
    drop_bound_pp,
    judge,
    mcnemar_exact,
    paired_bootstrap_drop_pp,
    recall_by_emotion,
    wilson,
)
from fer_edge.convert.score import failures
from fer_edge.devices.errors import ConversionError

ANGRY, DISGUST, FEAR, HAPPY, NEUTRAL, SAD, SURPRISE = range(7)
TRUE = (ANGRY, DISGUST, FEAR, HAPPY, NEUTRAL, SAD, SURPRISE, ANGRY, ANGRY, FEAR)
# The reference is right on eight of the ten: all but the last two.
REFERENCE = (ANGRY, DISGUST, FEAR, HAPPY, NEUTRAL, SAD, SURPRISE, ANGRY, SAD, HAPPY)


def logits_for(predicted: tuple[int, ...] | list[int]) -> NDArray[np.float32]:
    return np.eye(7, dtype=np.float32)[list(predicted)]


def judged(variant: tuple[int, ...] | list[int], max_drop_pp: float = 0.0) -> dict[str, Any]:
    return judge(np.array(TRUE, np.uint8), logits_for(REFERENCE), logits_for(variant), max_drop_pp)


def with_changes(**changes: int) -> tuple[int, ...]:
    """The reference's predictions with those of some images replaced: at3=SAD and the like."""
    predicted = list(REFERENCE)
    for at, emotion in changes.items():
        predicted[int(at.removeprefix("at"))] = emotion
    return tuple(predicted)


def right(n: int, wrong: int) -> NDArray[np.bool_]:
    """n images of which the first `wrong` are wrong."""
    return np.arange(n) >= wrong


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # by hand: (p + z^2 / 2n ± z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n) with z = 1.959964
        (8, 10, 0.4902, 0.9433),
        (10, 10, 0.7225, 1.0000),
        (2550, 3589, 0.6954, 0.7251),
    ],
)
def test_wilson(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("only_reference", "only_variant", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (3, 3, 1.0),
        (0, 5, 2 / 32),
        (5, 0, 2 / 32),
        (0, 6, 2 / 64),
        (1, 7, 0.0703125),  # 2 * (1 + 8) / 256
        (7, 1, 0.0703125),
        (2, 8, 0.109375),  # 2 * (1 + 10 + 45) / 1024
        (1, 9, 0.021484375),  # 2 * (1 + 10) / 1024
    ],
)
def test_mcnemar_exact(only_reference: int, only_variant: int, p: float) -> None:
    assert mcnemar_exact(only_reference, only_variant) == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize(
    ("reference", "variant", "interval"),
    [
        (right(50, 10), right(50, 10), (0.0, 0.0)),
        (right(50, 0), right(50, 50), (100.0, 100.0)),
        (right(50, 50), right(50, 0), (-100.0, -100.0)),
        (right(1, 0), right(1, 0), (0.0, 0.0)),
    ],
)
def test_bootstrap_where_every_resample_is_the_same(
    reference: NDArray[np.bool_], variant: NDArray[np.bool_], interval: tuple[float, float]
) -> None:
    assert paired_bootstrap_drop_pp(reference, variant) == interval


def test_bootstrap_agrees_with_the_normal_approximation() -> None:
    # 40 lost and 20 won of 1,000: drop 2 pp, standard error sqrt((0.06 - 0.02^2) / 1000) = 0.772 pp, ± 1.96 of them.
    reference = right(1000, 20)
    variant = np.r_[np.ones(20, bool), np.zeros(40, bool), np.ones(940, bool)]
    low, high = paired_bootstrap_drop_pp(reference, variant)
    assert (low, high) == pytest.approx((0.487, 3.513), abs=0.15)
    back_low, back_high = paired_bootstrap_drop_pp(variant, reference)
    assert (back_low, back_high) == pytest.approx((-3.513, -0.487), abs=0.15)


def test_bootstrap_pairs_the_images() -> None:
    half = np.tile([True, False], 500)
    assert paired_bootstrap_drop_pp(half, half) == (0.0, 0.0)
    low, high = paired_bootstrap_drop_pp(half, ~half)  # as accurate, and on other images
    assert low < -5
    assert high > 5


def test_bootstrap_is_seeded() -> None:
    variant = np.random.default_rng(1).random(5003) > 0.3
    reference = np.random.default_rng(2).random(5003) > 0.25
    assert paired_bootstrap_drop_pp(reference, variant, 7) == paired_bootstrap_drop_pp(reference, variant, 7)
    assert len({paired_bootstrap_drop_pp(reference, variant, seed) for seed in range(5)}) > 1


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        (REFERENCE, {"accuracy": 0.8, "drop_pp": 0.0, "flips": 0, "agreement": 1.0, "mcnemar_p": 1.0}),
        (with_changes(at0=SAD), {"accuracy": 0.7, "drop_pp": 10.0, "flips": 1, "agreement": 0.9, "mcnemar_p": 1.0}),
        (with_changes(at8=ANGRY), {"accuracy": 0.9, "drop_pp": -10.0, "flips": 1, "agreement": 0.9}),
        (with_changes(at0=SAD, at8=ANGRY), {"accuracy": 0.8, "drop_pp": 0.0, "flips": 2, "agreement": 0.8}),
        (with_changes(at8=FEAR), {"accuracy": 0.8, "drop_pp": 0.0, "flips": 1}),  # from wrong to wrong
        (TRUE, {"accuracy": 1.0, "drop_pp": -20.0, "flips": 2, "mcnemar_p": 0.5}),
        (with_changes(at0=SAD, at1=SAD, at2=SAD, at9=FEAR), {"accuracy": 0.6, "drop_pp": 20.0, "mcnemar_p": 0.625}),
    ],
)
def test_judge(variant: tuple[int, ...], expected: dict[str, float]) -> None:
    made = judged(variant)
    assert {key: made[key] for key in expected} == pytest.approx(expected)
    assert made["images"] == 10


@pytest.mark.parametrize(
    ("variant", "lost", "won"),
    [
        (REFERENCE, 0, 0),
        (with_changes(at0=SAD, at8=FEAR), 1, 0),
        (with_changes(at8=ANGRY), 0, 1),
        (with_changes(at0=SAD, at1=SAD, at2=SAD, at9=FEAR), 3, 1),
        (TRUE, 0, 2),
    ],
)
def test_flips_are_counted_both_ways(variant: tuple[int, ...], lost: int, won: int) -> None:
    made = judged(variant)
    assert (made["flips_right_to_wrong"], made["flips_wrong_to_right"]) == (lost, won)
    assert made["drop_pp"] == pytest.approx((lost - won) * 10)
    assert made["mcnemar_p"] == mcnemar_exact(lost, won)


def test_the_intervals_are_those_of_the_figures_beside_them() -> None:
    made = judged(with_changes(at0=SAD, at8=FEAR))
    assert made["accuracy_interval"] == list(wilson(7, 10))
    low, high = made["drop_interval_pp"]
    assert low <= made["drop_pp"] <= high
    assert judged(REFERENCE)["drop_interval_pp"] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("lost", "n", "max_drop_pp", "passes"),
    [
        (0, 100, 0.0, True),
        (1, 100, 1.0, True),  # exactly the margin
        (1, 100, 0.99, False),
        (2, 100, 1.0, False),
        (1, 8, 12.5, True),
        (7, 1000, 0.7, True),  # 7 / 1000 * 100 would be 0.7000000000000001
        (7, 100, 7.0, True),
        (29, 1000, 2.9, True),
        (1, 8, 12.49, False),
        (1, 100, 0.0, False),
    ],
)
def test_passes_up_to_and_with_the_margin(lost: int, n: int, max_drop_pp: float, passes: bool) -> None:
    labels = np.zeros(n, np.uint8)
    made = judge(labels, logits_for([0] * n), logits_for([1] * lost + [0] * (n - lost)), max_drop_pp)
    assert made["passes"] is passes
    assert made["max_drop_pp"] == max_drop_pp


def test_a_gain_passes_without_a_margin() -> None:
    made = judged(TRUE)
    assert made["drop_pp"] < 0
    assert made["passes"]


@pytest.mark.parametrize(
    ("lost", "won", "n", "passes", "non_inferior"),
    [
        (0, 0, 100, True, False),  # 100 images without a flip cannot say that a loss is below 1 pp
        (0, 0, 10_000, True, True),
        (1, 1, 100, True, False),  # no loss seen, but 100 images cannot say that it is below 1 pp
        (1, 1, 10_000, True, True),
        (90, 0, 10_000, True, False),  # 0.9 pp ± 0.19
        (70, 0, 10_000, True, True),  # 0.7 pp ± 0.16
        (200, 0, 10_000, False, False),
    ],
)
def test_non_inferior_needs_the_whole_interval(lost: int, won: int, n: int, passes: bool, non_inferior: bool) -> None:
    labels = np.zeros(n, np.uint8)
    reference = logits_for([0] * (n - won) + [1] * won)
    variant = logits_for([1] * lost + [0] * (n - lost))
    made = judge(labels, reference, variant, 1.0)
    assert (made["flips_right_to_wrong"], made["flips_wrong_to_right"]) == (lost, won)
    assert (made["passes"], made["non_inferior"]) == (passes, non_inferior)


def test_recall_is_none_where_there_is_no_image() -> None:
    labels = np.array([ANGRY, ANGRY, ANGRY, ANGRY, HAPPY, SAD], np.uint8)
    predicted = np.array([ANGRY, ANGRY, ANGRY, SAD, HAPPY, ANGRY])
    table = recall_by_emotion(labels, predicted)
    assert table == {
        "angry": {"recall": 0.75, "images": 4},
        "disgust": {"recall": None, "images": 0},
        "fear": {"recall": None, "images": 0},
        "happy": {"recall": 1.0, "images": 1},
        "neutral": {"recall": None, "images": 0},
        "sad": {"recall": 0.0, "images": 1},
        "surprise": {"recall": None, "images": 0},
    }
    assert judge(labels, logits_for(labels.tolist()), logits_for(predicted.tolist()), 0.0)["recall"] == table


def test_mean_kl() -> None:
    labels = np.zeros(2, np.uint8)
    even = np.zeros((2, 7), np.float32)
    assert judge(labels, even, even + 3, 0.0)["mean_kl"] == pytest.approx(0, abs=1e-12)
    leaning = even.copy()
    leaning[:, 0] = np.log(2)  # q = 2/8 and six times 1/8: KL = ln(1/7) - (ln(2/8) + 6 ln(1/8)) / 7
    assert judge(labels, even, leaning, 0.0)["mean_kl"] == pytest.approx(0.0345100, abs=1e-6)
    # The other way round, p = q and q = even: 2/8 ln(14/8) + 6/8 ln(7/8)
    assert judge(labels, leaning, even, 0.0)["mean_kl"] == pytest.approx(0.0397555, abs=1e-6)


def test_mean_kl_stays_finite_where_a_probability_is_zero() -> None:
    sure, of_another = logits_for([0]) * 1e4, logits_for([1]) * 1e4
    kl = judge(np.zeros(1, np.uint8), sure, of_another, 0.0)["mean_kl"]
    assert kl == pytest.approx(27.631, abs=1e-3)  # -ln(1e-12)


@pytest.mark.parametrize(("labels", "reference", "variant"), [(3, 3, 2), (3, 2, 3), (2, 3, 3), (0, 0, 0)])
def test_other_numbers_of_labels_and_logits_are_an_error(labels: int, reference: int, variant: int) -> None:
    with pytest.raises(ValueError, match=rf"^expected as many labels as logits, got {labels}, {reference}, {variant}$"):
        judge(np.zeros(labels, np.uint8), logits_for([0] * reference), logits_for([0] * variant), 1.0)


def test_failures_name_the_variant_and_the_loss() -> None:
    made = {
        "variants": {
            "tflite/int8": {"drop_pp": 1.234, "max_drop_pp": 1.0, "passes": False},
            "tflite/float32": {"drop_pp": 0.0, "max_drop_pp": 1.0, "passes": True},
            "onnx/int8": {"drop_pp": 20.0, "max_drop_pp": 0.5, "passes": False},
        }
    }
    assert failures(made) == [
        "tflite/int8 loses 1.23 points of accuracy (allowed 1)",
        "onnx/int8 loses 20.00 points of accuracy (allowed 0.5)",
    ]
    assert failures({"variants": {"tflite/int8": judged(REFERENCE)}}) == []
    (only,) = failures({"variants": {"tflite/int8": judged(with_changes(at0=SAD), 1.0)}})
    assert only == "tflite/int8 loses 10.00 points of accuracy (allowed 1)"


@pytest.mark.parametrize(
    ("lost", "won", "n", "bound"),
    [
        # Agresti and Min 2005: b+1/2, c+1/2, n+2; (b - c + 1.96 sqrt(b + c - (b - c)^2 / n)) / n, worked out by hand.
        (0, 0, 21, 8.521576),
        (13, 21, 3589, 0.099953),
        (21, 13, 3589, 0.545513),
    ],
)
def test_the_bound_of_the_drop(lost: int, won: int, n: int, bound: float) -> None:
    assert drop_bound_pp(lost, won, n) == pytest.approx(bound, abs=2e-4)


def test_logits_that_are_no_numbers_are_refused() -> None:
    labels = np.zeros(3, np.uint8)
    good = logits_for([0, 0, 0])
    with pytest.raises(ConversionError, match="not finite"):
        judge(labels, good, np.full((3, 7), np.nan, np.float32), 0.5)
