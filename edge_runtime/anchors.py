"""What the cost model is fitted to: published latencies that ship with the package, and reports of real boards.

Owns the reading and the checks. A report is what `fer-edge bench --operators --json FILE` wrote on a board. Must not
know how a fit is made.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fer_edge.devices import boards
from fer_edge.devices.boards import BOARDS, CORES, Board, board_called
from fer_edge.devices.errors import DataError
from fer_edge.edge_runtime.cost_model import REPORT_NOISE, Timing, Work

ANCHORS = Path(boards.__file__).parent / "anchors.json"
SHIPPED_REPORTS = Path(boards.__file__).parent / "reports"
REPORT_SCHEMA = 2
_BYTES = {"int8": 1, "float16": 2, "float32": 4}


def own_reports() -> Path:
    """Where a user puts reports of their own: `$XDG_STATE_HOME/fer-edge/reports`, or below ~/.local/state."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "fer-edge" / "reports"


def published() -> list[Timing]:
    """The latencies of anchors.json."""
    content = json.loads(ANCHORS.read_text(encoding="utf-8"))
    machines = {name: _machine(name, row) for name, row in content["machines"].items()}
    return [
        Timing(
            machines[row["machine"]],
            row["network"],
            row["engine"],
            row["threads"],
            tuple(_layers(content["networks"][row["network"]]["layers"], row["precision"])),
            row["ms"],
        )
        for row in content["anchors"]
    ]


def reported(folders: Iterable[Path]) -> list[Timing]:
    """The latencies of all reports (*.json) in `folders`; a folder that is not there holds none.

    Raises:
        DataError: a file is no report, marked invalid, or of an unknown board.
    """
    paths = [path for folder in folders for path in sorted(folder.glob("*.json"))]
    return [timing for path in paths for timing in read_report(path)]


def read_report(path: Path) -> list[Timing]:
    """The latencies of one report: each variant with operators and a median, one face at a time.

    Raises:
        DataError: what is wrong with it, in one sentence.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a bench report ({error})") from error
    try:
        board, bundle, timings = _board_of(path, report), report["bundle"], []
        for row in report["variants"]:
            median, rows = row["latency"]["p50"], row["operators"]
            if row["batch"] == 1 and median is not None and rows and all(r["macs"] is not None for r in rows):
                network = bundle["sha256"] if bundle else row["sha256"]
                engine, ms = family(row["engine"]), float(median["ms"])
                timings.append(Timing(board, network, engine, row["threads"], work_of(rows), ms, REPORT_NOISE))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{path} is not a report of schema {REPORT_SCHEMA}: {error!r} is amiss") from error
    if not timings:
        raise DataError(f"{path} holds no variant with a median and counted operators; run bench with --operators")
    if any(not timing.ms > 0 for timing in timings):
        raise DataError(f"{path} holds a latency that is not above zero")
    return timings


def _board_of(path: Path, report: dict[str, Any]) -> Board:
    """The report's board at the clock that it ran at, once everything that could spoil the report is ruled out."""
    if not isinstance(report, dict) or report.get("schema") != REPORT_SCHEMA:
        raise DataError(f"{path} is not a bench report of schema {REPORT_SCHEMA}; run bench of this version again")
    if report["valid"] is not True:
        raise DataError(f"{path} is marked invalid ({'; '.join(report['invalid_because']) or 'no reason given'})")
    if report["plan"]["scope"] != "engine":
        raise DataError(f"{path} has the scope {report['plan']['scope']}; the cost model needs --scope engine")
    called = report["machine"]["board"]
    board = board_called(called)
    if board is None:
        raise DataError(f"{path} is of the board {called!r}; known are {', '.join(b.title for b in BOARDS.values())}")
    clock = (report["conditions"]["during"]["clock_mhz"] or {}).get("max")
    return board if clock is None else replace(board, clock_mhz=float(clock))


def family(engine: str) -> str:
    """The name that an engine's kernels have among the anchors: LiteRT's are XNNPACK's."""
    return "xnnpack" if engine == "tflite" else engine


def work_of(rows: Sequence[dict[str, Any]]) -> tuple[Work, ...]:
    """Rows of an operators list, none of whose `macs` is None; unknown bytes count as none."""
    return tuple(
        Work(row["macs"], row["bytes"] or 0, _precision(row["precision"]), _is_depthwise(row["type"])) for row in rows
    )


def _precision(name: str) -> str:
    """Of the three that cores have a peak for: bfloat16 and float64 are counted as float32, other integers as int8."""
    return name if name in _BYTES else "float32" if "float" in name else "int8"


def _is_depthwise(kind: str) -> bool:
    return "DEPTHWISE" in kind.upper() or "GROUPCONV" in kind.upper()


def _layers(layers: Sequence[Sequence[Any]], precision: str) -> Iterator[Work]:
    for kind, side, kernel, stride, into, out in layers:
        weights = kernel * kernel * (out if kind == "depthwise" else into * out)
        moved = weights + side * side * out + (side * stride) ** 2 * into
        yield Work(side * side * weights, moved * _BYTES[precision], precision, kind == "depthwise")


def _machine(name: str, row: dict[str, Any]) -> Board:
    if "board" in row:
        return replace(BOARDS[row["board"]], **{key: value for key, value in row.items() if key != "board"})
    return Board(name, name, CORES[row["core"]], row["clock_mhz"], row["cores"], row["bandwidth_gb_s"], None)
