"""The networks made for boards: plain stacks of 3×3 convolutions, thin where the picture is large.

Each stage has about as many multiply-adds as the next; only the first one, whose pictures cost memory and not
multiply-adds, has a single thin convolution. They take faces of any side.
"""

import keras
from keras import layers

from fer_edge.train.net_layers import NetOptions, conv_norm_relu, logits


def flagship(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """16, then three each of 32, 80 and 176, pooled between; global pooling: 0.85 M parameters, 58 M multiply-adds."""
    return _stack(x, options, 16, ((32, 3), (80, 3), (176, 3)), dropout=0.4)


def tiny(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """8, then pairs of 16 and 32 and three of 64, in the same way: 0.11 M parameters, 7.5 M multiply-adds."""
    return _stack(x, options, 8, ((16, 2), (32, 2), (64, 3)), dropout=0.1)


def _stack(
    x: keras.KerasTensor, options: NetOptions, stem: int, stages: tuple[tuple[int, int], ...], dropout: float
) -> keras.KerasTensor:
    x = conv_norm_relu(x, stem)
    for filters, times in stages:
        x = layers.MaxPooling2D()(x)
        for _ in range(times):
            x = conv_norm_relu(x, filters)
    x = layers.Dropout(options.rate(dropout))(layers.GlobalAveragePooling2D()(x))
    return logits(x, options)
