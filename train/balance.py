"""How many of each emotion: the weights that even them out, and parts that keep their shares. Imports no framework."""

import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.dataset import Dataset

Rows = NDArray[np.int64]


def stratified(data: Dataset, rows: Rows, fraction: float, rng: np.random.Generator) -> Rows:
    """That part of the rows of each emotion, at least one of each, ascending."""
    parts = []
    for label in range(len(EMOTIONS)):
        own = rng.permutation(rows[data.labels[rows] == label])
        parts.append(own[: max(1, round(fraction * len(own)))])
    return np.sort(np.concatenate(parts))


def class_weights(counts: NDArray) -> NDArray[np.float64]:
    """n / (classes * count): the rarer, the heavier (scikit-learn's "balanced"); an absent class weighs nothing."""
    counts = np.asarray(counts, np.float64)
    return np.divide(counts.sum(), len(counts) * counts, out=np.zeros(len(counts)), where=counts > 0)
