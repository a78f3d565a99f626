"""Accuracy, precision, recall, F1 and the confusion matrix of one model: pure functions of true and named classes.

Precision, recall and F1 are scikit-learn's; the intervals are Wilson's.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from fer_edge.train.intervals import wilson

Classes = NDArray[np.int64]


def share(right: NDArray[np.bool_]) -> dict[str, Any]:
    """`accuracy` of images (N,) that are named rightly or not, and its `accuracy_interval`."""
    return {"accuracy": float(right.mean()), "accuracy_interval": list(wilson(int(right.sum()), len(right)))}


def scores(labels: Classes, predicted: Classes, names: Sequence[str]) -> dict[str, Any]:
    """The figures of labels: `accuracy` to `confusion` of evaluation.json.

    A class without images has no recall, and one that is never named no precision: None. The means are over the classes
    that have images; there, a class that is never named counts with a precision of 0, as scikit-learn has it.

    Args:
        labels: (N,) true classes, numbers into `names`.
        predicted: (N,) what the model says.
        names: of the K classes.
    """
    every = np.arange(len(names))
    table = confusion_matrix(labels, predicted, labels=every)
    by_class = _by_class(table, names, *_figures(labels, predicted, every, None))
    present = every[table.sum(axis=1) > 0]
    worst = min((names[at] for at in present), key=lambda name: by_class[name]["recall"])
    return {
        **share(labels == predicted),
        "correct": int(np.trace(table)),
        "macro": _mean(labels, predicted, present, "macro"),
        "weighted": _mean(labels, predicted, present, "weighted"),
        "by_class": by_class,
        "worst_class": {"name": worst, "recall": by_class[worst]["recall"]},
        "confusion": table.tolist(),
    }


def _by_class(table: Classes, names: Sequence[str], *figures: NDArray[np.float64]) -> dict[str, Any]:
    precision, recall, f1 = figures
    made: dict[str, Any] = {}
    for at, name in enumerate(names):
        images, named, hits = int(table[at].sum()), int(table[:, at].sum()), int(table[at, at])
        made[name] = {
            "precision": float(precision[at]) if named else None,
            "recall": float(recall[at]) if images else None,
            "f1": float(f1[at]) if images or named else None,
            "support": images,
            "named": named,
            "recall_interval": list(wilson(hits, images)) if images else None,
        }
    return made


def _mean(labels: Classes, predicted: Classes, present: Classes, average: str) -> dict[str, float]:
    values = _figures(labels, predicted, present, average)
    return {name: float(value) for name, value in zip(("precision", "recall", "f1"), values, strict=True)}


def _figures(labels: Classes, predicted: Classes, of: Classes, average: str | None) -> tuple[Any, Any, Any]:
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=of, average=average, zero_division=0
    )
    return precision, recall, f1
