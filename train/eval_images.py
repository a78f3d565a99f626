"""Which images judge a model, and what it says of each."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import DataError, RunError
from fer_edge.edge_runtime.bundle import is_bundle
from fer_edge.train.dataset import Dataset, load_dataset
from fer_edge.train.eval_subject import Subject
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.targets import majority
from fer_edge.train.temperature import log_probabilities

DEFAULT_DATA = Path("data/fer2013")
DIGITS = 6
"""Of a confidence."""


@dataclass(frozen=True, eq=False)
class Images:
    """Images with a true class: rows (N,) in the data, faces (N, 48, 48) uint8, labels (N,); how many have none."""

    rows: NDArray[np.int64]
    faces: NDArray[np.uint8]
    labels: NDArray[np.int64]
    left_out: int


def data_of(path: Path | None, given: Path | None) -> Dataset:
    """The data cache to judge on, opened before the model: that is quick, and a model may take its time.

    Args:
        path: a run folder, whose own data it is unless another is given; or a bundle, None for the one that ships, of
            which it is data/fer2013.
        given: a cache.

    Raises:
        RunError: the path is no run, or the run's data is not where it was, and none is given.
        DataError: what is there is no data cache.
    """
    if given is not None or path is None or is_bundle(path):
        return load_dataset(given or DEFAULT_DATA)
    stored = RunFolder(path).about().get("data_path")
    if stored is None or not Path(stored).is_dir():
        gone = "does not say where its data is" if stored is None else f"was trained on {stored}, which is not there"
        raise RunError(f"{path} {gone}; give --data CACHE")
    return load_dataset(Path(stored))


def images_of(data: Dataset, split: str, classes: int) -> Images:
    """The images that judge a model of so many classes, by the policy of `train.targets`.

    Raises:
        DataError: the split cannot judge, or eight classes are asked of data without votes.
    """
    rows = data.held_out(split)
    kept, labels = (rows, np.asarray(data.labels[rows])) if classes == 7 else majority(data, rows, classes)
    if len(kept) == 0:
        raise DataError(f"no {split!r} image has one emotion with the most votes; choose another --split")
    return Images(kept, np.asarray(data.faces[kept]), labels.astype(np.int64), len(rows) - len(kept))


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model with these classes says of the images: logits (N, K)."""

    images: Images
    classes: tuple[str, ...]
    logits: NDArray[np.float32]

    @classmethod
    def ask(cls, subject: Subject, images: Images) -> "Answers":
        """Run the model on all of them."""
        return cls(images, subject.classes, subject.logits(images.faces))

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """The class (N,) with the greatest logit."""
        return self.logits.argmax(axis=1)

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """Its probability (N,)."""
        return np.exp(log_probabilities(self.logits)).max(axis=1)

    def misclassified(self) -> NDArray[np.int64]:
        """Positions of the images that are named wrongly, the surest first."""
        wrong = np.flatnonzero(self.predicted != self.images.labels)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")]

    def about(self, at: int) -> dict[str, Any]:
        """Image number `at`: where it is in the data, what it is and what it is named, how surely."""
        row = int(self.images.rows[at])
        return {
            "row": row,
            "path": f"faces.npy[{row}]",  # a cache keeps faces, not the files that they came from
            "true": self.classes[self.images.labels[at]],
            "predicted": self.classes[self.predicted[at]],
            "confidence": round(float(self.confidence[at]), DIGITS),
        }
