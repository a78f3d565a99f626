"""Any model of any shape in any of the engines, fed with seeded random numbers: for measuring, not for faces.

Owns how a file says what it takes, and a plain runner for each engine. Must not know bundles or labels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import EngineError
from fer_edge.edge_runtime.engines import ENGINES, EngineSpec, check_known
from fer_edge.edge_runtime.vocabulary import EMOTIONS, FACE_SIDE, Precision

_SETS = 4
"""Different inputs that take turns, so that no branch predictor learns one."""
_FEEDABLE = (
    *("float16", "float32", "float64", "bool", "uint8", "int8"),
    *("uint16", "int16", "uint32", "int32", "uint64", "int64"),
)
_ONNX_TYPES = {"float": "float32", "double": "float64"}
_OUR_SHAPES = ((FACE_SIDE, FACE_SIDE, 1), (len(EMOTIONS),))
_OUR_TYPES = {"onnx": ("uint8", "float32"), "openvino": ("uint8", "float32")}
Arrays = list[NDArray[Any]]


@dataclass(frozen=True)
class Tensor:
    """An input or output: shape with None for what is dynamic, and NumPy's name of its type."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    def fixed(self, batch: int) -> tuple[int, ...]:
        """The shape with so many samples; what `Signature.batch` let through has no other free size."""
        return (batch, *(size for size in self.shape[1:] if size is not None)) if self.shape else ()


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def batch(self, asked: int | None) -> int:
        """How many samples a call takes: as asked where the first dimension is free, else what the model has.

        Raises:
            EngineError: the model has another number than asked, or further dimensions are free.
        """
        for tensor in self.inputs:
            if None in tensor.shape[1:]:
                shown = "x".join("?" if size is None else str(size) for size in tensor.shape)
                raise EngineError(f"its input {tensor.name!r} is {shown}; give it fixed sizes but for the first")
        own = next((tensor.shape[0] for tensor in self.inputs if tensor.shape), 1)
        if own is None:
            return asked or 1
        if asked not in (None, own):
            raise EngineError(f"it takes batches of {own} alone, not of {asked}")
        return own

    def is_ours(self, engine: str, precision: Precision) -> bool:
        """Whether it takes faces and gives logits as our engines expect them."""
        own = "int8" if precision == Precision.INT8 else "float32"
        types = _OUR_TYPES.get(engine, (own, own))
        tensors = (*self.inputs, *self.outputs)
        return (
            len(self.inputs) == len(self.outputs) == 1
            and tuple(tensor.shape[1:] for tensor in tensors) == _OUR_SHAPES
            and tuple(tensor.dtype for tensor in tensors) == types
        )


@dataclass(eq=False)
class BareModel:
    """A started model: `run` takes one of `inputs` and gives its outputs, as NumPy arrays."""

    spec: EngineSpec
    signature: Signature
    batch: int
    inputs: list[Arrays]
    run: Callable[[Arrays], Arrays]


def engine_of(model: Path) -> str:
    """The engine for a file's suffix.

    Raises:
        EngineError: none has it, or there is no such file.
    """
    engine = next((name for name, entry in ENGINES.items() if entry.suffix == model.suffix.lower()), None)
    if engine is None:
        known = ", ".join(entry.suffix for entry in ENGINES.values())
        raise EngineError(f"{model} is no model that can be measured; expected a file that ends in {known}")
    if not model.is_file():
        raise EngineError(f"{model} does not exist or is no file")
    if engine == "openvino" and not model.with_suffix(".bin").is_file():
        raise EngineError(f"{model.with_suffix('.bin')} is missing; OpenVINO needs it beside the .xml")
    return engine


def read_signature(engine: str, model: Path) -> Signature:
    """What the model takes and gives.

    Raises:
        EngineError: the engine is not installed or does not take the file.
    """
    check_known(engine)
    return _OPEN[engine](model, 1).signature


