"""The judgement of int8: pure functions from labels and logits to statistics, with intervals. Runs no engine.

Accuracies are fractions, drops are percentage points (pp); what was not measured is None.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fer_edge.devices.errors import ConversionError
from fer_edge.edge_runtime.vocabulary import EMOTIONS, softmax

RESAMPLES = 10_000
CONFIDENCE = 0.95


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95% score interval of a proportion (Wilson 1927)."""
    interval = stats.binomtest(successes, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar_exact(only_reference: int, only_variant: int) -> float:
    """Two-sided exact p of McNemar's test: are the discordant images a fair coin? 1.0 when there are none."""
    n = only_reference + only_variant
    return float(stats.binomtest(only_reference, n, 0.5).pvalue) if n else 1.0


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

    Wald's interval after adding 1/2 to each cell of the paired table (Agresti and Min 2005), which stays honest when
    few labels, or none, differ.
    """
    b, c, total = lost + 0.5, won + 0.5, n + 2
    spread = np.sqrt(b + c - (b - c) ** 2 / total)
    return float((b - c + stats.norm.ppf(0.975) * spread) / total * 100)


def judge(
    labels: NDArray[np.uint8],
    reference: NDArray[np.float32],
    variant: NDArray[np.float32],
    max_drop_pp: float,
) -> dict[str, Any]:
    """Everything that the table and report.json say of one variant against the float reference, on the same images.

    Args:
        labels: (N,) true emotions.
        reference: (N, 7) logits of the float model.
        variant: (N, 7) logits of the variant.
        max_drop_pp: largest loss of top-1 that passes, in percentage points.
    """
    if not (np.isfinite(reference).all() and np.isfinite(variant).all()):
        raise ConversionError(
            "a model gave logits that are not finite numbers; its training diverged or its file is damaged"
        )
    if not len(labels) == len(reference) == len(variant) > 0:
        raise ValueError(f"expected as many labels as logits, got {len(labels)}, {len(reference)}, {len(variant)}")
    ours, theirs = variant.argmax(1), reference.argmax(1)
    right, reference_right = ours == labels, theirs == labels
    lost = int((reference_right & ~right).sum())
    won = int((~reference_right & right).sum())
    drop_pp = (lost - won) * 100 / len(labels)  # in this order 7 of 1,000 are 0.7, not 0.7000000000000001
    low, high = paired_bootstrap_drop_pp(reference_right, right)
    return {
        "images": len(labels),
        "accuracy": float(right.mean()),
        "accuracy_interval": list(wilson(int(right.sum()), len(labels))),
        "drop_pp": drop_pp,
        "drop_interval_pp": [low, high],
        "agreement": float((ours == theirs).mean()),
        "flips": int((ours != theirs).sum()),
        "flips_right_to_wrong": lost,
        "flips_wrong_to_right": won,
        "mcnemar_p": mcnemar_exact(lost, won),
        "mean_kl": _mean_kl(reference, variant),
        "recall": recall_by_emotion(labels, ours),
        "max_drop_pp": max_drop_pp,
        "passes": drop_pp <= max_drop_pp,
        # "p > 0.05" is not "no loss": only an interval that ends below the margin says that the loss is that small. The
        # bootstrap cannot see flips that did not happen to fall into the sample, so the verdict takes this bound.
        "drop_bound_pp": (bound := drop_bound_pp(lost, won, len(labels))),
        "non_inferior": bound <= max_drop_pp,
    }


def recall_by_emotion(
    labels: NDArray[np.uint8], predicted: NDArray[np.int64]
) -> dict[str, dict[str, float | int | None]]:
    """Recall and count by emotion; None where there is no image of it."""
    table: dict[str, dict[str, float | int | None]] = {}
    for index, emotion in enumerate(EMOTIONS):
        own = labels == index
        count = int(own.sum())
        table[emotion] = {"recall": float((predicted[own] == index).mean()) if count else None, "images": count}
    return table


def _mean_kl(reference: NDArray[np.float32], variant: NDArray[np.float32]) -> float:
    """Mean Kullback-Leibler divergence of the variant's probabilities from the reference's, in nats."""
    p, q = softmax(reference.astype(np.float64)), softmax(variant.astype(np.float64))
    return float((p * (np.log(p + 1e-12) - np.log(q + 1e-12))).sum(1).mean())
