"""Operators of a TFLite file: what LiteRT's interpreter lists, and their times, measured one by one.

The interpreter gives no times. The package has no profiler for it, and the C library that has one is another copy of
the runtime, with signatures that change between versions. So each operator is cut out of the file into a model of its
own (`operators_tflite_cut`), which LiteRT gives to the same XNNPACK kernels.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import EngineError
from fer_edge.devices.native_log import without_banners
from fer_edge.edge_runtime.engine_tflite import LIBRARY, Interpreter
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

_MIN_ROUNDS = 21
_WEIGHTS_INPUT = 1


def listed(model: Path, threads: int) -> list[Row]:
    """Rows of the file's operators, without times.

    Raises:
        EngineError: LiteRT does not take the file.
    """
    return rows_of(open_content(_read(model), str(model), threads))


def profiled(model: Path, threads: int, seconds: float) -> Profile:
    """Time each operator in a model of its own.

    The operators take turns in the model's order, so that each finds the caches as its predecessors leave them. In its
    own model an operator comes after a run-up that is timed alone as well and subtracted: the call from Python, the
    entry into XNNPACK and the waking of its threads, which a whole call pays once.

    Raises:
        EngineError: LiteRT does not take the file, or only its predecessor is installed, which has no reader of files.
    """
    content = _read(model)
    whole = open_content(content, str(model), threads)
    rows = rows_of(whole)
    cut = _cut_models(content, threads)
    lanes = {at: lite for at, lite in enumerate(cut[1:]) if lite is not None}
    reference = cut[0]
    taken = _take_turns([reference, *lanes.values(), whole], seconds)
    run_up, whole_us = taken[0], taken[-1]
    alone = dict(zip(lanes, taken[1:-1], strict=True))
    times = [alone[at] - run_up if at in alone and alone[at] > run_up else None for at in range(len(rows))]
    return Profile(timed(rows, times), whole_us, "measured one by one, each operator cut out of the file")


def _cut_models(content: bytes, threads: int) -> list[Any]:
    """Interpreters: the run-up, then one an operator; None where it cannot stand alone."""
    try:
        from fer_edge.edge_runtime.operators_tflite_cut import cut_models
    except ModuleNotFoundError as error:
        raise EngineError(
            f"{error.name} is not installed, and {LIBRARY} cannot take a model apart; run: pip install ai-edge-litert"
        ) from error
    return [model and _started(model, threads) for model in cut_models(content, threads)]


def _started(content: bytes, threads: int) -> Any | None:
    try:
        lite = open_content(content, "an operator", threads)
    except EngineError:  # one that needs its neighbours, as one with a state does; it is counted as not timed
        return None
    feed(lite)
    return lite


def open_content(content: bytes, name: str, threads: int) -> Any:
    """An interpreter with its tensors allocated, as the engine starts one.

    Raises:
        EngineError: LiteRT does not take the content.
    """
    try:
        with without_banners():
            lite = Interpreter(model_content=content, num_threads=threads)
            lite.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines() or ["no reason given"]
        raise EngineError(f"{name} is not a model that {LIBRARY} can run ({reason[0][:300]})") from error
    return lite


def feed(lite: Any) -> None:
    """Fill the inputs with what they may hold: any integer of 8 bits, fractions of 1 in float, else zeros."""
    rng = np.random.default_rng(0)
    for entry in lite.get_input_details():
        dtype, shape = np.dtype(entry["dtype"]), entry["shape"]
        if dtype.kind in "iu" and dtype.itemsize == 1:
            info = np.iinfo(dtype)
            lite.set_tensor(entry["index"], rng.integers(info.min, info.max, shape, dtype, endpoint=True))
        elif dtype.kind == "f":
            lite.set_tensor(entry["index"], rng.random(shape).astype(dtype))


def rows_of(lite: Any) -> list[Row]:
    """Rows of the operators of an interpreter's main graph, whether or not a delegate took them over."""
    tensors = {entry["index"]: entry for entry in lite.get_tensor_details()}
    operators = [op for op in lite._get_ops_details() if op["op_name"] != "DELEGATE"]
    varying = {entry["index"] for entry in lite.get_input_details()}
    rows = []
    for op in operators:
        inputs = [tensors[i] for i in op["inputs"] if i in tensors]
        outputs = [tensors[i] for i in op["outputs"] if i in tensors]
        once = not varying.intersection(op["inputs"])
        if not once:
            varying.update(op["outputs"])
        rows.append(_row(op["op_name"], inputs, outputs, once))
    return rows


def _row(kind: str, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]], once: bool) -> Row:
    """`once`: no input of the model reaches the operator, so it is done at start and moves nothing in a call."""
    types = [np.dtype(t["dtype"]).name for t in inputs + outputs]
    macs = 0 if once else _macs(kind, [tuple(t["shape"]) for t in inputs], [tuple(t["shape"]) for t in outputs])
    moved = sum(tensor_bytes(t["shape"], name) for t, name in zip(inputs + outputs, types, strict=True))
    name = outputs[0]["name"].split(";")[0] if outputs else kind
    precision = data_precision(types[:1] if once else types) if macs == 0 else _product_precision(kind, types)
    return row(name, kind, macs, 0 if once else int(moved), precision)


def _macs(kind: str, inputs: list[tuple[int, ...]], outputs: list[tuple[int, ...]]) -> int | None:
    """Weights are (out, k_h, k_w, in / groups), depthwise (1, k_h, k_w, out), dense (out, in)."""
    if kind in ("CONV_2D", "FULLY_CONNECTED", "CONV_3D"):
        terms = inputs[_WEIGHTS_INPUT][1:] if kind != "CONV_3D" else inputs[_WEIGHTS_INPUT][:-1]
        return int(product_macs(outputs[0], terms))
    if kind == "DEPTHWISE_CONV_2D":
        return int(product_macs(outputs[0], inputs[_WEIGHTS_INPUT][1:3]))
    if kind == "TRANSPOSE_CONV":  # output shape, weights (out, k_h, k_w, in), input: each input element meets them all
        return int(product_macs(inputs[2], inputs[_WEIGHTS_INPUT][:3]))
    return other_macs(kind)


def _product_precision(kind: str, types: list[str]) -> str:
    """Float data with int8 weights is quantized on the fly, row by row, and multiplied in int8."""
    data, weights = (precision_name(types[at]) for at in (2 if kind == "TRANSPOSE_CONV" else 0, _WEIGHTS_INPUT))
    return "dynamic-int8" if data.startswith("float") and weights == "int8" else data


def _take_turns(lanes: list[Any], seconds: float) -> list[float]:
    """Microseconds a call of each interpreter, in turn again and again."""
    clock = time.perf_counter_ns
    taken: list[NDArray[np.int64]] = []
    end = clock() + int(seconds * 1e9)
    while len(taken) < _MIN_ROUNDS + 1 or clock() < end:
        stamps = [clock()]
        for lite in lanes:
            lite.invoke()
            stamps.append(clock())
        taken.append(np.diff(stamps))
    return [usual_ns(samples) / 1000 for samples in np.array(taken[1:]).T]  # the first round is a warm-up


def _read(model: Path) -> bytes:
    try:
        return model.read_bytes()
    except OSError as error:
        raise EngineError(f"cannot read {model}: {error.strerror}") from error
