"""Leaves a pipeline running: replayed frames as fast as they are taken, faults on schedule, every one accounted for.

    python benchmarks/soak.py CLIP --frames 1000000 [--detector-model YUNET.onnx] [--json soak.json]

Fails (exit 1) when resident memory grows by more than 5 MB after the warm-up, a thread or descriptor is left behind, or
a fault is missing in the counts.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

from fer_edge.devices.fresh import FreshFrames
from fer_edge.devices.machine import describe_machine, read_text
from fer_edge.devices.source_replay import ReplayCamera, parse_faults
from fer_edge.edge_runtime.pipeline import Pipeline
from fer_edge.edge_runtime.runner import Runner
from fer_edge.edge_runtime.sink_csv import CsvSink
from fer_edge.edge_runtime.sink_jsonl import JsonlSink

EVERY = 10_000
FAULTS = "gone@1000:0.3,stall@3000:1.3,drop@5000:5,damaged@7000:3,noise@9000:10"
WARM_UP = 20_000
SAMPLE_EVERY = 5_000
MAX_GROWTH_BYTES = 5_000_000


def resident_bytes() -> int:
    """Resident set of this process."""
    lines = (read_text("/proc/self/status") or "").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def left_open() -> tuple[int, int]:
    """Threads and descriptors of this process."""
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


def soak(clip: Path, frames: int, detector_model: Path | None, folder: Path) -> dict:
    """Run and measure; see the module."""
    before = left_open()
    replay = ReplayCamera(clip, fps=0, faults=parse_faults(FAULTS), every=EVERY, loop=0)
    source = FreshFrames(replay.camera(), give_up_s=30)
    runner = Runner(Pipeline(source, detector_model=detector_model, threads=1), say=lambda text: None)
    runner.add([
        JsonlSink(folder / "soak.jsonl", max_bytes=1_000_000, keep=2),
        CsvSink(folder / "soak.csv", max_bytes=1_000_000, keep=2),
    ])  # fmt: skip
    samples: list[tuple[int, int]] = []

    def sample(frame: object, observation: object) -> bool:
        labelled = runner.monitor.summary.frames
        if labelled % SAMPLE_EVERY == 0:
            samples.append((labelled, resident_bytes()))
        return True

    begun = time.monotonic()
    runner.run(max_frames=frames, go_on=sample)
    seconds = time.monotonic() - begun
    status = runner.monitor.status()
    runner.close()
    replay.close()
    deadline = time.monotonic() + 10
    while left_open()[0] > before[0] and time.monotonic() < deadline:
        time.sleep(0.05)
    warm = [size for labelled, size in samples if labelled >= min(WARM_UP, frames // 2)]
    happened = dict(replay.happened)
    camera = status["camera"]
    return {
        "frames": runner.monitor.summary.frames,
        "faces": runner.monitor.summary.faces,
        "seconds": round(seconds, 1),
        "resident_bytes": {"after_warm_up": warm[0], "last": warm[-1], "most": max(warm)},
        "growth_bytes": max(warm) - warm[0],
        "faults": happened,
        "camera": camera,
        "sinks": status["sinks"],
        "threads_and_descriptors": {"before": before, "after": left_open()},
        "accounted": {
            "gaps": camera["gaps"] == happened.get("gone", 0) + happened.get("stall", 0),
            "reopened": camera["reopened"] == happened.get("gone", 0),
            "damaged": camera["damaged"] == 3 * happened.get("damaged", 0),
        },
        "machine": describe_machine(),
    }


def main() -> None:
    """Soak, print JSON, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--detector-model", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = soak(args.clip, args.frames, args.detector_model, Path(folder))
    text = json.dumps(made, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")
    held = made["threads_and_descriptors"]
    well = (
        made["growth_bytes"] <= MAX_GROWTH_BYTES
        and all(made["accounted"].values())
        and all(after <= before for before, after in zip(held["before"], held["after"], strict=True))
    )
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
