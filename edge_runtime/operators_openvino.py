"""Operators of an OpenVINO model as the CPU plugin runs them: its graph after compiling, and its own counters' times.

A convolution or dense layer is counted from its shapes. What the plugin fuses out of several, it names by the layers
that it came from, and those are counted in the file's graph.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from fer_edge.devices.errors import EngineError
from fer_edge.edge_runtime.operator_row import (
    Profile,
    Row,
    data_precision,
    other_macs,
    precision_name,
    product_macs,
    row,
    tensor_bytes,
    timed,
    usual_ns,
)

_ENDS = ("Input", "Output", "Const")
_REPEATS = 3
_MIN_RUNS = 11
_PRODUCTS = ("Convolution", "FullyConnected", "MatMul")
"""The plugin's own layers; grouped convolutions are Convolution too."""


def listed(model: Path, threads: int) -> list[Row]:
    """Rows of the compiled graph's layers, without times.

    Raises:
        EngineError: OpenVINO does not take the file, or its shapes are open.
    """
    source = _read(model)
    # On AVX-512 the plugin makes one subgraph of two dense layers, of whatever precision each is: here they stay apart.
    return rows_of(source, compiled(source, threads, SNIPPETS_MODE="DISABLE"))


def profiled(model: Path, threads: int, seconds: float) -> Profile:
    """Time each layer by the plugin's counters; the whole call is a model without them, in turn with the profiled one.

    The counters are means since the model was compiled, so it is compiled three times and the median mean is taken.

    Raises:
        EngineError: OpenVINO does not take the file, or its shapes are open.
    """
    source = _read(model)
    plain = compiled(source, threads).create_infer_request()
    feed(plain)
    rows: list[Row] = []
    means, whole = [], []
    for _ in range(_REPEATS):
        counting = compiled(source, threads, PERF_COUNT="YES")
        rows = rows_of(source, counting)
        request = counting.create_infer_request()
        feed(request)
        whole += _take_turns(request, plain, seconds / _REPEATS)
        means.append(_times(rows, request))
    times = [None if None in each else float(np.median(each)) for each in zip(*means, strict=True)]
    how = "timed by OpenVINO's counters in whole microseconds"
    return Profile(timed(rows, times), usual_ns(whole) / 1000, how)


def compiled(model: Any, threads: int, **settings: str) -> Any:
    """The model compiled as the engine compiles it, with further settings of the plugin.

    Raises:
        EngineError: the plugin does not take it.
    """
    usual = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(threads),
        "INFERENCE_PRECISION_HINT": "f32",
    }
    try:
        return openvino.Core().compile_model(model, "CPU", usual | settings)
    except RuntimeError as error:
        name = model.get_friendly_name()
        raise EngineError(f"{name} is not a model that OpenVINO can run ({str(error).strip()[:300]})") from error


def feed(request: Any) -> None:
    """Fill the inputs with what they may hold: any integer of 8 bits, fractions of 1 in float."""
    rng = np.random.default_rng(0)
    for tensor in request.input_tensors:
        values = tensor.data
        values[...] = rng.integers(0, 128, values.shape) if values.dtype.kind in "iu" else rng.random(values.shape)


def rows_of(source: Any, model: Any) -> list[Row]:
    """Rows of a compiled model; what only constants reach is done once, when it is compiled, and has none."""
    products = {op.get_friendly_name(): macs for op in source.get_ordered_ops() if (macs := _source_macs(op))}
    varying: set[str] = set()
    rows = []
    for op in sorted(model.get_runtime_model().get_ordered_ops(), key=lambda op: int(_info(op, "execOrder"))):
        kind, name = _info(op, "layerType"), op.get_friendly_name()
        parents = {given.get_source_output().get_node().get_friendly_name() for given in op.inputs()}
        if kind == "Input" or parents & varying:
            varying.add(name)
        if kind not in _ENDS and name in varying:
            rows.append(_row(op, kind, products))
    return rows


def _row(op: Any, kind: str, products: dict[str, int]) -> Row:
    inputs = [_type_shape(given.get_source_output()) for given in op.inputs()]
    outputs = [_type_shape(made) for made in op.outputs()]
    if kind in _PRODUCTS:
        macs: int | None = _macs(kind, *(shape for _, shape in (*inputs[:2], outputs[0])))
    else:
        merged = _info(op, "originalLayersNames").split(",")
        macs = sum(products.get(name, 0) for name in merged) or other_macs(kind)
    types = [name for name, _ in inputs[:1] + outputs]
    precision = data_precision(types) if macs == 0 else precision_name(_info(op, "runtimePrecision"))
    moved = sum(tensor_bytes(shape, name) for name, shape in inputs + outputs)
    return row(op.get_friendly_name(), kind, macs, moved, precision)


def _source_macs(op: Any) -> int:
    """Multiply-adds of a layer of the file."""
    kind = op.get_type_name()
    if kind not in ("Convolution", "GroupConvolution", "MatMul"):
        return 0
    data, weights = (tuple(op.input(at).get_shape()) for at in (0, 1))
    if kind == "MatMul" and op.get_attributes()["transpose_a"]:
        data = (*data[:-2], data[-1], data[-2])
    return _macs(kind, data, weights, tuple(op.output(0).get_shape()))


def _macs(kind: str, data: tuple[int, ...], weights: tuple[int, ...], output: tuple[int, ...]) -> int:
    """Weights are (out, in, k...), in groups (groups, out / groups, in / groups, k...); a product's terms are `in`."""
    if kind.endswith("Convolution"):
        return product_macs(output, weights[len(weights) - len(data) + 1 :])
    return product_macs(output, data[-1:])


def _info(op: Any, key: str) -> str:
    info = op.get_rt_info()
    return str(info[key].value) if key in info else ""


def _type_shape(output: Any) -> tuple[str, tuple[int, ...]]:
    return output.get_element_type().get_type_name(), tuple(output.get_partial_shape().to_shape())


def _times(rows: list[Row], request: Any) -> list[float | None]:
    """Microseconds a layer; a mean under one is not told from none, and is None."""
    by_name = {info.node_name: info.real_time.total_seconds() * 1e6 for info in request.profiling_info}
    return [by_name.get(entry["name"]) or None for entry in rows]


def _take_turns(request: Any, plain: Any, seconds: float) -> list[int]:
    clock = time.perf_counter_ns
    whole: list[int] = []
    end = clock() + int(seconds * 1e9)
    while len(whole) < _MIN_RUNS or clock() < end:
        request.infer()
        begun = clock()
        plain.infer()
        whole.append(clock() - begun)
    return whole


def _read(model: Path) -> Any:
    """The model as it stands in the file.

    Raises:
        EngineError: OpenVINO cannot read it, its weights are missing, or its shapes are open.
    """
    if not model.with_suffix(".bin").is_file():
        raise EngineError(f"{model.with_suffix('.bin')} is missing; OpenVINO needs it beside the .xml")
    try:
        source = openvino.Core().read_model(str(model))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise EngineError(f"{model} is not a model that OpenVINO can run ({reason})") from error
    source.set_friendly_name(str(model))
    if source.is_dynamic():
        raise EngineError(f"{model} has shapes that are not fixed; write it for one face at a time")
    return source
