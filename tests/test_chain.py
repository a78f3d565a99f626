"""The main job end to end on drawn faces: train, calibrate, convert, judge, and what may go wrong on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fer_edge.calibration.calibration_set import CalibrationFaces, draw
from fer_edge.convert.inspection import inspect
from fer_edge.devices.errors import ConversionError
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.engines import open_engine
from fer_edge.edge_runtime.vocabulary import EMOTIONS, Precision
from fer_edge.train.dataset import load_dataset

ALL = {
    "tflite/float32", "tflite/int8", "tflite/float16", "tflite/dynamic-int8",
    "onnx/float32", "onnx/int8", "openvino/float32", "openvino/int8",
}  # fmt: skip


def test_the_chain_learns_and_its_bundle_opens(chain) -> None:
    bundle = Bundle.open(chain.bundle)
    assert {v.name for v in bundle.variants} == ALL
    report = json.loads((chain.bundle / "report.json").read_text())
    # Seven classes by chance are 14%; drawn faces are easy.
    assert report["reference"]["accuracy"] > 0.5
    assert set(report["variants"]) == ALL
    for variant in bundle.variants:
        judged = report["variants"][variant.name]
        assert variant.accuracy == judged["accuracy"]
        assert variant.flips == judged["flips"]
        assert judged["drop_pp"] <= 3
        assert f"{judged['accuracy']:.2%}" in chain.outputs["convert"]


def test_int8_is_int8_in_every_engine(chain) -> None:
    for variant in Bundle.open(chain.bundle).variants:
        heavy = {k: n for k, n in variant.operators.items() if "conv" in k.lower() or "fullyconnected" in k.lower()}
        if variant.precision == Precision.INT8:
            assert heavy, variant
            assert all(name.startswith("int8 ") for name in heavy), heavy
        if variant.precision == Precision.FLOAT32:
            assert all(name.startswith("float32 ") for name in heavy), heavy


@pytest.mark.parametrize(
    ("engine", "file"), [("tflite", "float32.tflite"), ("onnx", "float32.onnx"), ("openvino", "float32.xml")]
)
def test_a_float_file_does_not_pass_for_int8(chain, engine: str, file: str) -> None:
    with pytest.raises(ConversionError, match=r"was to be int8, but .* stayed in float"):
        inspect(engine, chain.bundle / file, Precision.INT8)


def test_the_tflite_input_takes_raw_pixels(chain) -> None:
    """Scale 1 and zero point -128: quantizing a pixel is flipping its highest bit."""
    variant = Bundle.open(chain.bundle).find("tflite", Precision.INT8)
    assert variant.quantization is not None
    assert (variant.quantization[0].scale, variant.quantization[0].zero_point) == (1.0, -128)


def test_engines_agree_with_each_other_and_with_the_golden_vectors(chain) -> None:
    bundle = Bundle.open(chain.bundle)
    golden = bundle.golden()
    assert golden.faces.shape == (64, 48, 48)
    reference = golden.logits["keras/float32"]
    for variant in bundle.variants:
        engine = open_engine(bundle, variant.engine, variant.precision, threads=1)
        got = engine.infer(golden.faces)
        engine.close()
        assert got.shape == (64, len(EMOTIONS))
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, golden.logits[variant.name], atol=np.ptp(reference) / 100)
        if variant.precision == Precision.FLOAT32:
            np.testing.assert_allclose(got, reference, atol=1e-3)
        else:
            assert (got.argmax(1) == reference.argmax(1)).mean() > 0.85, variant.name


def test_faces_come_out_alike_alone_and_in_a_batch(chain) -> None:
    bundle = Bundle.open(chain.bundle)
    faces = bundle.golden().faces[:5]
    for name in ("tflite", "onnx", "openvino"):
        engine = open_engine(bundle, name, "int8", threads=1)
        alone = np.concatenate([engine.infer(face[None]) for face in faces])
        np.testing.assert_array_equal(engine.infer(faces), alone)
        assert engine.infer(faces[:0]).shape == (0, 7)


def test_the_same_calibration_gives_the_same_int8_file(chain, tmp_path: Path) -> None:
    from fer_edge.convert.frozen import load_frozen
    from fer_edge.convert.tempered import tempered
    from fer_edge.convert.tflite import write_tflite

    data = load_dataset(chain.data)
    faces = CalibrationFaces(data, draw(data, 256, 0))
    model = load_frozen(chain.run / "model.keras")
    if temperature := json.loads((chain.bundle / "report.json").read_text())["temperature"]["value"]:
        model = tempered(model, temperature)
    write_tflite(model, tmp_path / "int8.tflite", Precision.INT8, faces)
    assert (tmp_path / "int8.tflite").read_bytes() == (chain.bundle / "int8.tflite").read_bytes()


def test_compare_repeats_the_judgement(chain, cli) -> None:
    done = cli("compare", chain.bundle, "--data", chain.data, "--max-drop", "3", "--no-robustness", "--json")
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    before = json.loads((chain.bundle / "report.json").read_text())
    assert set(again["variants"]) == ALL
    for name, row in again["variants"].items():
        assert row["accuracy"] == before["variants"][name]["accuracy"], name


def test_compare_fails_when_more_is_lost_than_allowed(chain, cli, tmp_path: Path) -> None:
    """A bundle whose int8 file is another network's: hashes hold, accuracy does not."""
    bad = tmp_path / "bad"
    shutil.copytree(chain.bundle, bad)
    _swap_weights(bad)
    done = cli("compare", bad, "--data", chain.data, "--no-robustness")
    assert done.returncode == 1
    assert "fer-edge: tflite/int8 loses" in done.stderr
    assert "allowed 0.5" in done.stderr


