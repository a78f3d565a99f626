"""The shipped bundle on a Raspberry Pi 4's and a Pi 5's core: aarch64 packages under QEMU, a board's /proc/cpuinfo."""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fer_edge.devices.errors import ConversionError, EngineError
from fer_edge.edge_runtime import engines
from fer_edge.edge_runtime.bundle import BUNDLED, GOLDEN_FILE, MANIFEST
from fer_edge.edge_runtime.vocabulary import EMOTIONS, Precision

ROOT = Path(__file__).resolve().parents[1]
EVERY = 8
"""Float takes QEMU a second a face, so only each eighth golden face goes through: every label is among them."""
CANNOT, TOO_LONG = 69, 124
"""Exit codes of tools/arm_lab.sh and of timeout."""
MODELS = {"pi4": "Raspberry Pi 4 Model B Rev 1.4", "pi5": "Raspberry Pi 5 Model B Rev 1.0"}


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def lab() -> Path:
    """The aarch64 userland in .cache/, made where it is not there."""
    if os.geteuid() != 0:
        pytest.skip("an aarch64 userland needs root")
    if shutil.which("apt-get") is None or shutil.which("unshare") is None:
        pytest.skip("an aarch64 userland needs apt-get and unshare")
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no mount namespace")
    folder = Path(os.environ.get("FER_EDGE_ARM_LAB") or ROOT / ".cache" / "arm")
    done = subprocess.run(
        ["timeout", "900", ROOT / "tools" / "arm_lab.sh", folder, sys.executable, "onnx,openvino"],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode == TOO_LONG:
        pytest.skip("the aarch64 packages did not come within 15 minutes")
    if done.returncode == CANNOT:
        pytest.skip(f"no aarch64 userland: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return folder


class Emulated:
    """A board: `run` starts the emulated Python on its core, with one thread, since QEMU's threads wait by spinning."""

    def __init__(self, lab: Path, core: Any, home: Path) -> None:
        self.home, self._lab, self._core, self.name = home, lab, core.qemu, core.board
        self._cpuinfo = home / "cpuinfo"
        self._cpuinfo.write_text(f"{core.cpuinfo()}Model\t\t: {MODELS[core.board]}\n")

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        shell = 'mount --bind "$1" /proc/cpuinfo && shift && exec "$@"'
        first = str(min(os.sched_getaffinity(0)))
        return subprocess.run(
            ["unshare", "-m", "sh", "-c", shell, "sh", self._cpuinfo, "taskset", "-c", first,
             self._lab / "python", *arguments],
            capture_output=True, text=True, check=False, cwd=self.home, stdin=subprocess.DEVNULL, timeout=900,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "QEMU_CPU": self._core, "NO_COLOR": "1"},
        )  # fmt: skip

    def doctor(self, bundle: Path) -> dict[str, dict[str, str]]:
        """`fer-edge doctor --json` there, by subject; it must find nothing bad."""
        done = self.run("-m", "fer_edge", "doctor", bundle, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return {finding["subject"]: finding for finding in json.loads(done.stdout)}


@pytest.fixture(scope="module", params=["A72", "A76"])
def board(lab: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Emulated:
    return Emulated(lab, tool("instructions").CORES[request.param], tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def checked(board: Emulated) -> dict[str, Any]:
    """What tools/arm_check.py says, with the photo's record."""
    done = board.run(ROOT / "tools" / "arm_check.py", board.home)
    assert done.returncode == 0, done.stderr
    [record] = (board.home / "photo.jsonl").read_text().splitlines()
    made: dict[str, Any] = json.loads(done.stdout) | {"photo": json.loads(record)}
    return made


def small(bundle: Path, out: Path, *variants: str) -> Path:
    """A copy of a bundle with these of its variants (all by default) and each eighth of its golden faces."""
    shutil.copytree(bundle, out)
    manifest = json.loads((out / MANIFEST).read_text())
    with np.load(bundle / GOLDEN_FILE) as arrays:
        np.savez(out / GOLDEN_FILE, **{name: arrays[name][::EVERY] for name in arrays.files})
    written = (out / GOLDEN_FILE).read_bytes()
    manifest["golden"] |= {"sha256": hashlib.sha256(written).hexdigest(), "bytes": len(written)}
    if variants:
        manifest["variants"] = [v for v in manifest["variants"] if f"{v['engine']}/{v['precision']}" in variants]
    (out / MANIFEST).write_text(json.dumps(manifest))
    return out


def test_golden_vectors_hold_on_the_board(board: Emulated) -> None:
    found = board.doctor(small(BUNDLED, board.home / "shipped"))
    assert ", aarch64, 1 cores" in found["machine"]["text"]
    assert found["profile"]["text"].startswith(f"{board.name} (")
    for name in ("tflite/float32", "tflite/int8", "onnx/int8"):
        # Within one step of the output and every label the same: edge_runtime/golden.py.
        assert found[name]["state"] == "ok", found[name]
        assert "; 8 golden vectors come out (" in found[name]["text"]
    assert found["openvino"] == {
        "subject": "openvino", "state": "ok", "text": "starts; no variant here to run on it", "fix": None
    }  # fmt: skip


def test_a_photo_gets_its_label_there(checked: dict[str, Any]) -> None:
    assert (checked["machine"], checked["status"]) == ("aarch64", 0)
    [face] = checked["photo"]["faces"]
    assert face["label"] == "happy"
    assert list(face["probabilities"]) == list(EMOTIONS)


def test_no_training_framework_is_there(checked: dict[str, Any]) -> None:
    assert checked["imported"] == []  # not even another engine
    assert checked["installed"] == ["onnxruntime", "openvino"]


def test_a_photo_takes_less_than_200_mb(checked: dict[str, Any]) -> None:
    """The most that the process ever held: Python, OpenCV, LiteRT and QEMU's own, so the board itself needs less."""
    peak = checked["peak_bytes"]
    assert 0 < peak["python"] < peak["photo"] < 200e6


def test_xnnpack_is_on(checked: dict[str, Any]) -> None:
    assert checked["delegate"] is True


def test_faces_are_cut_to_the_same_bits_as_here(checked: dict[str, Any]) -> None:
    here = tool("arm_check").crops()
    assert len(here) > 190
    assert [side for side, digest in here.items() if checked["crops"][side] != digest] == []


@pytest.mark.slow
def test_openvino_is_right_in_float_and_refused_in_int8(lab: Path, chain: Any, tmp_path: Path) -> None:
    board = Emulated(lab, tool("instructions").CORES["A76"], tmp_path)
    found = board.doctor(small(chain.bundle, board.home / "chain", "openvino/float32", "openvino/int8"))
    assert found["openvino/float32"]["state"] == "ok", found["openvino/float32"]
    assert "; 8 golden vectors come out (" in found["openvino/float32"]["text"]
    assert found["openvino/int8"]["state"] == "note"
    assert "float32, and versions up to 2026.2 give wrong labels" in found["openvino/int8"]["text"]


@pytest.fixture
def on_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")


@pytest.mark.usefixtures("on_arm")
def test_openvino_int8_does_not_start_on_arm(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"openvino/int8 is not offered on this processor: .* use --engine tflite"):
        engines.start("openvino", tmp_path / "int8.xml", Precision.INT8)


@pytest.mark.usefixtures("on_arm")
def test_only_openvino_and_only_int8_is_refused_on_arm() -> None:
    for engine in engines.ENGINES:
        for precision in Precision:
            is_it = (engine, precision) == ("openvino", Precision.INT8)
            assert (engines.refused(engine, precision) is not None) == is_it


def test_nothing_is_refused_on_x86(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert engines.refused("openvino", Precision.INT8) is None


@pytest.mark.usefixtures("on_arm")
def test_it_is_not_converted_on_arm_either() -> None:
    from fer_edge.convert.order import Order

    with pytest.raises(ConversionError, match="give --to without openvino/int8 on this processor: OpenVINO on ARM"):
        Order()
    assert ("openvino", Precision.FLOAT32) in Order(("tflite", "openvino/float32")).variants()
