"""Measures models side by side and puts the report together: JSON of schema 2, which docs/bench.md describes.

Owns the order of work: look at the machine, start each model elsewhere and then here, measure, soak and measure again,
look again, and only then profile. Prints nothing.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from fer_edge.devices.cores import pinned
from fer_edge.devices.errors import EngineError
from fer_edge.devices.machine import describe_machine, versions
from fer_edge.edge_runtime.bench_energy import energy_rows
from fer_edge.edge_runtime.bench_report import Entry, operators_of, variants_of
from fer_edge.edge_runtime.bench_rounds import Lane, Step, measure, round_samples, timer_overhead_ns, until_quiet
from fer_edge.edge_runtime.bench_steady import Soak, soak
from fer_edge.edge_runtime.bench_subject import BenchError, Model, open_subject
from fer_edge.edge_runtime.bench_watch import Watch
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.engines import default_threads, is_installed
from fer_edge.edge_runtime.latency import distribution
from fer_edge.edge_runtime.probe import probe_file

SCHEMA = 2
_LIBRARIES = ("fer-edge", "ai-edge-litert", "onnxruntime", "openvino", "numpy", "opencv-python-headless")
_SOAK_TURN_NS = 200_000_000


@dataclass(frozen=True)
class Clip:
    """What the pipeline is measured on; see `bench_pipeline`."""

    source: str | None = None
    detector: str | None = None
    detector_model: Path | None = None
    fps: float | None = None
    max_frames: int = 1000


@dataclass(frozen=True)
class Plan:
    """What to measure and for how long: `min_seconds` and `min_samples` both hold, for each variant.

    `threads` () is the default of `run`; `batches` () is 1, or what a file has; `steady` soaks and measures again;
    `clip` has the pipeline measured, after the engine where the scope is another one.
    """

    scope: str = "engine"
    min_seconds: float = 3.0
    min_samples: int = 700
    threads: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()
    cores: tuple[int, ...] | None = None
    seed: int = 0
    steady: Soak | None = None
    clip: Clip | None = None
    energy: bool = True
    operators: bool = False
    roofline: bool = False
    boards: tuple[str, ...] = ()


def bench(
    models: Sequence[Model],
    plan: Plan,
    *,
    bundle: Bundle | None = None,
    command: Sequence[str] = (),
    step: Step = lambda what: None,
    say: Callable[[str], None] = lambda why: None,
) -> dict[str, Any]:
    """Measure every model with every number of threads and faces a call, side by side.

    Args:
        models: what to measure.
        plan: how.
        bundle: where the models come from; None for bare files.
        command: what to write down as the command line.
        step: told what is being done.
        say: told once why energy is not measured, where the plan wants it.

    Returns:
        The report.

    Raises:
        EngineError: cores that cannot be used.
        BenchError: not one of the models can be measured.
        SourceError, BundleError: see `bench_pipeline`.
    """
    if plan.scope == "pipeline" and bundle is None:
        raise BenchError("--scope pipeline needs a bundle: labels, margin and gate are not in a bare file")
    machine = describe_machine()
    with pinned(plan.cores):
        overhead, watch = timer_overhead_ns(), Watch()
        with ExitStack() as stack:
            start = _leave_out if plan.scope == "pipeline" else _start
            entries, skipped = start(models, plan, step, stack)
            rounds, steady = _measure(entries, plan, watch, step, say)
        pipeline = _pipeline(models, entries, plan, bundle, watch, step) if bundle and plan.clip else []
        watch.finish()
        variants = variants_of(
            entries, step, seed=plan.seed, operators=plan.operators, roofline=plan.roofline, boards=plan.boards
        )
    made = {"schema": SCHEMA, "made_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "command": list(command)}
    subject = bundle and {"name": bundle.name, "sha256": bundle.sha256, "path": bundle.path.name}
    how = {"plan": _plan(plan, entries), "rounds": rounds, "timer_overhead_ns": overhead}
    where = {**watch.report(), "machine": machine, "versions": versions(*_LIBRARIES)}
    rest = {"skipped": skipped, "steady": steady, "pipeline": pipeline}
    return {**made, "bundle": subject, **how, **where, **variants, **rest}


def _plan(plan: Plan, entries: Sequence[Entry]) -> dict[str, Any]:
    return {
        "scope": plan.scope,
        "min_seconds": plan.min_seconds,
        "min_samples": plan.min_samples,
        "round_samples": round_samples(plan.min_samples),
        "threads": sorted({entry.threads for entry in entries} or set(plan.threads)),
        "batches": sorted({entry.batch for entry in entries} or set(plan.batches)),
        "cores": None if plan.cores is None else list(plan.cores),
        "seed": plan.seed,
    }


def _missing(engine: str) -> str:
    return f"{engine} is not installed"


def _leave_out(models: Sequence[Model], plan: Plan, step: Step, stack: ExitStack) -> tuple[list[Entry], dict[str, str]]:
    """The pipeline starts its models itself: only what cannot be started is told."""
    return [], {model.name: _missing(model.engine) for model in models if not is_installed(model.engine)}


def _start(models: Sequence[Model], plan: Plan, step: Step, stack: ExitStack) -> tuple[list[Entry], dict[str, str]]:
    """Every combination of model, threads and batch that starts, and why the others do not."""
    entries, skipped = [], {}
    faces = Bundle.open().golden().faces
    for model in models:
        for threads in plan.threads or (default_threads(),):
            for batch in plan.batches or (None,):
                name = model.name
                name += f" t{threads}" if len(plan.threads) > 1 else ""
                name += f" b{batch}" if len(plan.batches) > 1 else ""
                step(f"starting {name}")
                try:
                    entry = _start_one(name, model, plan.scope, threads, batch, faces)
                except EngineError as error:
                    skipped[name] = str(error)
                    continue
                stack.callback(entry.lane.subject.close)
                entries.append(entry)
    if not entries:
        raise BenchError(f"nothing to measure: {'; '.join(dict.fromkeys(skipped.values()))}")
    return entries, skipped


def _start_one(name: str, model: Model, scope: str, threads: int, batch: int | None, faces: np.ndarray) -> Entry:
    """Start a model, first elsewhere: one that crashes must not take the others with it.

    Raises:
        EngineError: it does not start, or is not what it is said to be.
    """
    if not is_installed(model.engine):
        raise EngineError(_missing(model.engine))
    begun = probe_file(model.engine, model.file, model.precision, threads, batch, faces=model.faces)
    if not begun["ok"]:
        raise EngineError(begun["why"])
    rows, note = operators_of(model, threads)
    lane = Lane(open_subject(model, scope, threads, batch, faces))
    start = {key: begun[key] for key in ("import_ms", "load_ms", "first_ms", "peak_memory_bytes")}
    return Entry(name, model, lane, start, rows, note)


def _measure(
    entries: list[Entry], plan: Plan, watch: Watch, step: Step, say: Callable[[str], None]
) -> tuple[int, dict[str, Any] | None]:
    """The number of rounds and the soak's account; the entries' lanes hold the times."""
    lanes = [entry.lane for entry in entries]
    if not lanes:
        return 0, None

    def rounds() -> int:
        return measure(
            lanes, min_seconds=plan.min_seconds, min_samples=plan.min_samples, seed=plan.seed,
            between=watch.between, rest=until_quiet, step=step,
        )  # fmt: skip

    done, soaked = rounds(), None
    if plan.steady is not None:
        for entry in entries:
            entry.cold = distribution(entry.lane.samples_ns)
        soaked = soak(_load(lanes, watch), plan.steady, step=step)
        done = rounds()
    if plan.energy:
        found = energy_rows([(lane.take, lane.usual_ns, lane.subject.batch) for lane in lanes], step, say)
        for entry, row in zip(entries, found, strict=True):
            entry.energy = row
    return done, soaked


def _load(lanes: Sequence[Lane], watch: Watch) -> Callable[[], None]:
    """A fifth of a second of one lane after the other: what is measured is what heats."""
    turns = cycle(lanes)

    def work() -> None:
        lane = next(turns)
        lane.take(max(1, int(_SOAK_TURN_NS / max(lane.usual_ns, 1))), perf_counter_ns)
        watch.between()

    return work


def _pipeline(
    models: Sequence[Model], entries: Sequence[Entry], plan: Plan, bundle: Bundle, watch: Watch, step: Step
) -> list[dict[str, Any]]:
    """Capture to label: of all variants that can run, or beside the engines' times of those of the first engine."""
    from fer_edge.edge_runtime.bench_pipeline import bench_pipeline

    assert plan.clip is not None
    if plan.scope == "pipeline":
        chosen = [model for model in models if is_installed(model.engine)]
        if not chosen:
            raise BenchError(f"nothing to measure: {'; '.join(_missing(model.engine) for model in models)}")
    else:
        chosen = [entry.model for entry in entries if entry.model.engine == entries[0].model.engine]
    variants = list(dict.fromkeys((model.engine, str(model.precision)) for model in chosen))

    def between(what: str) -> None:
        watch.between()
        step(what)

    clip = plan.clip
    return [
        row
        for threads in plan.threads or (None,)
        for row in bench_pipeline(
            clip.source, bundle, variants, threads=threads, detector=clip.detector, detector_model=clip.detector_model,
            fps=clip.fps, min_seconds=plan.min_seconds, max_frames=clip.max_frames, seed=plan.seed, step=between,
        )
    ]  # fmt: skip
