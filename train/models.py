"""The networks, built by name. Raw pixels 0..255 in, seven logits out; rescaling is inside the graph.

Only shapes and layers that XNNPACK takes in int8: no average pooling but the global one, which becomes MEAN.
"""

import keras
from keras import layers

from fer_edge.devices.errors import RunError
from fer_edge.edge_runtime.vocabulary import EMOTIONS, FACE_SIDE


def _conv(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)  # batch norm brings the bias
    # Keras's 0.99 lags behind the weights at the rates used here: validation then measures the lag, not the network.
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.ReLU()(x)


def _head(x: keras.KerasTensor, dropout: float) -> keras.KerasTensor:
    x = layers.Dense(256, activation="relu")(x)
    x = layers.Dropout(dropout)(x)
    return layers.Dense(len(EMOTIONS), dtype="float32", name="logits")(x)


def _cnn(x: keras.KerasTensor) -> keras.KerasTensor:
    """Four blocks of convolution, batch norm, pooling and dropout 0.2 with 32, 64, 128, 256 filters; dense 256."""
    for filters in (32, 64, 128, 256):
        x = layers.MaxPooling2D()(_conv(x, filters))
        x = layers.Dropout(0.2)(x)
    return _head(layers.Flatten()(x), 0.2)


def _cnn_edge(x: keras.KerasTensor) -> keras.KerasTensor:
    """A stem of 32, then pairs of 64, 128, 256 and global pooling: 1.23 M parameters, 95 M multiply-adds."""
    x = layers.MaxPooling2D()(_conv(x, 32))
    for filters in (64, 128):
        x = layers.MaxPooling2D()(_conv(_conv(x, filters), filters))
        x = layers.Dropout(0.1)(x)
    x = layers.GlobalAveragePooling2D()(_conv(_conv(x, 256), 256))
    return _head(layers.Dropout(0.3)(x), 0.3)


_BODIES = {"cnn": _cnn, "cnn-edge": _cnn_edge}


def build_model(name: str) -> keras.Model:
    """A new, untrained network: (N, 48, 48, 1) pixels 0..255 to (N, 7) logits, under the current dtype policy.

    Raises:
        RunError: the name is unknown.
    """
    if name not in _BODIES:
        raise RunError(f"unknown model {name!r}; choose one of {', '.join(_BODIES)}")
    pixels = keras.Input((FACE_SIDE, FACE_SIDE, 1), name="pixels")
    logits = _BODIES[name](layers.Rescaling(1.0 / 255, name="rescale")(pixels))
    return keras.Model(pixels, logits, name=name.replace("-", "_"))
