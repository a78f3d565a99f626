"""The plain convolutional networks of the comparisons, and `cnn-edge`."""

import keras
from keras import layers

from fer_edge.train.net_layers import NetOptions, conv_norm_relu, dense_relu, logits


def cnn(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """Four blocks of convolution, batch norm, pooling and dropout 0.2 with 32, 64, 128, 256 filters; dense 256."""
    for filters in (32, 64, 128, 256):
        x = layers.MaxPooling2D()(conv_norm_relu(x, filters))
        x = layers.Dropout(options.rate(0.2))(x)
    return logits(dense_relu(layers.Flatten()(x), 256, options.rate(0.2)), options)


def cnn_edge(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """A stem of 32, then pairs of 64, 128, 256 and global pooling: 1.23 M parameters, 96 M multiply-adds."""
    x = layers.MaxPooling2D()(conv_norm_relu(x, 32))
    for filters in (64, 128):
        x = layers.MaxPooling2D()(conv_norm_relu(conv_norm_relu(x, filters), filters))
        x = layers.Dropout(options.rate(0.1))(x)
    x = layers.GlobalAveragePooling2D()(conv_norm_relu(conv_norm_relu(x, 256), 256))
    return logits(dense_relu(layers.Dropout(options.rate(0.3))(x), 256, options.rate(0.3)), options)


def cnn_basic(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """Three convolutions with 32, 64, 128 filters, each pooled; dense 128, dropout 0.4."""
    for filters in (32, 64, 128):
        x = layers.MaxPooling2D()(layers.Conv2D(filters, 3, padding="same", activation="relu")(x))
    return logits(dense_relu(layers.Flatten()(x), 128, options.rate(0.4)), options)


def cnn_small(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """Three unpadded convolutions with 64, 32, 16 filters, each pooled; dense 128, dropout 0.5: 57,527 parameters."""
    for filters in (64, 32, 16):
        x = layers.MaxPooling2D()(layers.Conv2D(filters, 3, activation="relu")(x))
    return logits(dense_relu(layers.Flatten()(x), 128, options.rate(0.5)), options)


def cnn_double(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """Pairs of convolutions with 32, 64, 128 filters, then one with 256; dense 512 and 256 with batch norm."""
    for filters, times in ((32, 2), (64, 2), (128, 2), (256, 1)):
        for _ in range(times):
            x = conv_norm_relu(x, filters)
        x = layers.Dropout(options.rate(0.25))(layers.MaxPooling2D()(x))
    x = layers.Flatten()(x)
    for units in (512, 256):
        x = layers.BatchNormalization()(layers.Dense(units, activation="relu")(x))
        x = layers.Dropout(options.rate(0.5))(x)
    return logits(x, options)


def cnn_wide(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """64 of 3×3, 128 of 5×5, 256 of 3×3, 512 of 5×5, each pooled; dense 512, 256, 128, 64."""
    for filters, size in ((64, 3), (128, 5), (256, 3), (512, 5)):
        x = layers.MaxPooling2D()(conv_norm_relu(x, filters, size))
        x = layers.Dropout(options.rate(0.25))(x)
    x = layers.Flatten()(x)
    for units in (512, 256, 128, 64):
        x = dense_relu(x, units, options.rate(0.2))
    return logits(x, options)
