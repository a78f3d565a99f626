"""How well a model does on images of which Training has a duplicate, and on new ones: what a leak is worth."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.train.dataset import Dataset
from fer_edge.train.duplicates import find_duplicates
from fer_edge.train.eval_scores import share

Rows = NDArray[np.int64]


def known_and_new(data: Dataset, rows: Rows, right: NDArray[np.bool_]) -> dict[str, Any] | None:
    """`known` and `new`, each `images`, `accuracy`, `accuracy_interval`; None where the data has no Training.

    A duplicate is what `fer-edge data audit` calls one, exact or near. An `accuracy` is None where there are no such
    images.

    Args:
        data: the cache.
        rows: (N,) of the images that judge.
        right: (N,) whether each is named rightly.
    """
    if len(data.rows("train")) == 0:
        return None
    known = known_rows(data, rows)
    return {"known": share_of(right[known]), "new": share_of(right[~known])}


def known_rows(data: Dataset, rows: Rows) -> NDArray[np.bool_]:
    """Which of the rows (N,) have a duplicate in Training."""
    group, train = find_duplicates(data.faces).group, data.rows("train")
    return np.isin(group[rows], group[train][group[train] >= 0])


def share_of(right: NDArray[np.bool_]) -> dict[str, Any]:
    """`images`, `accuracy` and `accuracy_interval` of images (N,) that are named rightly or not; None where N is 0."""
    if len(right) == 0:
        return {"images": 0, "accuracy": None, "accuracy_interval": None}
    return {"images": len(right), **share(right)}
