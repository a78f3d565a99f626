"""The network ready to be fitted: optimizer, loss and metric, as the recipe asks."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.vocabulary import FACE_SIDE
from fer_edge.train.aware import aware_network
from fer_edge.train.distill import DistillationLoss, LabelAccuracy
from fer_edge.train.dlib_start import begin_with_dlib, weights_file
from fer_edge.train.models import of_recipe
from fer_edge.train.recipe import Recipe
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.sharpness import SharpnessAwareSGD
from fer_edge.train.warm_start import begin_with
from fer_edge.train.zoo import MODELS


def compiled(recipe: Recipe, views: Callable[[], NDArray[np.uint8]] | None = None) -> keras.Model:
    """A new, compiled network. `views` gives faces as it will be fitted to, where its weights come folded.

    Raises:
        RunError: the recipe's weights, or those of what it starts from, cannot be had.
    """
    if recipe.quantization_aware is not None:
        model = aware_network(RunFolder(Path(recipe.quantization_aware)))
    else:
        model = of_recipe(recipe, pretrained=recipe.start is None, side=None if recipe.small_epochs else FACE_SIDE)
        if recipe.start is not None:
            begin_with(model, recipe, views)
        elif recipe.model == "dlib-resnet" and recipe.weights not in (None, "none"):
            assert views is not None
            begin_with_dlib(model, recipe, weights_file(recipe.weights), views())
    optimizer = _optimizer(recipe)
    if MODELS[recipe.model].kind == "autoencoder":
        model.compile(optimizer, keras.losses.MeanSquaredError())
    else:
        model.compile(optimizer, _loss(recipe), metrics=[LabelAccuracy(name="accuracy")])
    return model


def _optimizer(recipe: Recipe) -> Any:
    decay = recipe.weight_decay or None
    average: dict[str, Any] = {"use_ema": True, "ema_momentum": recipe.average} if recipe.average else {}
    optimizer: Any
    if recipe.optimizer == "sgd":
        kind = partial(SharpnessAwareSGD, recipe.sharpness) if recipe.sharpness else keras.optimizers.SGD
        optimizer = kind(learning_rate=recipe.learning_rate, momentum=0.9, nesterov=True, weight_decay=decay, **average)
    elif recipe.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(recipe.learning_rate, weight_decay=recipe.weight_decay, **average)
    else:
        optimizer = keras.optimizers.Adam(recipe.learning_rate, weight_decay=decay, **average)
    return decaying_kernels(optimizer)


def decaying_kernels(optimizer: Any) -> Any:
    """The optimizer, whose decay is for the kernels alone; one that was read from a file has forgotten it.

    On a bias or a batch norm's scale decay only shifts what the data asks for.
    """
    if optimizer.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _loss(recipe: Recipe) -> keras.losses.Loss:
    if recipe.asks_of_views:
        return DistillationLoss(_label_loss(recipe), recipe.teacher_share, recipe.teacher_temperature)
    return _label_loss(recipe)


def _label_loss(recipe: Recipe) -> keras.losses.Loss:
    if recipe.loss == "focal":
        # Lin et al. 2017; alpha 1, since `class_weights` is what balances the emotions here.
        return keras.losses.CategoricalFocalCrossentropy(
            alpha=1.0, gamma=recipe.focal_gamma, from_logits=True, label_smoothing=recipe.label_smoothing
        )
    return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
