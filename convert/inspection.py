"""Opens each written file with its own engine and counts what it computes in: int8 asked for means int8 or an error."""

from collections import Counter
from pathlib import Path
from typing import Any

from fer_edge.devices.errors import ConversionError
from fer_edge.edge_runtime.quantization import Quantization
from fer_edge.edge_runtime.vocabulary import Precision

Operators = dict[str, int]
"""Operators by precision and name, as {"int8 CONV_2D": 7}."""
_HEAVY = ("CONV", "FULLY_CONNECTED", "MATMUL", "GEMM", "FULLYCONNECTED")


def inspect(engine: str, path: Path, precision: Precision) -> Operators:
    """Count operators by the precision that they run in.

    Raises:
        ConversionError: int8 was asked for and a convolution or matrix product is left in float, or nothing is int8.
    """
    counts: Counter[str] = {"tflite": _tflite, "onnx": _onnx, "openvino": _openvino}[engine](path)
    operators = dict(sorted(counts.items()))
    if precision == Precision.INT8:
        heavy = {name: n for name, n in operators.items() if any(word in name.upper() for word in _HEAVY)}
        left = [name for name in heavy if not name.startswith("int8 ")]
        if left or not heavy:
            raise ConversionError(
                f"{path.name} was to be int8, but {', '.join(left) or 'every convolution'} stayed in float; "
                "no bundle was written"
            )
        if engine == "tflite" and any(name.startswith("float") for name in operators):
            raise ConversionError(f"{path.name} was to be int8 throughout, but holds float operators: {operators}")
    return operators


def _tflite(path: Path) -> Counter[str]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # Without XNNPACK, so that the file's own operators are seen and not one delegate in their place.
    lite = Interpreter(
        model_content=path.read_bytes(),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    lite.allocate_tensors()
    types = {t["index"]: _type_name(t["dtype"]) for t in lite.get_tensor_details()}
    counts: Counter[str] = Counter()
    for op in lite._get_ops_details():
        if op["op_name"].startswith("Flex"):
            raise ConversionError(f"{path.name} needs TensorFlow's own kernels ({op['op_name']}); no device has those")
        # An operator runs in the type of its first input that is data; int32 there is a shape or a bias.
        inputs = [types[i] for i in op["inputs"] if i in types and types[i] != "int32"]
        counts[f"{inputs[0] if inputs else 'int32'} {op['op_name']}"] += 1
    return counts


def _type_name(dtype: Any) -> str:
    import numpy as np

    return str(np.dtype(dtype))


def _onnx(path: Path) -> Counter[str]:
    """Operators of the graph that ONNX Runtime makes of the file: a quantized convolution is QLinearConv there."""
    import tempfile

    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(optimized)
        options.log_severity_level = 4
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        graph = onnx.load(str(optimized)).graph
    counts: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "Cast"):
            continue
        quantized = node.op_type.startswith(("QLinear", "QGemm", "QAttention")) or node.op_type.endswith("Integer")
        counts[f"{'int8' if quantized else 'float32'} {node.op_type}"] += 1
    return counts


def _openvino(path: Path) -> Counter[str]:
    """Layers of the compiled graph by the precision that OpenVINO says it runs them in."""
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    counts: Counter[str] = Counter()
    for op in compiled.get_runtime_model().get_ordered_ops():
        info = op.get_rt_info()
        kind, runs = str(info["layerType"].value), str(info["runtimePrecision"].value)
        if kind in ("Input", "Output", "Const", "Reorder"):
            continue
        precision = {"f32": "float32", "u8": "int8", "i8": "int8", "f16": "float16", "bf16": "bfloat16"}.get(runs, runs)
        counts[f"{precision} {kind}"] += 1
    return counts


def tflite_quantization(path: Path) -> tuple[Quantization, Quantization]:
    """Input's and output's scale and zero point of an int8 TFLite file."""
    from ai_edge_litert.interpreter import Interpreter

    lite = Interpreter(model_content=path.read_bytes())
    ends = (lite.get_input_details()[0]["quantization"], lite.get_output_details()[0]["quantization"])
    first, last = (Quantization(float(scale), int(zero_point)) for scale, zero_point in ends)
    return first, last
