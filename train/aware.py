"""Quantization-aware fine-tuning: a finished network, its batch norm folded, trained on under the rounding of int8.

What comes out is a plain float network and the range of each place that int8 rounds anew; every converter quantizes
them to the numbers that were trained with. Owns which networks can be had: chains of convolutions and dense layers.
Places are named as in a bundle's quantization, by kind and position: conv1, mean1, dense1.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from fer_edge.devices.errors import RunError
from fer_edge.train.aware_layers import RoundedConv2D, RoundedDense, RoundedRange
from fer_edge.train.dataset import Dataset
from fer_edge.train.models import load_network
from fer_edge.train.recipe import Recipe
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.split import check_unseen

_PASSING = (layers.Rescaling, layers.MaxPooling2D, layers.Dropout, layers.Flatten)
_FOR_CONV = ("filters", "kernel_size", "strides", "padding", "dilation_rate", "groups")


@dataclass(eq=False)
class _Step:
    """A layer of the folded network. `kernel` and `bias` are there where it has weights, `name` where it is a place."""

    layer: Any
    name: str | None = None
    kernel: NDArray[np.float32] | None = None
    bias: NDArray[np.float32] | None = None
    relu: bool = False

    def plain(self) -> Any:
        """The float layer."""
        return self._made(layers.Conv2D, layers.Dense)

    def aware(self) -> Any:
        """The layer that rounds its weights."""
        return self._made(RoundedConv2D, RoundedDense)

    def _made(self, conv: type, dense: type) -> Any:
        if self.kernel is None:
            return type(self.layer).from_config(self.layer.get_config())
        config = self.layer.get_config()
        activation = "relu" if self.relu else None
        if isinstance(self.layer, layers.Dense):
            return dense(config["units"], activation=activation, name=self.name)
        return conv(**{name: config[name] for name in _FOR_CONV}, activation=activation, name=self.name)


def aware_network(base: RunFolder) -> keras.Model:
    """The finished run's network with its batch norm folded and int8's rounding put in; its ranges are not set yet.

    Raises:
        RunError: the run is unfinished, or its network is no chain that can be folded.
    """
    steps = _folded(load_network(base.network()), base.path)
    return _built(steps, aware=True)


def plain_network(trained: keras.Model, base: RunFolder) -> keras.Model:
    """The float network with the weights of one that `aware_network` made."""
    model = _built(_folded(load_network(base.network()), base.path), aware=False)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(trained.get_layer(layer.name).get_weights())
    return model


def learned_ranges(trained: keras.Model) -> dict[str, tuple[float, float]]:
    """Low and high end by place, of a network that was trained at least one batch."""
    return {
        layer.name.removesuffix("_range"): (float(layer.low), float(layer.high))
        for layer in trained.layers
        if isinstance(layer, RoundedRange)
    }


def check_base(recipe: Recipe, data: Dataset) -> None:
    """Whether the run to fine-tune is on this data and has not been fitted to the faces that validate here.

    Raises:
        RunError: it is not, or has.
    """
    run = RunFolder(Path(str(recipe.quantization_aware)))
    run.network()
    check_unseen(str(run.path), run.about()["data_sha256"], run.recipe(), data, recipe)


def _built(steps: list[_Step], *, aware: bool) -> keras.Model:
    pixels = x = keras.Input((48, 48, 1), name="pixels")
    for step in steps:
        layer = step.aware() if aware else step.plain()
        x = layer(x)
        if step.kernel is not None:
            layer.set_weights([step.kernel, step.bias])
        if aware and step.name is not None:
            x = RoundedRange(name=f"{step.name}_range")(x)
    return keras.Model(pixels, x)


def _folded(model: keras.Model, path: Path) -> list[_Step]:
    steps: list[_Step] = []
    counts: Counter[str] = Counter()

    def place(kind: str) -> str:
        counts[kind] += 1
        return f"{kind}{counts[kind]}"

    before = model.layers[0]
    for layer in model.layers[1:]:
        if layer.input is not before.output:
            raise RunError(f"{path}: {layer.name} does not follow {before.name} alone; {_CHAIN}")
        before, last = layer, steps[-1] if steps else None
        if type(layer) in (layers.Conv2D, layers.Dense):
            kernel, *bias = layer.get_weights()
            if not _is_relu(layer) and layer.activation is not keras.activations.linear:
                raise RunError(f"{path}: {layer.name} has an activation that is no ReLU; {_CHAIN}")
            kind = "conv" if isinstance(layer, layers.Conv2D) else "dense"
            zeros = np.zeros(kernel.shape[-1], np.float32)
            steps.append(_Step(layer, place(kind), kernel, bias[0] if bias else zeros, _is_relu(layer)))
        elif isinstance(layer, layers.BatchNormalization) and last and last.kernel is not None and not last.relu:
            _fold(last, layer)
        elif _is_relu(layer) and last and last.kernel is not None:
            last.relu = True
        elif isinstance(layer, layers.GlobalAveragePooling2D):
            steps.append(_Step(layer, place("mean")))
        elif isinstance(layer, _PASSING):
            steps.append(_Step(layer))
        else:
            raise RunError(f"{path}: {layer.name} is a {type(layer).__name__} in a place of its own; {_CHAIN}")
    return steps


_CHAIN = (
    "quantization-aware training takes chains of convolutions and dense layers, with batch norm and ReLU behind or "
    "not, and pooling: cnn, cnn-basic, cnn-small, cnn-wide, cnn-edge, flagship, tiny, vgg10, mlp"
)


def _is_relu(layer: Any) -> bool:
    if isinstance(layer, layers.ReLU):
        config = layer.get_config()
        return config["max_value"] is None and not config["negative_slope"] and not config["threshold"]
    activation = getattr(layer, "activation", None)
    return activation is keras.activations.relu


def _fold(step: _Step, norm: Any) -> None:
    """Put a batch norm's scale and shift into the weights before it."""
    scale = np.asarray(1 / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon))
    if norm.gamma is not None:
        scale = scale * np.asarray(norm.gamma)
    shift = -np.asarray(norm.moving_mean) * scale
    if norm.beta is not None:
        shift = shift + np.asarray(norm.beta)
    assert step.kernel is not None
    assert step.bias is not None
    step.kernel, step.bias = step.kernel * scale, step.bias * scale + shift
