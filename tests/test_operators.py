"""What runs, in which precision, with how many multiply-adds: the same for every engine; and the verdict on int8."""

import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_edge.convert.inspection import inspect
from fer_edge.devices.errors import ConversionError, EngineError
from fer_edge.edge_runtime import engines, int8_verdict, onnx_wire, operators
from fer_edge.edge_runtime.int8_verdict import verdict
from fer_edge.edge_runtime.operator_row import (
    Profile,
    data_precision,
    other_macs,
    product_macs,
    row,
    tensor_bytes,
    timed,
    usual_ns,
)
from fer_edge.edge_runtime.operators import list_operators, profile_operators
from fer_edge.edge_runtime.vocabulary import Precision

INT8, FLOAT32 = Precision.INT8, Precision.FLOAT32
BUNDLED = Path(engines.__file__).parent / "bundled"
CONV1 = 48 * 48 * 16 * 3 * 3 * 1
CONVOLUTIONS = [
    CONV1,
    24 * 24 * 32 * 3 * 3 * 16,
    *[24 * 24 * 32 * 3 * 3 * 32] * 2,
    12 * 12 * 80 * 3 * 3 * 32,
    *[12 * 12 * 80 * 3 * 3 * 80] * 2,
    6 * 6 * 176 * 3 * 3 * 80,
    *[6 * 6 * 176 * 3 * 3 * 176] * 2,
]
DENSE = 176 * 7
TOTAL = 58_144_976


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, Precision], Path]:
    """The shipped network for every engine, each under the name of its precision."""
    import openvino

    folder = tmp_path_factory.mktemp("models")
    for source, name in (("float32.tflite", "float32.xml"), ("int8.onnx", "int8.xml")):
        model = openvino.convert_model(str(BUNDLED / source))
        model.reshape([1, 48, 48, 1])
        openvino.save_model(model, str(folder / name), compress_to_fp16=False)
    return {
        ("tflite", FLOAT32): BUNDLED / "float32.tflite",
        ("tflite", INT8): BUNDLED / "int8.tflite",
        ("onnx", INT8): BUNDLED / "int8.onnx",
        ("openvino", FLOAT32): folder / "float32.xml",
        ("openvino", INT8): folder / "int8.xml",
    }


VARIANTS = [("tflite", FLOAT32), ("tflite", INT8), ("onnx", INT8), ("openvino", FLOAT32), ("openvino", INT8)]


def test_the_layers_worked_out_by_hand_are_the_total() -> None:
    assert sum(CONVOLUTIONS) + DENSE == TOTAL


@pytest.mark.parametrize(("engine", "precision"), VARIANTS)
@pytest.mark.parametrize("threads", [1, 2])
def test_every_engine_counts_the_shipped_network_alike(models, engine, precision, threads) -> None:
    rows = list_operators(engine, models[engine, precision], precision, threads)
    heavy = [entry for entry in rows if entry["macs"]]
    assert sum(entry["macs"] for entry in rows) == TOTAL
    assert [entry["macs"] for entry in heavy][:-1] == CONVOLUTIONS
    assert {entry["precision"] for entry in heavy} == {str(precision)}
    for entry in rows:
        assert set(entry) == {"name", "type", "count", "time_us", "share", "macs", "bytes", "precision"}
        assert (entry["time_us"], entry["share"], entry["count"]) == (None, None, 1)
        assert entry["name"]


@pytest.mark.parametrize("engine", ["tflite", "openvino"])
def test_bytes_are_weights_inputs_and_outputs_moved_once(models, engine) -> None:
    rows = [entry for entry in list_operators(engine, models[engine, FLOAT32], FLOAT32) if entry["macs"]]
    #                          pixels      weights         biases  output
    assert rows[0]["bytes"] == 4 * (48 * 48 + 16 * 3 * 3 * 1 + 16 + 48 * 48 * 16)
    assert rows[9]["bytes"] == 4 * (6 * 6 * 176 + 176 * 3 * 3 * 176 + 176 + 6 * 6 * 176)


