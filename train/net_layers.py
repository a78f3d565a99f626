"""What several networks are made of.

Only shapes and layers that XNNPACK takes in int8, where the published network allows it: no average pooling but the
global one, which becomes MEAN.
"""

from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers


@dataclass(frozen=True)
class NetOptions:
    """What a recipe decides about the network itself; None leaves it to the network."""

    classes: int = 7
    dropout: float | None = None
    image_side: int | None = None
    weights: str | Path | None = None
    trainable: float | None = None

    def rate(self, own: float) -> float:
        """The dropout rate to use where the network's own is `own`."""
        return own if self.dropout is None else self.dropout


def conv_norm_relu(x: keras.KerasTensor, filters: int, size: int = 3, dilation: int = 1) -> keras.KerasTensor:
    """Convolution without bias, batch norm, ReLU."""
    x = layers.Conv2D(filters, size, padding="same", use_bias=False, dilation_rate=dilation)(x)  # norm brings the bias
    return layers.ReLU()(quick_norm(x))


def quick_norm(x: keras.KerasTensor) -> keras.KerasTensor:
    """Batch norm whose averages follow within ten steps.

    Keras's 0.99 lags behind the weights at the rates used here: validation then measures the lag, not the network.
    """
    return layers.BatchNormalization(momentum=0.9)(x)


def logits(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """The last layer; float32 also where the network computes in bfloat16."""
    return layers.Dense(options.classes, dtype="float32", name="logits")(x)


def dense_relu(x: keras.KerasTensor, units: int, dropout: float) -> keras.KerasTensor:
    """A dense layer with ReLU, then dropout."""
    return layers.Dropout(dropout)(layers.Dense(units, activation="relu")(x))


def channel_attention(x: keras.KerasTensor, ratio: int = 16, *, bias: bool = False) -> keras.KerasTensor:
    """Squeeze and excitation (Hu et al. 2018): each channel times what a small network says of all their means."""
    filters = x.shape[-1]
    weight = layers.GlobalAveragePooling2D(keepdims=True)(x)
    weight = layers.Conv2D(filters // ratio, 1, activation="relu", use_bias=bias)(weight)
    weight = layers.Conv2D(filters, 1, activation="sigmoid", use_bias=bias)(weight)
    return layers.Multiply()([x, weight])


def resized(x: keras.KerasTensor, options: NetOptions, own: int) -> keras.KerasTensor:
    """The face at the side that the network wants, enlarged inside the graph."""
    side = options.image_side or own
    return x if x.shape[1] == side else layers.Resizing(side, side, interpolation="bilinear")(x)
