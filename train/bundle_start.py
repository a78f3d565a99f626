"""Begins a training with a bundle's weights, where its run is not at hand: what ships learns one's own faces.

Owns the way back from a float32 TFLite file, whose batch norm is folded into the weights, to a network that has it.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from fer_edge.devices.errors import BundleError, RunError
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.golden import compare
from fer_edge.edge_runtime.vocabulary import FACE_SIDE, Precision
from fer_edge.edge_runtime.weights_tflite import LayerWeights, layers_of
from fer_edge.train.feed import predicted
from fer_edge.train.models import LOGITS, computing_in, of_recipe
from fer_edge.train.recipe import Recipe

_WHITE = 255
"""Networks divide pixels by it; the converter folds that into the first kernel."""


def begin_with_bundle(model: keras.Model, recipe: Recipe, bundle: Bundle, faces: NDArray[np.uint8]) -> None:
    """Give the new network of a recipe the weights of a bundle; its logits begin anew where the classes are others.

    A folded batch norm comes back with the mean and variance that its layer has on `faces` (N, side, side, 1), which
    are to be as the training's are: then it says of a batch nearly what the folded weights say.

    Raises:
        RunError: the network is no chain, or the bundle's is another one.
        BundleError, EngineError: the bundle's float32 variant for TFLite or its golden faces cannot be used.
    """
    seven = dataclasses.replace(recipe, labels="fer2013")
    with computing_in("float32"):  # as the bundle does, whatever the training does: they are compared
        restored = of_recipe(seven, pretrained=False, side=None if recipe.small_epochs else FACE_SIDE)
    places = _places(restored)
    _fill(restored, places, layers_of(bundle.file(bundle.find("tflite", Precision.FLOAT32))), bundle.name, faces)
    _check_same(restored, bundle)
    theirs, own = restored.get_weights(), model.get_weights()
    model.set_weights(theirs if theirs[-1].shape == own[-1].shape else theirs[:-LOGITS] + own[-LOGITS:])


def _places(model: keras.Model) -> list[tuple[Any, Any]]:
    """The layers with weights in the order of the network, each with the batch norm behind it or None."""
    places: list[tuple[Any, Any]] = []
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D | layers.Dense):
            places.append((layer, None))
        elif isinstance(layer, layers.BatchNormalization) and places and layer.input is places[-1][0].output:
            places[-1] = (places[-1][0], layer)
        elif layer.weights:
            raise RunError(f"a {model.name} cannot begin with a bundle: it is no plain chain; start from a run")
    if any((norm is None) != layer.use_bias for layer, norm in places):
        raise RunError(f"a {model.name} cannot begin with a bundle: it has biases before batch norm; start from a run")
    return places


def _fill(
    model: keras.Model, places: list[tuple[Any, Any]], theirs: list[LayerWeights], name: str, faces: NDArray[np.uint8]
) -> None:
    if [np.shape(layer.kernel) for layer, _ in places] != [weights.kernel.shape for weights in theirs]:
        raise RunError(f"--start {name} is of other shapes than a {model.name}; start from a bundle of that network")
    for at, ((layer, norm), weights) in enumerate(zip(places, theirs, strict=True)):
        kernel = weights.kernel if at else weights.kernel * _WHITE
        layer.set_weights([kernel] if norm else [kernel, weights.bias])
        if norm:
            results = keras.Model(model.inputs[0], layer.output)(faces, training=False)
            unfold(norm, weights.bias, keras.ops.convert_to_numpy(results))


def unfold(norm: Any, bias: NDArray[np.float32], results: NDArray[np.float32]) -> None:
    """Make the batch norm behind a layer say that layer's `results` (N, H, W, C) plus `bias`."""
    mean, variance = results.mean((0, 1, 2)), results.var((0, 1, 2))
    norm.set_weights([np.sqrt(variance + norm.epsilon), mean + bias, mean, variance])


def _check_same(model: keras.Model, bundle: Bundle) -> None:
    """Whether the network says of the golden faces what the bundle says."""
    golden, variant = bundle.golden(), bundle.find("tflite", Precision.FLOAT32)
    wanted = golden.logits.get(variant.name)
    if wanted is None or not len(wanted):
        raise BundleError(f"{bundle.path} has no golden logits of {variant.name}, so its weights cannot be proven")
    found = compare(variant, wanted, predicted(model, golden.faces[..., None]))
    if not found.holds:
        raise RunError(
            f"--start {bundle.name}: with its weights a {model.name} says something else of the golden faces (by "
            f"{found.max_difference:.2g} in logits), so it is another network; start from its run"
        )
