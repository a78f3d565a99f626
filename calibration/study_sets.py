"""The sets of calibration images that a study compares: by balance of the classes, count and seed.

Must not know what is measured on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_edge.calibration.calibration_set import draw
from fer_edge.devices.errors import DataError
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.dataset import Dataset

BALANCES = ("stratified", "equal", "alone")
"""As `calibrate` draws; as many of each emotion; the commonest emotion alone, which nobody should do."""
DEFAULT_COUNTS = (8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True, slots=True)
class StudySet:
    """Row numbers of a cache, and how they were drawn."""

    balance: str
    count: int
    seed: int
    rows: tuple[int, ...]


def study_sets(data: Dataset, counts: Sequence[int], seeds: int, balances: Sequence[str]) -> list[StudySet]:
    """Every set that the data has images for; of the same seed the smaller sets are parts of the larger, or nearly.

    Raises:
        DataError: a stratified set cannot be drawn, for which the data is too small.
    """
    found = []
    for balance in balances:
        for count in counts:
            drawn = [_rows(data, balance, count, seed) for seed in range(seeds)]
            found += [StudySet(balance, count, seed, rows) for seed, rows in enumerate(drawn) if rows is not None]
    return found


def commonest(data: Dataset) -> int:
    """Index of the emotion that Training has the most images of."""
    return int(np.bincount(data.labels[data.rows("train")], minlength=len(EMOTIONS)).argmax())


def _rows(data: Dataset, balance: str, count: int, seed: int) -> tuple[int, ...] | None:
    """None where the data has too few images of an emotion."""
    if balance == "stratified":
        return draw(data, count, seed).rows
    if balance not in BALANCES:
        raise DataError(f"unknown class balance {balance!r}; choose from {', '.join(BALANCES)}")
    rng = np.random.default_rng([seed, 7, BALANCES.index(balance)])
    shares = _equal(count) if balance == "equal" else {commonest(data): count}
    chosen: list[NDArray[np.int64]] = []
    for label in range(len(EMOTIONS)):
        train = data.rows("train")
        own = rng.permutation(train[data.labels[train] == label])
        if len(own) < shares.get(label, 0):
            return None
        chosen.append(own[: shares.get(label, 0)])
    return tuple(int(row) for row in np.sort(np.concatenate(chosen)))


def _equal(count: int) -> dict[int, int]:
    """As many of each emotion; what is left over goes to the first ones."""
    each, left = divmod(count, len(EMOTIONS))
    return {label: each + (label < left) for label in range(len(EMOTIONS))}
