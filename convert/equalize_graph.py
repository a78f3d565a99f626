"""Evens out a float graph's channels between layers without changing what it computes.

Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction", section 4.1: a factor that
divides channel c of one layer and multiplies what the next does with it passes through ReLU and pooling.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fer_edge.convert.float_graph import FloatGraph
from fer_edge.convert.scheme import Floats

ROUNDS = 50
ENOUGH = 1e-3
"""A round that changes no factor by more than this share was the last; both as in `convert/equalize.py`."""
_HOMOGENEOUS = {
    *("Dropout", "Flatten", "Identity", "LeakyRelu", "MaxPool", "PRelu", "Relu", "Reshape", "Squeeze", "Transpose"),
    "Unsqueeze",
}


def equal_pairs(graph: FloatGraph) -> list[tuple[str, str]]:
    """Layers of which the second alone reads the first, with nothing between that a factor does not pass through."""
    return list(_pairs(graph))


def equalize(graph: FloatGraph, pairs: Sequence[tuple[str, str]]) -> FloatGraph:
    """The same function, with the largest weight of every channel alike on both sides of each pair.

    Channel c of the first layer is divided, and its weights in the second multiplied, by the root of the quotient of
    the largest weights of both (Nagel et al. 2019, equation 11), pair by pair until that changes little.
    """
    weights = {name: graph.weights(name) for name in graph.layers}
    biases = {name: graph.bias(name) for name in graph.layers}
    for _ in range(ROUNDS):
        largest = 0.0
        for first, second in pairs:
            factors = _factors(weights[first], weights[second], _is_depthwise(second))
            weights[first] = _times_outputs(weights[first], 1 / factors)
            bias = biases[first]
            biases[first] = None if bias is None else (bias / factors).astype(np.float32)
            weights[second] = _times_inputs(weights[second], factors, _is_depthwise(second))
            largest = max(largest, float(np.abs(factors - 1).max()))
        if largest < ENOUGH:
            break
    changed = {name: (weights[name], biases[name]) for name in graph.layers}
    return FloatGraph(graph.with_weights(changed), graph.name)


def _factors(first: Floats, second: Floats, depthwise: bool) -> NDArray[np.float64]:
    """Of each channel; 1 where a side is all 0."""
    channels = len(first)
    read = second if depthwise else np.moveaxis(second.reshape(len(second), -1, channels, *second.shape[2:]), 2, 0)
    ours, theirs = (np.abs(w.reshape(channels, -1)).max(axis=1).astype(np.float64) for w in (first, read))
    both = (ours > 0) & (theirs > 0)
    return np.sqrt(np.where(both, ours, 1) / np.where(both, theirs, 1))


def _times_outputs(weights: Floats, factors: NDArray[np.float64]) -> Floats:
    return (weights * factors.reshape(-1, *[1] * (weights.ndim - 1))).astype(np.float32)


def _times_inputs(weights: Floats, factors: NDArray[np.float64], depthwise: bool) -> Floats:
    if depthwise:
        return _times_outputs(weights, factors)
    repeated = np.tile(factors, weights.shape[1] // len(factors))  # after a Flatten the channels come round again
    return (weights * repeated.reshape(1, -1, *[1] * (weights.ndim - 2))).astype(np.float32)


def _is_depthwise(name: str) -> bool:
    return name.startswith("dwconv")


def _pairs(graph: FloatGraph) -> Iterator[tuple[str, str]]:
    for first in graph.layers:
        at, channels = first, len(graph.weights(first))
        while _is_homogeneous(graph, at) and len(graph.readers[at]) == 1:
            at = graph.readers[at][0]
            if at in graph.layers:
                read = len(graph.weights(at)) if _is_depthwise(at) else graph.weights(at).shape[1]
                if read % channels == 0:
                    yield first, at
                break
            if not at.startswith("mean"):
                break


def _is_homogeneous(graph: FloatGraph, name: str) -> bool:
    """Whether a factor passes from a point to its readers; a layer's own bias takes it, too."""
    types = graph.passes(name)
    if name in graph.layers and types[:1] == ["Add"]:
        types = types[1:]
    return set(types) <= _HOMOGENEOUS