@pytest.mark.parametrize(("engine", "precision"), VARIANTS)
def test_a_profile_is_the_list_with_times_and_leaves_no_file(
    models, engine, precision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = models[engine, precision]
    rows, note = profile_operators(engine, model, precision, 1, seconds=0.2)
    for entry, plain in zip(rows, list_operators(engine, model, precision, 1), strict=True):
        assert entry | {"time_us": None, "share": None} == plain
    times = [entry["time_us"] for entry in rows if entry["time_us"] is not None]
    assert all(time_us > 0 for time_us in times)
    # All convolutions but the first take longer than any engine's clock is coarse.
    assert all(entry["time_us"] for entry in rows if entry["macs"] and entry["macs"] > CONV1)
    assert sum(entry["share"] or 0 for entry in rows) == pytest.approx(1)
    assert f"together {sum(times):.0f} µs, the whole call " in note
    assert ("measured one by one" in note) == (engine == "tflite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("whole_us", "moved", "words"),
    [
        (40.0, 8, "by hand: together 40 µs, the whole call 40 µs (100%); 1 of 2 operators too short to time"),
        (40.0, 0, "by hand: together 40 µs, the whole call 40 µs (100%)"),
        (30.0, 0, "by hand: together 40 µs, the whole call 30 µs (133%); the two are far apart: other work or sleeping "
                  "threads got in between, so take the times with care"),
    ],
)  # fmt: skip
def test_the_note_holds_the_sum_against_the_whole(monkeypatch, whole_us: float, moved: int, words: str) -> None:
    rows = timed([row("a", "CONV_2D", 5, 9, "int8"), row("b", "MEAN", 0, moved, "int8")], [40.0, None])
    monkeypatch.setattr(operators, "_function", lambda *_: lambda *_: Profile(rows, whole_us, "by hand"))
    assert profile_operators("tflite", Path("x"), INT8, 1) == (rows, words)


@pytest.mark.parametrize("engine", ["tflite", "onnx", "openvino"])
def test_int8_under_a_float_label_is_an_error(models, engine: str) -> None:
    with pytest.raises(
        EngineError, match=r"is said to be float32, but 11 of its 11 convolutions .* run in int8; say int8"
    ):
        list_operators(engine, models[engine, INT8], FLOAT32, 2)


@pytest.mark.parametrize(("engine", "suffix"), [("tflite", ".tflite"), ("onnx", ".onnx"), ("openvino", ".xml")])
@pytest.mark.parametrize("action", [list_operators, lambda *a: profile_operators(*a, 1, seconds=0)])
def test_a_cut_off_or_missing_file_is_one_sentence(models, engine: str, suffix: str, action, tmp_path: Path) -> None:
    source, cut = models[engine, INT8], tmp_path / f"int8{suffix}"
    cut.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    shutil.copy(models["openvino", INT8].with_suffix(".bin"), cut.with_suffix(".bin"))
    with pytest.raises(EngineError, match="is not a model that"):
        action(engine, cut, INT8)
    with pytest.raises(EngineError, match=r"missing|cannot read|is not a model that"):
        action(engine, tmp_path / f"none{suffix}", INT8)


def test_openvino_without_all_of_its_weights_is_one_sentence(models, tmp_path: Path) -> None:
    shutil.copy(models["openvino", INT8], tmp_path / "int8.xml")
    (tmp_path / "int8.bin").write_bytes(models["openvino", INT8].with_suffix(".bin").read_bytes()[:1000])
    with pytest.raises(EngineError, match="is not a model that OpenVINO can run"):
        list_operators("openvino", tmp_path / "int8.xml", INT8)


def test_an_engine_that_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    with pytest.raises(EngineError, match="openvino is not installed; run: pip install"):
        list_operators("openvino", Path("int8.xml"), INT8)
    with pytest.raises(EngineError, match="unknown engine 'ncnn'"):
        profile_operators("ncnn", Path("int8.onnx"), INT8, 1)


@pytest.mark.parametrize(
    ("types", "precision"),
    [
        (("uint8", "float"), "float32"),  # a cast or dequantization
        (("float", "uint8"), "float32"),  # a quantization
        (("u8", "u8"), "int8"),
        (("i8", "i32"), "int8"),
        (("f16", "f32"), "float16"),
        (("bf16",), "bfloat16"),
        (("int64",), "int64"),
        ((), "unknown"),
    ],
)
def test_what_is_no_product_computes_in_float_as_soon_as_one_end_is_float(types, precision) -> None:
    assert data_precision(types) == precision


def test_rows_from_shapes_and_types() -> None:
    assert product_macs((1, 4, 5, 6), (3, 3, 2)) == 120 * 18
    assert [tensor_bytes((2, 3), name) for name in ("f32", "u8", "i4", "boolean", "bf16")] == [24, 6, 3, 6, 12]
    assert [other_macs(name) for name in ("Convert", "Add", "Deconvolution", "LSTM")] == [0, 0, None, None]
    assert row("x", "ExpandDims", 0, 8, "int8")["bytes"] == 0
    assert usual_ns([9, 2, 1, 3, 7, 8, 6, 5]) == 1.5
    assert usual_ns([4]) == 4
    plain = [row(name, "ADD", 0, 1, "int8") for name in "ab"]
    assert [entry["share"] for entry in timed(plain, [1.0, 3.0])] == [0.25, 0.75]
    assert [entry["share"] for entry in timed(plain, [None, 3.0])] == [None, 1]


# ONNX's own format


def wire_model(nodes: list[bytes], constants: list[bytes], inner: int, outer: int) -> bytes:
    """A model from (1, inner) to (1, outer), float32."""
    ends = (onnx_wire.value("x", np.float32, (1, inner)), onnx_wire.value("y", np.float32, (1, outer)))
    return onnx_wire.model(nodes, constants, [ends[0]], [ends[1]])


def float_onnx() -> bytes:
    weights = np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3)
    return wire_model([onnx_wire.node("MatMul", ["x", "w"], ["y"])], [onnx_wire.constant("w", weights)], 8, 3)


