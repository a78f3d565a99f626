"""`fer-edge bench` from the outside: its reports against their schema, bare files, wrong input, Ctrl-C."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_edge.devices.errors import EngineError
from fer_edge.edge_runtime import Bundle
from fer_edge.edge_runtime.bare_model import Signature, Tensor, engine_of, open_bare, read_signature
from fer_edge.edge_runtime.bench import Plan, bench
from fer_edge.edge_runtime.bench_subject import BenchError, claimed_precision, models_of_bundle, models_of_files
from fer_edge.edge_runtime.bundle import BUNDLED
from fer_edge.edge_runtime.vocabulary import Precision

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = json.loads((ROOT / "docs" / "bench.schema.json").read_text())
QUICK = ("--min-seconds", "0", "--min-samples", "20", "--threads", "1")


def hold(report: dict[str, Any]) -> None:
    """The report is as the schema says, and its parts agree with each other."""
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator
    validator.check_schema(SCHEMA)
    faults = [
        f"{'/'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in validator(SCHEMA).iter_errors(report)
    ]
    assert not faults
    ids = [row["id"] for row in report["variants"]]
    assert len(set(ids)) == len(ids)
    assert {name for ratio in report["ratios"] for name in (ratio["variant"], ratio["over"])} <= set(ids)
    for row in report["variants"]:
        assert len(row["samples_ns"]) == row["latency"]["count"] >= report["plan"]["min_samples"]
        assert len(row["round_medians_ns"]) == report["rounds"]


def measured(cli, folder: Path, *args: str | Path) -> tuple[dict[str, Any], str]:
    done = cli("bench", *args, "--json", "b.json")
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "b.json").read_text()), done.stdout


def test_every_variant_is_measured_and_its_samples_are_kept(cli, tmp_path: Path) -> None:
    made, said = measured(cli, tmp_path, "--min-seconds", "0", "--min-samples", "70", "--only", "tflite")
    hold(made)
    assert {row["id"] for row in made["variants"]} == {"tflite/int8", "tflite/float32"}
    for row in made["variants"]:
        latency = row["latency"]
        assert latency["p50"]["ms"] == pytest.approx(np.percentile(row["samples_ns"], 50) / 1e6)
        assert latency["p50"]["low_ms"] <= latency["p50"]["ms"] <= latency["p50"]["high_ms"]
        assert latency["p90"] is not None
        assert latency["p99"] is None  # 662 samples are needed
        assert row["start"]["peak_memory_bytes"] > 20e6
        assert min(row["start"][key] for key in ("import_ms", "load_ms", "first_ms")) > 0
        assert len(row["operators"]) > 5
        assert {one["time_us"] for one in row["operators"]} == {None}
    [ratio] = made["ratios"]
    assert (ratio["variant"], ratio["over"]) == ("tflite/int8", "tflite/float32")
    assert ratio["interval"][0] <= ratio["time_ratio"] <= ratio["interval"][1]
    assert [row["int8"]["verdict"] for row in made["variants"]] == ["not int8", "int8"]
    assert made["rounds"] == 24  # of three calls: 70 out of 20 rounds at least
    assert made["machine"]["cpu_flags"]
    assert made["bundle"]["sha256"] == Bundle.open().sha256
    assert made["command"][:2] == ["fer-edge", "bench"]
    assert "tflite/int8 is the fastest" in said or "tflite/float32 is the fastest" in said


def test_a_sweep_has_a_row_for_each_setting(cli, tmp_path: Path) -> None:
    core = str(min(os.sched_getaffinity(0)))
    sweep = ("--threads", "1,2", "--batch", "1,3", "--cores", core, "--only", "tflite/int8")
    made, _ = measured(cli, tmp_path, *sweep, "--min-seconds", "0", "--min-samples", "20")
    hold(made)
    assert [row["id"] for row in made["variants"]] == [
        "tflite/int8 t1 b1", "tflite/int8 t1 b3", "tflite/int8 t2 b1", "tflite/int8 t2 b3"
    ]  # fmt: skip
    assert made["plan"] | {"seed": 0} == {
        "scope": "engine", "min_seconds": 0.0, "min_samples": 20, "round_samples": 1, "threads": [1, 2],
        "batches": [1, 3], "cores": [int(core)], "seed": 0,
    }  # fmt: skip
    assert {(r["variant"], r["over"]) for r in made["ratios"]} == {
        ("tflite/int8 t2 b1", "tflite/int8 t1 b1"), ("tflite/int8 t2 b3", "tflite/int8 t1 b3"),
    }  # fmt: skip


def test_face_to_label_has_its_stages_and_cold_stands_beside_steady(cli, tmp_path: Path) -> None:
    extra = ("--steady", "--soak-seconds", "0.5", "--estimate", "pi4", "--operators", "--only", "tflite/int8")
    made, said = measured(cli, tmp_path, "--scope", "classify", "--batch", "2", *QUICK, *extra)
    hold(made)
    [row] = made["variants"]
    assert list(row["stages"]) == ["crop", "infer", "softmax"]
    whole = sum(stage["mean_ms"] for stage in row["stages"].values())
    assert whole == pytest.approx(row["latency"]["mean_ms"])
    assert row["cold"]["count"] == row["latency"]["count"]
    assert row["batch"] == 2
    assert row["faces_per_second"] == pytest.approx(2000 / row["latency"]["mean_ms"])
    assert made["steady"]["soak_seconds"] >= 0.5
    assert any(one["time_us"] for one in row["operators"])
    assert [estimate["board"] for estimate in made["estimates"]] == ["pi4"]
    assert "ESTIMATE" in said


def test_camera_to_label_alone_and_beside_the_engine(cli, tmp_path: Path) -> None:
    from fer_edge.edge_runtime.sample_clip import write_sample_clip

    write_sample_clip(tmp_path / "clip.mp4", frames=12)
    clip = ("--source", "clip.mp4", "--fps", "50", "--max-frames", "12", "--only", "tflite", *QUICK)
    made, _ = measured(cli, tmp_path, "--scope", "pipeline", *clip)
    hold(made)
    assert made["variants"] == made["ratios"] == []
    assert [row["variant"] for row in made["pipeline"]] == ["tflite/float32", "tflite/int8"]
    made, _ = measured(cli, tmp_path, *clip)
    hold(made)
    assert len(made["variants"]) == len(made["pipeline"]) == 2


def test_bare_files_are_measured_by_what_they_claim_and_judged_by_what_they_are(cli, tmp_path: Path) -> None:
    """A float model renamed int8 is caught; so is an int8 model that is said to be float."""
    shutil.copy(BUNDLED / "float32.tflite", tmp_path / "mine_int8.tflite")
    shutil.copy(BUNDLED / "int8.tflite", tmp_path / "other_fp32.tflite")
    files = ("-m", "mine_int8.tflite", "-m", "other_fp32.tflite", "-m", BUNDLED / "int8.tflite")
    made, said = measured(cli, tmp_path, *files, *QUICK)
    hold(made)
    assert made["bundle"] is None
    assert {row["id"]: row["int8"]["verdict"] for row in made["variants"]} == {
        "tflite/int8 mine_int8.tflite": "not int8", "tflite/int8 int8.tflite": "int8",
    }  # fmt: skip
    assert "is said to be float32, but 11 of its 11" in made["skipped"]["tflite/float32"]
    assert "said to be int8, but its 11 convolutions and matrix products run in float32" in " ".join(said.split())
    assert [(r["variant"], r["over"]) for r in made["ratios"]] == [
        ("tflite/int8 int8.tflite", "tflite/int8 mine_int8.tflite")
    ]


@pytest.mark.parametrize(
    ("stem", "precision"),
    [
        ("int8", "int8"), ("mobilenet_v2_INT8", "int8"), ("model-fp16", "float16"), ("net.float32", "float32"),
        ("dynamic-int8", "dynamic-int8"), ("net_dynamic_int8", "dynamic-int8"), ("model", None), ("print8er", None),
        ("fp32_to_int8", None), ("yunet_2026may", None),
    ],
)  # fmt: skip
def test_what_a_files_name_says(stem: str, precision: str | None) -> None:
    assert claimed_precision(stem) == precision


def test_a_file_whose_name_says_nothing_is_what_it_computes_in(tmp_path: Path) -> None:
    shutil.copy(BUNDLED / "int8.tflite", tmp_path / "a.tflite")
    shutil.copy(BUNDLED / "float32.tflite", tmp_path / "b.tflite")
    found = models_of_files([tmp_path / "a.tflite", tmp_path / "b.tflite"], None, None)
    assert [(model.name, model.faces) for model in found] == [("tflite/int8", True), ("tflite/float32", True)]


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(BUNDLED / "int8.tflite", tmp_path / folder / "int8.tflite")
    files = [tmp_path / "a" / "int8.tflite", tmp_path / "b" / "int8.tflite"]
    assert [m.name for m in models_of_files(files, None, None)] == [f"tflite/int8 {file}" for file in files]
    with pytest.raises(BenchError, match="no variant is called 'onnx'"):
        models_of_files(files, None, "onnx")


def test_any_model_of_any_shape_runs_with_seeded_inputs() -> None:
    bare = open_bare("tflite", BUNDLED / "int8.tflite", Precision.INT8, 1, seed=3)
    again = open_bare("tflite", BUNDLED / "int8.tflite", Precision.INT8, 1, seed=3)
    assert (bare.batch, bare.inputs[0][0].shape, bare.inputs[0][0].dtype) == (1, (1, 48, 48, 1), np.int8)
    assert all((a[0] == b[0]).all() for a, b in zip(bare.inputs, again.inputs, strict=True))
    assert not (bare.inputs[0][0] == bare.inputs[1][0]).all()
    assert bare.inputs[0][0].min() < -120
    assert bare.inputs[0][0].max() > 120
    assert bare.run(bare.inputs[0])[0].shape == (1, 7)
    assert (bare.run(bare.inputs[0])[0] == again.run(again.inputs[0])[0]).all()
    with pytest.raises(EngineError, match="it takes batches of 1 alone, not of 8"):
        open_bare("tflite", BUNDLED / "int8.tflite", Precision.INT8, 1, 8)


def test_a_free_first_size_is_the_batch() -> None:
    pytest.importorskip("onnxruntime")
    bare = open_bare("onnx", BUNDLED / "int8.onnx", Precision.INT8, 1, 8)
    assert bare.run(bare.inputs[0])[0].shape == (8, 7)
    assert read_signature("onnx", BUNDLED / "int8.onnx").is_ours("onnx", Precision.INT8)


def test_a_tflite_model_of_two_inputs_and_a_free_batch(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")

    class Net(tf.Module):
        @tf.function(
            input_signature=[tf.TensorSpec([None, 4], tf.float32, "x"), tf.TensorSpec([None, 4], tf.int32, "n")]
        )
        def run(self, x, n):
            return tf.concat([x, tf.cast(n, tf.float32)], 1)

    net = Net()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([net.run.get_concrete_function()], net)
    (tmp_path / "two.tflite").write_bytes(converter.convert())
    bare = open_bare("tflite", tmp_path / "two.tflite", Precision.FLOAT32, 1, 5)
    assert sorted(str(value.dtype) for value in bare.inputs[0]) == ["float32", "int32"]
    assert {int(value) for array in bare.inputs[0] if array.dtype == np.int32 for value in array.flat} == {0, 1}
    assert bare.run(bare.inputs[0])[0].shape == (5, 8)


def test_sizes_that_nobody_knows_are_refused() -> None:
    signature = Signature((Tensor("pixels", (1, 3, None, None), "float32"),), ())
    with pytest.raises(EngineError, match=r"its input 'pixels' is 1x3x\?x\?; give it fixed sizes but for the first"):
        signature.batch(None)
    assert Signature((Tensor("x", (None, 3), "float32"),), ()).batch(None) == 1
    assert Signature((Tensor("x", (4, 3), "float32"),), ()).batch(None) == 4
    with pytest.raises(EngineError, match=r"expected a file that ends in \.tflite, \.onnx, \.xml"):
        engine_of(Path("model.pb"))


def test_a_model_that_does_not_start_is_skipped_and_the_others_are_measured() -> None:
    models = models_of_bundle(Bundle.open(), "tflite/int8")
    from dataclasses import replace

    broken = replace(models[0], name="broken/int8", engine="broken")
    made = bench([broken, *models], Plan(min_seconds=0, min_samples=20, threads=(1,)), bundle=Bundle.open())
    assert made["skipped"] == {"broken/int8": "broken is not installed"}
    assert [row["id"] for row in made["variants"]] == ["tflite/int8"]
    with pytest.raises(BenchError, match="nothing to measure: broken is not installed"):
        bench([broken], Plan(), bundle=Bundle.open())


def test_a_throttled_run_is_marked_and_kept(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    from fer_edge.cli.bench_screen import print_bench
    from fer_edge.devices.conditions import Conditions
    from fer_edge.edge_runtime import bench as measurement
    from fer_edge.edge_runtime.bench_watch import Watch

    looks = iter([(), ("under-voltage",), ("under-voltage",)])

    def read() -> Conditions:
        return Conditions(50.0, (), next(looks), 1500.0, "ondemand", (0.1, 0.1, 0.1))

    monkeypatch.setattr(measurement, "Watch", lambda: Watch(read, lambda: 0.0))
    opened = Bundle.open()
    plan = Plan(min_seconds=0, min_samples=20, threads=(1,))
    made = bench(models_of_bundle(opened, "tflite/int8"), plan, bundle=opened)
    hold(made)
    assert (made["valid"], made["invalid_because"]) == (False, ["throttling began: under-voltage"])
    assert len(made["variants"]) == 1
    print_bench(made)
    assert "INVALID: throttling began: under-voltage" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("-m", "nowhere.tflite"), "nowhere.tflite does not exist"),
        (("-m", "cut_int8.tflite"), "cut_int8.tflite is not a model that LiteRT"),
        (("-m", "notes.txt"), "notes.txt is no model that can be measured"),
        (("--bundle", "nowhere"), "nowhere does not exist"),
        (("--only", "tpu"), "no variant is called 'tpu'; there are tflite/float32, tflite/int8"),
        (("--cores", "4095"), "core 4095 cannot be used here"),
        (("--estimate", "pi9"), "unknown board 'pi9'"),
        (("--scope", "pipeline", "--source", "nowhere.mp4"), "nowhere.mp4"),
        (("--json", "."), ". is a folder"),
        (("markdown", "notes.txt"), "notes.txt cannot be read as a bench report"),
    ],
)
def test_wrong_input_is_one_sentence(cli, tmp_path: Path, args: tuple[str, ...], sentence: str) -> None:
    (tmp_path / "cut_int8.tflite").write_bytes((BUNDLED / "int8.tflite").read_bytes()[:3000])
    (tmp_path / "notes.txt").write_text("nothing")
    done = cli("bench", *args)
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("fer-edge: ")]
    assert sentence in line
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("--threads", "0"), ("--threads", "1,x"), ("--batch", "0"), ("--cores", "3-1"), ("--scope", "all"),
        ("--precision", "int4", "-m", "x.onnx"), ("--precision", "int8"), ("--fps", "5"),
        ("-m", "x.onnx", "--bundle", "b"), ("-m", "x.onnx", "--source", "c.mp4"),
    ],
)  # fmt: skip
def test_wrong_arguments_exit_with_2(cli, args: tuple[str, ...]) -> None:
    done = cli("bench", *args)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_model_whose_engine_is_not_installed_is_one_sentence(tmp_path: Path) -> None:
    code = f"""
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "onnxruntime" else find(name, package)
sys.argv = ["fer-edge", "bench", "-m", {str(BUNDLED / "int8.onnx")!r}]
from fer_edge.cli.main import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "fer-edge: onnxruntime is not installed; run: pip install 'fer-edge[onnx]'\n"


