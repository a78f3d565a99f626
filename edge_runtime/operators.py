"""The operators of a model as an engine runs them, in one format for every engine: listed, or with their times.

Owns the choice of the engine's file and the words for people. Must not import an engine: each file of the table does.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from fer_edge.devices.errors import EngineError
from fer_edge.edge_runtime.engines import check_known, default_threads
from fer_edge.edge_runtime.operator_row import Profile, Row, is_heavy
from fer_edge.edge_runtime.vocabulary import Precision

_HERE = "fer_edge.edge_runtime"
_FILES = {engine: f"{_HERE}.operators_{engine}" for engine in ("tflite", "onnx", "openvino")}
_FLOAT = (Precision.FLOAT32, Precision.FLOAT16)
_APART = 0.25
"""Sum of the operators and whole call differ by more than this part: the note says so."""


def list_operators(engine: str, model: Path, precision: Precision, threads: int | None = None) -> list[Row]:
    """Operators in order of execution, without times.

    Args:
        engine: a name of the table of engines.
        model: its file; any model, not only one of faces.
        precision: what the file is said to be. A file that is said to be int8 and is not gives its rows: that is for
            `int8_verdict` to say.
        threads: what an engine fuses can depend on them; None is the default of `run`.

    Returns:
        `{"name", "type", "count", "time_us": None, "share": None, "macs", "bytes", "precision"}` each. `macs` is 0
        where nothing is multiplied and added up, None where that is not known; `bytes` are weights, inputs and outputs
        moved once; `precision` is the one that the engine computes in.

    Raises:
        EngineError: the engine is not installed, does not take the model, or runs in int8 what is said to be float.
    """
    rows: list[Row] = _function(engine, "listed")(model, threads or default_threads())
    _check_label(model, precision, rows)
    return rows


def profile_operators(
    engine: str, model: Path, precision: Precision, threads: int, seconds: float = 1.0
) -> tuple[list[Row], str | None]:
    """Operators in order of execution with their times, and a sentence on how these were taken.

    Args:
        engine, model, precision: see `list_operators`.
        threads: as the engine is to run.
        seconds: how long to measure, at least.

    Returns:
        Rows as of `list_operators` with `time_us` (None where the engine gives none, or where the time is too short to
        tell) and `share` of their sum; and the note: the sum of the operators against the whole call.

    Raises:
        EngineError: see `list_operators`.
    """
    measured: Profile = _function(engine, "profiled")(model, threads, seconds)
    _check_label(model, precision, measured.rows)
    return measured.rows, _note(measured)


def _function(engine: str, name: str) -> Callable[..., Any]:
    check_known(engine)
    if engine not in _FILES:
        raise EngineError(f"{engine} compiles the network as a whole and does not list its operators")
    found: Callable[..., Any] = getattr(import_module(_FILES[engine]), name)
    return found


def _check_label(model: Path, precision: Precision, rows: list[Row]) -> None:
    heavy = [entry for entry in rows if is_heavy(entry)]
    quantized = sum(entry["precision"] == "int8" for entry in heavy)
    if precision in _FLOAT and quantized:
        raise EngineError(
            f"{model} is said to be {precision}, but {quantized} of its {len(heavy)} convolutions and matrix products "
            "run in int8; say int8"
        )


def _note(measured: Profile) -> str:
    total = sum(entry["time_us"] or 0 for entry in measured.rows)
    part = total / measured.whole_us
    # A view, and what is done once at start, has no time to give.
    short = sum(entry["time_us"] is None and entry["bytes"] != 0 for entry in measured.rows)
    note = f"{measured.how}: together {total:.0f} µs, the whole call {measured.whole_us:.0f} µs ({part:.0%})"
    if short:
        note += f"; {short} of {len(measured.rows)} operators too short to time"
    if abs(part - 1) > _APART:
        note += "; the two are far apart: other work or sleeping threads got in between, so take the times with care"
    return note