def test_the_onnx_package_reads_what_we_write() -> None:
    import onnx

    model = onnx.load_from_string(float_onnx())
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_array_equal(
        onnx.numpy_helper.to_array(model.graph.initializer[0]), np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3)
    )


def test_we_read_what_the_onnx_package_reads() -> None:
    import onnx

    content = (BUNDLED / "int8.onnx").read_bytes()
    ours, theirs = onnx_wire.read_graph(content), onnx.load_from_string(content).graph
    assert [(n.name, n.op_type, n.domain, n.inputs, n.outputs) for n in ours.nodes] == [
        (n.name, n.op_type, n.domain, tuple(n.input), tuple(n.output)) for n in theirs.node
    ]
    assert {name: each.shape for name, each in ours.constants.items()} == {
        tensor.name: tuple(tensor.dims) for tensor in theirs.initializer
    }
    assert Counter(each.type_name for each in ours.constants.values())["int8"] > 9


@pytest.mark.parametrize("at", [1, 5, 40, -1])
def test_a_cut_off_onnx_file_is_not_read(at: int) -> None:
    with pytest.raises(ValueError, match="ends in the middle"):
        onnx_wire.read_graph(float_onnx()[:at])


def test_onnx_runtimes_padded_channels_are_no_work(tmp_path: Path) -> None:
    """20 and 7 channels run as 32 and 16 where registers hold sixteen; a group of its own for each of 20 channels."""
    shapes = {"w1": (20, 1, 3, 3), "w2": (20, 1, 3, 3), "w3": (7, 20, 3, 3)}
    nodes = [
        onnx_wire.node("Conv", ["x", "w1"], ["a"]),
        onnx_wire.node("Conv", ["a", "w2"], ["b"], group=20),
        onnx_wire.node("Conv", ["b", "w3"], ["y"]),
    ]
    constants = [onnx_wire.constant(name, np.ones(shape, np.float32)) for name, shape in shapes.items()]
    ends = (onnx_wire.value("x", np.float32, (1, 1, 16, 16)), onnx_wire.value("y", np.float32, (1, 7, 10, 10)))
    (tmp_path / "m.onnx").write_bytes(onnx_wire.model(nodes, constants, [ends[0]], [ends[1]]))
    rows = list_operators("onnx", tmp_path / "m.onnx", FLOAT32)
    macs = [14 * 14 * 20 * 9, 12 * 12 * 20 * 9, 10 * 10 * 7 * 9 * 20]
    assert [entry["macs"] for entry in rows if entry["macs"]] == macs


