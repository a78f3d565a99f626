"""The networks that do not convolve: pixels as one vector, rows as a sequence, patches as tokens."""

from typing import Any

import keras
from keras import layers

from fer_edge.train.net_layers import NetOptions, dense_relu, logits

PATCH = 8
DIM, BLOCKS, HEADS, FEED_FORWARD = 64, 4, 8, 128


def mlp(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """2304-512-256-128, dropout 0.3 after each."""
    x = layers.Flatten()(x)
    for units in (512, 256, 128):
        x = dense_relu(x, units, options.rate(0.3))
    return logits(x, options)


def lstm(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """The 48 rows from top to bottom through an LSTM of 128; dropout 0.4, dense 64, dropout 0.3."""
    x = layers.LSTM(128)(layers.Reshape(x.shape[1:3])(x))
    x = dense_relu(layers.Dropout(options.rate(0.4))(x), 64, options.rate(0.3))
    return logits(x, options)


def vit(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """A vision transformer (Dosovitskiy et al. 2021), norm first, class token and 36 patches: 605,127 parameters."""
    x = layers.Conv2D(DIM, PATCH, strides=PATCH, name="patches")(x)
    x = Positions(name="positions")(layers.Reshape((-1, DIM))(x))
    x = ClassToken(name="class_token")(x)
    for _ in range(BLOCKS):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        x = layers.Add()([x, layers.MultiHeadAttention(HEADS, DIM)(y, y)])
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        y = layers.Dropout(options.rate(0.1))(layers.Dense(FEED_FORWARD, activation="gelu")(y))
        x = layers.Add()([x, layers.Dense(DIM)(y)])
    token = layers.LayerNormalization(epsilon=1e-6)(x)[:, 0]
    return logits(token, options)


@keras.saving.register_keras_serializable("fer_edge")
class Positions(layers.Layer):
    """Adds a learned vector to each token: (N, T, D) to (N, T, D)."""

    def build(self, shape: Any) -> None:
        self.table = self.add_weight(shape=tuple(shape[1:]), initializer=keras.initializers.RandomNormal(stddev=0.02))

    def call(self, x: Any) -> Any:
        return x + self.table


@keras.saving.register_keras_serializable("fer_edge")
class ClassToken(layers.Layer):
    """Puts a learned token before the others: (N, T, D) to (N, T + 1, D)."""

    def build(self, shape: Any) -> None:
        self.token = self.add_weight(shape=(1, 1, shape[-1]), initializer=keras.initializers.RandomNormal(stddev=0.02))

    def call(self, x: Any) -> Any:
        first = keras.ops.broadcast_to(self.token, (keras.ops.shape(x)[0], 1, x.shape[-1]))
        return keras.ops.concatenate([first, x], axis=1)
