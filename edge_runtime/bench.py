"""Measures every variant of a bundle side by side: cold start apart, then shuffled rounds, raw samples kept.

Variants take turns within each round, in a new order each time, so that a drifting clock or a busy neighbour hits all
alike; ratios are taken within rounds. Nothing is clipped. Judges nothing and prints nothing.
"""

import gc
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fer_edge.devices.machine import describe_machine, temperature_c, versions
from fer_edge.edge_runtime.bundle import Bundle, Variant
from fer_edge.edge_runtime.engines import Engine, default_threads, is_installed, start
from fer_edge.edge_runtime.latency import summarize
from fer_edge.edge_runtime.probe import probe
from fer_edge.edge_runtime.vocabulary import Precision

SCHEMA = 1
ROUND_SAMPLES = 10
_LIBRARIES = ("fer-edge", "ai-edge-litert", "onnxruntime", "openvino", "numpy", "opencv-python-headless")
Step = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How long to measure: both bounds hold. `threads` None is the default of `run`."""

    min_seconds: float = 3.0
    min_samples: int = 700
    warmup_samples: int = 30
    threads: int | None = None
    seed: int = 0


@dataclass(eq=False)
class _Lane:
    """One variant while it is measured."""

    variant: Variant
    engine: Engine
    cold: dict[str, Any]
    samples_ns: list[int] = field(default_factory=list)
    round_medians: list[float] = field(default_factory=list)
    spent_ns: int = 0


def bench(bundle: Bundle, plan: Plan, step: Step, only: str | None = None) -> dict[str, Any]:
    """Measure one face at a time on every variant whose engine is installed here.

    Args:
        bundle: what to measure.
        plan: how long.
        step: told what is being done.
        only: `engine`, `engine/precision` or `precision` to measure alone.

    Returns:
        The report: JSON of schema 1, described in docs/bench.md; raw samples in integer nanoseconds.
    """
    chosen = [v for v in bundle.variants if only is None or only in (v.engine, str(v.precision), v.name)]
    lanes = []
    skipped = {}
    before = describe_machine()
    for variant in chosen:
        step(f"starting {variant.name}")
        cold = (
            probe(bundle.path, variant.engine, variant.precision, plan.threads)
            if is_installed(variant.engine)
            else {"ok": False, "why": f"{variant.engine} is not installed"}
        )
        if cold["ok"]:
            engine = start(variant.engine, bundle.file(variant), variant.precision, plan.threads)
            lanes.append(_Lane(variant, engine, cold))
        else:
            skipped[variant.name] = cold["why"]
    faces = bundle.golden().faces
    try:
        rounds = _measure(lanes, faces, plan, step) if lanes else 0
    finally:
        for lane in lanes:
            lane.engine.close()
    return {
        "schema": SCHEMA,
        "bundle": {"name": bundle.name, "sha256": bundle.sha256, "path": bundle.path.name},
        "threads": plan.threads or default_threads(),
        "rounds": rounds,
        "round_samples": ROUND_SAMPLES,
        "timer_overhead_ns": _timer_overhead_ns(),
        "variants": [_row(lane) for lane in lanes],
        "ratios": _ratios(lanes, plan.seed),
        "skipped": skipped,
        "machine": before,
        "temp_c_after": temperature_c(),
        "versions": versions(*_LIBRARIES),
    }


def _measure(lanes: list[_Lane], faces: np.ndarray, plan: Plan, step: Step) -> int:
    for lane in lanes:
        for at in range(plan.warmup_samples):
            lane.engine.infer(faces[at % len(faces)][None])
    order = list(lanes)
    shuffle = random.Random(plan.seed).shuffle
    rounds = 0
    collecting = gc.isenabled()
    gc.disable()
    try:
        while rounds * ROUND_SAMPLES < plan.min_samples or any(
            lane.spent_ns < plan.min_seconds * 1e9 for lane in lanes
        ):
            shuffle(order)
            for lane in order:
                _turn(lane, faces, rounds)
            rounds += 1
            if rounds % 10 == 0:
                step(f"round {rounds}")
    finally:
        if collecting:
            gc.enable()
    return rounds


def _turn(lane: _Lane, faces: np.ndarray, number: int) -> None:
    """One variant's turn in a round."""
    infer, clock = lane.engine.infer, time.perf_counter_ns
    taken = []
    for at in range(ROUND_SAMPLES):
        face = faces[(number * ROUND_SAMPLES + at) % len(faces)][None]
        begun = clock()
        infer(face)
        taken.append(clock() - begun)
    lane.samples_ns += taken
    lane.round_medians.append(float(np.median(taken)))
    lane.spent_ns += sum(taken)


def _row(lane: _Lane) -> dict[str, Any]:
    steady = summarize(lane.samples_ns)
    mean_ms = steady["mean_ms"]
    return {
        "name": lane.variant.name,
        "engine": lane.variant.engine,
        "precision": str(lane.variant.precision),
        "version": lane.engine.spec.version,
        "threads": lane.engine.spec.threads,
        "file_bytes": sum(f.bytes for f in lane.variant.files),
        "import_ms": lane.cold["import_ms"],
        "load_ms": lane.cold["load_ms"],
        "first_ms": lane.cold["first_ms"],
        "peak_memory_bytes": lane.cold["peak_memory_bytes"],
        "steady": steady,
        "inferences_per_second": 1000 / mean_ms if mean_ms else None,
        "samples_ns": lane.samples_ns,
    }


def _ratios(lanes: list[_Lane], seed: int) -> list[dict[str, Any]]:
    """int8 over float32 for each engine: the median of the ratios within rounds, with its 95% bootstrap interval."""
    by_name = {lane.variant.name: lane for lane in lanes}
    rows = []
    for lane in lanes:
        base = by_name.get(f"{lane.variant.engine}/{Precision.FLOAT32}")
        if base is None or lane is base:
            continue
        ratios = np.array(lane.round_medians) / np.array(base.round_medians)
        rng = np.random.default_rng(seed)
        medians = np.median(rng.choice(ratios, (2000, len(ratios))), axis=1)
        low, high = np.percentile(medians, (2.5, 97.5))
        rows.append(
            {
                "variant": lane.variant.name,
                "over": base.variant.name,
                "time_ratio": float(np.median(ratios)),
                "interval": [float(low), float(high)],
            }
        )
    return rows


def _timer_overhead_ns() -> float:
    clock = time.perf_counter_ns
    taken = []
    for _ in range(1000):
        begun = clock()
        taken.append(clock() - begun)
    return float(np.median(taken))


def bench_source(
    source: str,
    bundle: Bundle,
    variants: list[tuple[str, str]],
    plan: Plan,
    detector_model: Path | None,
    max_frames: int,
) -> list[dict[str, Any]]:
    """Stages from capture to label over a clip, one run for each of the variants (engine, precision)."""
    from fer_edge.edge_runtime.pipeline import Pipeline
    from fer_edge.edge_runtime.status import Summary

    rows = []
    for engine, precision in variants:
        summary = Summary()
        with Pipeline(
            source, bundle, engine=engine, precision=precision, threads=plan.threads, detector_model=detector_model
        ) as pipeline:
            for observation in pipeline:
                summary.put(observation)
                if summary.frames >= max_frames:
                    break
        rows.append(
            {
                "source": Path(source).name,
                "variant": f"{engine}/{precision}",
                "detector": pipeline.detector.name,
                "frames": summary.frames,
                "faces": summary.faces,
                "frames_per_second": summary.frames_per_second(),
                "stages": summary.stages(),
            }
        )
    return rows
