"""Finished networks that teach another: what they say of each face, in the very view that the pupil sees, or as it is.

Owns the teachers, the check that they have not seen the pupil's validation faces, and the store of what they said: a
view is a function of (seed, epoch, batch), so a second pupil with the same augmentation need not ask again.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import RunError
from fer_edge.devices.files import replacing_file
from fer_edge.train.dataset import Dataset
from fer_edge.train.predictor import KerasPredictor, Predictor, open_run
from fer_edge.train.recipe import AnyRecipe, Recipe
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.split import check_unseen

Faces = NDArray[np.uint8]
Logits = NDArray[np.float32]
_OF_VIEWS = (
    "batch_size", "oversample", "mixup", "rotation_deg", "shift", "zoom", "shear", "flip", "contrast", "erase",
    "labels", "train_fraction", "val_fraction", "validation", "seed",
)  # fmt: skip
"""What decides which views a training has, and in which order."""
_LATER = ("blur", "noise", "mixed_precision")
"""The same, and in what the teachers compute, in a store's name only where asked for: stores of before keep theirs."""


class Teacher:
    """The mean logits of several finished networks, epoch by epoch.

    Args:
        data: what the pupil is trained on.
        recipe: the pupil's; its `teachers` are run folders, its `teacher_cache` a folder or None.

    Raises:
        RunError: a teacher is unfinished, was trained on other data, has other classes, or may have been fitted to
            faces that the pupil is validated on.
    """

    def __init__(self, data: Dataset, recipe: Recipe) -> None:
        runs = [RunFolder(Path(path)) for path in recipe.teachers]
        self._networks = [_opened(run, data, recipe) for run in runs]
        self._classes = recipe.class_count
        self._folder: Path | None = None
        self._faces_store: Path | None = None
        if recipe.teacher_cache is not None:
            who = json.dumps(sorted(run.identity() for run in runs) + ["bfloat16"] * recipe.mixed_precision)
            self._faces_store = Path(recipe.teacher_cache) / hashlib.sha256(who.encode()).hexdigest()[:16]
            views = {name: getattr(recipe, name) for name in _OF_VIEWS}
            views |= {name: value for name in _LATER if (value := getattr(recipe, name))}
            about = json.dumps([views, data.sha256, sorted(run.identity() for run in runs)])
            self._folder = Path(recipe.teacher_cache) / hashlib.sha256(about.encode()).hexdigest()[:16]
        self._epoch: int | None = None
        self._known: NDArray[np.float16] = np.empty((0, self._classes), np.float16)

    def logits(self, epoch: int, start: int, count: int, faces: Faces) -> Logits:
        """Mean logits (B, classes) of faces (B, 48, 48, 1), which are those from `start` on of an epoch's `count`."""
        if self._folder is None:
            return self._ask(faces)
        if epoch != self._epoch:
            self._begin(epoch, count)
        part = self._known[start : start + len(faces)]
        if np.isnan(part).any():
            part[:] = self._ask(faces)
            if not np.isnan(self._known).any():
                self._store()
        return part.astype(np.float32)

    def of_faces(self, faces: Faces) -> Logits:
        """Mean logits (N, classes) of faces (N, 48, 48) as they are and of their mirror images."""
        path = self._faces_store and self._faces_store / f"faces-{hashlib.sha256(faces.tobytes()).hexdigest()[:16]}.npy"
        if path and path.is_file():
            return np.asarray(np.load(path), np.float32)
        views = (faces, faces[:, :, ::-1])
        said: Logits = np.mean([self._ask(view[..., None]) for view in views], axis=0, dtype=np.float32)
        if path:
            _write(path, said)
        return said

    def _ask(self, faces: Faces) -> Logits:
        return np.mean([network.logits(faces[..., 0]) for network in self._networks], axis=0, dtype=np.float32)

    def _begin(self, epoch: int, count: int) -> None:
        self._epoch, path = epoch, self._path(epoch)
        self._known = np.full((count, self._classes), np.nan, np.float16)
        if path.is_file():
            stored = np.load(path)
            if stored.shape != self._known.shape:
                raise RunError(f"{path} has logits {stored.shape}, expected {self._known.shape}; delete it")
            self._known = stored

    def _store(self) -> None:
        assert self._epoch is not None
        _write(self._path(self._epoch), self._known)

    def _path(self, epoch: int) -> Path:
        assert self._folder is not None
        return self._folder / f"epoch-{epoch + 1:04d}.npy"


def _write(path: Path, array: NDArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def _opened(run: RunFolder, data: Dataset, pupil: Recipe) -> Predictor:
    recipe = run.recipe()
    check_unseen(f"teacher {run.path}", run.about()["data_sha256"], recipe, data, pupil)
    network = open_run(run)
    if len(network.names) != pupil.class_count:
        raise RunError(f"teacher {run.path} has {len(network.names)} classes, the pupil {pupil.class_count}")
    return _in_bfloat16(network, recipe) if pupil.mixed_precision else network


def _in_bfloat16(network: Predictor, recipe: AnyRecipe) -> Predictor:
    """The same network computing as its pupil does; what is no plain network stays as it is.

    A file keeps the precision that it was saved in, so the network is built anew.
    """
    if not isinstance(recipe, Recipe) or recipe.quantization_aware is not None:
        return network
    from fer_edge.train.models import computing_in, of_recipe

    with computing_in("mixed_bfloat16"):
        built = of_recipe(recipe, pretrained=False)
    built.set_weights(network.keras_model.get_weights())
    return KerasPredictor(built, network.names)
