"""Begins a training with the weights of a finished run: for a longer training, other labels, or a teacher's lessons."""

from pathlib import Path

import keras

from fer_edge.devices.errors import RunError
from fer_edge.train.dataset import Dataset
from fer_edge.train.models import load_network
from fer_edge.train.recipe import Recipe
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.split import check_unseen

LOGITS = 2
"""The last arrays of a network's weights: kernel and bias of its logits."""


def begin_with(model: keras.Model, run: RunFolder) -> None:
    """Give a new network the weights of a finished run; its logits begin anew where the classes are others.

    Raises:
        RunError: the run is unfinished, or its network is another one.
    """
    own = model.get_weights()
    theirs = load_network(run.finished_model()).get_weights()
    shapes = [w.shape for w in own], [w.shape for w in theirs]
    if shapes[0] == shapes[1]:
        model.set_weights(theirs)
    elif shapes[0][:-LOGITS] == shapes[1][:-LOGITS]:
        model.set_weights([*theirs[:-LOGITS], *own[-LOGITS:]])
    else:
        raise RunError(f"{run.path} is a {run.recipe().model} of other shapes; start from a run of the same network")


def check_start(recipe: Recipe, data: Dataset) -> None:
    """Whether the run to start from has not been fitted to the faces that validate here.

    Raises:
        RunError: it may have been, it is unfinished, it is another network, or what is asked for does not go with it.
    """
    run = RunFolder(Path(str(recipe.start)))
    theirs = run.recipe()
    if not isinstance(theirs, Recipe) or theirs.model != recipe.model:
        raise RunError(f"{run.path} is a {theirs.model}, not a {recipe.model}; start from a run of the same network")
    if theirs.quantization_aware is not None:
        raise RunError(
            f"{run.path} is quantization-aware, its batch norm is folded; start from the float run, "
            f"{theirs.quantization_aware}"
        )
    if recipe.weights not in (None, "none", "imagenet"):
        raise RunError(f"--start brings all weights; leave out --weights {recipe.weights}")
    for name in ("standardize", "image_side"):
        if getattr(theirs, name) != getattr(recipe, name):
            raise RunError(f"{run.path} was trained with {name}={getattr(theirs, name)}; give the same")
    run.finished_model()
    check_unseen(f"--start {run.path}", run.about()["data_sha256"], theirs, data, recipe)
