"""The autoencoder whose error tells faces from what is none: 75,425 parameters."""

import keras
from keras import layers

from fer_edge.train.net_layers import NetOptions


def autoencoder(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """Encoder 32-64-32, each pooled, to 6×6×32 numbers; decoder 64-32 and back to (48, 48, 1), gray 0 to 1."""
    for filters in (32, 64, 32):
        x = layers.MaxPooling2D()(_conv(x, filters))
    for filters in (64, 32):
        x = _conv(layers.UpSampling2D()(x), filters)
    x = layers.UpSampling2D()(x)
    return layers.Conv2D(1, 3, padding="same", activation="sigmoid", dtype="float32", name="face")(x)


def _conv(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    return layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(x)))
