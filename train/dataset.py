"""The cache: one folder with every face as uint8, its label and split, FER+ votes where given, and a content hash.

Owns the format that every later command reads. Must not know where the faces came from.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import DataError
from fer_edge.devices.files import replacing_folder
from fer_edge.edge_runtime.vocabulary import EMOTIONS, FACE_SIDE

SCHEMA = 1
MANIFEST = "cache.json"
SPLITS = ("train", "val", "test", "private")
"""FER-2013's Training, a validation folder where there is one, PublicTest, and PrivateTest."""
VOTE_COLUMNS = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF",
)  # fmt: skip
"""FER+'s columns, in its own order."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Faces (N, 48, 48) uint8, labels (N,) uint8 into EMOTIONS, splits (N,) uint8 into SPLITS, votes (N, 10) uint8.

    `cleaned` says what `data clean` did to it, one record a time, oldest first; see `clean.cleaned`.
    """

    faces: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    splits: NDArray[np.uint8]
    votes: NDArray[np.uint8] | None
    source: str
    sha256: str
    folder: Path | None = None
    cleaned: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        n = len(self.faces)
        if self.faces.shape != (n, FACE_SIDE, FACE_SIDE) or self.faces.dtype != np.uint8:
            raise DataError(f"expected faces (N, 48, 48) uint8, got {self.faces.shape} {self.faces.dtype}")
        if self.labels.shape != (n,) or self.splits.shape != (n,):
            raise DataError(f"expected {n} labels and splits, got {self.labels.shape} and {self.splits.shape}")
        if self.votes is not None and self.votes.shape != (n, len(VOTE_COLUMNS)):
            raise DataError(f"expected votes ({n}, {len(VOTE_COLUMNS)}), got {self.votes.shape}")

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of one split, ascending."""
        if split not in SPLITS:
            raise DataError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
        return np.flatnonzero(self.splits == SPLITS.index(split))

    def held_out(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split that a figure is to be measured on.

        Raises:
            DataError: the split is `train`, or the data has no such images.
        """
        if split == "train":
            raise DataError("accuracy is measured on held-out images; choose --split val, test or private")
        rows = self.rows(split)
        if len(rows) == 0:
            have = [name for name in SPLITS if len(self.rows(name))]
            raise DataError(f"the data has no {split!r} images, only {', '.join(have)}; choose --split")
        return rows

    def counts(self) -> dict[str, dict[str, int]]:
        """Images by split and emotion, for splits that have any."""
        table = {}
        for split in SPLITS:
            rows = self.rows(split)
            if len(rows):
                count = np.bincount(self.labels[rows], minlength=len(EMOTIONS))
                table[split] = {emotion: int(k) for emotion, k in zip(EMOTIONS, count, strict=True)}
        return table


def content_hash(*arrays: NDArray[np.uint8]) -> str:
    """sha256 over the arrays' shapes and bytes.

    That of faces, labels and splits says which data a run or a calibration set belongs to; the votes, which not every
    user has, are hashed apart so that the same images are the same data with and without them.
    """
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def build_dataset(
    faces: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    splits: NDArray[np.uint8],
    votes: NDArray[np.uint8] | None,
    source: str,
    cleaned: tuple[dict[str, Any], ...] = (),
) -> Dataset:
    """A checked data set with its content hash.

    Raises:
        DataError: there are no training images, or a split lacks one of the seven emotions.
    """
    dataset = Dataset(faces, labels, splits, votes, source, content_hash(faces, labels, splits), cleaned=cleaned)
    counts = dataset.counts()
    if "train" not in counts:
        raise DataError(f"{source} has no training images; expected Usage 'Training' or a folder train/")
    for split, table in counts.items():
        empty = [emotion for emotion, count in table.items() if count == 0]
        if empty:
            raise DataError(f"{source}: split {split!r} has no image of {', '.join(empty)}; all seven are needed")
    return dataset


def save_dataset(
    dataset: Dataset, folder: Path, *, force: bool = False, beside: Mapping[str, str] | None = None
) -> None:
    """Write the cache, whole or not at all; `beside` is text by file name that is to lie in it, too.

    Raises:
        OutputError: the folder exists and `force` is not given, or the disk refuses.
    """
    with replacing_folder(folder, MANIFEST, force=force) as temporary:
        np.save(temporary / "faces.npy", dataset.faces)
        np.save(temporary / "labels.npy", dataset.labels)
        np.save(temporary / "splits.npy", dataset.splits)
        if dataset.votes is not None:
            np.save(temporary / "votes.npy", dataset.votes)
        about = {
            "schema": SCHEMA,
            "source": dataset.source,
            "sha256": dataset.sha256,
            "emotions": list(EMOTIONS),
            "splits": list(SPLITS),
            "votes_sha256": None if dataset.votes is None else content_hash(dataset.votes),
            "counts": dataset.counts(),
        }
        if dataset.cleaned:
            about["cleaned"] = list(dataset.cleaned)
        for name, text in (beside or {}).items():
            (temporary / name).write_text(text, encoding="utf-8")
        (temporary / MANIFEST).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


_UNREADABLE = (
    *(OSError, EOFError, zipfile.BadZipFile),
    *(ValueError, KeyError, TypeError, AttributeError, RecursionError),
)


def load_dataset(folder: Path) -> Dataset:
    """Open a cache (the faces stay on disk, memory-mapped) and check its content hash.

    Raises:
        DataError: the folder is not a cache, is of another schema, or its content was altered.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise DataError(
            f"{folder} is not a data cache (no cache.json); make one: fer-edge data import PATH --out {folder}"
        )
    try:
        about = json.loads(manifest.read_text(encoding="utf-8"))
        if about.get("schema") != SCHEMA:
            raise DataError(f"{manifest} has schema {about.get('schema')!r}, expected {SCHEMA}; import the data again")
        votes_sha256 = about["votes_sha256"]
        votes = np.load(folder / "votes.npy") if votes_sha256 else None
        dataset = Dataset(
            np.load(folder / "faces.npy", mmap_mode="r"),
            np.load(folder / "labels.npy"),
            np.load(folder / "splits.npy"),
            votes,
            about["source"],
            about["sha256"],
            folder.resolve(),
            tuple(about.get("cleaned", ())),
        )
    except _UNREADABLE as error:
        raise DataError(f"{folder} is a damaged data cache ({error}); import the data again") from error
    intact = content_hash(dataset.faces, dataset.labels, dataset.splits) == dataset.sha256
    if not intact or (votes is not None and content_hash(votes) != votes_sha256):
        raise DataError(f"{folder} was altered since it was written: its content hash differs; import the data again")
    return dataset
