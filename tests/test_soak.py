"""A short soak, as benchmarks/soak.py makes the long one: faults on schedule, all counted, nothing left behind."""

import json
import subprocess
import sys
from pathlib import Path

import cv2

from fer_edge.edge_runtime.sample_clip import write_sample_clip

SOAK = Path(__file__).resolve().parents[1] / "benchmarks" / "soak.py"


def test_twenty_thousand_frames_with_faults(tmp_path: Path) -> None:
    write_sample_clip(tmp_path / "sample.mp4", 60)
    capture = cv2.VideoCapture(str(tmp_path / "sample.mp4"))
    writer = cv2.VideoWriter(str(tmp_path / "small.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (160, 120))
    while True:
        ok, picture = capture.read()
        if not ok:
            break
        writer.write(cv2.resize(picture, (160, 120), interpolation=cv2.INTER_AREA))
    writer.release()
    done = subprocess.run(
        [sys.executable, str(SOAK), str(tmp_path / "small.avi"), "--frames", "20000"],
        capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert done.stderr == ""
    made = json.loads(done.stdout)
    assert done.returncode == 0, {key: value for key, value in made.items() if key != "machine"}
    assert made["frames"] == 20_000
    assert made["faces"] > 15_000
    assert made["faults"] == {"gone": 2, "stall": 2, "drop": 2, "damaged": 2, "noise": 2}
    assert made["camera"]["gaps"] == 4
    assert made["camera"]["damaged"] == 6
    assert made["sinks"]["jsonl"]["written"] == made["sinks"]["csv"]["written"] == 20_000
