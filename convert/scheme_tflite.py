"""Reads an int8 TFLite file, in whole or in part int8, as the operators of a quantization."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.convert.scheme import GRID, PASS, Grid, LayerWeights, Operator, Scheme, scheme_of
from fer_edge.devices.native_log import without_banners

_LAYERS = {"CONV_2D": "conv", "DEPTHWISE_CONV_2D": "dwconv", "FULLY_CONNECTED": "dense"}
_PASSES = {
    *("CAST", "DEQUANTIZE", "LEAKY_RELU", "MAX_POOL_2D", "PAD", "PADV2", "PRELU", "QUANTIZE", "RELU", "RELU6"),
    *("EXPAND_DIMS", "RESHAPE", "SQUEEZE", "TRANSPOSE"),
}
_KINDS = {
    "AVERAGE_POOL_2D": "avgpool", "CONCATENATION": "concat", "HARD_SWISH": "hardswish", "LOGISTIC": "sigmoid",
}  # fmt: skip
_ARITHMETIC = ("ADD", "SUB", "MUL", "DIV")


def read_tflite(path: Path) -> Scheme:
    """The quantization of an int8 file, by the interpreter's own account of its tensors."""
    lite, entry = _opened(path.read_bytes())
    return scheme_of(_operators(lite, entry), entry)


def tflite_operators(content: bytes) -> Iterator[Operator]:
    """All operators that touch data, in order, of a file in float or int8; tensors are numbered as in the file."""
    return _operators(*_opened(content))


def _opened(content: bytes) -> tuple[Any, int]:
    """The interpreter, and which tensor comes in."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with without_banners():
        # Without XNNPACK, so that the file's own operators are seen and not one delegate in their place.
        lite = Interpreter(
            model_content=content,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        lite.allocate_tensors()
    return lite, int(lite.get_input_details()[0]["index"])


def _operators(lite: Any, entry: int) -> Iterator[Operator]:
    details = {tensor["index"]: tensor for tensor in lite.get_tensor_details()}
    operators = lite._get_ops_details()
    data = {entry}
    if (grid := _grid(details[entry])) is not None:
        yield Operator(GRID, entry, entry, grid=grid)
    for op in operators:
        sources = [int(i) for i in op["inputs"] if i in data]
        if not sources or op["op_name"] == "SHAPE":  # a constant, or a shape
            continue
        result = int(op["outputs"][0])
        data.update(int(i) for i in op["outputs"])
        yield _operator(lite, op, details, sources, result)
        if (grid := _grid(details[result])) is not None:
            yield Operator(GRID, result, result, grid=grid)


def _operator(lite: Any, op: dict[str, Any], details: dict[int, Any], sources: list[int], result: int) -> Operator:
    name, source = op["op_name"], sources[0]
    if name in _LAYERS:
        return Operator(_LAYERS[name], source, result, weights=_weights(lite, details, op))
    if name in _ARITHMETIC and len(sources) < 2:
        return Operator(PASS, source, result)
    if name in _PASSES:
        return Operator(PASS, source, result)
    return Operator(_KINDS.get(name, name.lower()), source, result)


def _weights(lite: Any, details: dict[int, Any], op: dict[str, Any]) -> LayerWeights:
    """(O, H, W, I) of a convolution, (1, H, W, C) of a depthwise one, (O, I) of a dense layer."""
    _, weights, *rest = (int(i) for i in op["inputs"])
    values = _real(lite, details[weights])
    if op["op_name"] == "CONV_2D":
        values = values.transpose(0, 3, 1, 2)
    elif op["op_name"] == "DEPTHWISE_CONV_2D":
        values = values.transpose(3, 0, 1, 2)
    steps = details[weights]["quantization_parameters"]["scales"]
    bias = _real(lite, details[rest[0]]) if rest and rest[0] >= 0 else None
    return LayerWeights(np.ascontiguousarray(values), steps if len(steps) else None, bias)


def _real(lite: Any, tensor: dict[str, Any]) -> NDArray[np.float32]:
    """A constant in real numbers: (q - zero point) times scale, along the dimension that has scales of its own."""
    held = lite.get_tensor(tensor["index"]).astype(np.float32)
    given = tensor["quantization_parameters"]
    if not len(given["scales"]):
        return held
    shape = [1] * held.ndim
    if len(given["scales"]) > 1:
        shape[given["quantized_dimension"]] = -1
    scales, zeros = (np.asarray(given[key], np.float32).reshape(shape) for key in ("scales", "zero_points"))
    return (held - zeros) * scales


def _grid(tensor: dict[str, Any]) -> Grid | None:
    scales, zeros = (tensor["quantization_parameters"][key] for key in ("scales", "zero_points"))
    if len(scales) != 1 or not np.issubdtype(tensor["dtype"], np.integer):
        return None
    limits, step = np.iinfo(tensor["dtype"]), np.float32(scales[0])
    return Grid(np.asarray(step * np.float32(limits.min - zeros[0])), np.asarray(step), limits.max - limits.min + 1)