def test_ctrl_c_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "fer_edge", "bench", "--min-seconds", "600", "--only", "tflite"]
    process = subprocess.Popen(
        [*command, "--json", "b.json", "--html", "b.html"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    maps = Path(f"/proc/{process.pid}/maps")
    until = time.monotonic() + 120
    while "_pywrap_tensorflow_interpreter" not in maps.read_text() and "LiteRt" not in maps.read_text():
        assert process.poll() is None
        assert time.monotonic() < until, "the engine was never loaded"
        time.sleep(0.05)
    time.sleep(2)  # while a library is being imported, Python may turn the interrupt into an ImportError
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate(timeout=120)
    assert process.returncode == 130, complained
    assert b"Traceback" not in complained
    assert not said.strip()
    assert list(tmp_path.iterdir()) == []


def keys_of(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for part in schema.values():
            yield from keys_of(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from keys_of(part)


def test_every_key_of_the_schema_is_in_the_documentation() -> None:
    page = (ROOT / "docs" / "bench.md").read_text()
    assert not [key for key in set(keys_of(SCHEMA)) if f"`{key}`" not in page]


@pytest.mark.parametrize("report", ["bench/bench.json", "model/bench.json", "runtime/bench.json"])
def test_the_reports_of_the_docs_are_of_this_schema_and_their_pages_of_them(report: str) -> None:
    made = json.loads((ROOT / "docs" / report).read_text())
    hold(made)
    assert made["valid"]
    page = (ROOT / "docs" / report).with_suffix(".html").read_text(encoding="utf-8")
    assert made["made_at"] in page
    assert made["bundle"]["sha256"] in page
