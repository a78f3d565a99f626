"""TensorRT's files: symmetric, with explicit Q and DQ, and close to the float model. ONNX Runtime alone runs them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fer_edge.calibration.ranges import Range
from fer_edge.convert.activations import tensor_points
from fer_edge.convert.bundle_writer import variant_entry
from fer_edge.convert.onnx import quantize_onnx
from fer_edge.convert.onnx_ranges import prepared
from fer_edge.convert.order import Order
from fer_edge.convert.quantization_recipe import PLAIN
from fer_edge.convert.target import Target
from fer_edge.convert.tensorrt import inspect_tensorrt, write_tensorrt
from fer_edge.devices.errors import ConversionError, EngineError
from fer_edge.edge_runtime.engine_onnx import OnnxEngine
from fer_edge.edge_runtime.vocabulary import Precision

RNG = np.random.default_rng(1)
FACES = RNG.integers(0, 256, (32, 48, 48), np.uint8)


@pytest.fixture(scope="module")
def float_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pixels to logits by one convolution and one product."""
    weights = {
        "scale": np.float32(1 / 255),
        "kernel": RNG.normal(0, 0.2, (4, 1, 5, 5)).astype(np.float32),
        "bias": RNG.normal(0, 0.1, 4).astype(np.float32),
        "dense": RNG.normal(0, 0.5, (4, 7)).astype(np.float32),
        "offset": RNG.normal(0, 0.1, 7).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["pixels_f32"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pixels_f32", "scale"], ["rescaled"], name="rescale"),
        helper.make_node("Transpose", ["rescaled"], ["planes"], name="planes", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel", "bias"], ["c"], name="conv", strides=[4, 4]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["g"], name="pool"),
        helper.make_node("Flatten", ["g"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "dense", "offset"], ["logits"], name="gemm"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", 48, 48, 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 7])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("trt") / "float32.onnx"
    onnx.save(model, str(path))
    return path


def logits(path: Path, precision: Precision) -> np.ndarray:
    return OnnxEngine(path, precision, 1).infer(FACES)


@pytest.fixture(scope="module")
def int8(float_model: Path) -> Path:
    path = float_model.with_name("int8-trt.onnx")
    write_tensorrt(float_model, path, Precision.INT8, list(FACES))
    return path


def test_int8_is_symmetric_with_a_pair_for_each_weight_and_a_float_bias(int8: Path) -> None:
    graph = onnx.load(str(int8)).graph
    values = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    pairs = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    assert pairs
    for node in pairs:
        zero = values[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()
    heavy = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(heavy) == 2
    for node in heavy:
        weight = makers[node.input[1]]
        assert weight.op_type == "DequantizeLinear"
        quantizer = makers[weight.input[0]]
        assert quantizer.op_type == "QuantizeLinear"
        assert values[quantizer.input[0]].dtype == np.float32
        assert values[node.input[2]].dtype == np.float32
    readers = [name for node in graph.node for name in node.input if name in makers]
    of_dequantizers = [name for name in readers if makers[name].op_type == "DequantizeLinear"]
    assert len(of_dequantizers) == len(set(of_dequantizers))  # each has one reader
    assert inspect_tensorrt(int8, Precision.INT8) == {"int8 Conv": 1, "int8 Gemm": 1}


def test_the_processor_judges_it(int8: Path, float_model: Path) -> None:
    expected, got = logits(float_model, Precision.FLOAT32), logits(int8, Precision.INT8)
    span = float(np.ptp(expected))
    assert 0 < np.abs(got - expected).max() < 0.05 * span


def test_ranges_of_our_own_are_taken(float_model: Path, int8: Path, tmp_path: Path) -> None:
    wide = {point: Range(-100.0, 100.0) for point in tensor_points(prepared(float_model)).values()}
    path = tmp_path / "int8-trt.onnx"
    write_tensorrt(float_model, path, Precision.INT8, list(FACES), PLAIN, wide)
    assert inspect_tensorrt(path, Precision.INT8) == {"int8 Conv": 1, "int8 Gemm": 1}
    expected = logits(float_model, Precision.FLOAT32)
    errors = [np.abs(logits(each, Precision.INT8) - expected).max() for each in (int8, path)]
    assert errors[1] > 3 * errors[0]


def test_float16_holds_half_floats_and_the_same_labels(float_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "float16-trt.onnx"
    write_tensorrt(float_model, path, Precision.FLOAT16, list(FACES))
    kinds = {each.name: each.data_type for each in onnx.load(str(path)).graph.initializer}
    assert kinds["kernel"] == kinds["dense"] == TensorProto.FLOAT16
    expected = logits(float_model, Precision.FLOAT32)
    assert np.abs(logits(path, Precision.FLOAT16) - expected).max() < 0.01 * np.ptp(expected)
    assert inspect_tensorrt(path, Precision.FLOAT16) == {"float16 Conv": 1, "float16 Gemm": 1}


def test_what_is_not_what_was_asked_for_is_refused(float_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="made in int8 and float16, not in float32"):
        write_tensorrt(float_model, tmp_path / "x.onnx", Precision.FLOAT32, [])
    with pytest.raises(ConversionError, match="2 of its 2 convolutions and products have float inputs"):
        inspect_tensorrt(float_model, Precision.INT8)
    asymmetric = tmp_path / "int8.onnx"
    quantize_onnx(float_model, asymmetric, list(FACES), Target.ARM)
    with pytest.raises(ConversionError, match=r"int8\.onnx is not symmetric: .* has a zero point that is not 0"):
        inspect_tensorrt(asymmetric, Precision.INT8)


def test_the_order_and_the_manifest_know_it(int8: Path) -> None:
    both = (Precision.FLOAT32, Precision.INT8, Precision.FLOAT16)
    assert Order(("onnx", "tensorrt"), both).variants() == [
        ("onnx", Precision.FLOAT32), ("onnx", Precision.INT8),
        ("tensorrt", Precision.INT8), ("tensorrt", Precision.FLOAT16),
    ]  # fmt: skip
    assert Order(("tensorrt/int8",)).variants() == [("tensorrt", Precision.INT8)]
    with pytest.raises(EngineError, match="unknown engine 'tensorflow'"):
        Order(("tensorflow",))
    entry = variant_entry("tensorrt", Precision.INT8, int8, {"int8 Conv": 1})
    assert (entry["file"], entry["judged_by"], entry["quantization"]) == ("int8-trt.onnx", "onnx", None)
    assert "judged_by" not in variant_entry("onnx", Precision.INT8, int8, {})