# TFLite, cut into operators


def interpreter(content: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    lite = Interpreter(model_content=content, num_threads=1)
    lite.allocate_tensors()
    return lite


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("file", ["int8.tflite", "float32.tflite"])
def test_operators_cut_out_and_put_in_a_row_give_what_the_model_gives(file: str, threads: int) -> None:
    from fer_edge.edge_runtime.operators_tflite_cut import cut_models

    content = (BUNDLED / file).read_bytes()
    whole = interpreter(content)
    entry = whole.get_input_details()[0]
    rng = np.random.default_rng(3)
    pixels = rng.integers(-128 if file == "int8.tflite" else 0, 128, entry["shape"]).astype(entry["dtype"])
    whole.set_tensor(entry["index"], pixels)
    whole.invoke()

    run_up, *cut = cut_models(content, threads)
    assert [op["op_name"] for op in interpreter(run_up)._get_ops_details()] == ["MAX_POOL_2D", "DELEGATE"]
    data = pixels
    for model in cut:
        lite = interpreter(model)
        given = [each["index"] for each in lite.get_input_details()]
        assert len(given) == 2  # the run-up's and the operator's
        lite.set_tensor(given[1], data)
        lite.invoke()
        data = lite.get_tensor(lite.get_output_details()[1]["index"])
    expected = whole.get_tensor(whole.get_output_details()[0]["index"])
    np.testing.assert_allclose(data, expected, rtol=1e-5, atol=1e-5)


def tflite_model(steps: list[tuple[str, str]], weights: dict[int, str]) -> bytes:
    """Steps of (operator, type of its output), from eight numbers of the first step's type; dense layers of 8 by 8.

    `weights` is the type of a dense step's weights, by its place.
    """
    from ai_edge_litert import schema_py_generated as schema

    from fer_edge.edge_runtime.operators_tflite_cut import operator, operator_code, pack, tensor

    def scale() -> Any:
        made = schema.QuantizationParametersT()
        made.scale, made.zeroPoint = np.array([0.1], np.float32), np.array([0], np.int64)
        return made

    def quantization(kind: str) -> Any:
        return scale() if kind == "INT8" else None

    graph, buffers, codes = schema.SubGraphT(), [schema.BufferT()], []
    graph.tensors, graph.operators = [], []
    for at, (name, kind) in enumerate(steps):
        inputs = [len(graph.tensors) - 1]
        if at in weights:
            held = schema.BufferT()
            width = {"INT8": 1, "FLOAT16": 2, "FLOAT32": 4}[weights[at]]
            held.data = np.ones(64 * width, np.uint8)
            buffers.append(held)
            graph.tensors.append(tensor(f"w{at}", (8, 8), weights[at], len(buffers) - 1, quantization(weights[at])))
            inputs = [inputs[0], len(graph.tensors) - 1, -1]
        options = {"FULLY_CONNECTED": "FullyConnectedOptions", "QUANTIZE": "QuantizeOptions"}
        if name != "INPUT":
            graph.operators.append(
                operator(len(codes), inputs, [len(graph.tensors)], options.get(name, "DequantizeOptions"))
            )
            codes.append(operator_code(name, 4 if name == "FULLY_CONNECTED" else 2))
        graph.tensors.append(tensor(f"t{at}", (1, 8), kind, 0, quantization(kind)))
    graph.inputs, graph.outputs = [0], [len(graph.tensors) - 1]
    return pack(codes, graph, buffers)


def test_tflite_precision_is_that_of_data_and_weights(tmp_path: Path) -> None:
    steps = [("INPUT", "INT8"), ("FULLY_CONNECTED", "INT8"), ("DEQUANTIZE", "FLOAT32"), ("FULLY_CONNECTED", "FLOAT32")]
    model = tmp_path / "m.tflite"
    model.write_bytes(tflite_model([*steps, ("FULLY_CONNECTED", "FLOAT32")], {1: "INT8", 3: "FLOAT32", 4: "INT8"}))
    rows = list_operators("tflite", model, INT8)
    assert [(entry["type"], entry["precision"], entry["macs"]) for entry in rows] == [
        ("FULLY_CONNECTED", "int8", 64),
        ("DEQUANTIZE", "float32", 0),
        ("FULLY_CONNECTED", "float32", 64),
        ("FULLY_CONNECTED", "dynamic-int8", 64),
    ]


def test_weights_that_are_dequantized_at_start_are_no_work_of_a_call(tmp_path: Path) -> None:
    """float16 files keep their weights so; the layer cut out of one still meets constant weights."""
    from ai_edge_litert import schema_py_generated as schema

    from fer_edge.edge_runtime.operators_tflite_cut import cut_models, operator, operator_code, pack, tensor

    held = schema.BufferT()
    held.data = np.ones(64, np.float16).view(np.uint8)
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor("x", (1, 8), "FLOAT32"),
        tensor("half", (8, 8), "FLOAT16", 1),
        tensor("w", (8, 8), "FLOAT32"),
        tensor("y", (1, 8), "FLOAT32"),
    ]
    graph.operators = [
        operator(0, [1], [2], "DequantizeOptions"),
        operator(1, [0, 2, -1], [3], "FullyConnectedOptions"),
    ]
    graph.inputs, graph.outputs = [0], [3]
    content = pack([operator_code("DEQUANTIZE", 3), operator_code("FULLY_CONNECTED")], graph, [schema.BufferT(), held])
    model = tmp_path / "float16.tflite"
    model.write_bytes(content)
    rows, _ = profile_operators("tflite", model, Precision.FLOAT16, 1, seconds=0)
    assert [(e["type"], e["precision"], e["macs"], e["bytes"]) for e in rows] == [
        ("DEQUANTIZE", "float16", 0, 0),
        ("FULLY_CONNECTED", "float32", 64, 4 * (8 + 64 + 8)),
    ]
    assert rows[0]["time_us"] is None
    _, dequantize, dense = cut_models(content, 1)
    assert dequantize is None
    lite = interpreter(dense)
    lite.set_tensor(lite.get_input_details()[1]["index"], np.arange(8, dtype=np.float32)[None])
    lite.invoke()
    np.testing.assert_array_equal(lite.get_tensor(lite.get_output_details()[1]["index"]), np.full((1, 8), 28))