def open_bare(
    engine: str, model: Path, precision: Precision, threads: int, batch: int | None = None, seed: int = 0
) -> BareModel:
    """Start a model of any shape.

    Args:
        engine: see `ENGINES`.
        model: its file.
        precision: what it is said to be; nothing here depends on it.
        threads: of the engine.
        batch: samples a call, where the first dimension is free; None is 1, or the model's own.
        seed: of the inputs.

    Raises:
        EngineError: in one sentence.
    """
    check_known(engine)
    opened = _OPEN[engine](model, threads)
    wanted, rng = opened.signature.inputs, np.random.default_rng(seed)
    try:
        size = opened.signature.batch(batch)
        shapes = {tensor.name: tensor.fixed(size) for tensor in wanted}
        inputs = [[_random(rng, shapes[tensor.name], tensor.dtype) for tensor in wanted] for _ in range(_SETS)]
    except EngineError as error:
        raise EngineError(f"{model}: {error}") from None
    run = opened.start(shapes)
    spec = EngineSpec(engine, precision, threads, opened.version, opened.device)
    return BareModel(spec, opened.signature, size, inputs, run)


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Bytes over their whole range, floats from 0 to 1, and 0 or 1 for longer integers, which may be indices."""
    if dtype not in _FEEDABLE:
        raise EngineError(f"takes {dtype}, and can be fed with {', '.join(_FEEDABLE)}")
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.random(shape).astype(kind)
    if kind.kind == "b" or kind.itemsize > 1:
        return rng.integers(0, 2, shape).astype(kind)
    limits = np.iinfo(kind)
    return rng.integers(limits.min, limits.max, shape, kind, endpoint=True)


@dataclass(frozen=True)
class _Opened:
    """A file that an engine has read; `start` makes it run for these input shapes."""

    signature: Signature
    start: Callable[[dict[str, tuple[int, ...]]], Callable[[Arrays], Arrays]]
    version: str
    device: str


def _open_tflite(model: Path, threads: int) -> _Opened:
    from fer_edge.devices.native_log import without_banners
    from fer_edge.edge_runtime.engine_tflite import LIBRARY, Interpreter

    try:
        with without_banners():
            lite: Any = Interpreter(model_content=model.read_bytes(), num_threads=threads)
    except (ValueError, RuntimeError, OSError) as error:
        raise EngineError(f"{model} is not a model that {LIBRARY} can run ({error})") from error
    entries, results = lite.get_input_details(), lite.get_output_details()

    def start(shapes: dict[str, tuple[int, ...]]) -> Callable[[Arrays], Arrays]:
        for entry in entries:
            if shapes[entry["name"]] != tuple(entry["shape"]):
                lite.resize_tensor_input(entry["index"], shapes[entry["name"]], strict=True)
        try:
            with without_banners():
                lite.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise EngineError(f"{model} is not a model that {LIBRARY} can run ({error})") from error

        def run(values: Arrays) -> Arrays:
            for entry, value in zip(entries, values, strict=True):
                lite.set_tensor(entry["index"], value)
            lite.invoke()
            return [lite.get_tensor(result["index"]) for result in results]

        return run

    signature = Signature(tuple(map(_tflite_tensor, entries)), tuple(map(_tflite_tensor, results)))
    return _Opened(signature, start, LIBRARY, "CPU, XNNPACK")


def _tflite_tensor(detail: dict[str, Any]) -> Tensor:
    shape = tuple(None if size < 0 else int(size) for size in detail["shape_signature"])
    return Tensor(detail["name"], shape, np.dtype(detail["dtype"]).name)


def _open_onnx(model: Path, threads: int) -> _Opened:
    import onnxruntime

    from fer_edge.edge_runtime.operators_onnx import open_session

    session = open_session(model, threads)
    names = [entry.name for entry in session.get_inputs()]

    def start(shapes: dict[str, tuple[int, ...]]) -> Callable[[Arrays], Arrays]:
        return lambda values: session.run(None, dict(zip(names, values, strict=True)))

    sides = ([_onnx_tensor(entry) for entry in side] for side in (session.get_inputs(), session.get_outputs()))
    return _Opened(Signature(*map(tuple, sides)), start, f"ONNX Runtime {onnxruntime.__version__}", "CPU")


def _onnx_tensor(entry: Any) -> Tensor:
    word = entry.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(size if isinstance(size, int) else None for size in entry.shape)
    return Tensor(entry.name, shape, _ONNX_TYPES.get(word, word))


def _open_openvino(model: Path, threads: int) -> _Opened:
    import openvino

    from fer_edge.edge_runtime.operators_openvino import compiled

    try:
        graph = openvino.Core().read_model(str(model))
    except RuntimeError as error:
        raise EngineError(f"{model} is not a model that OpenVINO can run ({str(error).strip()[:300]})") from error

    def start(shapes: dict[str, tuple[int, ...]]) -> Callable[[Arrays], Arrays]:
        if graph.is_dynamic():
            graph.reshape({at: list(shape) for at, shape in enumerate(shapes.values())})
        request = compiled(graph, threads).create_infer_request()

        def run(values: Arrays) -> Arrays:
            return list(request.infer(dict(enumerate(values)), share_inputs=True).to_tuple())

        return run

    sides = [
        tuple(_openvino_tensor(port, f"{side} {at}") for at, port in enumerate(ports))
        for side, ports in (("input", graph.inputs), ("output", graph.outputs))
    ]
    return _Opened(Signature(*sides), start, f"OpenVINO {openvino.get_version().split('-')[0]}", "CPU")


def _openvino_tensor(port: Any, name: str) -> Tensor:
    shape = tuple(int(size.get_length()) if size.is_static else None for size in port.get_partial_shape())
    return Tensor(name, shape, port.get_element_type().to_dtype().name)


_OPEN: dict[str, Callable[[Path, int], _Opened]] = {
    "tflite": _open_tflite,
    "onnx": _open_onnx,
    "openvino": _open_openvino,
}
