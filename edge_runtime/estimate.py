"""Estimates of a network's latency on boards that are not here, with a band that says how sure they are.

Fitted when called, to the published latencies and to every report of a real board that is there. Prints nothing.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_edge.devices import boards as table
from fer_edge.devices.boards import BOARDS, Board, find_boards
from fer_edge.edge_runtime.anchors import SHIPPED_REPORTS, family, own_reports, published, reported, work_of
from fer_edge.edge_runtime.cost_model import COVERAGE, CostModel, Floats, Timing, half_width

INSTRUCTIONS = Path(table.__file__).parent / "instructions.json"
"""What `tools/instructions.py` counted for the bundle that ships."""
Shared = Callable[[Timing, Timing], bool]
_SHARED: dict[str, Shared] = {
    "network": lambda one, other: one.network == other.network,
    "board": lambda one, other: one.board.name == other.board.name,
    "engine": lambda one, other: one.engine == other.engine,
}
_UNKNOWN = (("network",), ("network", "board"), ("network", "engine"), ("network", "board", "engine"))
"""What a question may have that no timing has. The network counts as such always: it is the user's own."""

_OTHER_ON_ARM = {("openvino", "int8"): "OpenVINO runs int8 models in other precisions on Arm than on this machine"}


def estimate(
    operators_by_variant: dict[str, list[dict[str, Any]]],
    boards: Sequence[str],
    *,
    threads: int | None = None,
    reports: Sequence[Path] | None = None,
) -> list[dict[str, Any]]:
    """Milliseconds of one face by board and variant, as `estimates` of the bench report.

    Args:
        operators_by_variant: variant (`tflite/int8`) to its operators, as `list_operators` gives them.
        boards: names from `devices/boards.py`.
        threads: by default up to four, as the runtime takes; never more than the board has cores.
        reports: folders with reports of real boards; by default the one that ships and the user's own.

    Returns:
        `{"board", "variant", "engine", "precision", "threads", "ms", "low_ms", "high_ms", "basis"}` each. The band
        covered nine in ten of the held-out timings. All three times are None where operators are not counted, or are
        others on a board than here; `basis` says why.

    Raises:
        DataError: an unknown board, or a report that cannot be used.
    """
    wanted = find_boards(boards)
    fitted = Fit.of(reports)
    return [
        fitted.row(board, variant, rows, threads) for board in wanted for variant, rows in operators_by_variant.items()
    ]


class Fit:
    """The cost model with its held-out errors, and how many of its timings are published and reported."""

    def __init__(self, anchors: Sequence[Timing], measured: Sequence[Timing]) -> None:
        self.anchors, self.measured = tuple(anchors), tuple(measured)
        self.model = CostModel([*anchors, *measured])
        self.errors: dict[tuple[str, ...], Floats] = {held: self._held_out(held) for held in _UNKNOWN}

    @classmethod
    def of(cls, reports: Sequence[Path] | None = None) -> "Fit":
        """Of the published latencies and the reports in these folders; see `estimate`."""
        return cls(published(), reported((SHIPPED_REPORTS, own_reports()) if reports is None else reports))

    def row(self, board: Board, variant: str, rows: list[dict[str, Any]], threads: int | None) -> dict[str, Any]:
        """One estimate."""
        engine, _, precision = variant.split()[0].partition("/")
        used = min(threads or 4, board.cores)
        made: dict[str, Any] = {
            "board": board.name, "variant": variant, "engine": engine, "precision": precision, "threads": used,
            "ms": None, "low_ms": None, "high_ms": None,
        }  # fmt: skip
        if why := self._refusal(engine, precision, rows):
            return made | {"basis": f"no estimate: {why}"}
        question = Timing(board, variant, family(engine), used, work_of(rows), float("nan"))
        ms, unknown = self.model.predict_ms(question), self.unknown(question)
        factor = self.factor(unknown)
        return made | {"ms": ms, "low_ms": ms / factor, "high_ms": ms * factor, "basis": self._basis(unknown)}

    def _refusal(self, engine: str, precision: str, rows: list[dict[str, Any]]) -> str | None:
        uncounted = [row["name"] for row in rows if row["macs"] is None]
        if uncounted or not rows:
            return f"the multiply-adds of {', '.join(uncounted)} are not known" if rows else "it lists no operators"
        reported_engines = {timing.engine for timing in self.measured}
        return None if engine in reported_engines else _OTHER_ON_ARM.get((engine, precision))

    def unknown(self, question: Timing) -> tuple[str, ...]:
        """What of the question no timing has; a board is known in a precision once a timing has both."""
        timings = self.model.timings
        known = (question.board.name, question.precision) in {(t.board.name, t.precision) for t in timings}
        engine = question.engine in {timing.engine for timing in timings}
        return ("network", *(() if known else ("board",)), *(() if engine else ("engine",)))

    def factor(self, unknown: tuple[str, ...]) -> float:
        """How far the band reaches, as a factor; knowing less never makes it narrower."""
        widths = [half_width(errors) for held, errors in self.errors.items() if set(held) <= set(unknown)]
        return float(np.exp(max(widths)))

    def _held_out(self, held: tuple[str, ...]) -> Floats:
        return self.model.held_out(lambda one, other: any(_SHARED[name](one, other) for name in held))

    def _basis(self, unknown: tuple[str, ...]) -> str:
        count = f"{len(self.anchors)} published latencies"
        if self.measured:
            count += f" and {len(self.measured)} of boards' own reports"
        return f"{count}; {COVERAGE:.0%} band for an unknown {' and '.join(unknown)}"


def instruction_ratios(sha256_by_variant: dict[str, str]) -> list[dict[str, Any]]:
    """Counted instructions of int8 over float32, where both model files are the very ones that were counted.

    Args:
        sha256_by_variant: variant (`tflite/int8`) to the sha256 of its model file.

    Returns:
        `{"core": "A76", "boards": ["pi5", …], "variant", "over", "ratio", "instructions_a_mac"}` by core; empty
        for other files.
    """
    counted = json.loads(INSTRUCTIONS.read_text(encoding="utf-8"))["rows"]
    by_core: dict[str, dict[str, dict[str, Any]]] = {}
    for row in counted:
        if sha256_by_variant.get(row["variant"]) == row["sha256"]:
            by_core.setdefault(row["core"], {})[row["variant"]] = row
    return [
        {
            "core": core,
            "boards": [board.name for board in BOARDS.values() if board.core.kind == core],
            "variant": "tflite/int8",
            "over": "tflite/float32",
            "ratio": rows["tflite/int8"]["instructions"] / rows["tflite/float32"]["instructions"],
            "instructions_a_mac": rows["tflite/int8"]["instructions_a_mac"],
        }
        for core, rows in by_core.items()
        if {"tflite/int8", "tflite/float32"} <= set(rows)
    ]
