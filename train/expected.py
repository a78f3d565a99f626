"""The label that an image is expected to have, by FER+'s votes and by what other networks say: less chance in it.

FER-2013's label of an image is one annotator's word, FER+'s ten votes are others', over other classes and by other
habits. A multinomial regression of the labels on the votes translates between the two; with the logits of finished
networks beside the votes, it is the distribution of the label given all that is known of the image (generalized
distillation, Lopez-Paz et al. 2016). Fitted on the rows to fit on alone: no face that judges takes part.
"""

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import DataError
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.dataset import Dataset

Rows = NDArray[np.int64]
_SLIP = 0.3
"""Added to each count of votes, so that its logarithm is finite: a third of a vote."""


def expected_labels(data: Dataset, rows: Rows, said: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Distributions over the seven emotions, (N, 7) with sum 1, of the images in `rows`.

    Args:
        data: with votes.
        rows: (N,) on whose labels the regression is fitted.
        said: (N, C) logits of other networks, or None.

    Raises:
        DataError: the data has no votes, or an emotion has no image among the rows.
    """
    from sklearn.linear_model import LogisticRegression

    labels = data.labels[rows]
    if len(np.unique(labels)) < len(EMOTIONS):
        raise DataError("expected labels need images of all seven emotions to fit on; give more, or use the labels")
    known = vote_features(data, rows)
    if said is not None:
        known = np.concatenate([known, said], axis=1)
    known = (known - known.mean(axis=0)) / (known.std(axis=0) + 1e-6)
    return LogisticRegression(max_iter=2000, tol=1e-3).fit(known, labels).predict_proba(known).astype(np.float32)


def vote_features(data: Dataset, rows: Rows) -> NDArray[np.float64]:
    """Each class's share of an image's votes and the share's logarithm, (N, 20).

    Raises:
        DataError: the data has no votes.
    """
    if data.votes is None:
        raise DataError("the data has no FER+ votes; import the CSV with fer2013new.csv beside it, or use its labels")
    counts = data.votes[rows] + _SLIP
    share = counts / counts.sum(axis=1, keepdims=True)
    return np.concatenate([share, np.log(share)], axis=1)