# Is it really int8?


def judged(engine: str, model: Path, ratio: dict[str, Any] | None = None) -> dict[str, Any]:
    return verdict(engine, model, INT8, list_operators(engine, model, INT8, 1), ratio)


@pytest.mark.parametrize("engine", ["tflite", "onnx", "openvino"])
def test_the_shipped_int8_is_int8(models, engine: str) -> None:
    said = judged(engine, models[engine, INT8])
    assert (said["verdict"], said["mac_share_int8"], said["left_in_float"]) == ("int8", 1, [])
    assert said["runs_in"]["int8"] == said["operators_int8"] > 9
    assert "convolutions and matrix products of int8" in said["why"]


@pytest.mark.parametrize("engine", ["tflite", "onnx", "openvino"])
def test_a_float_model_renamed_int8_is_caught(models, engine: str, tmp_path: Path) -> None:
    model = tmp_path / f"int8{engines.ENGINES[engine].suffix}"
    if engine == "onnx":
        model.write_bytes(float_onnx())
    else:
        shutil.copy(models[engine, FLOAT32], model)
    if engine == "openvino":
        shutil.copy(models[engine, FLOAT32].with_suffix(".bin"), model.with_suffix(".bin"))
    said = judged(engine, model, {"time_ratio": 0.5, "interval": [0.4, 0.6]})
    assert (said["verdict"], said["mac_share_int8"], said["operators_int8"]) == ("not int8", 0, 0)
    assert said["left_in_float"]
    assert said["pays"] is None
    assert f"{model.name} is said to be int8, but its" in said["why"]
    assert "run in float32" in said["why"]
    with pytest.raises(ConversionError, match=r"was to be int8, but .* stayed in float"):
        inspect(engine, model, INT8)


