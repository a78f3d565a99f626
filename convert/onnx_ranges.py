"""A float ONNX model and ranges to an int8 one (static QDQ): what `quantize_static` does, with ranges of our own.

Must not know where the ranges come from.
"""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import helper

from fer_edge.calibration.ranges import Range
from fer_edge.convert.activations import input_ranges, tensor_points
from fer_edge.convert.layers import check_layers, onnx_layers
from fer_edge.convert.quantization_recipe import QuantizationRecipe
from fer_edge.convert.scheme import INPUT
from fer_edge.convert.target import Target


def prepared(float_model: Path) -> onnx.ModelProto:
    """The float model as ONNX Runtime's quantizer wants it: shapes inferred, biases fused into products."""
    from onnxruntime.quantization.quant_utils import load_model_with_shape_infer
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logging.getLogger().setLevel(logging.ERROR)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "prepared.onnx"
        quant_pre_process(str(float_model), str(path), skip_symbolic_shape=False)
        return load_model_with_shape_infer(path)


def excluded(model: onnx.ModelProto, recipe: QuantizationRecipe) -> list[str]:
    """Names of the prepared model's nodes that the recipe leaves in float.

    Raises:
        ConversionError: the network has no such layer.
    """
    layers = onnx_layers(model)
    check_layers(recipe.float_layers, layers)
    return [layers[name].name for name in recipe.float_layers]


def quantizer_types(target: Target, recipe: QuantizationRecipe) -> dict[str, Any]:
    """What the target's kernels want, in the words of `quantize_static`."""
    from onnxruntime.quantization import QuantType

    return {
        "per_channel": not recipe.per_tensor,
        "reduce_range": target == Target.X86,
        "activation_type": QuantType.QInt8 if target == Target.ARM else QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
    }


def quantized(
    model: onnx.ModelProto,
    ranges: dict[str, Range],
    target: Target,
    recipe: QuantizationRecipe,
    options: Mapping[str, Any] | None = None,
) -> onnx.ModelProto:
    """The int8 model.

    Args:
        model: what `prepared` gave; it stays as it is.
        ranges: by point.
        target: decides the activations' type and the weights' bits.
        recipe: whether weights have one scale a tensor, and what stays in float.
        options: more of the quantizer's own, as TensorRT's file wants them.
    """
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    by_tensor = input_ranges(model) | {t: ranges[p] for t, p in tensor_points(model).items() if p != INPUT}
    types = quantizer_types(target, recipe)
    quantizer = QDQQuantizer(
        copy,
        types["per_channel"],
        types["reduce_range"],
        types["weight_type"],
        types["activation_type"],
        tensors_range=TensorsData(CalibrationMethod.MinMax, {name: _ends(held) for name, held in by_tensor.items()}),
        nodes_to_quantize=[],
        nodes_to_exclude=excluded(model, recipe),
        op_types_to_quantize=sorted({*QLinearOpsRegistry, *QDQRegistry}),
        extra_options=dict(options or {}),
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    made: onnx.ModelProto = quantizer.model.model
    keep_float(made, excluded(model, recipe))
    return made


def keep_float(model: onnx.ModelProto, names: Collection[str]) -> None:
    """See that these nodes of an int8 model run in float.

    ONNX Runtime quantizes weights by itself, one scale a tensor, where a convolution or Gemm stands between DQ and Q
    with nothing but Relu or Clip behind it (its weight_bias_quantization.cc). A LeakyRelu is not on that list, joins
    the float kernel, and computes the same: with slope 0 what Relu does, with slope 1 nothing.
    """
    for name in names:
        node = next(each for each in model.graph.node if each.name == name)
        readers = [each for each in model.graph.node if node.output[0] in each.input]
        if len(readers) == 1 and readers[0].op_type == "Relu":
            readers[0].op_type = "LeakyRelu"
            readers[0].attribute.append(helper.make_attribute("alpha", 0.0))
        elif readers:
            result = node.output[0]
            node.output[0] = f"{result}/float"
            leaky = helper.make_node("LeakyRelu", [node.output[0]], [result], name=f"{name}/float", alpha=1.0)
            model.graph.node.insert(list(model.graph.node).index(node) + 1, leaky)


def _ends(held: Range) -> tuple[np.ndarray, np.ndarray]:
    return np.array(held.low, np.float32), np.array(held.high, np.float32)
