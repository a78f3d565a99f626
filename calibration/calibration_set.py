"""Which training images calibrate: a small, committed, re-iterable file of indices, the same for every converter.

Stratified, seeded, from Training only. Knows no engine.
"""

import json
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.calibration.coverage import coverage
from fer_edge.devices.errors import DataError
from fer_edge.devices.files import write_json
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.dataset import Dataset

SCHEMA = 1


@dataclass(frozen=True)
class CalibrationSet:
    """Row numbers of a cache, the hash of the cache that they belong to, and what they cover."""

    rows: tuple[int, ...]
    data_sha256: str
    seed: int
    covers: dict[str, Any]

    @property
    def id(self) -> str:
        """Short name for manifests: data, seed and count."""
        return f"{self.data_sha256[:12]}-s{self.seed}-n{len(self.rows)}"


class CalibrationFaces:
    """The faces (48, 48) uint8 of a calibration set; can be iterated as often as a converter likes.

    Where the images together do not reach pixels 0 and 255, the first comes again stretched to that range: otherwise
    the input's scale would be too narrow and bright pixels would saturate on the device.
    """

    def __init__(self, data: Dataset, chosen: CalibrationSet) -> None:
        faces = np.asarray(data.faces[np.array(chosen.rows)])
        if faces.min() > 0 or faces.max() < 255:
            faces = np.concatenate([faces, _stretched(faces[0])[None]])
        self._faces = faces

    def __len__(self) -> int:
        return len(self._faces)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return iter(self._faces)


def _stretched(face: NDArray[np.uint8]) -> NDArray[np.uint8]:
    low, high = int(face.min()), int(face.max())
    if low == high:
        return np.linspace(0, 255, face.size).reshape(face.shape).astype(np.uint8)
    return ((face.astype(np.float32) - low) * (255 / (high - low))).round().astype(np.uint8)


def draw(data: Dataset, count: int, seed: int) -> CalibrationSet:
    """Choose `count` rows of Training so that each emotion has its share there, at least one.

    Raises:
        DataError: fewer than one for each emotion are asked for, or more than there are.
    """
    train = data.rows("train")
    if not len(EMOTIONS) <= count <= len(train):
        raise DataError(f"--count {count} is outside {len(EMOTIONS)}..{len(train):,} (the images of Training)")
    if seed < 0:
        raise DataError(f"expected a seed of 0 or more, got {seed}")
    rng = np.random.default_rng([seed, 4])
    by_label = [train[data.labels[train] == label] for label in range(len(EMOTIONS))]
    chosen = [rng.permutation(own)[:k] for own, k in zip(by_label, _shares(by_label, count), strict=True)]
    rows = tuple(int(row) for row in np.sort(np.concatenate(chosen)))
    return CalibrationSet(rows, data.sha256, seed, coverage(data, rows))


def _shares(by_label: list[NDArray[np.int64]], count: int) -> list[int]:
    """How many of each label: proportional, at least one, largest remainders first, summing to `count`."""
    sizes = np.array([len(own) for own in by_label], float)
    exact = sizes / sizes.sum() * count
    shares = np.maximum(1, np.floor(exact)).astype(int)
    for label in np.argsort(-(exact - np.floor(exact))):
        if shares.sum() < count:
            shares[label] += 1
    while shares.sum() > count:
        shares[shares.argmax()] -= 1
    return [int(k) for k in shares]


def save(chosen: CalibrationSet, path: Path) -> None:
    """Write the set as JSON, whole or not at all."""
    about = {
        "schema": SCHEMA,
        "split": "train",
        "data_sha256": chosen.data_sha256,
        "seed": chosen.seed,
        "covers": chosen.covers,
        "rows": list(chosen.rows),
    }
    write_json(path, about)


def load(path: Path, data: Dataset) -> CalibrationSet:
    """Read a set and check that it belongs to this data and to Training alone.

    Raises:
        DataError: unreadable, of other data, empty, repeated or outside rows, or rows of validation or test.
    """
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(operator.index(row) for row in about["rows"])
        chosen = CalibrationSet(rows, str(about["data_sha256"]), int(about["seed"]), about["covers"])
        schema = about["schema"]
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; make it: fer-edge calibrate --data CACHE --out {path}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a calibration set ({type(error).__name__}: {error})") from error
    if schema != SCHEMA:
        raise DataError(f"{path} has schema {schema!r}, expected {SCHEMA}; calibrate again")
    if chosen.data_sha256 != data.sha256:
        raise DataError(
            f"{path} was drawn from data {chosen.data_sha256[:12]}, not from {data.sha256[:12]}; calibrate again on it"
        )
    _check_rows(path, rows, data)
    return chosen


def _check_rows(path: Path, rows: tuple[int, ...], data: Dataset) -> None:
    if not rows or len(set(rows)) != len(rows):
        raise DataError(f"{path} lists no rows, or a row twice")
    if min(rows) < 0 or max(rows) >= len(data.faces):
        wrong = min(rows) if min(rows) < 0 else max(rows)
        raise DataError(f"{path} lists row {wrong}, the data has {len(data.faces):,}")
    train = set(data.rows("train").tolist())
    foreign = [row for row in rows if row not in train]
    if foreign:
        raise DataError(
            f"{path} lists {len(foreign)} rows of validation or test images (first: {foreign[0]}); "
            "a model is calibrated on Training alone, else its int8 accuracy flatters it"
        )
