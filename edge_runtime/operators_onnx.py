"""Operators of an ONNX file as ONNX Runtime runs them: its optimized graph, and its own profiler's times.

A quantized convolution is QLinearConv there. The profiler names each node with the shapes that it met; the weights,
which ONNX Runtime repacks and drops, come from the optimized graph, which it writes on request.
"""

import json
import math
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from fer_edge.devices.errors import EngineError
from fer_edge.edge_runtime.engine_onnx import EXACT_INT8, PROVIDER
from fer_edge.edge_runtime.onnx_wire import Graph, Node, read_graph
from fer_edge.edge_runtime.operator_row import (
    Profile,
    Row,
    data_precision,
    other_macs,
    product_macs,
    row,
    tensor_bytes,
    timed,
    usual_ns,
)

_SUFFIX = "_kernel_time"
_MAX_EVENTS = 30_000
"""The profiler's file has 600 bytes an event; ONNX Runtime itself stops at a million."""
_MIN_RUNS = 21
_WEIGHTS_INPUT = {"Conv": 1, "FusedConv": 1, "NhwcFusedConv": 1, "ConvInteger": 1, "QLinearConv": 3}
_GEMMS = ("Gemm", "FusedGemm", "QGemm")
_MATMULS = ("MatMul", "FusedMatMul", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul")
_INTO_WIDER = ("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "ConvInteger")
"""They multiply int8 and give integers of 32 bits or float."""
_BLOCKED = "com.microsoft.nchwc"
Event = dict[str, Any]


def listed(model: Path | bytes, threads: int) -> list[Row]:
    """Rows of the optimized graph's nodes, without times; the model runs once.

    Raises:
        EngineError: ONNX Runtime does not take the file.
    """
    with TemporaryDirectory() as folder:
        session, graph = _traced(model, threads, Path(folder))
        session.run(None, feed(session))
        events = _node_events(session)
    return _rows(_first_run(events), _held(model, graph))


def profiled(model: Path, threads: int, seconds: float) -> Profile:
    """Time each node by ONNX Runtime's profiler; the whole call is a session without it, in turn with the profiled one.

    Raises:
        EngineError: ONNX Runtime does not take the file.
    """
    with TemporaryDirectory() as folder:
        session, graph = _traced(model, threads, Path(folder))
        plain, inputs = open_session(model, threads), feed(session)
        whole: list[int] = []
        most = max(_MIN_RUNS, _MAX_EVENTS // max(1, len(graph.nodes)))
        end = time.perf_counter_ns() + int(seconds * 1e9)
        while len(whole) < _MIN_RUNS or (time.perf_counter_ns() < end and len(whole) < most):
            session.run(None, inputs)
            begun = time.perf_counter_ns()
            plain.run(None, inputs)
            whole.append(time.perf_counter_ns() - begun)
        events = _node_events(session)
    first = _first_run(events)
    rows = _rows(first, _held(model, graph))
    taken: dict[str, list[int]] = {event["name"]: [] for event in first}
    for event in events[len(first) :]:  # the first run is a warm-up
        taken[event["name"]].append(event["dur"])
    times = [float(usual_ns(taken[event["name"]])) for event in first]
    return Profile(
        timed(rows, times), usual_ns(whole[1:]) / 1000, "timed by ONNX Runtime's profiler, its own cost with each"
    )


def open_session(model: Path | bytes, threads: int, optimized: Path | None = None, **settings: Any) -> Any:
    """A session as the engine starts one.

    Args:
        model: the file or its content.
        threads: how many an operator is spread over.
        optimized: where ONNX Runtime is to write the graph that it makes of the file.
        settings: further members of SessionOptions.

    Raises:
        EngineError: ONNX Runtime does not take the file.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # an optimized graph is for this processor alone; that is what it warns of
    options.add_session_config_entry(*EXACT_INT8)
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    for name, value in settings.items():
        setattr(options, name, value)
    try:
        given = model if isinstance(model, bytes) else str(model)
        return onnxruntime.InferenceSession(given, options, providers=[PROVIDER])
    except Exception as error:
        # ONNX Runtime's own exceptions have no base class but Exception.
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        name = "the product" if isinstance(model, bytes) else str(model)
        raise EngineError(f"{name} is not a model that ONNX Runtime can run ({error})") from error


def feed(session: Any) -> dict[str, np.ndarray]:
    """Inputs that a model may meet: any integer of 8 bits, fractions of 1 in float; an open dimension is 1."""
    rng = np.random.default_rng(0)
    inputs = {}
    for entry in session.get_inputs():
        shape = [dim if isinstance(dim, int) else 1 for dim in entry.shape]
        word = entry.type.removeprefix("tensor(").removesuffix(")")
        try:
            dtype = np.dtype({"float": "float32", "double": "float64"}.get(word, word))
        except TypeError as error:
            raise EngineError(
                f"the model's input {entry.name} is {entry.type}; only numbers can be fed here"
            ) from error
        if dtype.itemsize == 1 and dtype.kind in "iu":
            inputs[entry.name] = rng.integers(0, 256, shape, np.uint8).view(dtype)
        else:
            inputs[entry.name] = rng.random(shape).astype(dtype) if dtype.kind == "f" else np.zeros(shape, dtype)
    return inputs


def _traced(model: Path | bytes, threads: int, folder: Path) -> tuple[Any, Graph]:
    """A session that keeps a trace in `folder`, and the graph that it made of the file."""
    prefix = {"enable_profiling": True, "profile_file_prefix": str(folder / "trace")}
    session = open_session(model, threads, folder / "optimized.onnx", **prefix)
    return session, read_graph((folder / "optimized.onnx").read_bytes())


def _node_events(session: Any) -> list[Event]:
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes = [event for event in events if event["cat"] == "Node" and event["name"].endswith(_SUFFIX)]
    return sorted(nodes, key=lambda event: event["ts"])


def _first_run(events: list[Event]) -> list[Event]:
    seen: dict[str, Event] = {}
    for event in events:
        seen.setdefault(event["name"], event)
    return list(seen.values())


class _Held(NamedTuple):
    """A node's weights' shape as run and as in the file, () where it has none, and the bytes of all its constants."""

    run: tuple[int, ...]
    true: tuple[int, ...]
    size: int


def _held(model: Path | bytes, graph: Graph) -> dict[str, list[_Held]]:
    """What the nodes hold, by the node's name, or by the type of those that have none.

    ONNX Runtime's blocked convolutions pad channels to the width of the processor's registers. These are no work that
    the model asks for, so their shape is that of the same output's node in the graph before blocking.
    """
    before: dict[str, Node] = {}
    unblocked = Graph()
    if any(node.domain == _BLOCKED for node in graph.nodes):
        level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        with TemporaryDirectory() as folder:
            path = Path(folder) / "unblocked.onnx"
            open_session(model, 1, path, graph_optimization_level=level)
            unblocked = read_graph(path.read_bytes())
        before = {node.outputs[0]: node for node in unblocked.nodes}
    found: dict[str, list[_Held]] = {}
    for node in graph.nodes:
        held = [graph.constants[name] for name in node.inputs if name in graph.constants]
        run = true = _shape(graph, node)
        if node.domain == _BLOCKED and (origin := before.get(node.name.partition("_nchwc")[0])):
            true = _shape(unblocked, origin)
        size = sum(tensor_bytes(each.shape, each.type_name) for each in held)
        found.setdefault(node.name or node.op_type, []).append(_Held(run, true, size))
    return found


def _shape(graph: Graph, node: Node) -> tuple[int, ...]:
    at = _WEIGHTS_INPUT.get(node.op_type)
    return () if at is None or node.inputs[at] not in graph.constants else graph.constants[node.inputs[at]].shape


def _rows(events: list[Event], held: dict[str, list[_Held]]) -> list[Row]:
    """Rows of the nodes of one run. Those without a name come in the order of the graph; a loop's own are not in it."""
    rows, left = [], {name: iter(each) for name, each in held.items()}
    for event in events:
        name, kind = event["name"].removesuffix(_SUFFIX), event["args"]["op_name"]
        mine = left.get(name) or left.get(kind) or iter(())
        rows.append(_row(name, event["args"], next(mine, _Held((), (), 0))))
    return rows


def _row(name: str, args: dict[str, Any], held: _Held) -> Row:
    kind = args["op_name"].removeprefix("Nhwc")
    inputs, outputs = ([next(iter(each.items())) for each in args[f"{end}_type_shape"]] for end in ("input", "output"))
    macs = _macs(args["op_name"], [shape for _, shape in inputs], [shape for _, shape in outputs], held)
    moved = int(args["activation_size"]) + held.size + int(args["output_size"])
    quantized = kind.startswith(("QLinear", "QGemm", "QAttention")) or kind in _INTO_WIDER
    types = [type_name for type_name, _ in inputs[:1] + outputs]
    return row(name, kind, macs, moved, "int8" if quantized else data_precision(types))


def _macs(kind: str, inputs: list[list[int]], outputs: list[list[int]], held: _Held) -> int | None:
    """Weights of a convolution are (out, in / groups, k...), of a matrix product (in, out)."""
    if kind in _WEIGHTS_INPUT and held.run:
        return math.prod(outputs[0]) // held.run[0] * math.prod(held.true)
    if kind in _GEMMS:  # (rows, in), which `transA` may turn around, to (rows, out)
        return product_macs(inputs[0], outputs[0][-1:])
    if kind in _MATMULS:
        return product_macs(outputs[0], inputs[0][-1:])
    return other_macs(kind)