def mixed(engine: str, folder: Path) -> Path:
    """Two layers of the same size, the first in int8 and the second in float; OpenVINO may fuse two that are dense."""
    model = folder / f"int8{engines.ENGINES[engine].suffix}"
    scale, zero = np.float32(0.1), np.array(0, np.uint8)
    if engine == "tflite":
        steps = [("INPUT", "INT8"), ("FULLY_CONNECTED", "INT8"), ("DEQUANTIZE", "FLOAT32")]
        model.write_bytes(tflite_model([*steps, ("FULLY_CONNECTED", "FLOAT32")], {1: "INT8", 3: "FLOAT32"}))
    elif engine == "onnx":
        constants = {"s": np.array(scale), "z": zero, "ws": np.full(8, scale), "wz": np.zeros(8, np.int8)}
        constants |= {"w1": np.ones((8, 8), np.int8), "w2": np.ones((8, 8), np.float32)}
        nodes = [
            onnx_wire.node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            onnx_wire.node("DequantizeLinear", ["q", "s", "z"], ["a"]),
            onnx_wire.node("DequantizeLinear", ["w1", "ws", "wz"], ["w"], axis=1),
            onnx_wire.node("MatMul", ["a", "w"], ["b"]),
            onnx_wire.node("QuantizeLinear", ["b", "s", "z"], ["c"]),
            onnx_wire.node("DequantizeLinear", ["c", "s", "z"], ["d"]),
            onnx_wire.node("MatMul", ["d", "w2"], ["y"]),
        ]
        model.write_bytes(wire_model(nodes, [onnx_wire.constant(k, v) for k, v in constants.items()], 8, 8))
    else:
        import openvino
        from openvino import opset13 as ops

        ends = [ops.constant(np.float32(value)) for value in (-12.8, 12.7, -12.8, 12.7)]
        given = ops.parameter([1, 8, 6, 6], np.float32)
        weights = ops.convert(ops.constant(np.ones((8, 8, 1, 1), np.int8)), "f32")
        around = ([1, 1], [0, 0], [0, 0], [1, 1])  # strides, padding, dilation
        first = ops.convolution(
            ops.fake_quantize(given, *ends, 256), ops.multiply(weights, ops.constant(scale)), *around
        )
        second = ops.convolution(ops.tanh(first), ops.constant(np.ones((8, 8, 1, 1), np.float32)), *around)
        openvino.save_model(openvino.Model([ops.result(second)], [given], "m"), str(model), compress_to_fp16=False)
    return model


@pytest.mark.parametrize("engine", ["tflite", "onnx", "openvino"])
def test_a_mixed_model_is_partly_int8(engine: str, tmp_path: Path) -> None:
    model = mixed(engine, tmp_path)
    said = judged(engine, model)
    assert (said["verdict"], said["mac_share_int8"], len(said["left_in_float"])) == ("partly int8", 0.5, 1)
    assert "1 of 2 convolutions and matrix products of int8" in said["why"]
    assert "50% of the multiply-adds" in said["why"]
    with pytest.raises(ConversionError, match=r"was to be int8, but float32 \w+ stayed in float"):
        inspect(engine, model, INT8)
    assert inspect(engine, model, INT8, ["dense2"], ["dense1", "dense2"])


