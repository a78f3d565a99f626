"""`fer-edge bench` and `fer-edge doctor` on the bundle that ships, from the outside."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fer_edge.edge_runtime import Bundle
from fer_edge.edge_runtime.bench import ROUND_SAMPLES, Plan, bench
from fer_edge.edge_runtime.bundle import BUNDLED


def test_bench_measures_every_variant_and_keeps_its_samples(cli, tmp_path: Path) -> None:
    done = cli("bench", "--min-seconds", "0", "--min-samples", "70", "--json", "b.json", "--only", "tflite")
    assert done.returncode == 0, done.stderr
    made = json.loads((tmp_path / "b.json").read_text())
    assert {row["name"] for row in made["variants"]} == {"tflite/int8", "tflite/float32"}
    for row in made["variants"]:
        assert len(row["samples_ns"]) == row["steady"]["count"] >= 70
        assert row["steady"]["p50_ms"] == pytest.approx(np.percentile(row["samples_ns"], 50) / 1e6)
        assert row["steady"]["p90_ms"] is not None
        assert row["steady"]["p99_ms"] is None  # 662 samples are needed, 70 were taken
        assert row["peak_memory_bytes"] > 20e6
        assert row["load_ms"] > 0
        assert row["first_ms"] > 0
    [ratio] = made["ratios"]
    assert (ratio["variant"], ratio["over"]) == ("tflite/int8", "tflite/float32")
    low, high = ratio["interval"]
    assert low <= ratio["time_ratio"] <= high
    assert made["machine"]["cpu_flags"]
    assert made["bundle"]["sha256"] == Bundle.open().sha256
    assert made["command"][:2] == ["fer-edge", "bench"]
    assert "tflite/int8 takes" in done.stdout


def test_bench_interleaves_and_leaves_the_collector_as_it_was() -> None:
    import gc

    steps: list[str] = []
    made = bench(Bundle.open(), Plan(min_seconds=0, min_samples=21, warmup_samples=2), steps.append, "tflite")
    assert gc.isenabled()
    assert made["rounds"] == 3
    assert {len(row["samples_ns"]) for row in made["variants"]} == {3 * ROUND_SAMPLES}


def test_bench_with_a_clip_times_the_stages(cli, tmp_path: Path) -> None:
    from fer_edge.edge_runtime.sample_clip import write_sample_clip

    write_sample_clip(tmp_path / "clip.mp4", frames=30)
    args = ("--min-seconds", "0", "--min-samples", "20", "--only", "tflite", "--source", "clip.mp4")
    done = cli("bench", *args, "--json", "b.json")
    assert done.returncode == 0, done.stderr
    runs = json.loads((tmp_path / "b.json").read_text())["pipeline"]
    assert {run["variant"] for run in runs} == {"tflite/int8", "tflite/float32"}
    assert all(run["frames"] == 30 for run in runs)
    assert all(run["stages"]["total"]["count"] == 30 for run in runs)


def test_doctor_is_well_on_the_bundle_that_ships(cli) -> None:
    done = cli("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tflite/int8: LiteRT" in done.stdout
    assert "64 golden vectors come out" in done.stdout
    assert done.stdout.splitlines()[-1] == "all is well"


def test_doctor_finds_an_altered_file(cli, tmp_path: Path) -> None:
    shutil.copytree(BUNDLED, tmp_path / "b")
    with (tmp_path / "b" / "int8.tflite").open("r+b") as file:
        file.seek(1000)
        file.write(b"\xff\x00\xff")
    done = cli("doctor", "b", "--json")
    assert done.returncode == 1
    [finding] = [f for f in json.loads(done.stdout) if f["state"] == "bad"]
    assert finding["subject"] == "bundle"
    assert "int8.tflite was altered or cut short" in finding["text"]
    assert finding["fix"]


def test_doctor_finds_golden_vectors_that_do_not_come_out(cli, tmp_path: Path) -> None:
    """Labels swapped in golden.npz, hashes made to agree: only the replay can notice."""
    import hashlib

    bundle = tmp_path / "b"
    shutil.copytree(BUNDLED, bundle)
    with np.load(bundle / "golden.npz") as arrays:
        content = {key: arrays[key] for key in arrays.files}
    content["logits/tflite/int8"] = content["logits/tflite/int8"][:, ::-1]
    np.savez_compressed(bundle / "golden.npz", **content)
    manifest = json.loads((bundle / "bundle.json").read_text())
    changed = (bundle / "golden.npz").read_bytes()
    manifest["golden"].update(sha256=hashlib.sha256(changed).hexdigest(), bytes=len(changed))
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    done = cli("doctor", "b")
    assert done.returncode == 1
    assert "BAD   tflite/int8" in done.stdout
    assert "golden vectors differ" in done.stdout
    assert "tflite/float32: LiteRT" in done.stdout


def test_an_engine_that_crashes_is_a_line_and_not_a_crash(cli, tmp_path: Path) -> None:
    """A library that dies by a signal at import, as onnxruntime 1.21.0 did on a Pi 4."""
    broken = tmp_path / "broken" / "onnxruntime"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    done = cli("doctor", PYTHONPATH=str(broken.parent))
    assert done.returncode == 1
    assert "BAD   onnx/int8: onnx crashed with SIGILL" in done.stdout
    assert "tflite/int8: LiteRT" in done.stdout
