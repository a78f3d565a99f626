"""Feeds augmented batches whose content depends on nothing but (seed, epoch, batch).

A resumed run sees the very batches that the uninterrupted one would have seen.
"""

import math

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.vocabulary import FACE_SIDE
from fer_edge.train.augment import draw_changes
from fer_edge.train.balance import class_weights
from fer_edge.train.dataset import Dataset
from fer_edge.train.recipe import Recipe
from fer_edge.train.teacher import Teacher

Rows = NDArray[np.int64]
Batch = tuple[NDArray, ...]
"""Faces (B, 48, 48, 1) uint8, targets (B, classes) float32, and where classes are weighed the weights (B,) float32."""


class TrainingBatches(keras.utils.PyDataset):
    """Augmented batches for the epoch set by `set_epoch`. Faces are read from the cache batch by batch.

    Args:
        data: the cache.
        rows: (N,) the rows to fit on.
        targets: (N, classes) what the network is to say of them; None asks for the faces themselves, gray 0 to 1.
        recipe: seed, batch size, augmentation and the rest.
        shard: this worker's number and how many share each batch; it gets a part of it, as large as every other's.
        teacher: gives logits for each view, which are put behind the targets' columns.
    """

    def __init__(
        self,
        data: Dataset,
        rows: Rows,
        targets: NDArray[np.float32] | None,
        recipe: Recipe,
        shard: tuple[int, int] = (0, 1),
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self._faces, self._rows, self._targets, self._recipe, self._shard = data.faces, rows, targets, recipe, shard
        self.batch_size, self._teacher = recipe.batch_size, teacher
        classes = data.labels[rows] if targets is None else targets.argmax(axis=1)
        self._pool = _oversampled(classes) if recipe.oversample else np.arange(len(rows))
        self._weights = None
        if recipe.class_weights and targets is not None:
            # An image of several emotions weighs what they do, each by its share.
            self._weights = (targets @ class_weights(targets.sum(axis=0))).astype(np.float32)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Shuffle for a 0-based epoch."""
        self.epoch = epoch
        self._side = side_of(self._recipe, epoch)
        self._order = np.random.default_rng([self._recipe.seed, 2, epoch]).permutation(self._pool)

    def __len__(self) -> int:
        return -(-len(self._order) // self._recipe.batch_size)

    def __getitem__(self, batch: int) -> Batch:
        x, y, which = self._views(batch)
        if y is None:
            return x, x.astype(np.float32) / 255
        if self._teacher is not None:
            start, count = batch * self.batch_size, len(self._order)
            y = np.concatenate([y, self._teacher.logits(self.epoch, start, count, x)], axis=1)
        x = smaller(x, self._side)
        return (x, y) if self._weights is None else (x, y, self._weights[which])

    def views(self, batch: int) -> NDArray[np.uint8]:
        """The faces of a batch alone, (B, side, side, 1)."""
        return smaller(self._views(batch)[0], self._side)

    def first_views(self) -> NDArray[np.uint8]:
        """The first faces, (512, side, side, 1) or fewer."""
        batches = range(min(len(self), -(-512 // self.batch_size)))
        return np.concatenate([self.views(batch) for batch in batches])[:512]

    def _views(self, batch: int) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None, Rows]:
        """Faces (B, 48, 48, 1) after their changes, what they are, and which they are."""
        recipe = self._recipe
        rng = np.random.default_rng([recipe.seed, 3, self.epoch, batch])
        which = self._order[batch * recipe.batch_size :][: recipe.batch_size]
        changes = draw_changes(recipe, len(which), FACE_SIDE, rng)
        pick = np.arange(len(which))
        mine = self._part(len(which))
        faces = {at: changes.apply(at, self._faces[self._rows[which[at]]]) for at in (pick if recipe.mixup else mine)}
        if recipe.mixup and self._targets is not None:
            return *self._mixed(faces, which, mine, rng), which[mine]
        x = np.stack([faces[at] for at in mine])[..., None]
        return x, None if self._targets is None else self._targets[which[mine]], which[mine]

    def repeats(self, size: int) -> int:
        """How often each image of a batch of `size` is taken, so that all workers get the same number: once, if it can.

        All images of the batch are repeated, so its mean loss, its gradient and what batch norm sees stay the same.
        """
        return self._shard[1] // math.gcd(size, self._shard[1])

    def counted_once(self, before: float, after: float) -> float:
        """The mean of a figure over an epoch's images, from Keras's running means before and after the last batch.

        Keras counts the images of a repeated batch as often as they were repeated.
        """
        last = len(self._order) - (len(self) - 1) * self._recipe.batch_size
        full, times = len(self._order) - last, self.repeats(last)
        if times == 1:
            return after
        return before + (after - before) * (full + times * last) / (times * (full + last))

    def _part(self, size: int) -> Rows:
        """This worker's images of a batch: the batch in its order, cut into as many parts as there are workers."""
        worker, workers = self._shard
        return np.tile(np.arange(size), self.repeats(size)).reshape(workers, -1)[worker]

    def _mixed(
        self, faces: dict[int, NDArray], which: Rows, mine: Rows, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Each face and target blended with another's (Zhang et al. 2018), by one share a batch."""
        assert self._targets is not None
        share = rng.beta(self._recipe.mixup, self._recipe.mixup)
        other = rng.permutation(len(which))
        x = np.stack([np.rint(share * faces[at] + (1 - share) * faces[other[at]]).astype(np.uint8) for at in mine])
        y = share * self._targets[which[mine]] + (1 - share) * self._targets[which[other[mine]]]
        return x[..., None], y.astype(np.float32)


def _oversampled(classes: NDArray) -> Rows:
    """Positions in which each class comes as often as the most frequent one, give or take nothing."""
    most = np.bincount(classes).max()
    return np.concatenate([np.resize(np.flatnonzero(classes == label), most) for label in np.unique(classes)])


def side_of(recipe: Recipe, epoch: int) -> int:
    """Pixels of a side of the faces that a 0-based epoch is fitted to and validated on."""
    return recipe.small_side if epoch < recipe.small_epochs else FACE_SIDE


def smaller(faces: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Faces (N, 48, 48, 1) with fewer pixels, (N, side, side, 1), each the mean of those that it covers."""
    if side == FACE_SIDE:
        return faces
    resized = [cv2.resize(face[..., 0], (side, side), interpolation=cv2.INTER_AREA) for face in faces]
    return np.stack(resized)[..., None].astype(np.uint8)
