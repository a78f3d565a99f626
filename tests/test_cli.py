"""The front door: help, version, exit codes, and a missing extra as one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ("demo", "train", "calibrate", "convert", "compare", "run", "bench", "doctor")


def test_version_is_the_packages(cli) -> None:
    from importlib.metadata import version

    done = cli("--version")
    assert done.returncode == 0
    assert done.stdout == f"fer-edge {version('fer-edge')}\n"


@pytest.mark.parametrize("command", [*COMMANDS, "data import", "data synth"])
def test_every_command_explains_itself(cli, command: str) -> None:
    done = cli(*command.split(), "--help")
    assert done.returncode == 0
    assert f"fer-edge {command}" in done.stdout.replace("python -m fer_edge", "fer-edge")


@pytest.mark.parametrize(
    "args", [("fly",), ("run",), ("bench", "--threads", "0"), ("data", "import"), ("run", "x.jpg", "--no-such-option")]
)
def test_wrong_arguments_exit_with_2(cli, args: tuple[str, ...]) -> None:
    done = cli(*args)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("missing", "args", "sentence"),
    [
        ("scipy", ("compare", "--data", "x"), "scipy is not installed; run: pip install 'fer-edge[train]'"),
        ("keras", ("train", "--data", "{data}"), "keras is not installed; run: pip install 'fer-edge[train]'"),
        ("onnxruntime", ("run", "x.jpg", "--engine", "onnx"), "onnxruntime is not installed; run: pip install"),
    ],
)
def test_a_missing_extra_is_one_sentence(
    cli, tmp_path: Path, missing: str, args: tuple[str, ...], sentence: str
) -> None:
    assert cli("data", "synth", "--count", "70", "--out", "cache").returncode == 0
    filled = [a.format(data="cache") for a in args]
    code = f"""
import importlib.util, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == {missing!r} else find(name, package)
sys.argv = ["fer-edge", *{filled!r}]
from fer_edge.cli.main import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"fer-edge: {sentence}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bug_keeps_its_traceback(tmp_path: Path) -> None:
    code = """
import sys
from fer_edge.edge_runtime import doctor
def broken(path):
    raise ZeroDivisionError("a bug")
doctor.examine = broken
sys.argv = ["fer-edge", "doctor"]
from fer_edge.cli.main import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError: a bug" in done.stderr


def test_demo_labels_times_and_draws(cli, tmp_path: Path) -> None:
    done = cli("demo", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "happy" in done.stdout
    assert "tflite/int8: int8; all 11 convolutions and matrix products of int8.tflite run in int8" in " ".join(
        done.stdout.split()
    )
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"sample.mp4", "annotated.jpg", "annotated.mp4"}
    assert cli("demo", "--out", "out").returncode == 0  # a second time, too
