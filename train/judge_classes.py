"""What a variant does to each emotion: recall, precision and F1 beside the float reference's, counts and intervals.

Pure functions of labels and predictions. The intervals of recall and precision are Wilson's, that of a recall's loss is
Tango's on the images of that emotion. F1 has no such formula: its intervals, and those of every difference of F1, are
percentiles of a paired bootstrap.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.intervals import RESAMPLES, holm, mcnemar_exact, score_interval_pp, wilson

K = len(EMOTIONS)
Counts = NDArray[np.int64]
Shares = NDArray[np.float64]


def by_class(
    labels: NDArray[np.uint8], reference: NDArray[np.int64], variant: NDArray[np.int64], seed: int = 0
) -> dict[str, Any]:
    """The variant's `confusion` (true emotion by row, named by column), `classes` by emotion, and macro F1.

    Args:
        labels: (N,) true emotions.
        reference: (N,) what the float model says.
        variant: (N,) what the variant says.
        seed: of the bootstrap.
    """
    mine, yours = confusion(labels, variant), confusion(labels, reference)
    own, theirs = _resampled_f1(labels, reference, variant, seed)
    present = mine.sum(1) > 0
    f1, reference_f1 = f1_scores(mine), f1_scores(yours)
    classes: dict[str, dict[str, Any]] = {}
    for at, emotion in enumerate(EMOTIONS):
        here = labels == at
        lost = int(((reference == at) & (variant != at) & here).sum())
        won = int(((reference != at) & (variant == at) & here).sum())
        images, named, hits = int(mine[at].sum()), int(mine[:, at].sum()), int(mine[at, at])
        drop = None if np.isnan(f1[at] + reference_f1[at]) else (reference_f1[at] - f1[at]) * 100
        classes[emotion] = {
            "images": images,
            "named": named,
            "hits": hits,
            **_share("recall", hits, images),
            "recall_drop_pp": (lost - won) * 100 / images if images else None,
            "recall_drop_interval_pp": list(score_interval_pp(lost, won, images)) if images else None,
            "recall_mcnemar_p": mcnemar_exact(lost, won) if images else None,
            **_share("precision", hits, named),
            "f1": _number(f1[at]),
            "f1_interval": _interval(own[:, at]),
            "f1_drop_pp": _number(drop),
            "f1_drop_interval_pp": _interval((theirs[:, at] - own[:, at]) * 100),
        }
    seen = [row for row in classes.values() if row["images"]]
    for row in classes.values():
        row["recall_mcnemar_p_holm"] = None
    for row, adjusted in zip(seen, holm([row["recall_mcnemar_p"] for row in seen]), strict=True):
        row["recall_mcnemar_p_holm"] = adjusted
    macro, reference_macro = _macro(own, present), _macro(theirs, present)
    return {
        "confusion": mine.tolist(),
        "classes": classes,
        "macro_f1": float(np.mean(f1[present])),
        "macro_f1_interval": _interval(macro),
        "macro_f1_drop_pp": float(np.mean(reference_f1[present]) - np.mean(f1[present])) * 100,
        "macro_f1_drop_interval_pp": _interval((reference_macro - macro) * 100),
    }


def confusion(labels: NDArray[np.uint8], predicted: NDArray[np.int64]) -> Counts:
    """Images (7, 7) by true emotion and by what they are named."""
    return np.bincount(labels.astype(np.int64) * K + predicted, minlength=K * K).reshape(K, K)


def f1_scores(table: Counts) -> Shares:
    """F1 of each class, 2 hits / (images + named), of confusions (..., 7, 7); NaN where both are 0."""
    hits = np.diagonal(table, axis1=-2, axis2=-1)
    both = table.sum(-1) + table.sum(-2)
    return np.divide(2.0 * hits, both, out=np.full(both.shape, np.nan), where=both > 0)


def _resampled_f1(
    labels: NDArray[np.uint8], reference: NDArray[np.int64], variant: NDArray[np.int64], seed: int
) -> tuple[Shares, Shares]:
    """F1 (RESAMPLES, 7) of the variant and of the reference on the same resamples of the images.

    Resampling images is drawing the cells (true, reference, variant) that they fall into; only cells with images count.
    """
    cells, counts = np.unique((labels.astype(np.int64) * K + reference) * K + variant, return_counts=True)
    n = int(counts.sum())
    draws = np.random.default_rng(seed).multinomial(n, counts / n, RESAMPLES)
    true, theirs, mine = cells // (K * K), cells // K % K, cells % K

    def f1(named: Counts) -> Shares:
        of_cell = np.zeros((len(cells), K), np.int64), np.zeros((len(cells), K), np.int64)
        for at, (t, p) in enumerate(zip(true, named, strict=True)):
            of_cell[0][at, t] += 2 * (t == p)
            of_cell[1][at, t] += 1
            of_cell[1][at, p] += 1
        both = draws @ of_cell[1]
        return np.divide(draws @ of_cell[0], both, out=np.full(both.shape, np.nan), where=both > 0)

    return f1(mine), f1(theirs)


def _macro(f1: Shares, present: NDArray[np.bool_]) -> Shares:
    """Mean F1 (R,) over the emotions that the images have; a resample without one of them counts the others."""
    return np.nanmean(f1[:, present], axis=1)


def _share(name: str, hits: int, of: int) -> dict[str, Any]:
    return {name: hits / of if of else None, f"{name}_interval": list(wilson(hits, of)) if of else None}


def _number(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def _interval(draws: Shares) -> list[float] | None:
    """Percentiles 2.5 and 97.5 of the draws in which the figure exists; None where it never does."""
    known = draws[~np.isnan(draws)]
    return [float(x) for x in np.percentile(known, (2.5, 97.5))] if len(known) else None
