"""The figures of docs/runtime.md, measured on this machine: speed on one core, boxes, engine overhead, steadiness.

taskset -c 0 python benchmarks/runtime.py CLIP... [--detector-model YUNET.onnx] [--json runtime.json]
"""

import argparse
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fer_edge.devices.machine import describe_machine
from fer_edge.edge_runtime.agreement import agreement
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.engines import open_engine
from fer_edge.edge_runtime.pipeline import Pipeline
from fer_edge.edge_runtime.status import Summary
from fer_edge.edge_runtime.vocabulary import Face

ROUNDS = 3000
REPEATS = 3


def run_clip(clip: Path, model: Path | None, scan_every: int, threads: int) -> tuple[list[list[Face]], dict[str, Any]]:
    """Boxes by frame, and what the run cost."""
    summary = Summary()
    boxes = []
    with Pipeline(clip, detector_model=model, scan_every=scan_every, threads=threads) as pipeline:
        for observation in pipeline:
            summary.put(observation)
            boxes.append([p.face for p in observation.predictions])
    follower = pipeline.labeller.follower
    return boxes, {
        "frames": summary.frames,
        "frames_per_second": round(summary.frames_per_second() or 0, 1),
        "detect_mean_ms": round(float(summary.stages()["detect"]["mean_ms"] or 0), 3),
        "full_scans": follower.full_scans,
        "looks": follower.looks,
        "labels_changed": pipeline.labeller.steady.counts.as_dict(),
    }


def clip_figures(clip: Path, model: Path | None) -> dict[str, Any]:
    """Following against scanning every frame; several runs of each, in turn, the median of their rates."""
    followed = [run_clip(clip, model, 15, 1) for _ in range(REPEATS)]
    scanned = run_clip(clip, model, 1, 1)
    rates = sorted(cost["frames_per_second"] for _, cost in followed)
    return {
        "clip": clip.name,
        "detector": "yunet" if model else "haar",
        "followed": followed[0][1] | {"frames_per_second": rates[REPEATS // 2], "all_rates": rates},
        "scanned": scanned[1],
        "against_full_scans": agreement(scanned[0], followed[0][0]).as_dict(),
    }


def engine_overhead(threads: int) -> dict[str, Any]:
    """Our Protocol against the bare LiteRT interpreter, the same one, alternating in one thread.

    `quantized_ready` hands the interpreter int8 that was made before and takes int8; `as_a_user` quantizes and
    dequantizes as its documentation does.
    """
    bundle = Bundle.open()
    engine = open_engine(bundle, "tflite", "int8", threads)
    lite: Any = engine._lite  # type: ignore[attr-defined]
    entry, result = lite.get_input_details()[0]["index"], lite.get_output_details()[0]
    scale, zero_point = result["quantization"]
    face = np.random.default_rng(0).integers(0, 256, (1, 48, 48), np.uint8)
    ready = (face ^ 0x80).view(np.int8)[..., None].copy()

    def quantized_ready() -> Any:
        lite.set_tensor(entry, ready)
        lite.invoke()
        return lite.get_tensor(result["index"])

    def as_a_user() -> Any:
        lite.set_tensor(entry, (face ^ 0x80).view(np.int8)[..., None])
        lite.invoke()
        return (lite.get_tensor(result["index"]).astype(np.float32) - zero_point) * scale

    def ours() -> Any:
        return engine.infer(face)

    calls: list[Callable[[], Any]] = [quantized_ready, as_a_user, ours]
    samples: dict[str, list[int]] = {call.__name__: [] for call in calls}
    order = np.random.default_rng(0)
    for call in calls:
        for _ in range(300):
            call()
    gc.disable()
    for _ in range(ROUNDS):
        order.shuffle(calls)  # type: ignore[arg-type]
        for call in calls:
            begun = time.perf_counter_ns()
            call()
            samples[call.__name__].append(time.perf_counter_ns() - begun)
    gc.enable()
    mine = np.array(samples["ours"])
    return {"threads": threads, "rounds": ROUNDS} | {
        f"{name}_ms": round(float(np.median(values)) / 1e6, 4) for name, values in samples.items()
    } | {
        f"ours_over_{name}": round(float(np.median(mine / np.array(values))), 4)
        for name, values in samples.items() if name != "ours"
    }  # fmt: skip


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--detector-model", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    models = [None, args.detector_model] if args.detector_model else [None]
    made = {
        "machine": describe_machine(),
        "engine": engine_overhead(1),
        "clips": [clip_figures(clip, model) for clip in args.clips for model in models],
    }
    text = json.dumps(made, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
