"""`fer-edge doctor` on the bundle that ships, from the outside; `bench` is in test_bench_command.py."""

import json
import shutil
from pathlib import Path

import numpy as np

from fer_edge.edge_runtime.bundle import BUNDLED


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