def _swap_weights(bundle: Path) -> None:
    """Reverse a stretch of bytes in the middle of the weights, and make the manifest agree with it."""
    import hashlib

    path = bundle / "int8.tflite"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 100_000] = content[middle : middle + 100_000][::-1]
    path.write_bytes(content)
    manifest = json.loads((bundle / "bundle.json").read_text())
    for variant in manifest["variants"]:
        if variant["file"] == "int8.tflite":
            variant["sha256"] = hashlib.sha256(content).hexdigest()
    (bundle / "bundle.json").write_text(json.dumps(manifest))


def test_convert_that_loses_too_much_writes_no_bundle(chain, cli, tmp_path: Path, monkeypatch) -> None:
    from fer_edge.convert import build

    made = json.loads((chain.bundle / "report.json").read_text())
    made["variants"]["onnx/int8"].update(drop_pp=0.81, passes=False)
    with pytest.raises(build.RejectedError, match=r"onnx/int8 loses 0\.81 points of accuracy \(allowed") as caught:
        build._gate(made, tmp_path / "bundle")
    assert caught.value.report is made
    assert json.loads((tmp_path / "bundle-rejected.json").read_text()) == made
    assert not (tmp_path / "bundle").exists()


def test_one_format_leaves_no_scaffold(chain, cli, tmp_path: Path) -> None:
    done = cli(
        "convert", chain.run, "--to", "openvino", "--calibration", chain.calibration, "--max-drop", "5", "--out", "b"
    )
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "b").iterdir()} == {
        "float32.xml", "float32.bin", "int8.xml", "int8.bin", "golden.npz", "report.json", "bundle.json",
    }  # fmt: skip


def test_single_files_can_be_asked_for(chain) -> None:
    from fer_edge.convert.build import Order

    order = Order(("tflite", "onnx/int8"))
    assert [f"{e}/{p}" for e, p in order.variants()] == ["tflite/float32", "tflite/int8", "onnx/int8"]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("convert", "nowhere", "--int8"), "nowhere is not a training run (no recipe.json)"),
        (("convert", "{run}", "--to", "caffe", "--out", "x"), "unknown engine 'caffe'"),
        (("convert", "{run}", "--to", "onnx/int4", "--out", "x"), "unknown precision 'int4' in --to"),
        (("convert", "{run}", "--target", "sparc", "--out", "x"), "unknown --target 'sparc'"),
        (("convert", "{run}", "--split", "train", "--out", "x"), "accuracy is measured on held-out images"),
        (("convert", "{run}", "--split", "private", "--out", "x"), "the data has no 'private' images"),
        (("convert", "{run}", "--data", "nowhere", "--out", "x"), "nowhere is not a data cache"),
        (("convert", "{run}", "--calibration", "no.json", "--out", "x"), "no.json does not exist"),
        (("convert", "{run}", "--max-drop", "-1", "--out", "x"), "--max-drop -1.0 is no loss that can be allowed"),
        (("convert", "{run}", "--out", "{bundle}"), "exists already"),
        (("train", "--data", "{data}", "--model", "alexnet"), "unknown model 'alexnet'"),
        (("train", "--data", "{data}", "--epochs", "0"), "epochs 0 is outside 1..10000"),
        (("train", "--data", "{data}", "--out", "{run}"), "holds a run already; continue it with --resume"),
        (("train", "--data", "{data}", "--out", "none", "--resume"), "none is not a training run"),
        (("train", "--data", "{data}", "--out", "{run}", "--resume", "--seed", "3"), "leave out --seed"),
        (("compare", "{run}", "--data", "{data}"), "is not a bundle (no bundle.json)"),
        (("bench", "--bundle", "{bundle}", "--only", "tpu"), "no variant is called 'tpu'"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_sentence(chain, cli, tmp_path: Path, args: tuple[str, ...], sentence: str) -> None:
    filled = [a.format(run=chain.run, data=chain.data, bundle=chain.bundle) for a in args]
    done = cli(*filled)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("fer-edge: ")]
    assert len(lines) == 1, done.stderr
    assert sentence in lines[0]
    assert "Traceback" not in done.stderr
    assert not [p for p in tmp_path.iterdir() if p.name in ("x", "none") or p.name.endswith(".tmp")]


