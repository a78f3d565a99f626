"""U-Nets that classify: the decoder brings fine detail back before everything is pooled."""

import keras
from keras import layers

from fer_edge.train.net_layers import NetOptions, channel_attention, conv_norm_relu, dense_relu, logits, quick_norm


def unet(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """Encoder 64-128-256, decoder 128-64 whose skips are weighed by channel; the means of all three levels decide.

    2,026,247 parameters.
    """
    skips = []
    for filters in (64, 128):
        x = _pair(x, filters)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = channel_attention(_pair(x, 256))
    levels = [x]
    for skip in reversed(skips):
        up = layers.Conv2DTranspose(skip.shape[-1], 2, strides=2)(x)
        x = _pair(layers.Concatenate()([up, channel_attention(skip)]), skip.shape[-1])
        levels.append(x)
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(level) for level in levels])
    x = dense_relu(dense_relu(x, 256, options.rate(0.5)), 128, options.rate(0.3))
    return logits(x, options)


def _pair(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    for _ in range(2):
        x = layers.ReLU()(quick_norm(layers.Conv2D(filters, 3, padding="same")(x)))
    return x


def unet_se(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """Residual blocks with squeeze and excitation, 32-64-128, a dilated bottleneck of 256, spatial attention on skips.

    Average and maximum of the decoder's end and of the bottleneck decide.
    """
    skips = []
    for filters in (32, 64, 128):
        x = _residual(x, filters)
        skips.append(x)
        x = layers.Dropout(options.rate(0.1))(layers.MaxPooling2D()(x))
    x = _dilated(x, 256)
    pooled = [layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)]
    for skip in reversed(skips):
        up = layers.Conv2DTranspose(skip.shape[-1], 2, strides=2)(x)
        x = _residual(layers.Concatenate()([up, _spatial_attention(skip)]), skip.shape[-1])
    pooled += [layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)]
    x = dense_relu(layers.Concatenate()(pooled), 256, options.rate(0.4))
    return logits(x, options)


def _residual(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    y = conv_norm_relu(x, filters)
    y = channel_attention(quick_norm(layers.Conv2D(filters, 3, padding="same", use_bias=False)(y)), bias=True)
    if x.shape[-1] != filters:
        x = quick_norm(layers.Conv2D(filters, 1, use_bias=False)(x))
    return layers.ReLU()(layers.Add()([x, y]))


def _dilated(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    """The same 6×6 map seen at three distances (Chen et al. 2017), added up."""
    return layers.Add()([conv_norm_relu(x, filters, dilation=distance) for distance in (1, 2, 3)])


def _spatial_attention(x: keras.KerasTensor) -> keras.KerasTensor:
    """Each place times what its own channels say of it (Woo et al. 2018, with 1×1 in place of channel statistics)."""
    weight = layers.Conv2D(1, 7, padding="same", activation="sigmoid")(layers.Conv2D(4, 1, activation="relu")(x))
    return layers.Multiply()([x, weight])
