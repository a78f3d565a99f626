"""Reads an ONNX graph, float or QDQ, as the operators of a quantization. Of the graph only its constants are run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from fer_edge.convert.scheme import GRID, PASS, Grid, LayerWeights, Operator, Scheme, scheme_of

_PASSES = {
    *("Cast", "Clip", "DequantizeLinear", "Dropout", "Flatten", "Identity", "LeakyRelu", "MaxPool", "Pad", "PRelu"),
    *("Relu", "Reshape", "Squeeze", "Transpose", "Unsqueeze"),
}
_KINDS = {"GlobalAveragePool": "mean", "ReduceMean": "mean", "AveragePool": "avgpool"}
_ARITHMETIC = ("Add", "Sub", "Mul", "Div")


def read_onnx(path: Path) -> Scheme:
    """The quantization of an int8 file, by its Q and DQ nodes and their initializers."""
    model = onnx.load(str(path))
    return scheme_of(onnx_operators(model), model.graph.input[0].name)


def onnx_operators(model: onnx.ModelProto) -> Iterator[Operator]:
    """All operators that touch data, in order; what works out shapes does not."""
    values, data = constants(model), {model.graph.input[0].name}
    made_by = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        source = next((name for name in node.input if name in data), None)
        if source is not None and node.op_type not in ("Shape", "Size"):
            data.update(node.output)
            yield _operator(node, source, values, made_by)


def constants(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """Values of the initializers, and of all that is computed from those alone."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    known, nodes = set(values), []
    for node in model.graph.node:
        if all(name in known or not name for name in node.input):
            known.update(node.output)
            nodes.append(node)
    if not nodes:
        return values
    made = [output for node in nodes for output in node.output]
    outputs = [onnx.ValueInfoProto(name=name) for name in made]
    graph = helper.make_graph(nodes, "constants", [], outputs, initializer=list(model.graph.initializer))
    whole = helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return values | dict(zip(made, session.run(made, {}), strict=True))


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """An integer attribute."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def layer_kind(node: onnx.NodeProto, values: dict[str, NDArray[Any]]) -> str | None:
    """`conv`, `dwconv` or `dense` of a node with constant weights, else None."""
    if node.op_type not in ("Conv", "Gemm", "MatMul") or node.input[1] not in values:
        return None
    if node.op_type != "Conv":
        return "dense"
    return "dwconv" if attribute(node, "group", 1) > 1 and values[node.input[1]].shape[1] == 1 else "conv"


def by_output(node: onnx.NodeProto, weights: NDArray[Any]) -> NDArray[Any]:
    """Weights with the outputs first, (O, I, …), or back: it is its own inverse."""
    stored_by_input = node.op_type == "MatMul" or (node.op_type == "Gemm" and not attribute(node, "transB", 0))
    return weights.T if stored_by_input else weights


def _operator(
    node: onnx.NodeProto, source: str, values: dict[str, NDArray[Any]], made_by: dict[str, onnx.NodeProto]
) -> Operator:
    result = node.output[0]
    if node.op_type == "QuantizeLinear":
        return Operator(GRID, source, result, grid=_grid(*(values[name] for name in node.input[1:3])))
    kind = layer_kind(node, values)
    if kind is not None:
        bias = values[node.input[2]].astype(np.float32) if len(node.input) > 2 and node.input[2] else None
        held = by_output(node, values[node.input[1]]).astype(np.float32)
        return Operator(kind, source, result, weights=LayerWeights(held, _steps(node.input[1], values, made_by), bias))
    constant = [values[name] for name in node.input if name in values]
    if node.op_type in _ARITHMETIC and constant:
        bias = constant[0].astype(np.float32).reshape(-1) if node.op_type == "Add" else None
        return Operator(PASS, source, result, bias=bias)
    if node.op_type in _PASSES:
        return Operator(PASS, source, result)
    return Operator(_KINDS.get(node.op_type, node.op_type.lower()), source, result)


def _grid(scale: NDArray[Any], zero_point: NDArray[Any]) -> Grid:
    limits = np.iinfo(zero_point.dtype)
    step = np.asarray(scale, np.float32).reshape(())
    low = step * (limits.min - zero_point.astype(np.float32).reshape(()))
    return Grid(np.asarray(low, np.float32), step, limits.max - limits.min + 1)


def _steps(name: str, values: dict[str, NDArray[Any]], made_by: dict[str, onnx.NodeProto]) -> NDArray[Any] | None:
    """The weights' scales, from the DQ node that they come out of; None where there is none."""
    while name in made_by:
        node = made_by[name]
        if node.op_type == "DequantizeLinear":
            return values[node.input[1]].astype(np.float32).reshape(-1)
        name = node.input[0]
    return None
