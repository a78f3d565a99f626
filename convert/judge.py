"""The judgement of int8: pure functions from labels and logits to statistics, with intervals. Runs no engine.

Owns the verdict and what one variant's row of a report holds. Accuracies are fractions, drops are
percentage points (pp), all intervals are of 95%; what was not measured is None.
"""

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.convert.judge_logits import by_image
from fer_edge.devices.errors import ConversionError
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.intervals import (
    drop_bound_pp,
    mcnemar_exact,
    paired_bootstrap_drop_pp,
    score_interval_pp,
    wilson,
)
from fer_edge.train.judge_classes import by_class


class Verdict(StrEnum):
    """What the interval of the accuracy lost says against the margin (CONSORT for non-inferiority, Piaggio 2012)."""

    NON_INFERIOR = "non-inferior"
    NOT_SHOWN = "not shown"
    WORSE = "worse"


def verdict(interval_pp: tuple[float, float], margin_pp: float) -> Verdict:
    """Non-inferior: all of the interval is at or below the margin. Worse: all of it is above. Else not shown."""
    low, high = interval_pp
    if high <= margin_pp:
        return Verdict.NON_INFERIOR
    return Verdict.WORSE if low > margin_pp else Verdict.NOT_SHOWN


def difference(right: NDArray[np.bool_], reference_right: NDArray[np.bool_]) -> dict[str, Any]:
    """Accuracy, the accuracy lost and both kinds of flips that change it, with intervals, of paired images (N,)."""
    n = len(right)
    lost, won = int((reference_right & ~right).sum()), int((~reference_right & right).sum())
    return {
        "images": n,
        "accuracy": float(right.mean()),
        "accuracy_interval": list(wilson(int(right.sum()), n)),
        "drop_pp": (lost - won) * 100 / n,  # in this order 7 of 1,000 are 0.7, not 0.7000000000000001
        "drop_score_interval_pp": list(score_interval_pp(lost, won, n)),
        "flips_right_to_wrong": lost,
        "flips_wrong_to_right": won,
    }


def judge(
    labels: NDArray[np.uint8],
    reference: NDArray[np.float32],
    variant: NDArray[np.float32],
    max_drop_pp: float,
) -> dict[str, Any]:
    """Everything that the tables and report.json say of one variant against the float reference, on the same images.

    Args:
        labels: (N,) true emotions.
        reference: (N, 7) logits of the float model.
        variant: (N, 7) logits of the variant.
        max_drop_pp: the margin: largest loss of top-1 that passes, in percentage points.

    Raises:
        ConversionError: logits are not finite.
    """
    if not (np.isfinite(reference).all() and np.isfinite(variant).all()):
        raise ConversionError(
            "a model gave logits that are not finite numbers; its training diverged or its file is damaged"
        )
    if not len(labels) == len(reference) == len(variant) > 0:
        raise ValueError(f"expected as many labels as logits, got {len(labels)}, {len(reference)}, {len(variant)}")
    ours, theirs = variant.argmax(1), reference.argmax(1)
    right, reference_right = ours == labels, theirs == labels
    made = difference(right, reference_right)
    lost, won, flips = made["flips_right_to_wrong"], made["flips_wrong_to_right"], int((ours != theirs).sum())
    outcome = verdict(made["drop_score_interval_pp"], max_drop_pp)
    return {
        **made,
        "drop_interval_pp": list(paired_bootstrap_drop_pp(reference_right, right)),
        "agreement": float((ours == theirs).mean()),
        "flips": flips,
        "flips_wrong_to_wrong": flips - lost - won,
        "mcnemar_p": mcnemar_exact(lost, won),
        "mcnemar_p_holm": None,
        "recall": recall_by_emotion(labels, ours),
        "max_drop_pp": max_drop_pp,
        "passes": made["drop_pp"] <= max_drop_pp,
        # "p > 0.05" is not "no loss": only an interval that ends below the margin says that the loss is that small. The
        # bootstrap cannot see flips that did not happen to fall into the sample, so the verdict takes the score's.
        "verdict": str(outcome),
        "non_inferior": outcome == Verdict.NON_INFERIOR,
        "drop_bound_pp": drop_bound_pp(lost, won, len(labels)),
        **by_class(labels, theirs, ours),
        **by_image(reference, variant),
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
