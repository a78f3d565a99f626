"""What a report says of each variant: times, stages, ratios, operators, whether int8 is int8, roofline, estimates.

Also reads a stored report back. Owns no measurement; must not know how rounds are made.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_edge.devices.errors import EngineError
from fer_edge.edge_runtime.bench_ratios import Timed, ratio_over_float, ratios
from fer_edge.edge_runtime.bench_rounds import Lane
from fer_edge.edge_runtime.bench_subject import BenchError, Model
from fer_edge.edge_runtime.int8_verdict import verdict
from fer_edge.edge_runtime.latency import distribution
from fer_edge.edge_runtime.operator_row import Row
from fer_edge.edge_runtime.operators import list_operators, profile_operators
from fer_edge.edge_runtime.vocabulary import Precision

_FLOAT = (Precision.FLOAT32, Precision.FLOAT16)
_PARTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("versions", "valid", "invalid_because", "bundle", "ratios", "skipped"), ()),
    "plan": ("scope", "cores", "threads"),
    "machine": ("cpu", "board", "machine", "system", "usable_cores"),
    "conditions": ("before", "after", "during"),
    "variants": ("id", "variant", "threads", "batch", "sha256", "round_medians_ns", "latency"),
    "pipeline": ("source", "variant", "detector", "threads", "closed"),
}
"""What a report must have to be worked with, by part; docs/bench.schema.json is the whole of it."""


@dataclass(eq=False)
class Entry:
    """One variant of the report: a model with so many threads and faces a call, while it is measured and after."""

    id: str
    model: Model
    lane: Lane
    start: dict[str, Any]
    operators: list[Row] | None
    operators_note: str | None
    cold: dict[str, Any] | None = None
    energy: dict[str, Any] | None = None

    @property
    def threads(self) -> int:
        return self.lane.subject.spec.threads

    @property
    def batch(self) -> int:
        return self.lane.subject.batch

    def timed(self) -> Timed:
        """For the ratios."""
        m = self.model
        return Timed(self.id, m.name, m.engine, m.precision, self.threads, self.batch, self.lane.round_medians_ns)


def operators_of(model: Model, threads: int) -> tuple[list[Row] | None, str | None]:
    """The operators without times, or why there are none.

    Raises:
        EngineError: a model that is said to be float runs in int8.
    """
    try:
        rows = list_operators(model.engine, model.file, Precision.INT8, threads)  # said to be int8, none is refused
    except EngineError as error:
        return None, str(error)
    if model.precision in _FLOAT:
        list_operators(model.engine, model.file, model.precision, threads)
    return rows, None


def variants_of(
    entries: Sequence[Entry],
    step: Callable[[str], None],
    *,
    seed: int,
    operators: bool,
    roofline: bool,
    boards: Sequence[str],
) -> dict[str, Any]:
    """`variants`, `ratios`, `roofline` and `estimates` of the report; engines are closed, so that nothing disturbs."""
    if operators:
        _profile(entries, step)
    timed = [entry.timed() for entry in entries]
    found = ratios(timed, seed)
    rows = []
    for entry, mine in zip(entries, timed, strict=True):
        row = _row(entry, mine.round_medians_ns)
        if entry.operators is not None:
            model, ratio = entry.model, ratio_over_float(mine, timed, found)
            row["int8"] = verdict(model.engine, model.file, model.precision, entry.operators, ratio)
        rows.append(row)
    return {
        "variants": rows,
        "ratios": found,
        "roofline": _roofline(entries, rows, step) if roofline and entries else None,
        "estimates": _estimates(entries, boards) if boards else None,
        "instructions": _instructions(entries) if boards else None,
    }


def _profile(entries: Sequence[Entry], step: Callable[[str], None]) -> None:
    """Put times to the operators; batches share those of one face."""
    known: dict[tuple[str, int], tuple[list[Row] | None, str | None]] = {}
    for entry in entries:
        model, key = entry.model, (entry.model.name, entry.threads)
        if key not in known:
            step(f"operators of {entry.id}")
            try:
                known[key] = profile_operators(model.engine, model.file, model.precision, entry.threads)
            except EngineError as error:  # such as open shapes: it was measured all the same
                known[key] = entry.operators, str(error)
        entry.operators, entry.operators_note = known[key]


def _row(entry: Entry, round_medians_ns: Sequence[float]) -> dict[str, Any]:
    lane, model = entry.lane, entry.model
    spec, samples = lane.subject.spec, lane.samples_ns
    latency = distribution(samples)
    staged = len(lane.subject.stages) > 1
    return {
        "id": entry.id,
        "variant": model.name,
        "engine": spec.engine,
        "precision": str(spec.precision),
        "threads": entry.threads,
        "batch": entry.batch,
        "version": spec.version,
        "device": spec.device,
        "file": model.file.name,
        "file_bytes": model.bytes,
        "sha256": model.sha256,
        "start": entry.start,
        "warmup": {"samples": lane.warmup_calls, "stable": lane.stable},
        "latency": latency,
        "cold": entry.cold,
        "faces_per_second": 1000 * entry.batch / latency["mean_ms"],
        "energy": entry.energy,
        "round_medians_ns": list(round_medians_ns),
        "samples_ns": samples.tolist(),
        "stages": {name: distribution(taken) for name, taken in lane.stage_samples_ns.items()} if staged else None,
        "operators": entry.operators,
        "operators_note": entry.operators_note,
        "int8": None,
        "attained": None,
    }


def _roofline(entries: Sequence[Entry], rows: list[dict[str, Any]], step: Callable[[str], None]) -> dict[str, Any]:
    """Measure the peaks and hold each variant's inference against its own."""
    from fer_edge.edge_runtime.roofline import attained, measure_peaks, peak_for

    step("roofline: large matrix products")
    peaks = measure_peaks([(e.model.engine, e.model.precision, e.threads) for e in entries])
    for entry, row in zip(entries, rows, strict=True):
        peak = peak_for(peaks, entry.model.engine, entry.model.precision, entry.threads)
        middle = (row["stages"] or {"infer": row["latency"]})["infer"]["p50"]
        if peak is not None and entry.operators is not None and middle is not None:
            row["attained"] = attained(entry.operators, middle["ms"], entry.batch, peak)
    return {"peaks": peaks}


def _estimates(entries: Sequence[Entry], boards: Sequence[str]) -> list[dict[str, Any]]:
    from fer_edge.edge_runtime.estimate import estimate

    return estimate({entry.model.name: entry.operators or [] for entry in entries}, list(boards))


def _instructions(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    from fer_edge.edge_runtime.estimate import instruction_ratios

    return instruction_ratios({entry.model.name: entry.model.sha256 for entry in entries})


def read_report(path: Path, schema: int = 2) -> dict[str, Any]:
    """A stored report.

    Raises:
        BenchError: it is missing, is no bench report, or one of another schema.
    """
    try:
        report = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "no JSON"
        raise BenchError(f"{path} cannot be read as a bench report ({reason})") from error
    if not isinstance(report, dict) or "schema" not in report or "variants" not in report:
        raise BenchError(f"{path} is no report of fer-edge bench --json")
    if report["schema"] != schema:
        raise BenchError(f"{path} has schema {report['schema']!r}, this version reads {schema}; measure again")
    try:
        for name, keys in _PARTS.items():
            parts = report[name] if isinstance(report[name], list) else [report[name]]
            _ = [part[key] for part in parts for key in keys]
    except (KeyError, TypeError) as error:
        raise BenchError(f"{path} is no whole bench report ({error} in {name})") from error
    return report
