"""What a data set holds, in numbers: counts, grays, missing images, class weights. Must not draw."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import DataError
from fer_edge.edge_runtime.vocabulary import EMOTIONS, FACE_SIDE
from fer_edge.train.audit import by_emotion, describe_data
from fer_edge.train.balance import Rows, class_weights, stratified
from fer_edge.train.dataset import SPLITS, Dataset

SCHEMA = 1
GRAYS_A_BIN = 4
GRID = 5
"""Faces a side of the picture of an emotion."""
_FACES_AT_ONCE = 2048


def explore(data: Dataset, val_fraction: float, seed: int) -> dict[str, Any]:
    """The exploration as JSON: numbers only, no image and no path.

    Args:
        data: the cache.
        val_fraction: the part of Training that is set aside before classes are weighed.
        seed: of that draw.

    Raises:
        DataError: `val_fraction` is not a part.
    """
    train = data.rows("train")
    return {
        "schema": SCHEMA,
        "data": describe_data(data),
        "counts": data.counts(),
        "missing": _missing(data),
        "grays": {
            "grays_a_bin": GRAYS_A_BIN,
            "by_split": {split: grays(data.faces, data.rows(split)) for split in data.counts()},
            "by_emotion_in_train": {
                name: grays(data.faces, train[data.labels[train] == at]) for at, name in enumerate(EMOTIONS)
            },
        },
        "class_weights": weights(data, val_fraction, seed),
    }


def weights(data: Dataset, val_fraction: float, seed: int) -> dict[str, Any]:
    """Balanced class weights of all of Training, and of what a stratified validation part leaves of it.

    Raises:
        DataError: `val_fraction` is not a part.
    """
    if not 0 < val_fraction < 1:
        raise DataError(f"expected a validation part between 0 and 1, got {val_fraction:g}")
    train = data.rows("train")
    val = stratified(data, train, val_fraction, np.random.default_rng([seed, 1]))
    fit = np.setdiff1d(train, val)
    return {
        "val_fraction": val_fraction,
        "train": _weighed(data.labels[train]),
        "fit": _weighed(data.labels[fit]),
    }


def grays(faces: NDArray[np.uint8], rows: Rows) -> dict[str, Any]:
    """Mean, deviation and histogram (shares) of the gray levels of some faces; None where there are none."""
    levels = np.zeros(256, np.int64)
    for at in range(0, len(rows), _FACES_AT_ONCE):
        levels += np.bincount(faces[rows[at : at + _FACES_AT_ONCE]].ravel(), minlength=256)
    total = levels.sum()
    if total == 0:
        return {"images": 0, "mean": None, "deviation": None, "histogram": None}
    gray = np.arange(256)
    mean = (levels @ gray) / total
    deviation = np.sqrt((levels @ gray.astype(np.float64) ** 2) / total - mean**2)
    shares = levels.reshape(-1, GRAYS_A_BIN).sum(axis=1) / total
    return {
        "images": len(rows),
        "mean": round(float(mean), 2),
        "deviation": round(float(deviation), 2),
        "histogram": [round(float(share), 6) for share in shares],
    }


def mean_faces(data: Dataset) -> dict[str, NDArray[np.uint8]]:
    """The mean face (48, 48) uint8 of each emotion in Training that has any."""
    train = data.rows("train")
    found = {}
    for at, name in enumerate(EMOTIONS):
        rows = train[data.labels[train] == at]
        if len(rows):
            total = np.zeros((FACE_SIDE, FACE_SIDE))
            for start in range(0, len(rows), _FACES_AT_ONCE):
                total += data.faces[rows[start : start + _FACES_AT_ONCE]].sum(axis=0, dtype=np.float64)
            found[name] = np.rint(total / len(rows)).astype(np.uint8)
    return found


def sample(data: Dataset, emotion: str, seed: int) -> Rows:
    """Rows of Training to show of an emotion, at most 5×5, the same for the same seed."""
    train, at = data.rows("train"), EMOTIONS.index(emotion)
    own = train[data.labels[train] == at]
    return np.sort(np.random.default_rng([seed, 7, at]).permutation(own)[: GRID * GRID])


def _weighed(labels: NDArray[np.uint8]) -> dict[str, Any]:
    counts = by_emotion(labels)
    weighed = class_weights(np.array(list(counts.values())))
    return {
        "images": len(labels),
        "counts": counts,
        "weights": {name: round(float(w), 4) for name, w in zip(EMOTIONS, weighed, strict=True)},
    }


def _missing(data: Dataset) -> dict[str, Any]:
    """A cache holds faces of one size, so an image that was missing shows as one that is constant."""
    constant: list[int] = []
    for at in range(0, len(data.faces), _FACES_AT_ONCE):
        some = data.faces[at : at + _FACES_AT_ONCE].reshape(-1, FACE_SIDE**2)
        constant += (at + np.flatnonzero(some.min(axis=1) == some.max(axis=1))).tolist()
    rows = np.array(constant, np.int64)
    return {
        "absent_emotions": {
            split: [name for name, count in counts.items() if count == 0] for split, counts in data.counts().items()
        },
        "constant_images": len(rows),
        "black_images": int((data.faces[rows].max(axis=(1, 2)) == 0).sum()) if len(rows) else 0,
        "constant_by_split": {split: int((data.splits[rows] == SPLITS.index(split)).sum()) for split in data.counts()},
        "constant_by_emotion": by_emotion(data.labels[rows]),
        "constant_rows": constant,
    }