HEAVY = [row("c", "CONV_2D", 60, 8, "int8"), row("d", "FULLY_CONNECTED", 40, 8, "int8"), row("p", "MEAN", 0, 8, "int8")]


@pytest.mark.parametrize(
    ("interval", "pays", "words"),
    [
        ([0.25, 0.31], True, "int8 pays here: it takes 0.28 of float32's time (0.25 to 0.31)"),
        ([1.02, 1.31], False, "int8 does not pay here: it takes 0.28 of float32's time (1.02 to 1.31)"),
        ([0.97, 1.01], None, "whether int8 pays here is open: it takes 0.28"),
    ],
)
def test_int8_pays_when_the_whole_interval_says_so(interval, pays, words) -> None:
    said = verdict("onnx", Path("int8.onnx"), INT8, HEAVY, {"time_ratio": 0.28, "interval": interval})
    assert said["pays"] is pays
    assert words in said["why"]
    assert verdict("onnx", Path("int8.onnx"), INT8, HEAVY, None)["pays"] is None


@pytest.mark.parametrize(("flags", "names", "words"), [
    ("fpu avx2", [], "this processor has no int8 dot product"),
    ("asimd asimddp i8mm", ["dot product", "i8mm"], "this processor has dot product and i8mm for it"),
])  # fmt: skip
def test_the_processors_instructions_are_told(monkeypatch, flags: str, names: list[str], words: str) -> None:
    monkeypatch.setattr(int8_verdict, "cpu_info", lambda: ("a processor", tuple(flags.split())))
    said = verdict("tflite", Path("int8.tflite"), INT8, HEAVY, None)
    assert said["instructions"] == names
    assert words in said["why"]


def test_openvinos_half_precision_is_told() -> None:
    """As on ARM: one layer in int8, the others in what the processor has for them."""
    rows = [HEAVY[0], row("d", "FullyConnected", 40, 8, "float16"), row("s", "Subgraph", 0, 8, "float16")]
    said = verdict("openvino", Path("int8.xml"), INT8, rows, None)
    assert (said["verdict"], said["mac_share_int8"]) == ("partly int8", 0.6)
    assert (said["runs_in"], said["left_in_float"]) == ({"float16": 2, "int8": 1}, ["d FullyConnected"])
    assert "OpenVINO runs 2 operators in float16 on this processor" in said["why"]


def test_a_product_that_is_not_counted_leaves_the_share_open() -> None:
    said = verdict("tflite", Path("int8.tflite"), INT8, [*HEAVY, row("l", "LSTM", None, 8, "float32")], None)
    assert (said["verdict"], said["mac_share_int8"], said["left_in_float"]) == ("partly int8", None, ["l LSTM"])
    assert verdict("tflite", Path("x"), INT8, [], None)["why"] == "x has no convolution and no matrix product"


def test_weights_alone_in_int8_are_not_int8() -> None:
    rows = [row("c", "CONV_2D", 60, 8, "dynamic-int8"), row("d", "CONV_2D", 4, 8, "float32")]
    said = verdict(
        "tflite", Path("a.tflite"), Precision.DYNAMIC_INT8, rows, {"time_ratio": 0.5, "interval": [0.4, 0.6]}
    )
    assert (said["verdict"], said["mac_share_int8"], said["pays"]) == ("not int8", 0, True)
    assert "of a.tflite, 1 take float and quantize it on the way, 1 in float32" in said["why"]


def test_the_manifest_of_the_shipped_bundle_counts_what_runs() -> None:
    """Numbers of each operator; layout and type changes, which depend on the processor, are left out."""
    for variant in json.loads((BUNDLED / "bundle.json").read_text())["variants"]:
        got = inspect(variant["engine"], BUNDLED / variant["file"], Precision(variant["precision"]))
        numbers = [Counter({name.split()[-1]: n for name, n in each.items()}) for each in (got, variant["operators"])]
        assert numbers[0] == numbers[1]
        if variant["precision"] == INT8:
            assert {name.split()[0] for name in got} == {"int8"}
