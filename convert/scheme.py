"""An int8 quantization as values: grids of activations, rounded weights, and both by the name of the place they are at.

A place ("point") is the network's input, or the result of an operator that int8 rounds anew: a layer, a mean, an
addition. Points are named by kind and position in order of execution, as in `convert/layers.py`: input, conv1, mean1,
dense1. Must not know a file format or an engine.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fer_edge.convert.layers import numbered

Floats = NDArray[np.float32]
What = Literal["weights", "range"]
Part = tuple[str, What]
"""What can be left in float by itself: a layer's weights (and bias), or the rounding of a point's values."""
LAYER_KINDS = ("conv", "dwconv", "dense")
INPUT = "input"
PASS, GRID = "pass", "grid"
LARGEST = 127
"""Weights are symmetric, -127..127, in every engine."""


@dataclass(frozen=True, eq=False)
class Grid:
    """The values that a quantized tensor can take: low, low + step, …, `levels` of them.

    `low` and `step` are scalars, or (1, C, 1, 1) where each channel has its own.
    """

    low: Floats
    step: Floats
    levels: int = 256

    @property
    def high(self) -> Floats:
        """The largest value."""
        return np.asarray(self.low + self.step * np.float32(self.levels - 1), np.float32)

    def rounded(self, x: Floats) -> Floats:
        """Each value at the nearest point of the grid; those outside saturate."""
        at = np.clip(np.rint((x - self.low) / self.step), 0, self.levels - 1)
        return np.asarray(at * self.step + self.low, np.float32)


def grid_of_range(low: float, high: float, levels: int = 256) -> Grid:
    """An asymmetric int8 grid from the lowest to the highest value, widened to hold an exact 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = np.float32((high - low) / (levels - 1) or 1.0)
    return Grid(np.asarray(np.rint(low / step) * step, np.float32), np.asarray(step), levels)


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """A layer's weights as the variant has them, back in real numbers.

    `values` is (O, I, H, W) or, of a dense layer, (O, I); `steps` is (O,), (1,) for one scale in all, or None where the
    variant left the layer in float; `bias` is (O,) or None.
    """

    values: Floats
    steps: Floats | None
    bias: Floats | None = None


def round_weights(values: Floats, bias: Floats | None, *, per_tensor: bool) -> LayerWeights:
    """int8 weights, symmetric, each channel's largest at 127 or, `per_tensor`, the largest of all."""
    axes = None if per_tensor else tuple(range(1, values.ndim))
    largest = np.abs(values).max(axis=axes, keepdims=True)
    steps = np.where(largest > 0, largest / LARGEST, 1).astype(np.float32)
    rounded = np.clip(np.rint(values / steps), -LARGEST, LARGEST) * steps
    return LayerWeights(rounded.astype(np.float32), steps.reshape(-1), bias)


@dataclass(frozen=True, eq=False)
class Scheme:
    """A whole network's quantization: the layers' weights and the points' grids, by name."""

    layers: dict[str, LayerWeights]
    grids: dict[str, Grid]

    def parts(self) -> list[Part]:
        """All that is int8, layers first."""
        weights: list[Part] = [(name, "weights") for name, layer in self.layers.items() if layer.steps is not None]
        return weights + [(name, "range") for name in self.grids]

    def with_layers(self, layers: dict[str, LayerWeights]) -> "Scheme":
        """The same with other weights for some layers."""
        return replace(self, layers=self.layers | layers)

    def with_grids(self, grids: dict[str, Grid]) -> "Scheme":
        """The same with other grids at some points."""
        return replace(self, grids=self.grids | grids)


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator as a quantization sees it, in any format.

    `kind` is a layer's, or `PASS` (values stay on their grid, or a constant is added), or `GRID` (values are rounded),
    or another word for an operator whose results need a grid of their own. `source` is the first tensor that is data.
    """

    kind: str
    source: Hashable
    result: Hashable
    weights: LayerWeights | None = None
    bias: Floats | None = None
    grid: Grid | None = None


def named(operators: Iterable[Operator]) -> dict[str, Operator]:
    """The operators that make a new point, by name, in order of execution."""
    return numbered((op.kind, op) for op in operators if op.kind not in (PASS, GRID))


def owners(operators: Iterable[Operator], entry: Hashable) -> dict[Hashable, str]:
    """By tensor the point whose values it holds; `entry` is the tensor that comes in."""
    operators = list(operators)
    by_result = {op.result: name for name, op in named(operators).items()}
    owner: dict[Hashable, str] = {entry: INPUT}
    for op in operators:
        owner[op.result] = by_result[op.result] if op.result in by_result else owner[op.source]
    return owner


def scheme_of(operators: Iterable[Operator], entry: Hashable) -> Scheme:
    """The quantization that a file's operators hold.

    Of several grids in a row, as around a pooling, the last is the one that the next operator reads.
    """
    operators = list(operators)
    owner = owners(operators, entry)
    by_name = named(operators)
    layers = {name: op.weights for name, op in by_name.items() if op.weights is not None}
    grids: dict[str, Grid] = {}
    for op in operators:
        name = owner[op.result]
        if op.grid is not None:
            grids[name] = op.grid
        if op.bias is not None and name in layers and op.source == by_name[name].result:
            layers[name] = replace(layers[name], bias=op.bias)
    return Scheme(layers, {name: grids[name] for name in dict.fromkeys(owner.values()) if name in grids})
