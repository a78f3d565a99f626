"""Begins a training with given weights: for a longer training, other labels or faces, or a teacher's lessons.

Of several runs it is their mean (Wortsman et al. 2022, *Model soups*): runs that began with the same weights and saw
other views differ by chance, and the mean has less of it. That is one network, where an ensemble is as many as it has
members.
"""

from collections.abc import Callable
from os.path import isfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import RunError
from fer_edge.edge_runtime.bundle import Bundle, is_bundle
from fer_edge.train.bundle_start import begin_with_bundle
from fer_edge.train.dataset import Dataset
from fer_edge.train.models import LOGITS, load_network
from fer_edge.train.recipe import AnyRecipe, Recipe
from fer_edge.train.run_folder import RECIPE_FILE, RunFolder
from fer_edge.train.split import check_unseen
from fer_edge.train.trained_on import before, check_bundle

Source = tuple[Bundle | None, list[RunFolder]]
"""A bundle, or runs."""


def source_of(start: str) -> Source:
    """What `--start` names: a bundle by its path or by the name of one that ships, or one run or several.

    Raises:
        RunError: it is neither, or names a bundle among others.
        BundleError: the bundle cannot be read.
    """
    paths = [path for path in start.split(",") if path]
    if not paths:
        raise RunError(f"--start {start!r} names no run; give the folder of a finished one, or a bundle")
    for path in paths:
        if is_bundle(path):
            if len(paths) > 1:
                raise RunError(f"--start {start}: {path} is a bundle, which is begun with alone; leave out the others")
            return Bundle.open(path), []
        if not isfile(Path(path) / RECIPE_FILE):  # noqa: PTH113 - to which too long a name is no error
            raise RunError(f"--start {path} is neither a training run nor a bundle; give the folder of one")
    return None, [RunFolder(Path(path)) for path in paths]


def begun_with(recipe: AnyRecipe) -> dict[str, Any]:
    """What recipe.json of a new run keeps of the weights that it begins with."""
    if not isinstance(recipe, Recipe):
        return {}
    if recipe.quantization_aware is not None:
        return before(None, [RunFolder(Path(recipe.quantization_aware))])
    return {} if recipe.start is None else before(*source_of(recipe.start))


def begin_with(model: keras.Model, recipe: Recipe, views: Callable[[], NDArray[np.uint8]] | None) -> None:
    """Give a new network the weights of a bundle, or the mean of finished runs'.

    Its logits begin anew where the classes are others. `views` gives faces (N, side, side, 1) as the training sees
    them, which only a bundle asks for.

    Raises:
        RunError: a run is unfinished, or its network is another one.
        BundleError, EngineError: the bundle cannot be used.
    """
    assert recipe.start is not None
    bundle, runs = source_of(recipe.start)
    if bundle is not None:
        assert views is not None
        begin_with_bundle(model, recipe, bundle, views())
        return
    own = model.get_weights()
    theirs = [_fitting(run, own) for run in runs]
    mean = [np.mean(arrays, axis=0) for arrays in zip(*theirs, strict=True)]
    model.set_weights([*mean, *own[len(mean) :]])


def _fitting(run: RunFolder, own: list[NDArray]) -> list[NDArray]:
    """Weights of the run: all of them, or all but those of the logits."""
    theirs = load_network(run.finished_model()).get_weights()
    shapes = [w.shape for w in own], [w.shape for w in theirs]
    if shapes[0] == shapes[1]:
        return theirs
    if shapes[0][:-LOGITS] == shapes[1][:-LOGITS]:
        return theirs[:-LOGITS]
    raise RunError(f"{run.path} is a {run.recipe().model} of other shapes; start from a run of the same network")


def check_start(recipe: Recipe, data: Dataset) -> None:
    """Whether the bundle or the runs to start from have not been fitted to the faces that validate here.

    Raises:
        BundleError: the bundle cannot be read.
        RunError: one may have been, is unfinished, is another network or has other classes than the next; or what is
            asked for does not go with it.
    """
    assert recipe.start is not None
    if recipe.weights not in (None, "none", "imagenet", "dlib"):
        raise RunError(f"--start brings all weights; leave out --weights {recipe.weights}")
    bundle, runs = source_of(recipe.start)
    if bundle is not None:
        check_bundle(bundle, recipe, data)
    for run in runs:
        _check(run, recipe, data)
    if len({_classes(run) for run in runs}) > 1:
        raise RunError(f"--start {recipe.start}: the runs have not the same classes; start from those that have")


def _classes(run: RunFolder) -> int:
    recipe = run.recipe()
    assert isinstance(recipe, Recipe)
    return recipe.class_count


def _check(run: RunFolder, recipe: Recipe, data: Dataset) -> None:
    theirs = run.recipe()
    if not isinstance(theirs, Recipe) or theirs.model != recipe.model:
        raise RunError(f"{run.path} is a {theirs.model}, not a {recipe.model}; start from a run of the same network")
    if theirs.quantization_aware is not None:
        raise RunError(
            f"{run.path} is quantization-aware, its batch norm is folded; start from the float run, "
            f"{theirs.quantization_aware}"
        )
    for name in ("standardize", "image_side"):
        if getattr(theirs, name) != getattr(recipe, name):
            raise RunError(f"{run.path} was trained with {name}={getattr(theirs, name)}; give the same")
    run.finished_model()
    check_unseen(f"--start {run.path}", run.about()["data_sha256"], theirs, data, recipe)
