"""Several finished networks as one: raw pixels in, the mean of their logits out. Converts like any other."""

import time
from pathlib import Path

import keras
import numpy as np

from fer_edge.devices.errors import RunError
from fer_edge.devices.files import replacing_file
from fer_edge.edge_runtime.vocabulary import FACE_SIDE
from fer_edge.train.dataset import Dataset
from fer_edge.train.feed import predicted
from fer_edge.train.models import load_network
from fer_edge.train.recipe import EnsembleRecipe, Recipe
from fer_edge.train.run_folder import Epoch, RunFolder
from fer_edge.train.split import rows_of, split_of
from fer_edge.train.targets import truth


def average_members(data: Dataset, recipe: EnsembleRecipe, run: RunFolder) -> Epoch:
    """Write the averaged network and return its validation figures.

    The faces that validate are those of the ensemble's own split; a member that was fitted to them makes the figure too
    good, which is refused.

    Raises:
        RunError: a member is unfinished, is no network, was trained on other data, has other classes, or was fitted to
            faces that the others validate on.
    """
    start = time.perf_counter()
    members = [RunFolder(Path(path)) for path in recipe.members]
    recipes = [_checked(member, data) for member in members]
    _check_alike(recipes, recipe)
    pixels = keras.Input((FACE_SIDE, FACE_SIDE, 1), name="pixels")
    networks = []
    for at, member in enumerate(members):
        network = load_network(member.finished_model())
        network.name = f"member_{at}"
        networks.append(network)
    model = keras.Model(
        pixels, keras.layers.Average(name="logits")([network(pixels) for network in networks]), name="ensemble"
    )
    with replacing_file(run.model) as temporary:
        model.save(temporary)
    rows, labels = truth(data, rows_of(data, recipe)[1], recipes[0])
    said = predicted(model, np.asarray(data.faces[rows])[..., None])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, said)
    return {
        "epoch": 1,
        "seconds": round(time.perf_counter() - start, 1),
        "val_loss": float(loss),
        "val_accuracy": float((said.argmax(1) == labels).mean()),
    }


def _checked(member: RunFolder, data: Dataset) -> Recipe:
    recipe = member.recipe()
    if not isinstance(recipe, Recipe) or recipe.model == "autoencoder":
        raise RunError(f"{member.path} is a {recipe.model}; an ensemble averages networks with logits")
    if member.about()["data_sha256"] != data.sha256:
        raise RunError(f"{member.path} was trained on other data; an ensemble's members share it")
    member.finished_model()
    return recipe


def _check_alike(members: list[Recipe], recipe: EnsembleRecipe) -> None:
    if len({member.class_count for member in members}) > 1:
        raise RunError("the members do not have the same classes; average those with seven, or those with eight")
    splits = {split_of(member) for member in members} | {split_of(recipe)}
    if len(splits) > 1:
        said = ", ".join(sorted(splits))
        raise RunError(f"the members keep different faces for validation ({said}); train them with the same")
