"""Reads an int8 OpenVINO model as the operators of a quantization: FakeQuantize nodes and constants."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from fer_edge.convert.scheme import GRID, PASS, Grid, LayerWeights, Operator, Scheme, scheme_of

_LAYERS = {"Convolution": "conv", "GroupConvolution": "dwconv", "MatMul": "dense"}
_PASSES = {
    *("Clamp", "Convert", "LeakyRelu", "MaxPool", "Pad", "PRelu", "Relu", "Reshape", "Squeeze", "Transpose"),
    "Unsqueeze",
}
_KINDS = {"AvgPool": "avgpool", "HSwish": "hardswish", "Multiply": "mul", "ReduceMean": "mean"}
_ARITHMETIC = ("Add", "Subtract", "Multiply", "Divide")


def read_openvino(path: Path) -> Scheme:
    """The quantization of an int8 file, by its FakeQuantize limits and int8 constants."""
    model = openvino.Core().read_model(str(path))
    return scheme_of(openvino_operators(model), model.get_parameters()[0].get_name())


def openvino_operators(model: openvino.Model) -> Iterator[Operator]:
    """All operators that touch data, in order; tensors go by their node's unique name."""
    data = {parameter.get_name() for parameter in model.get_parameters()}
    for node in model.get_ordered_ops():
        sources = [value.get_node().get_name() for value in node.input_values()]
        if not data & set(sources) or node.get_type_name() in ("Result", "ShapeOf"):
            continue
        data.add(node.get_name())
        fixed = {at: value for at, value in enumerate(node.input_values()) if value.get_node().get_name() not in data}
        source = next(name for name in sources if name in data)
        yield _operator(node, node.get_type_name(), source, fixed)


def _operator(node: Any, kind: str, source: str, fixed: dict[int, Any]) -> Operator:
    result = node.get_name()
    if kind == "FakeQuantize":
        low, high = (_value(fixed[at]) for at in (3, 4))  # what comes out; what goes in has the same limits
        levels = int(node.get_levels())
        return Operator(GRID, source, result, grid=Grid(low, np.asarray((high - low) / (levels - 1)), levels))
    if kind in _LAYERS and 1 in fixed:
        return Operator(_layer_kind(node, kind), source, result, weights=_weights(node, kind, fixed[1]))
    if kind in _ARITHMETIC and fixed:
        bias = _value(fixed[max(fixed)]).reshape(-1) if kind == "Add" else None
        return Operator(PASS, source, result, bias=bias)
    if kind in _PASSES:
        return Operator(PASS, source, result)
    return Operator(_KINDS.get(kind, kind.lower()), source, result)


def _layer_kind(node: Any, kind: str) -> str:
    """A grouped convolution (G, O/G, I/G, H, W) is depthwise only with one input channel a group."""
    return "conv" if kind == "GroupConvolution" and node.input_value(1).shape[2] > 1 else _LAYERS[kind]


def _weights(node: Any, kind: str, source: Any) -> LayerWeights:
    values, steps = _value(source), _steps(source)
    if kind == "GroupConvolution":
        values = values.reshape(-1, *values.shape[2:])
    elif kind == "MatMul" and not node.get_attributes()["transpose_b"]:
        values = values.T
    return LayerWeights(np.ascontiguousarray(values), steps)


def _value(source: Any) -> NDArray[np.float32]:
    """What a constant part of the graph amounts to, worked out by OpenVINO itself."""
    node = source.get_node()
    if node.get_type_name() == "Constant":
        return np.asarray(node.get_data(), np.float32)
    compiled = openvino.Core().compile_model(openvino.Model([source], []), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled([])[0], np.float32)


def _steps(source: Any) -> NDArray[np.float32] | None:
    """The weights' scales: of the multiplication after int8 constants, or of a FakeQuantize on float ones."""
    node = source.get_node()
    while node.get_type_name() != "Constant":
        if node.get_type_name() == "Multiply":
            return _value(node.input_value(1)).reshape(-1)
        if node.get_type_name() == "FakeQuantize":
            low, high = (_value(node.input_value(at)) for at in (3, 4))
            return ((high - low) / (node.get_levels() - 1)).reshape(-1)
        node = node.input_value(0).get_node()
    return None
