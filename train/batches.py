"""Splits Training into fitting and validation, and feeds augmented batches whose content depends on nothing but
(seed, epoch, batch): a resumed run sees the very batches that the uninterrupted one would have seen.
"""

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.dataset import Dataset
from fer_edge.train.recipes import Recipe


def fit_and_val_rows(data: Dataset, fraction: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to fit on and rows to validate on: the `val` split where there is one, else a stratified part of `train`.

    FER-2013 repeats images; a copy of a validation image is left out of the rows to fit on.
    """
    train, val = data.rows("train"), data.rows("val")
    if len(val) == 0:
        rng = np.random.default_rng([seed, 1])
        parts = []
        for label in range(len(EMOTIONS)):
            own = rng.permutation(train[data.labels[train] == label])
            parts.append(own[: max(1, round(fraction * len(own)))])
        val = np.sort(np.concatenate(parts))
    seen = {data.faces[row].tobytes() for row in val}
    fit = np.array([row for row in train if data.faces[row].tobytes() not in seen], np.int64)
    return fit, val


def class_weights(labels: NDArray[np.uint8]) -> dict[int, float]:
    """n / (classes * count): the rarer, the heavier (scikit-learn's "balanced")."""
    counts = np.bincount(labels, minlength=len(EMOTIONS))
    return {label: float(len(labels) / (len(EMOTIONS) * max(1, k))) for label, k in enumerate(counts)}


def augment(face: NDArray[np.uint8], recipe: Recipe, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One randomly rotated, shifted, zoomed, perhaps mirrored (48, 48) face; the edge is repeated outward."""
    side = face.shape[0]
    matrix = cv2.getRotationMatrix2D(
        ((side - 1) / 2, (side - 1) / 2),
        float(rng.uniform(-recipe.rotation_deg, recipe.rotation_deg)),
        float(1 + rng.uniform(-recipe.zoom, recipe.zoom)),
    )
    matrix[:, 2] += rng.uniform(-recipe.shift, recipe.shift, 2) * side
    if recipe.flip and rng.random() < 0.5:
        matrix[0] = -matrix[0]
        matrix[0, 2] += side - 1
    out = cv2.warpAffine(face, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if recipe.contrast:
        gain = 1 + rng.uniform(-recipe.contrast, recipe.contrast)
        offset = 255 * rng.uniform(-recipe.contrast, recipe.contrast) / 2
        out = np.clip(out * gain + offset, 0, 255).astype(np.uint8)
    if recipe.erase and rng.random() < 0.5:
        height, width = rng.integers(2, max(3, round(recipe.erase * side)), 2)
        top, left = rng.integers(0, side - height), rng.integers(0, side - width)
        out[top : top + height, left : left + width] = rng.integers(0, 256)
    return out  # type: ignore[return-value]


class TrainingBatches(keras.utils.PyDataset):
    """Augmented (B, 48, 48, 1) uint8 batches and one-hot labels (B, 7) for the epoch set by `set_epoch`."""

    def __init__(self, data: Dataset, rows: NDArray[np.int64], recipe: Recipe) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self._faces = np.asarray(data.faces[rows])
        self._onehot = np.eye(len(EMOTIONS), dtype=np.float32)[data.labels[rows]]
        self._recipe = recipe
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Shuffle for a 0-based epoch."""
        self._epoch = epoch
        self._order = np.random.default_rng([self._recipe.seed, 2, epoch]).permutation(len(self._faces))

    def __len__(self) -> int:
        return -(-len(self._faces) // self._recipe.batch_size)

    def __getitem__(self, batch: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        rng = np.random.default_rng([self._recipe.seed, 3, self._epoch, batch])
        rows = self._order[batch * self._recipe.batch_size :][: self._recipe.batch_size]
        faces = np.stack([augment(self._faces[row], self._recipe, rng) for row in rows])
        return faces[..., None], self._onehot[rows]
