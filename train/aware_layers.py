"""Layers that compute as int8 will: weights and results rounded to its grids, with gradients that pass through.

Owns the rounding: weights symmetric with one scale an output channel, results with one range a tensor, as the engines
have it. Must not know which network they stand in.
"""

from typing import Any

import keras
from keras import layers, ops
from keras.quantizers import fake_quant_with_min_max_vars

_register = keras.saving.register_keras_serializable("fer_edge")
LEAST = 1e-6
"""A range has some width, also where nothing but zeros was seen."""


def rounded_kernel(kernel: Any) -> Any:
    """-127..127 times a step of each channel's own, the last axis; the largest weight is exact."""
    largest = ops.stop_gradient(ops.max(ops.abs(kernel), axis=tuple(range(len(kernel.shape) - 1))))
    largest = ops.maximum(largest, LEAST)
    return fake_quant_with_min_max_vars(kernel, -largest, largest, narrow_range=True, axis=-1)


@_register
class RoundedConv2D(layers.Conv2D):
    """A convolution with rounded weights."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """As Keras has it, with the kernel rounded."""
        return super().convolution_op(inputs, rounded_kernel(kernel))


@_register
class RoundedDense(layers.Dense):
    """A dense layer with rounded weights."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Results (N, units)."""
        return self.activation(ops.matmul(inputs, rounded_kernel(self.kernel)) + self.bias)


@_register
class RoundedRange(layers.Layer):
    """Rounds what passes to 256 levels between a low and a high end, which follow each batch's minimum and maximum.

    Zero is always one of the levels. Before the first batch of a training there is no range.
    """

    def __init__(self, momentum: float = 0.99, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum

    def build(self, input_shape: Any) -> None:
        """The ends, and whether a batch was seen."""
        for name in ("low", "high", "seen"):
            setattr(self, name, self.add_weight(shape=(), initializer="zeros", trainable=False, name=name))

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The same shape, rounded."""
        if training:
            keep = self.momentum * self.seen
            self.low.assign(keep * self.low + (1 - keep) * ops.minimum(ops.min(inputs), 0.0))
            self.high.assign(keep * self.high + (1 - keep) * ops.maximum(ops.max(inputs), LEAST))
            self.seen.assign(ops.ones(()))
        low, high = ops.stop_gradient(self.low), ops.stop_gradient(ops.maximum(self.high, LEAST))
        return fake_quant_with_min_max_vars(inputs, low, high)

    def get_config(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {**super().get_config(), "momentum": self.momentum}
