"""Larger networks that are not for boards: they teach those that are. They take faces of any side."""

import keras
from keras import layers

from fer_edge.train.net_layers import NetOptions, conv_norm_relu, logits, quick_norm


def vgg10(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """Pairs of 32, 64, 128 and three of 256, pooled between; global pooling: 1.77 M parameters, 139 M multiply-adds."""
    for filters, times in ((32, 2), (64, 2), (128, 2), (256, 3)):
        if filters > 32:
            x = layers.MaxPooling2D()(x)
        for _ in range(times):
            x = conv_norm_relu(x, filters)
    return _head(x, options)


def resnet12(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """A stem of 32, then residual blocks (He et al. 2016), one of 64, two each of 128 and 256, pooled before each."""
    x = conv_norm_relu(x, 32)
    for filters, times in ((64, 1), (128, 2), (256, 2)):
        x = layers.MaxPooling2D()(x)
        for _ in range(times):
            x = _residual(x, filters)
    return _head(x, options)


def _residual(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    y = conv_norm_relu(x, filters)
    y = quick_norm(layers.Conv2D(filters, 3, padding="same", use_bias=False)(y))
    if x.shape[-1] != filters:
        x = quick_norm(layers.Conv2D(filters, 1, use_bias=False)(x))
    return layers.ReLU()(layers.Add()([x, y]))


def _head(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    x = layers.Dropout(options.rate(0.4))(layers.GlobalAveragePooling2D()(x))
    return logits(x, options)
