"""A variant's own quantization, out of its file, in terms of the bundle's float graph. Judges nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from fer_edge.convert.float_graph import FloatGraph
from fer_edge.convert.scheme import INPUT, Floats, Grid, LayerWeights, Scheme
from fer_edge.devices.errors import ConversionError

LIKE = 0.9
"""Cosine of a layer's weights with the float ones under which they are another layer's."""
_SAME = 0.02
"""How far a first layer's weights may be from the float ones' scale without anything being folded into them."""


def read_scheme(engine: str, path: Path) -> Scheme:
    """The quantization of an int8 file of any engine."""
    if engine == "tflite":
        from fer_edge.convert.scheme_tflite import read_tflite

        return read_tflite(path)
    if engine == "onnx":
        from fer_edge.convert.scheme_onnx import read_onnx

        return read_onnx(path)
    from fer_edge.convert.scheme_openvino import read_openvino

    return read_openvino(path)


def aligned(scheme: Scheme, graph: FloatGraph, file: str) -> Scheme:
    """The scheme with layers under the float graph's names and in its units.

    Layers are matched by order, or where branches were written in another one, by shape and likeness. Where one file
    has the division of pixels by 255 inside its first layer and the other before it, the first layer's weights and the
    input's grid are brought to the float graph's units.

    Raises:
        ConversionError: the file's layers are not those of the float graph.
    """
    match = _matched(scheme, graph, file)
    layers = {name: scheme.layers[match[name]] for name in graph.layers}
    grids = {name: grid for name, grid in scheme.grids.items() if name not in scheme.layers}
    grids |= {name: scheme.grids[match[name]] for name in graph.layers if match[name] in scheme.grids}
    grids = {name: grids[name] for name in graph.points if name in grids}
    first = next(iter(graph.layers))
    gain = _gain(layers[first].values, graph.weights(first))
    if abs(gain - 1) > _SAME:
        held = layers[first]
        steps = None if held.steps is None else held.steps / gain
        layers[first] = replace(held, values=(held.values / gain).astype(np.float32), steps=steps)
        if INPUT in grids:
            grids[INPUT] = Grid(grids[INPUT].low * gain, grids[INPUT].step * gain, grids[INPUT].levels)
    return Scheme(layers, grids)


def _matched(scheme: Scheme, graph: FloatGraph, file: str) -> dict[str, str]:
    """The file's name of each of the float graph's layers."""
    wanted = {name: graph.weights(name) for name in graph.layers}
    free, match = dict(scheme.layers), {}
    for name, weights in wanted.items():
        alike = {other: _cosine(layer, weights) for other, layer in free.items()}
        best = name if alike.get(name, 0.0) >= LIKE else max(alike, key=alike.__getitem__, default=None)
        if best is None or alike[best] < LIKE:
            raise ConversionError(
                f"{file} and {graph.name} are not the same network: no layer of {file} has the weights of {name}; "
                "convert the run again, float and int8 together"
            )
        match[name] = best
        free.pop(best)
    if free:
        raise ConversionError(f"{file} has layers that {graph.name} lacks ({', '.join(free)}); convert the run again")
    return match


def _cosine(layer: LayerWeights, weights: Floats) -> float:
    if layer.values.shape != weights.shape:
        return 0.0
    product = float(np.vdot(layer.values.astype(np.float64), weights))
    return product / (float(np.linalg.norm(layer.values)) * float(np.linalg.norm(weights)) or 1.0)


def _gain(values: Floats, weights: Floats) -> np.float32:
    """By how much the file's weights are larger, in least squares."""
    return np.float32(np.vdot(values, weights) / np.vdot(weights, weights))
