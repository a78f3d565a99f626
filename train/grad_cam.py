"""Grad-CAM (Selvaraju et al. 2017): which places of a network's last feature map speak for the class that it names."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

CHUNK = 16
_CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Conv2DTranspose)


def feature_layer(model: keras.Model) -> keras.Layer | None:
    """The layer whose output is the last convolutional feature map, found through nested networks too.

    It is the last layer whose map is as large as that of the last convolution: its norm, activation and what is added
    to it belong to the map, pooling does not. Convolutions on a single place, as squeeze and excitation has them, see
    nothing and do not count. None for a network without a map before its answer: no convolution, or attention between
    tokens after it.
    """
    chain = list(_layers(model))
    if any(isinstance(layer, layers.MultiHeadAttention) for layer in chain):
        return None
    maps = [(layer, shape) for layer in chain if (shape := _map_shape(layer)) is not None]
    last = next((shape for layer, shape in reversed(maps) if isinstance(layer, _CONVOLUTIONS)), None)
    return next((layer for layer, shape in reversed(maps) if shape == last), None)


def grad_cam(
    model: keras.Model, layer: keras.Layer, faces: NDArray[np.uint8], classes: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Maps (N, h, w) from 0 to 1, each by its own greatest value; all 0 where nothing speaks for the class.

    Args:
        model: (N, 48, 48, 1) to logits (N, K).
        layer: of `feature_layer`.
        faces: (N, 48, 48) uint8.
        classes: (N,) the logit to explain.
    """
    parts = [slice(at, at + CHUNK) for at in range(0, len(faces), CHUNK)]
    return np.concatenate([_maps(model, layer, faces[part], classes[part]) for part in parts])


def _maps(
    model: keras.Model, layer: keras.Layer, faces: NDArray[np.uint8], classes: NDArray[np.int64]
) -> NDArray[np.float32]:
    with tf.GradientTape(watch_accessed_variables=False) as tape, _watched(layer, tape) as seen:
        logits = model(tf.constant(np.asarray(faces)[..., None]), training=False)
        answers = tf.gather(logits, classes, axis=1, batch_dims=1)
    features = seen.output
    weights = tf.reduce_mean(tape.gradient(answers, features), axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1)).numpy()
    peak = heat.max(axis=(1, 2), keepdims=True)
    return np.divide(heat, peak, out=np.zeros_like(heat), where=peak > 0)


@dataclass(eq=False)
class _Seen:
    """What the layer gave when the network was last asked."""

    output: Any = None


@contextmanager
def _watched(layer: keras.Layer, tape: tf.GradientTape) -> Iterator[_Seen]:
    """While the block lasts, the layer's output is kept and watched.

    A second network that ends at the layer, the usual way, cannot be built where the layer lies in a nested network:
    its tensors belong to another graph.
    """
    seen, call = _Seen(), layer.call

    def watched(*args: Any, **options: Any) -> Any:
        seen.output = call(*args, **options)
        tape.watch(seen.output)
        return seen.output

    layer.call = watched
    try:
        yield seen
    finally:
        del layer.call  # the class's own shows again


def _layers(model: keras.Model) -> Iterator[keras.Layer]:
    """Layers in the order in which they run, those of nested networks in their network's place.

    Of networks side by side, an ensemble's members, the first alone: each has a last map of its own.
    """
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    for layer in model.layers:
        if not isinstance(layer, keras.Model):
            yield layer
        elif layer is nested[0]:
            yield from _layers(layer)


def _map_shape(layer: keras.Layer) -> tuple[int, int] | None:
    """Height and width of the layer's output where it is a map of more than one place."""
    shape: tuple[Any, ...] = getattr(layer.output, "shape", ())
    return (shape[1], shape[2]) if len(shape) == 4 and shape[1] > 1 and shape[2] > 1 else None
