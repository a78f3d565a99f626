"""The engine contract and the one table from engine name to module; a module is imported only when chosen.

Adding an engine is adding a file `engine_<name>.py` with a class that has `spec`, `infer` and `close`, and a line here.
"""

import platform
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import EngineError, needs_extra
from fer_edge.devices.machine import usable_cores
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.vocabulary import Precision


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """Where an engine is, which of these libraries it needs, the extra that installs one, its files' suffix.

    `part` is a file that the library holds only where it was built with this engine; `by_name`: `auto` never takes it.
    `judged_by` is the engine that computes the same files on a workstation, where this one is not to be had.
    """

    module: str
    class_name: str
    libraries: tuple[str, ...]
    extra: str | None
    suffix: str
    part: str | None = None
    by_name: bool = False
    judged_by: str | None = None


_HERE = "fer_edge.edge_runtime"
ENGINES = {
    "tflite": EngineEntry(
        f"{_HERE}.engine_tflite", "TfliteEngine", ("ai_edge_litert", "tflite_runtime"), None, ".tflite"
    ),
    "onnx": EngineEntry(f"{_HERE}.engine_onnx", "OnnxEngine", ("onnxruntime",), "onnx", ".onnx"),
    "openvino": EngineEntry(f"{_HERE}.engine_openvino", "OpenvinoEngine", ("openvino",), "openvino", ".xml"),
    "tensorrt": EngineEntry(
        f"{_HERE}.engine_tensorrt", "TensorrtEngine", ("onnxruntime",), None, "-trt.onnx",
        part="capi/libonnxruntime_providers_tensorrt.so", by_name=True, judged_by="onnx",
    ),
}  # fmt: skip
"""In the order in which `auto` prefers them."""
_ARM = ("aarch64", "arm64")


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What runs: engine, precision, threads, the library's version, and what it computes on ("CPU, XNNPACK")."""

    engine: str
    precision: Precision
    threads: int
    version: str
    device: str


class Engine(Protocol):
    """A started model. Not thread-safe: one engine a thread."""

    spec: EngineSpec

    def infer(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (N, 7) float32 of faces (N, 48, 48) uint8, raw pixels."""
        ...

    def close(self) -> None:
        """Give memory and threads back; harmless twice."""
        ...


def default_threads() -> int:
    """Up to four: a 48x48 network has no work for more, and a Pi has no more."""
    return min(4, usable_cores())


def is_installed(engine: str) -> bool:
    """Whether the engine's library can be found; it is not imported."""
    return engine in ENGINES and any(_has(library, ENGINES[engine].part) for library in ENGINES[engine].libraries)


def _has(library: str, part: str | None) -> bool:
    found = find_spec(library)
    if found is None or part is None:
        return found is not None
    return found.origin is not None and (Path(found.origin).parent / part).is_file()


def judge_of(engine: str) -> str:
    """The engine that judges this one's files where they are made: itself, but for one that a workstation lacks."""
    return (ENGINES[engine].judged_by if engine in ENGINES else None) or engine


def refused(engine: str, precision: Precision | str) -> str | None:
    """Why an engine is not offered in a precision on this processor; None where it is."""
    if platform.machine() in _ARM and (engine, precision) == ("openvino", Precision.INT8):
        return "OpenVINO on ARM computes its convolutions in float32, and versions up to 2026.2 give wrong labels"
    return None


def runs_here(engine: str, precision: Precision | str) -> bool:
    """Whether the engine is installed, and offered in that precision on this processor."""
    return is_installed(engine) and refused(engine, precision) is None


def check_known(engine: str) -> None:
    """Raises EngineError unless `engine` is in the table and its library is installed."""
    if engine not in ENGINES:
        raise EngineError(f"unknown engine {engine!r}; choose one of auto, {', '.join(ENGINES)}")
    if not is_installed(engine):
        entry = ENGINES[engine]
        if entry.part:
            raise EngineError(
                f"there is no {entry.libraries[0]} with {engine} here (no {Path(entry.part).name} in it); "
                "docs/jetson.md says which package to install"
            )
        if entry.extra:
            raise EngineError(needs_extra(entry.libraries[0], entry.extra))
        raise EngineError(
            f"{entry.libraries[0]} is not installed; run: pip install --force-reinstall fer-edge (64-bit systems only)"
        )


def start(engine: str, model: Path, precision: Precision, threads: int | None = None) -> Engine:
    """Start a model file in an engine.

    Raises:
        EngineError: the engine is unknown, not installed or not offered in the precision, or does not take the model.
    """
    check_known(engine)
    why_not = refused(engine, precision)
    if why_not is not None:
        raise EngineError(
            f"{engine}/{precision} is not offered on this processor: {why_not}; "
            "use --engine tflite or onnx, or --precision float32"
        )
    entry = ENGINES[engine]
    started: Engine = getattr(import_module(entry.module), entry.class_name)(
        model, precision, threads or default_threads()
    )
    return started


def choose(bundle: Bundle, engine: str, precision: Precision) -> str:
    """The engine's name: as asked, or for `auto` the first of the table that is installed and in the bundle.

    Raises:
        EngineError: none of those that are installed has this precision in the bundle.
    """
    if engine != "auto":
        check_known(engine)
        return engine
    offered = {v.engine for v in bundle.variants if v.precision == precision}
    for name in ENGINES:
        if name in offered and runs_here(name, precision) and not ENGINES[name].by_name:
            return name
    raise EngineError(
        f"bundle {bundle.name!r} has {precision} for {', '.join(sorted(offered)) or 'no engine'}, "
        f"and installed here is {', '.join(n for n in ENGINES if is_installed(n)) or 'none'}"
    )


def open_engine(
    bundle: Bundle, engine: str = "auto", precision: Precision | str = Precision.INT8, threads: int | None = None
) -> Engine:
    """Start a bundle's variant. The precision asked for is the precision run: there is no fallback.

    Raises:
        EngineError: see `choose` and `start`.
        BundleError: the bundle has no such variant.
    """
    precision = Precision(precision)
    name = choose(bundle, engine, precision)
    variant = bundle.find(name, precision)
    return start(name, bundle.file(variant), precision, threads)


def infer_all(engine: Engine, faces_u8: NDArray[np.uint8], chunk: int = 256) -> NDArray[np.float32]:
    """Logits (N, 7) of many faces, `chunk` at a time so that a batching engine's memory stays bounded."""
    parts = [engine.infer(faces_u8[at : at + chunk]) for at in range(0, len(faces_u8), chunk)]
    return np.concatenate(parts) if parts else engine.infer(faces_u8)


def check_faces(faces_u8: NDArray[np.uint8]) -> None:
    """Raises ValueError unless the faces are (N, 48, 48) uint8; called by every engine."""
    if faces_u8.ndim != 3 or faces_u8.shape[1:] != (48, 48) or faces_u8.dtype != np.uint8:
        raise ValueError(f"expected faces (N, 48, 48) uint8, got {faces_u8.shape} {faces_u8.dtype}")
