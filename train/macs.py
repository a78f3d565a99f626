"""Counts the multiply-adds of a Keras network for one face, layer by layer from shapes. Runs nothing."""

from math import prod

import keras
from keras import layers


def count_macs(model: keras.Model) -> int:
    """Multiply-adds of convolutions, dense layers, attention and recurrence; mere additions are not counted.

    Raises:
        NotImplementedError: a layer with weights whose count is not known here.
    """
    return sum(_of_layer(layer) for layer in model._flatten_layers(include_self=False) if not _inside(layer, model))


def _inside(layer: keras.Layer, model: keras.Model) -> bool:
    """Whether another layer that is counted as a whole holds it, as attention holds its dense layers."""
    wholes = (x for x in model._flatten_layers(include_self=False) if isinstance(x, _WHOLE))
    return any(layer is not whole and layer in list(whole._flatten_layers(include_self=False)) for whole in wholes)


_WHOLE = (layers.MultiHeadAttention, layers.LSTM)


def _of_layer(layer: keras.Layer) -> int:
    match layer:
        case layers.SeparableConv2D():
            depthwise = prod(_out(layer)[:2]) * prod(layer.depthwise_kernel.shape)
            return depthwise + prod(_out(layer)[:2]) * prod(layer.pointwise_kernel.shape)
        case layers.Conv2DTranspose():
            return prod(_in(layer)[:2]) * prod(layer.kernel.shape)
        case layers.Conv2D() | layers.DepthwiseConv2D():
            return prod(_out(layer)[:2]) * prod(layer.kernel.shape)
        case layers.Dense():
            return prod(_in(layer)) * layer.units
        case layers.LSTM():
            return _in(layer)[0] * 4 * layer.units * (_in(layer)[1] + layer.units)
        case layers.MultiHeadAttention():
            tokens, dim = _out(layer)
            inner = layer.num_heads * layer.key_dim
            return 4 * tokens * dim * inner + 2 * tokens * tokens * inner
        case keras.Model():
            return 0  # its layers come by themselves
    small = (layers.BatchNormalization, layers.LayerNormalization)
    if layer.weights and not isinstance(layer, small) and type(layer).__name__ not in ("Positions", "ClassToken"):
        raise NotImplementedError(f"multiply-adds of a {type(layer).__name__} are not known")
    return 0


def _out(layer: keras.Layer) -> tuple[int, ...]:
    return tuple(layer.output.shape[1:])


def _in(layer: keras.Layer) -> tuple[int, ...]:
    first = layer.input[0] if isinstance(layer.input, list) else layer.input
    return tuple(first.shape[1:])
