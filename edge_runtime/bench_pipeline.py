"""Camera to label, measured in both ways: closed loop (service time) and open loop (frame age at a rate).

Variants take turns in shuffled rounds over the same frames; raw samples are kept; ratios are paired by round. Prints
nothing. docs/bench.md describes the rows.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fer_edge.edge_runtime.bench_pipeline_closed import Closed, closed_loop
from fer_edge.edge_runtime.bench_pipeline_lane import ROUND_FRAMES, Lane, Setup, open_lane
from fer_edge.edge_runtime.bench_pipeline_open import Open, open_loop
from fer_edge.edge_runtime.bench_pipeline_pictures import USUAL_FPS, first_frame, pictures_of
from fer_edge.edge_runtime.bench_stats import paired_ratio
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.latency import distribution
from fer_edge.edge_runtime.vocabulary import Precision


def bench_pipeline(
    source: str | None,
    bundle: Bundle,
    variants: list[tuple[str, str]],
    *,
    threads: int | None,
    detector: str | None,
    detector_model: Path | None,
    fps: float | None,
    min_seconds: float,
    max_frames: int,
    seed: int,
    step: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Measure capture to label for each variant on the same frames.

    Args:
        source: a clip, photos, or a camera, which is recorded first; None is the sample clip.
        bundle: where the variants are.
        variants: engine and precision of each.
        threads: of the engines; None measures how many help.
        detector, detector_model: see `open_detector`.
        fps: arrivals a second of the open loop; None is the clip's own rate.
        min_seconds: of labelling in the closed loop, and of frames coming in the open one, for each variant at least.
        max_frames: for each variant and loop at most.
        seed: of the turns' order and of the ratios' intervals.
        step: told what is being done.

    Returns:
        A row a variant, in the given order.

    Raises:
        SourceError, BundleError, EngineError: in one sentence.
        OutputError: no room for the sample clip or the recording.
    """
    setups = [Setup(engine, precision, threads, detector, detector_model) for engine, precision in variants]
    if not setups:
        return []
    with tempfile.TemporaryDirectory(prefix="fer-edge-") as folder, ExitStack() as stack:
        path, name = pictures_of(source, Path(folder), max_frames, step)
        height, width = first_frame(path).gray.shape
        lanes = []
        for setup in setups:
            step(f"starting {setup.variant}")
            lanes.append(stack.enter_context(open_lane(path, bundle, setup)))
        bounds: dict[str, Any] = {"min_seconds": min_seconds, "max_frames": max_frames, "seed": seed, "step": step}
        closed = closed_loop(lanes, **bounds)
        opened: Sequence[Open | None] = [None] * len(lanes)
        if not lanes[0].pictures.still:
            opened = open_loop(lanes, fps or lanes[0].pictures.fps or USUAL_FPS, **bounds)
        by_variant = {setup.variant: measured for setup, measured in zip(setups, closed, strict=True)}
        return [
            _head(name, (width, height), setup, lane)
            | {"closed": _closed(setup, by_variant, seed), "open": None if o is None else _open(o)}
            for setup, lane, o in zip(setups, lanes, opened, strict=True)
        ]


def _head(name: str, frame_size: tuple[int, int], setup: Setup, lane: Lane) -> dict[str, Any]:
    labeller: Any = lane.labeller
    followed = labeller.detector.looks and not lane.pictures.still
    return {
        "source": name,
        "frame_size": list(frame_size),
        "variant": setup.variant,
        "engine": setup.engine,
        "precision": str(setup.precision),
        "threads": labeller.engine.spec.threads,
        "detector": labeller.detector.name,
        "scan_every": setup.scan_every if followed else None,
        "detect_width": setup.detect_width if followed else None,
    }


def _closed(setup: Setup, by_variant: dict[str, Closed], seed: int) -> dict[str, Any]:
    mine = by_variant[setup.variant]
    return {
        "frames": mine.frames,
        "faces": mine.faces,
        "rounds": len(mine.round_medians_ns),
        "round_frames": ROUND_FRAMES,
        "frames_per_second": mine.frames / mine.spent_ns * 1e9 if mine.spent_ns else None,
        "stages": {stage: distribution(samples_ns) for stage, samples_ns in mine.stage_ns.items()},
        "samples_ns": mine.stage_ns["total"],
        "stage_samples_ns": {stage: taken for stage, taken in mine.stage_ns.items() if stage != "total"},
        "round_medians_ns": mine.round_medians_ns,
        "over": _over(setup, by_variant, seed),
    }


def _over(setup: Setup, by_variant: dict[str, Closed], seed: int) -> dict[str, Any] | None:
    base = f"{setup.engine}/{Precision.FLOAT32}"
    if base not in by_variant or base == setup.variant:
        return None
    mine, theirs = by_variant[setup.variant].round_medians_ns, by_variant[base].round_medians_ns
    return {"variant": base, **paired_ratio(mine, theirs, seed)}


def _open(opened: Open) -> dict[str, Any]:
    return {
        "fps": opened.fps,
        "frames": opened.frames,
        "labelled": len(opened.age_ns),
        "dropped": opened.dropped,
        "late": opened.late,
        "gaps": opened.gaps,
        "rounds": opened.rounds,
        "age": distribution(opened.age_ns),
        "age_samples_ns": opened.age_ns,
        "interval": distribution(opened.interval_ns),
        "utilisation": opened.utilisation,
    }
