"""The judgement of int8 against numbers that were worked out elsewhere: by hand, or in print."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize, stats
from sklearn import metrics

from fer_edge.convert.judge import Verdict, judge, recall_by_emotion, verdict
from fer_edge.convert.judge_logits import by_image
from fer_edge.convert.score import check_margin, failures
from fer_edge.devices.errors import ConversionError
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.intervals import (
    drop_bound_pp,
    holm,
    mcnemar_exact,
    paired_bootstrap_drop_pp,
    score_interval_pp,
    wilson,
)
from fer_edge.train.judge_classes import by_class, confusion, f1_scores

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


# Tango's interval and the verdict


@pytest.mark.parametrize(
    ("lost", "won", "n", "interval"),
    [
        # Bentur et al. 2009, as worked out in Fagerland, Lydersen and Laake, "Recommended tests and confidence
        # intervals for paired binomial proportions" (2014): 21 children, 7 and 1 discordant.
        (7, 1, 21, (2.6, 51.7)),
        (1, 7, 21, (-51.7, -2.6)),
        # Without a discordant pair the limits are those of n d = z sqrt(n d (1 - d)): d = z^2 / (n + z^2).
        (0, 0, 21, (-15.463902, 15.463902)),
        (0, 0, 3589, (-0.106920, 0.106920)),
        (5, 0, 5, (13.103507, 100.0)),
        (0, 5, 5, (-100.0, -13.103507)),
        (1, 0, 1, (-58.690137, 100.0)),
    ],
)
def test_the_score_interval(lost: int, won: int, n: int, interval: tuple[float, float]) -> None:
    printed = 0.05 if interval[1] in (51.7, -2.6) else 1e-5
    assert score_interval_pp(lost, won, n) == pytest.approx(interval, abs=printed)


def score_z(lost: int, won: int, n: int, delta: float) -> float:
    """The score statistic with the nuisance share found by maximizing the likelihood, not by Tango's formula."""

    def unlikely(share: float) -> float:
        cells = np.array([share + delta, share, 1 - 2 * share - delta])
        counts = np.array([lost, won, n - lost - won])
        return -float((counts * np.log(np.clip(cells, 1e-300, 1))).sum())

    best = optimize.minimize_scalar(
        unlikely, bounds=(max(0.0, -delta), (1 - delta) / 2), method="bounded", options={"xatol": 1e-14}
    ).x
    return float((lost - won - n * delta) / np.sqrt(n * (2 * best + delta * (1 - delta))))


@pytest.mark.parametrize(("lost", "won", "n"), [(21, 20, 3589), (43, 7, 3589), (12, 2, 50), (3, 30, 400)])
def test_the_ends_of_the_score_interval_are_where_the_test_refuses(lost: int, won: int, n: int) -> None:
    low, high = score_interval_pp(lost, won, n)
    assert score_z(lost, won, n, high / 100) == pytest.approx(-1.959964, abs=1e-3)
    assert score_z(lost, won, n, low / 100) == pytest.approx(1.959964, abs=1e-3)
    assert low < (lost - won) * 100 / n < high


def false_non_inferior(bound: Any, n: int, margin: float, share_won: float) -> float:
    """How often a variant that loses just the margin is called non-inferior: exact, over all paired tables."""
    lost_share = share_won + margin
    total = 0.0
    discordant = stats.binom(n, lost_share + share_won)
    for k in range(int(discordant.ppf(1e-9)), int(discordant.ppf(1 - 1e-9)) + 1):
        of_k = stats.binom(k, lost_share / (lost_share + share_won))
        for lost in range(k + 1):
            chance = float(of_k.pmf(lost))
            if chance > 1e-9 and bound(lost, k - lost, n) <= margin * 100:
                total += chance * float(discordant.pmf(k))
    return total


@pytest.mark.parametrize("share_won", [0.0, 0.001, 0.004])
def test_the_verdict_errs_in_at_most_one_of_forty(share_won: float) -> None:
    def upper(lost: int, won: int, n: int) -> float:
        return score_interval_pp(lost, won, n)[1]

    assert false_non_inferior(upper, 3589, 0.005, share_won) <= 0.025
    assert false_non_inferior(upper, 200, 0.01, share_won) <= 0.025


def test_the_bound_that_the_verdict_does_not_take_errs_more_often() -> None:
    assert false_non_inferior(drop_bound_pp, 3589, 0.005, 0.0) > 0.05
    assert false_non_inferior(drop_bound_pp, 200, 0.01, 0.0) > 0.12


@pytest.mark.parametrize(
    ("interval", "outcome"),
    [
        ((-0.4, 0.39), "non-inferior"),
        ((-0.4, 0.5), "non-inferior"),
        ((0.1, 0.4), "non-inferior"),  # a loss for certain, and one that is allowed
        ((-0.9, -0.1), "non-inferior"),
        ((-0.2, 0.51), "not shown"),
        ((0.1, 0.9), "not shown"),  # a loss for certain, perhaps one that is allowed
        ((0.5, 0.9), "not shown"),
        ((0.51, 0.9), "worse"),
    ],
)
def test_the_three_verdicts(interval: tuple[float, float], outcome: str) -> None:
    assert verdict(interval, 0.5) == Verdict(outcome)


