"""What every test may use: the shared data folder and the command line of the installed package."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    # Started in the repository's root, `python -m fer_edge` would take the checkout's folder fer_edge/ for the package.
    os.environ["PYTHONSAFEPATH"] = "1"
    # A profile that `tune` left on this machine must not decide what the tests run, nor theirs what its owner runs.
    os.environ["FER_EDGE_STATE_DIR"] = tempfile.mkdtemp(prefix="fer-edge-tests-")
    if find_spec("fer_edge") is None or find_spec("fer_edge.devices") is None:
        pytest.exit("the tests run against the installed package; run: make test", returncode=4)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data sets and media beside the repository; without it the test is skipped."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("there is no folder ../shared beside the repository")
    return folder


def fer_edge(
    *args: str | Path, cwd: Path, timeout_s: float = 300, stdin: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    """`fer-edge ARGS` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "fer_edge", *map(str, args)],
        capture_output=True,
        text=True,
        input=stdin,
        timeout=timeout_s,
        cwd=cwd,
        env=os.environ | {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "120"} | env,
        check=False,
    )


@pytest.fixture
def cli(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`cli("run", "clip.mp4")` runs fer-edge in a process of its own, in `tmp_path` unless `cwd` is given."""

    def run(
        *args: str | Path, timeout_s: float = 300, cwd: Path = tmp_path, stdin: str = "", **env: str
    ) -> subprocess.CompletedProcess[str]:
        return fer_edge(*args, cwd=cwd, timeout_s=timeout_s, stdin=stdin, **env)

    return run


@dataclass(frozen=True)
class Chain:
    """The whole chain, made once on drawn faces: cache, finished run, calibration set, judged bundle."""

    data: Path
    run: Path
    calibration: Path
    bundle: Path
    outputs: dict[str, str]


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Every step by the command line, as a user takes it."""
    home = tmp_path_factory.mktemp("chain")
    steps = {
        "synth": ("data", "synth", "--out", "synth", "--count", "2100"),
        "train": ("train", "--data", "synth", "--out", "run", "--epochs", "6"),
        "calibrate": ("calibrate", "--data", "synth", "--count", "256", "--out", "calibration.json"),
        "convert": (
            *("convert", "run", "--int8", "--float16", "--dynamic-int8", "--calibration", "calibration.json"),
            # A network of three epochs on a few hundred judged images flips more than one that is finished.
            *("--max-drop", "3", "--out", "bundle"),
        ),
    }
    outputs = {}
    for name, command in steps.items():
        done = fer_edge(*command, cwd=home, timeout_s=600)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
        outputs[name] = done.stdout
    return Chain(home / "synth", home / "run", home / "calibration.json", home / "bundle", outputs)
