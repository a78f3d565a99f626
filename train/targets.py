"""What a network is to say of each image: FER-2013's label, FER+'s votes as a distribution, or what both let expect.

FER+ (Barsoum et al. 2016) counts ten people's votes over eight emotions, unknown and not-a-face. Here as there, a
single vote counts as a slip and is dropped. Then an image is left out where unknown or not-a-face has the most votes
(or as many as the first emotion), or where no vote is left; elsewhere those two are dropped and the rest sums to 1.
With seven classes contempt is treated like unknown. With eight, the true label is the emotion with the most votes, and
an image on which two emotions tie has none and is not judged, though it may be learned from. Published figures are of
fewer images, those on which one emotion has more than half of the votes (`more_than_half`).
"""

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import DataError
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.dataset import VOTE_COLUMNS, Dataset
from fer_edge.train.recipe import AnyRecipe, Recipe

Rows = NDArray[np.int64]
CONTEMPT = "contempt"
_COLUMN_OF = {
    "angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happiness", "neutral": "neutral",
    "sad": "sadness", "surprise": "surprise", CONTEMPT: CONTEMPT,
}  # fmt: skip


def class_names(count: int) -> tuple[str, ...]:
    """The classes in the order of the logits: the seven emotions, or those and contempt."""
    return (*EMOTIONS, CONTEMPT)[:count]


def votes_of(data: Dataset, rows: Rows, classes: int) -> tuple[Rows, NDArray[np.float32]]:
    """The rows that have a distribution over the classes, and those distributions (N, classes), each with sum 1.

    Raises:
        DataError: the data has no votes.
    """
    if data.votes is None:
        raise DataError("the data has no FER+ votes; import the CSV with fer2013new.csv beside it, or use its labels")
    counts = data.votes[rows].astype(np.int64)
    counts[counts == 1] = 0
    named = [VOTE_COLUMNS.index(_COLUMN_OF[name]) for name in class_names(classes)]
    others = [at for at in range(len(VOTE_COLUMNS)) if at not in named]
    kept = counts[:, named].max(axis=1) > counts[:, others].max(axis=1)
    share = counts[kept][:, named].astype(np.float32)
    return rows[kept], share / share.sum(axis=1, keepdims=True)


def targets(
    data: Dataset, rows: Rows, recipe: Recipe, said: NDArray[np.float32] | None = None
) -> tuple[Rows, NDArray[np.float32]]:
    """The rows to fit on, and what the network is to say of each: (N, classes) with sum 1.

    Args:
        data: the cache.
        rows: (N,) those that may be fitted on.
        recipe: what it asks for.
        said: (N, C) what other networks say of these rows, for expected labels.

    Raises:
        DataError: votes are asked for and the data has none.
    """
    if recipe.labels == "fer2013":
        return rows, _one_hot(data.labels[rows], 7)
    if recipe.labels == "expected":
        from fer_edge.train.expected import expected_labels  # scikit-learn is for those who ask

        kept, votes = rows, expected_labels(data, rows, said)
    else:
        kept, votes = votes_of(data, rows, recipe.class_count)
    label = _one_hot(data.labels[kept], recipe.class_count)
    return kept, np.float32(recipe.vote_share) * votes + np.float32(1 - recipe.vote_share) * label


def truth(data: Dataset, rows: Rows, recipe: AnyRecipe) -> tuple[Rows, NDArray[np.uint8]]:
    """The rows that a run is judged on, and their true classes: FER-2013's labels, or with eight classes FER+'s.

    Raises:
        DataError: eight classes, and the data has no votes.
    """
    if not isinstance(recipe, Recipe) or recipe.class_count == 7:
        return rows, np.asarray(data.labels[rows])
    return majority(data, rows, recipe.class_count)


def majority(data: Dataset, rows: Rows, classes: int) -> tuple[Rows, NDArray[np.uint8]]:
    """The rows on which one emotion has the most votes, and that emotion."""
    kept, votes = votes_of(data, rows, classes)
    alone = (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) == 1
    return kept[alone], votes[alone].argmax(axis=1).astype(np.uint8)


def more_than_half(data: Dataset, rows: Rows) -> NDArray[np.bool_]:
    """Which of the rows (N,) FER+'s own "majority" keeps: one column has over half of the votes that are no slips.

    That of Barsoum et al. 2016, which figures published of FER+ are judged on. Rows on which two emotions tie are never
    among them.
    """
    assert data.votes is not None
    counts = data.votes[rows].astype(np.int64)
    counts[counts == 1] = 0
    return np.asarray(2 * counts.max(axis=1) > counts.sum(axis=1))


def _one_hot(labels: NDArray[np.uint8], classes: int) -> NDArray[np.float32]:
    return np.eye(classes, dtype=np.float32)[labels]
