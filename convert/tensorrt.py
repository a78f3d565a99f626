"""The float ONNX model to what TensorRT takes: int8 as a graph with explicit, symmetric QDQ nodes, or float16.

Own files beside ONNX Runtime's: TensorRT wants zero points of 0, weights that go through a Q and a DQ of their own, a
pair for each reader, and float biases. ONNX Runtime's CPU provider computes such a graph too, in float between rounded
values: that judges the rounding, not TensorRT's kernels. Nothing here ran on a GPU.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from fer_edge.calibration.ranges import Range
from fer_edge.convert.inspection import Operators
from fer_edge.convert.onnx import FaceReader
from fer_edge.convert.onnx_ranges import excluded, prepared, quantized, quantizer_types
from fer_edge.convert.quantization_recipe import PLAIN, QuantizationRecipe
from fer_edge.convert.target import Target
from fer_edge.devices.errors import ConversionError
from fer_edge.edge_runtime.vocabulary import Precision

SYMMETRIC = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    "AddQDQPairToWeight": True,
    "DedicatedQDQPair": True,
}
"""In the words of ONNX Runtime's quantizer."""
SIGNED = Target.ARM
"""TensorRT's int8 is signed with all its bits, as ARM's is."""
_HEAVY = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_PASSING = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity")


def write_tensorrt(
    float_model: Path,
    path: Path,
    precision: Precision,
    faces: Iterable[NDArray[np.uint8]],
    recipe: QuantizationRecipe = PLAIN,
    ranges: dict[str, Range] | None = None,
) -> None:
    """Write the int8 or float16 model from the float one.

    Args:
        float_model: what `write_onnx` wrote.
        path: file to write.
        precision: int8 or float16.
        faces: calibration images (48, 48) uint8 that can be gone through again.
        recipe: how weights are scaled, and what stays in float.
        ranges: by point, those of our own; None leaves minimum and maximum to ONNX Runtime.

    Raises:
        ConversionError: another precision, or the recipe names a layer that the network does not have.
    """
    logging.getLogger().setLevel(logging.ERROR)
    if precision == Precision.FLOAT16:
        _write_float16(float_model, path)
    elif precision != Precision.INT8:
        raise ConversionError(f"tensorrt is made in int8 and float16, not in {precision}")
    elif ranges is not None:
        onnx.save(quantized(prepared(float_model), ranges, SIGNED, recipe, SYMMETRIC), str(path))
    else:
        _quantize(float_model, path, faces, recipe)


def _quantize(float_model: Path, path: Path, faces: Iterable[NDArray[np.uint8]], recipe: QuantizationRecipe) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, quantize_static

    model = prepared(float_model)
    quantize_static(
        model,
        str(path),
        FaceReader(faces),
        quant_format=QuantFormat.QDQ,
        nodes_to_exclude=excluded(model, recipe),
        calibrate_method=CalibrationMethod.MinMax,
        extra_options=dict(SYMMETRIC),
        **quantizer_types(SIGNED, recipe),
    )


def _write_float16(float_model: Path, path: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    made = convert_float_to_float16(onnx.load(str(float_model)), keep_io_types=True)
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, str(path))


def inspect_tensorrt(path: Path, precision: Precision, allow_float: int = 0) -> Operators:
    """Count convolutions and products by the precision that the graph asks TensorRT for.

    Args:
        path: the file.
        precision: what was asked for.
        allow_float: so many layers were asked to stay in float.

    Raises:
        ConversionError: int8 was asked for, and another number of layers has float inputs, or a zero point is not 0.
    """
    graph = onnx.load(str(path)).graph
    heavy = [node for node in graph.node if node.op_type in _HEAVY]
    if precision != Precision.INT8:
        return dict(Counter(f"{precision} {node.op_type}" for node in heavy))
    makers = {name: node for node in graph.node for name in node.output}
    kinds = [("int8" if all(_dequantized(name, makers) for name in node.input[:2]) else "float32") for node in heavy]
    odd = [node.name for node in graph.node if _zero_point(node, graph).any()]
    if odd:
        raise ConversionError(f"{path.name} is not symmetric: {odd[0]} has a zero point that is not 0")
    if not heavy or kinds.count("float32") != allow_float:
        raise ConversionError(
            f"{path.name} was to be int8, but {kinds.count('float32')} of its {len(heavy)} convolutions and products "
            "have float inputs; no bundle was written"
        )
    return dict(sorted(Counter(f"{kind} {node.op_type}" for kind, node in zip(kinds, heavy, strict=True)).items()))


def _dequantized(name: str, makers: dict[str, onnx.NodeProto]) -> bool:
    """Whether a tensor comes out of a DequantizeLinear, with at most a change of shape in between."""
    node = makers.get(name)
    while node is not None and node.op_type in _PASSING:
        node = makers.get(node.input[0])
    return node is not None and node.op_type == "DequantizeLinear"


def _zero_point(node: onnx.NodeProto, graph: onnx.GraphProto) -> np.ndarray:
    """The zero points of a QuantizeLinear or DequantizeLinear; empty where there are none."""
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or len(node.input) < 3:
        return np.empty(0)
    found = next((each for each in graph.initializer if each.name == node.input[2]), None)
    return np.empty(0) if found is None else numpy_helper.to_array(found)