@pytest.mark.parametrize(
    ("lost", "won", "drop_pp", "outcome"),
    [
        (0, 0, 0.0, "non-inferior"),
        (25, 25, 0.0, "non-inferior"),  # 50 labels differ, and nothing is lost
        (43, 7, 1.003, "worse"),  # a point lost by 50 labels: even the lower end is above half a point
        (86, 50, 1.003, "not shown"),  # the same by 136 labels: not so sure, and it fails all the same
        (60, 60, 0.0, "not shown"),  # nothing lost, but so many labels differ that more may be
    ],
)
def test_a_point_on_3589_images_fails_and_none_passes(lost: int, won: int, drop_pp: float, outcome: str) -> None:
    labels = np.zeros(3589, np.uint8)
    reference, variant = np.zeros(3589, np.int64), np.zeros(3589, np.int64)
    reference[:won], variant[won : won + lost] = 1, 1
    made = judge(labels, logits_for(reference.tolist()), logits_for(variant.tolist()), 0.5)
    assert made["drop_pp"] == pytest.approx(drop_pp, abs=5e-4)
    assert made["verdict"] == outcome
    assert made["non_inferior"] is (outcome == "non-inferior")
    assert made["passes"] is (drop_pp <= 0.5)
    assert (made["flips"], made["flips_wrong_to_wrong"]) == (lost + won, 0)


def test_what_is_worse_fails() -> None:
    """The verdict and the exit code never contradict each other: the interval holds the loss that was seen."""
    for lost in range(0, 40, 3):
        for won in range(0, 40, 3):
            for margin in (0.0, 0.5, 1.0, 5.0):
                interval = score_interval_pp(lost, won, 300)
                outcome, seen = verdict(interval, margin), (lost - won) * 100 / 300
                assert not (outcome == Verdict.WORSE and seen <= margin)
                assert not (outcome == Verdict.NON_INFERIOR and seen > margin)


def test_holm() -> None:
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@pytest.mark.parametrize("margin", [-0.1, float("nan"), float("inf"), 101])
def test_a_margin_that_is_none(margin: float) -> None:
    with pytest.raises(ConversionError, match=r"^--margin .* is no loss that can be allowed; give percentage points"):
        check_margin(margin, "--margin")


def test_strict_names_what_is_not_shown() -> None:
    row = {"drop_pp": 0.2, "max_drop_pp": 0.5, "passes": True, "drop_score_interval_pp": [-0.1, 0.62]}
    made = {
        "variants": {
            "tflite/float32": {**row, "verdict": None, "non_inferior": False},  # the reference itself
            "tflite/int8": {**row, "verdict": "non-inferior", "non_inferior": True},
            "onnx/int8": {**row, "verdict": "not shown", "non_inferior": False},
        }
    }
    assert failures(made) == []
    assert failures(made, strict=True) == [
        "onnx/int8 is not shown to be as good: it may lose up to 0.62 points of accuracy (allowed 0.5)"
    ]


# By emotion


def three(n: int, seed: int, wrong: float) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Labels, what the reference says, what the variant says; of surprise there is nothing."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, n)
    reference = np.where(rng.random(n) < wrong, rng.integers(0, 6, n), labels)
    variant = np.where(rng.random(n) < wrong / 4, rng.integers(0, 6, n), reference)
    return labels.astype(np.uint8), reference, variant


def test_by_class_agrees_with_scikit_learn() -> None:
    labels, reference, variant = three(400, 3, 0.4)
    made = by_class(labels, reference, variant)
    assert made["confusion"] == metrics.confusion_matrix(labels, variant, labels=range(7)).tolist()
    scores = metrics.precision_recall_fscore_support(labels, variant, labels=range(6), zero_division=np.nan)
    theirs = metrics.f1_score(labels, reference, labels=range(6), average=None)
    for at, (precision, recall, f1, count) in enumerate(zip(*scores, strict=True)):
        row = made["classes"][EMOTIONS[at]]
        assert (row["precision"], row["recall"], row["f1"]) == pytest.approx((precision, recall, f1))
        assert (row["images"], row["named"]) == (count, int((variant == at).sum()))
        assert row["recall_interval"] == list(wilson(row["hits"], row["images"]))
        assert row["precision_interval"] == list(wilson(row["hits"], row["named"]))
        assert row["f1_drop_pp"] == pytest.approx((theirs[at] - f1) * 100)
    assert made["macro_f1"] == pytest.approx(metrics.f1_score(labels, variant, average="macro"))
    reference_macro = metrics.f1_score(labels, reference, average="macro")
    assert made["macro_f1_drop_pp"] == pytest.approx((reference_macro - made["macro_f1"]) * 100)


