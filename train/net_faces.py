"""A network that has seen three million faces before, to teach others: dlib's face recognition ResNet (King 2017).

ResNet-34 (He et al. 2016) with half of the filters and five convolutions fewer. It learned to tell people apart at
150 px; here faces are enlarged to 112, which halves the time.
"""

import keras
from keras import layers, ops

from fer_edge.devices.errors import RunError
from fer_edge.train.net_layers import NetOptions, logits, quick_norm, resized

SIDE, LEAST_SIDE = 112, 80
BLOCKS = (*[(32, 1)] * 3, (64, 2), *[(64, 1)] * 3, (128, 2), *[(128, 1)] * 2, (256, 2), *[(256, 1)] * 2, (256, 2))
"""Filters and stride of each residual block of two convolutions."""


def dlib_resnet(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """Faces at 112 px, a stem of 32 with stride 2, 14 residual blocks, global mean, dropout, dense: 29 convolutions.

    Its weights are set by `dlib_start`, which has faces to take batch norm's statistics from.

    Raises:
        RunError: the faces are to be so small that nothing is left of them.
    """
    if (options.image_side or SIDE) < LEAST_SIDE:
        raise RunError(f"image_side {options.image_side} is too small for dlib-resnet, which halves faces six times")
    x = _conv_norm(resized(x, options, SIDE), 32, 7, 2)
    x = layers.MaxPooling2D(3, 2)(layers.ReLU()(x))
    for filters, stride in BLOCKS:
        x = _residual(x, filters, stride)
    x = layers.Dropout(options.rate(0.4))(layers.GlobalAveragePooling2D()(x))
    return logits(x, options)


def _residual(x: keras.KerasTensor, filters: int, stride: int) -> keras.KerasTensor:
    short = x
    if stride == 2:
        # A row and a column of zeros, so that the convolution ends where the pooling beside it does.
        x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
        short = layers.AveragePooling2D(2)(short)
    x = layers.ReLU()(_conv_norm(x, filters, 3, stride))
    x = _conv_norm(x, filters, 3, 1)
    if missing := filters - short.shape[-1]:
        short = ops.pad(short, ((0, 0), (0, 0), (0, 0), (0, missing)))
    return layers.ReLU()(layers.Add()([x, short]))


def _conv_norm(x: keras.KerasTensor, filters: int, size: int, stride: int) -> keras.KerasTensor:
    padding = "same" if stride == 1 else "valid"
    return quick_norm(layers.Conv2D(filters, size, strides=stride, padding=padding, use_bias=False)(x))
