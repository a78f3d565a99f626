"""`benchmarks/peers.py`: packages side by side, each in its own environment; what is not there is no number."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_edge.edge_runtime.bundle import BUNDLED
from fer_edge.edge_runtime.sample_clip import write_sample_clip
from fer_edge.train.dataset import save_dataset
from fer_edge.train.synth import synthetic_dataset

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "benchmarks" / "peers.py"


def load_peers() -> Any:
    spec = importlib.util.spec_from_file_location("peers", PEERS)
    assert spec is not None
    assert spec.loader is not None
    sys.modules["peers"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


peers = load_peers()


def environment(venvs: Path, name: str, python: str) -> None:
    """An environment whose Python is a script that hands over to another one."""
    (venvs / name / "bin").mkdir(parents=True)
    script = venvs / name / "bin" / "python"
    script.write_text(python)
    script.chmod(0o755)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("peers")
    save_dataset(synthetic_dataset(350, 3), folder / "data")
    write_sample_clip(folder / "clip.mp4", 20)
    handing_over = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
    for name in ("fer-edge", "litert"):
        environment(folder / "venvs", name, handing_over)
    environment(folder / "venvs", "fer", "#!/bin/sh\nexit 7\n")
    environment(folder / "venvs", "hsemotion-onnx", handing_over)  # an environment that lacks its package
    arguments = ["clip.mp4", "--data", "data", "--images", "40", "--venvs", "venvs", "--json", "p.json"]
    done = subprocess.run(
        [sys.executable, PEERS, *arguments, "--bundle", BUNDLED],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = json.loads((folder / "p.json").read_text())
    made["printed"] = done.stdout
    return made


def test_those_that_are_there_are_measured_on_the_same_faces_and_frames(report: dict) -> None:
    ours, bare = report["peers"]["fer-edge int8"], report["peers"]["LiteRT int8, bare"]
    assert ours["status"] == bare["status"] == "measured"
    assert ours["faces"] == bare["faces"] == 40
    assert ours["accuracy"] == bare["accuracy"] > 0.25  # one model file, two ways to run it
    assert ours["frames"] == report["clip"]["frames"] == 20
    assert ours["frames_with_a_face"] > 0.8
    assert ours["face_over_ours"] == {"time_ratio": 1.0, "interval": None, "rounds": 1}  # one round says no interval
    assert ours["installed_bytes"] > 1e6
    assert ours["peak_memory_bytes"] > 2e7
    assert bare["frame_p50_ms"] is None  # an engine finds no faces
    assert bare["frames"] is None


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("deepface", "not installed"),
        ("fer", "failed: ended with status 7"),
        ("hsemotion-onnx", "failed: ModuleNotFoundError: No module named 'hsemotion_onnx'"),
        ("OpenVINO int8, bare", "not installed"),
    ],
)
def test_what_cannot_be_measured_says_why_and_has_no_number(report: dict, name: str, status: str) -> None:
    assert report["peers"][name] == {"status": status}
    assert f"- {name}: {status}" in report["printed"]
    assert f"| {name} |" not in report["printed"]


def test_a_clip_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    save_dataset(synthetic_dataset(70, 3), tmp_path / "data")
    (tmp_path / "no.mp4").write_bytes(b"no clip")
    done = subprocess.run(
        [sys.executable, PEERS, "no.mp4", "--data", "data"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "no.mp4 cannot be read as a clip" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_page_has_the_figures_that_were_measured() -> None:
    made = json.loads((ROOT / "docs" / "peers.json").read_text())
    table = peers.as_markdown(made)
    assert table in (ROOT / "docs" / "peers.md").read_text(encoding="utf-8")
    ours, fer = made["peers"]["fer-edge int8"], made["peers"]["fer"]
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    longer = fer["frame_over_ours"]["time_ratio"]
    assert f"names {fer['accuracy']:.1%} rightly and takes {longer:.1f} times as long a frame" in readme
    assert (
        f"{fer['first_label_ms'] / 1000:.1f} s to its first label and {fer['installed_bytes'] / 1e9:.1f} GB" in readme
    )
    first_s, size_mb = ours["first_label_ms"] / 1000, ours["installed_bytes"] / 1e6
    assert f"against {ours['accuracy']:.1%}, {first_s:.1f} s and {size_mb:.0f} MB here" in readme


def test_the_ratio_is_taken_within_rounds() -> None:
    """A slow round slows both and changes nothing; one stalled turn moves the median of ratios by nothing either."""
    rng = np.random.default_rng(0)
    base = [list((100 * drift * rng.normal(1, 0.01, 9)).astype(int)) for drift in np.linspace(1, 3, 30)]
    theirs = [[2 * t for t in turn] for turn in base]
    theirs[7] = [50 * t for t in theirs[7]]
    found = sys.modules["peers_report"].ratio(theirs, base)
    assert found is not None
    assert found["time_ratio"] == pytest.approx(2.0)
    assert found["interval"] == pytest.approx([2.0, 2.0])
    assert sys.modules["peers_report"].ratio([], base) is None


def test_a_frames_ratio_counts_the_dear_frames_that_a_median_does_not_see() -> None:
    """Three of four frames take 1, every fourth 21: six on the mean. The other takes 12 for each: twice as long."""
    ours, theirs = [[1, 1, 1, 21]] * 9, [[12, 12, 12, 12]] * 9
    module = sys.modules["peers_report"]
    assert module.whole_ratio(theirs, ours) == {"time_ratio": 2.0, "interval": [2.0, 2.0], "rounds": 9}
    assert module.ratio(theirs, ours)["time_ratio"] == 12
    assert module.whole_ratio(ours, ours)["interval"] == [1.0, 1.0]
    assert module.whole_ratio(theirs[:5], ours[:5]) == {"time_ratio": 2.0, "interval": None, "rounds": 5}
    assert module.whole_ratio([], ours) is None
    drift = [[turn * slow for turn in (1, 1, 1, 21)] for slow in range(1, 31)]
    low, high = module.whole_ratio([[2 * t for t in turn] for turn in drift], drift)["interval"]
    assert low == high == 2.0