def test_an_emotion_without_images_has_no_figures() -> None:
    made = by_class(*three(400, 3, 0.4))["classes"]["surprise"]
    assert (made.pop("images"), made.pop("named"), made.pop("hits")) == (0, 0, 0)
    assert set(made.values()) == {None}


def test_an_emotion_that_is_named_but_never_there() -> None:
    labels = np.array([ANGRY, ANGRY, SAD], np.uint8)
    made = by_class(labels, np.array([ANGRY, ANGRY, SAD]), np.array([ANGRY, FEAR, SAD]))
    assert made["classes"]["fear"]["precision"] == 0.0
    assert made["classes"]["fear"]["recall"] is None
    assert made["classes"]["fear"]["f1"] == 0.0
    assert made["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)  # of angry and sad, which are there


def test_the_interval_of_f1_is_that_of_resampled_images() -> None:
    """Against resampling the images one by one, with another generator."""
    labels, reference, variant = three(150, 5, 0.5)
    made = by_class(labels, reference, variant)
    rng = np.random.default_rng(99)
    macros, drops = [], []
    for _ in range(3000):
        at = rng.integers(0, 150, 150)
        own = f1_scores(confusion(labels[at], variant[at]))[:6]
        theirs = f1_scores(confusion(labels[at], reference[at]))[:6]
        macros.append(np.nanmean(own))
        drops.append(np.nanmean(theirs) - np.nanmean(own))
    assert made["macro_f1_interval"] == pytest.approx(np.percentile(macros, (2.5, 97.5)), abs=0.01)
    assert made["macro_f1_drop_interval_pp"] == pytest.approx(np.percentile(drops, (2.5, 97.5)) * 100, abs=0.5)


def test_the_recall_that_is_lost_is_tested_on_its_own_images() -> None:
    labels = np.repeat(np.array([SAD, HAPPY], np.uint8), 20)
    reference = labels.astype(np.int64)
    variant = reference.copy()
    variant[:9] = FEAR
    made = by_class(labels, reference, variant)["classes"]
    assert made["sad"]["recall_drop_pp"] == 45
    assert made["sad"]["recall_drop_interval_pp"] == list(score_interval_pp(9, 0, 20))
    assert made["sad"]["recall_mcnemar_p"] == 2 / 2**9
    assert made["sad"]["recall_mcnemar_p_holm"] == 2 * 2 / 2**9  # of two emotions that are there
    assert made["happy"]["recall_mcnemar_p_holm"] == 1.0


# Outputs, and what may go wrong


def test_the_largest_differences() -> None:
    reference = np.zeros((200, 7), np.float32)
    variant = reference.copy()
    variant[:, 3] = np.arange(200) / 100
    made = by_image(reference, variant)
    assert made["max_logit_difference"] == pytest.approx(1.99)
    assert made["p99_logit_difference"] == pytest.approx(1.9701)
    assert made["p99_kl"] <= made["max_kl"]
    assert made["distribution"]["logit_difference"][-1] == made["max_logit_difference"]
    # KL of the last: -ln of a seventh each against softmax of six zeros and 1.99
    assert made["max_kl"] == pytest.approx(np.log(6 + np.exp(1.99)) - np.log(7) - 1.99 / 7, abs=1e-6)


def test_fewer_than_a_hundred_images_have_no_p99() -> None:
    made = by_image(np.zeros((99, 7), np.float32), np.ones((99, 7), np.float32))
    assert made["p99_kl"] is None
    assert made["p99_logit_difference"] is None


@pytest.mark.parametrize("right", [True, False])
def test_one_image(right: bool) -> None:
    labels = np.array([HAPPY], np.uint8)
    made = judge(labels, logits_for([HAPPY]), logits_for([HAPPY if right else SAD]), 0.5)
    assert made["accuracy"] == float(right)
    assert made["drop_pp"] == (0.0 if right else 100.0)
    assert made["verdict"] == "not shown"  # whatever is seen on one image
    assert made["passes"] is right
    assert made["macro_f1"] == float(right)


def test_all_wrong_is_no_loss_where_float_is_all_wrong() -> None:
    labels = np.zeros(5000, np.uint8)
    made = judge(labels, logits_for([1] * 5000), logits_for([2] * 5000), 0.5)
    assert (made["accuracy"], made["drop_pp"], made["flips"], made["flips_wrong_to_wrong"]) == (0.0, 0.0, 5000, 5000)
    assert made["verdict"] == "non-inferior"
    assert made["agreement"] == 0.0


@pytest.mark.parametrize("scale", [0.0, 1e30])
def test_equal_and_huge_logits_stay_finite(scale: float) -> None:
    labels = np.array([0, 1, 2], np.uint8)
    made = judge(labels, logits_for([0, 1, 2]) * np.float32(scale), logits_for([1, 1, 2]) * np.float32(scale), 0.5)
    figures = [made[key] for key in ("mean_kl", "max_kl", "max_logit_difference", "macro_f1", "drop_pp")]
    assert np.isfinite(figures).all()
