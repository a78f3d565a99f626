"""Cross-layer equalization: weights of neighbouring layers are scaled against each other until channels reach alike.

Where a positive factor passes unchanged through everything between two layers, channel i of the first can be divided by
s_i and its weights in the second multiplied by it, and nothing comes out different (Nagel et al. 2019, "Data-Free
Quantization Through Weight Equalization and Bias Correction", section 4.1). Must not know a format.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from fer_edge.devices.errors import ConversionError

TOLERANCE = 1e-4
"""Of the largest logit, or of 1: float32's own rounding stays far under it."""
ROUNDS = 50
ENOUGH = 1e-3
"""A round that changes no factor by more than this share was the last."""
_PASSING = (
    *(layers.MaxPooling2D, layers.AveragePooling2D, layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D),
    *(layers.Dropout, layers.SpatialDropout2D, layers.ZeroPadding2D, layers.Flatten, layers.LeakyReLU, layers.PReLU),
)
"""Layers that a positive factor of a channel passes through."""
_WEIGHTED = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)
_Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Pair:
    """Two layers with weights, and the batch norms that follow them at once, where there are any."""

    first: Any
    first_norm: Any
    second: Any
    second_norm: Any


def equalized(model: keras.Model, faces_u8: NDArray[np.uint8]) -> keras.Model:
    """A copy of the network with even channels that computes the same.

    Args:
        model: from (N, 48, 48, 1) to logits.
        faces_u8: (N, 48, 48) faces on which that is checked.

    Raises:
        ConversionError: no two layers can be equalized, or the copy's logits differ by more than `TOLERANCE`.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    pairs = pairs_of(copy)
    if not pairs:
        raise ConversionError("--equalize finds no two layers with nothing but ReLU and pooling between them")
    for _ in range(ROUNDS):
        factors = np.concatenate([_equalize(pair) for pair in pairs])
        if np.abs(factors - 1).max() < ENOUGH:
            break
    pixels = faces_u8[..., None].astype(np.float32)
    before, after = (np.asarray(network(pixels, training=False)) for network in (model, copy))
    difference = float(np.abs(after - before).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(before).max())):
        raise ConversionError(f"--equalize changed the network: logits differ by {difference:.1e}; convert without it")
    return copy


def pairs_of(model: keras.Model) -> list[Pair]:
    """The pairs that a positive factor passes between, in order of execution."""
    readers = _readers(model)
    found = []
    for layer in model.layers:
        if not isinstance(layer, _WEIGHTED) or not _homogeneous(layer):
            continue
        path = list(_path(layer, readers))
        # A layer that stands in two places of the network has one set of weights for two neighbours.
        once = all(len(each._inbound_nodes) == 1 for each in (layer, *path))
        if once and path and isinstance(path[-1], _WEIGHTED) and _passes(path[:-1]):
            norm = path[0] if isinstance(path[0], layers.BatchNormalization) else None
            after = next(iter(_path(path[-1], readers)), None)
            found.append(Pair(layer, norm, path[-1], after if isinstance(after, layers.BatchNormalization) else None))
    return found


def _readers(model: keras.Model) -> dict[int, list[Any]]:
    """By a tensor's id the layers that read it."""
    readers: dict[int, list[Any]] = {}
    for layer in model.layers:
        for tensor in keras.tree.flatten(layer.input):
            readers.setdefault(id(tensor), []).append(layer)
    return readers


def _path(layer: Any, readers: dict[int, list[Any]]) -> Iterator[Any]:
    """The layers behind one another from `layer` on, up to the next with weights or to a fork."""
    while True:
        after = readers.get(id(layer.output), [])
        if len(after) != 1:
            return
        (layer,) = after
        yield layer
        if isinstance(layer, _WEIGHTED):
            return


def _passes(between: list[Any]) -> bool:
    """Whether all of them do; batch norm only at once behind the first layer, where it takes the factor itself."""
    for at, layer in enumerate(between):
        if isinstance(layer, layers.BatchNormalization):
            if at > 0 or not layer.scale:
                return False
        elif not isinstance(layer, _PASSING) and not _is_relu(layer):
            return False
    return True


def _is_relu(layer: Any) -> bool:
    if isinstance(layer, layers.ReLU):
        return layer.max_value is None and not layer.threshold
    return isinstance(layer, layers.Activation) and _homogeneous(layer)


def _homogeneous(layer: Any) -> bool:
    return layer.activation in (keras.activations.linear, keras.activations.relu)


def _equalize(pair: Pair) -> _Floats:
    """Divide and multiply by the factors, and give them: s = sqrt(reach of the first / reach of the second)."""
    first = _by_output(pair.first)
    reach_1 = np.abs(first * _norm_factor(pair.first_norm, first.shape[-1])).reshape(-1, first.shape[-1]).max(0)
    second = _by_input(pair.second, len(reach_1))
    reach_2 = np.abs(second * _reading_factor(pair, second)).max(axis=(0, 2))
    alive = (reach_1 > 0) & (reach_2 > 0)  # a channel that says nothing, or is not heard, stays as it is
    s = np.sqrt(np.where(alive, reach_1, 1) / np.where(alive, reach_2, 1)).astype(np.float32)
    if pair.first_norm is None:
        _set_kernel(pair.first, first / s)
        if pair.first.use_bias:
            pair.first.bias.assign(np.asarray(pair.first.bias) / s)
    else:
        pair.first_norm.gamma.assign(np.asarray(pair.first_norm.gamma) / s)
        if pair.first_norm.center:
            pair.first_norm.beta.assign(np.asarray(pair.first_norm.beta) / s)
    _set_kernel(pair.second, second * s[None, :, None])
    return s


def _by_output(layer: Any) -> _Floats:
    """Weights with the output channels last: those of a depthwise layer are its inputs times its multiplier."""
    kernel = np.asarray(layer.kernel)
    return kernel.reshape(*kernel.shape[:2], -1) if isinstance(layer, layers.DepthwiseConv2D) else kernel


def _by_input(layer: Any, channels: int) -> _Floats:
    """Weights (places, input channels, outputs of each); a dense layer behind Flatten has a place for every pixel."""
    kernel = np.asarray(layer.kernel)
    if isinstance(layer, layers.Dense):
        return kernel.reshape(-1, channels, kernel.shape[-1])
    return kernel.reshape(-1, *kernel.shape[2:])


def _set_kernel(layer: Any, values: _Floats) -> None:
    layer.kernel.assign(values.reshape(layer.kernel.shape))


def _norm_factor(norm: Any, channels: int) -> _Floats:
    """What batch norm multiplies each channel with; ones without it."""
    if norm is None:
        return np.ones(channels, np.float32)
    gamma = np.asarray(norm.gamma) if norm.scale else np.ones(channels, np.float32)
    return np.asarray(gamma / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon), np.float32)


def _reading_factor(pair: Pair, second: _Floats) -> _Floats:
    """The second layer's batch norm in the shape of its weights by input: rounded is what is left after folding it."""
    if isinstance(pair.second, layers.DepthwiseConv2D):
        return _norm_factor(pair.second_norm, second.shape[1] * second.shape[2]).reshape(1, *second.shape[1:])
    return _norm_factor(pair.second_norm, second.shape[2])