def test_unfinished_and_damaged_runs_are_refused(chain, cli, tmp_path: Path) -> None:
    run = tmp_path / "half"
    shutil.copytree(chain.run, run)
    (run / "model.keras").unlink()
    done = cli("convert", run, "--int8")
    assert done.returncode == 1
    assert "is not finished (no model.keras)" in done.stderr
    (run / "model.keras").write_bytes((chain.run / "model.keras").read_bytes()[:5000])
    done = cli("convert", run, "--int8", "--out", "x")
    assert done.returncode == 1
    assert "cannot be read as a Keras model" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["half"]


def _start(*args: str, cwd: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "fer_edge", *args], cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        # Tests that were started in the background hand down an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def _wait_for(condition, process: subprocess.Popen, timeout_s: float = 240) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, "the process ended before it could be killed"
        assert time.monotonic() < deadline, "what was waited for never came"
        time.sleep(0.02)


def test_training_killed_in_the_middle_resumes_to_the_same_history(chain, cli, tmp_path: Path) -> None:
    common = ("train", "--data", str(chain.data), "--epochs", "3", "--threads", "1", "--batch-size", "64")
    whole = cli(*common, "--out", "whole")
    assert whole.returncode == 0, whole.stderr
    process = _start(*common, "--out", "cut", cwd=tmp_path)
    history = tmp_path / "cut" / "history.json"
    _wait_for(lambda: history.exists() and len(json.loads(history.read_text())) >= 1, process)
    time.sleep(0.3)  # somewhere inside the second epoch
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(json.loads(history.read_text()))
    assert done < 3, "the kill came too late to prove anything"
    resumed = cli("train", "--data", chain.data, "--resume", "--out", "cut", "--threads", "1")
    assert resumed.returncode == 0, resumed.stderr
    figures = ("epoch", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy")
    rows = [
        [{k: row[k] for k in figures} for row in json.loads((tmp_path / r / "history.json").read_text())]
        for r in ("whole", "cut")
    ]
    assert rows[0] == rows[1]
    assert {p.name for p in (tmp_path / "cut").iterdir()} == {
        "recipe.json", "environment.json", "history.json", "curves.png", "model.keras", "checkpoints",
    }  # fmt: skip


def test_conversion_killed_in_the_middle_leaves_nothing_and_runs_again(chain, cli, tmp_path: Path) -> None:
    args = ("convert", str(chain.run), "--to", "tflite", "--max-drop", "5", "--out", "b")
    process = _start(*args, cwd=tmp_path)
    _wait_for(lambda: any(tmp_path.glob(".b.*.tmp/*.tflite")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "b").exists()
    done = cli(*args)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_ctrl_c_in_training_keeps_the_finished_epochs(chain, tmp_path: Path) -> None:
    process = _start("train", "--data", str(chain.data), "--epochs", "50", "--out", "run", cwd=tmp_path)
    history = tmp_path / "run" / "history.json"
    _wait_for(lambda: history.exists() and len(json.loads(history.read_text())) >= 1, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert json.loads(history.read_text())


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_one_sentence(chain, cli, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this system lets nothing be mounted")
    try:
        done = cli("data", "synth", "--count", "2100", "--out", small / "synth")
        assert done.returncode == 1
        assert f"cannot write {small / 'synth'}: No space left on device" in done.stderr
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)
