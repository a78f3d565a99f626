"""mini-XCEPTION (Arriaga et al. 2017), the network inside the most installed package: 58,423 parameters."""

import keras
from keras import layers

from fer_edge.train.net_layers import NetOptions, resized

SIDE = 64


def mini_xception(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """Two convolutions of 8, four residual modules of separable ones with 16, 32, 64, 128; a map for each emotion."""
    x = resized(x, options, SIDE)
    x = layers.Rescaling(2.0, offset=-1.0)(x)
    for _ in range(2):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, use_bias=False)(x)))
    for filters in (16, 32, 64, 128):
        x = _module(x, filters)
    x = layers.Conv2D(options.classes, 3, padding="same")(x)
    return layers.GlobalAveragePooling2D(dtype="float32", name="logits")(x)


def _module(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    # A 1×1 convolution with stride 2 in two layers: oneDNN's gradient of the one crashed on AVX-512 (TensorFlow 2.21).
    short = layers.Conv2D(filters, 1, use_bias=False)(layers.MaxPooling2D(1, strides=2)(x))
    short = layers.BatchNormalization()(short)
    x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    return layers.Add()([x, short])
