"""Bugs found by reading and by nasty input; each of these failed before it was mended."""

import json
import os
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_edge.devices.errors import EngineError, OutputError, RunError, SourceError
from fer_edge.devices.files import replacing_folder
from fer_edge.devices.frame import redacted
from fer_edge.edge_runtime.bundle import BUNDLED, Bundle
from fer_edge.edge_runtime.detect import iou
from fer_edge.edge_runtime.follow import FaceFollower
from fer_edge.edge_runtime.golden import tolerance_of
from fer_edge.edge_runtime.quantization import Quantization
from fer_edge.edge_runtime.sample_clip import SAMPLE_PHOTO, write_sample_clip
from fer_edge.edge_runtime.vocabulary import Face, Precision
from fer_edge.train.recipes import recipe_for
from fer_edge.train.run_folder import RunFolder


def test_probes_do_not_import_from_the_folder_that_the_user_stands_in(tmp_path: Path) -> None:
    """`make demo` stands in a checkout whose fer_edge/ is not the installed package."""
    (tmp_path / "fer_edge").mkdir()
    (tmp_path / "fer_edge" / "__init__.py").write_text("raise SystemExit('the wrong package')")
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    code = "import sys; sys.argv[0] = 'fer-edge'; from fer_edge.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "doctor"], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "golden vectors come out" in done.stdout


@pytest.mark.parametrize(
    "args",
    [
        ("me.jpg", "--save", "me.jpg"),
        ("me.jpg", "--jsonl", "./me.jpg"),
        ("me.jpg", "--save", "out.jpg", "--jsonl", "out.jpg"),
        ("photos", "--save", "photos"),
    ],
)
def test_outputs_never_destroy_the_source(cli, tmp_path: Path, args: tuple[str, ...]) -> None:
    content = SAMPLE_PHOTO.read_bytes()
    (tmp_path / "me.jpg").write_bytes(content)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(content)
    done = cli("run", *args)
    assert done.returncode == 1
    assert "writing it would destroy that" in done.stderr
    assert (tmp_path / "me.jpg").read_bytes() == (tmp_path / "photos" / "a.jpg").read_bytes() == content


def test_force_replaces_only_what_we_wrote(cli, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    done = cli("data", "synth", "--out", "precious", "--count", "70", "--force")
    assert done.returncode == 1
    assert "holds no cache.json, so --force does not replace it" in done.stderr
    assert (precious / "thesis.txt").read_text() == "years of work"


def test_what_a_killed_replacement_moved_aside_comes_back(tmp_path: Path) -> None:
    """Killed between the two renames: the old folder stands aside, the new one has not its name yet."""
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    aside = tmp_path / f".b.{process.pid}.tmp.old"
    aside.mkdir()
    (aside / "bundle.json").write_text("old")
    with pytest.raises(RuntimeError), replacing_folder(tmp_path / "b", "bundle.json", force=True):
        raise RuntimeError("the second run fails")
    assert (tmp_path / "b" / "bundle.json").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_a_folder_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    def work() -> None:
        with replacing_folder(tmp_path / "b", "bundle.json"):
            (tmp_path / "b").mkdir()
            (tmp_path / "b" / "theirs").write_text("x")

    with pytest.raises(OutputError, match="exists already"):
        work()
    assert (tmp_path / "b" / "theirs").exists()


def test_a_manifest_cannot_widen_what_golden_vectors_allow() -> None:
    from dataclasses import replace

    variant = Bundle.open().find("tflite", Precision.INT8)
    expected = np.linspace(-3, 3, 70, dtype=np.float32).reshape(10, 7)
    wide = replace(variant, quantization=(Quantization(1, -128), Quantization(1000, 0)))
    assert tolerance_of(wide, expected) < 0.1


class _Two:
    """Two people who walk into each other's place."""

    name = "two"

    def __init__(self) -> None:
        self.full = True

    def find(self, gray, min_side):
        if gray.shape == (240, 320):
            return [Face((100, 100, 140, 140), 1.0), Face((120, 100, 160, 140), 1.0)] if self.full else []
        middle = gray.shape[0] // 2
        return [Face((middle - 20, middle - 20, middle + 20, middle + 20), 1.0)]


def test_two_tracks_never_follow_one_face() -> None:
    detector = _Two()
    follower = FaceFollower(detector, scan_every=15)
    frame = np.zeros((240, 320), np.uint8)
    follower.find(frame)
    for track in follower._tracks:
        track.face = Face((100, 100, 140, 140), 1.0, track.face.track_id)
    faces = follower.find(frame)
    assert [face.track_id for face in faces] == [1]


class _Drifting:
    """Sees a face to the right of wherever it looks: its track walks out of the frame."""

    name = "drifting"

    def find(self, gray, min_side):
        if gray.shape == (240, 320):
            return [Face((270, 100, 310, 140), 1.0)]
        middle = gray.shape[0] // 2
        return [Face((middle - 5, middle - 20, middle + 35, middle + 20), 1.0)]


def test_a_face_that_leaves_the_frame_is_lost_and_not_a_crash() -> None:
    follower = FaceFollower(_Drifting(), scan_every=1000)
    for _ in range(40):
        for face in follower.find(np.zeros((240, 320), np.uint8)):
            assert iou(face.box_xyxy, (0, 0, 320, 240)) > 0


@pytest.mark.parametrize("top", ["", "bundle/"])
def test_a_zipped_bundle_opens_with_and_without_its_folder(tmp_path: Path, monkeypatch, top: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "b.ferpack", "w") as archive:
        for path in BUNDLED.iterdir():
            archive.write(path, top + path.name)
    assert Bundle.open(tmp_path / "b.ferpack").sha256 == Bundle.open().sha256


def test_a_bad_image_in_a_folder_does_not_stop_the_others(cli, tmp_path: Path) -> None:
    folder = tmp_path / "mix"
    folder.mkdir()
    for name in ("a.jpg", "c.jpg"):
        (folder / name).write_bytes(SAMPLE_PHOTO.read_bytes())
    (folder / "b.jpg").write_text("not an image")
    (folder / "z.jpg").mkdir()
    done = cli("run", folder)
    assert done.returncode == 1
    assert "c.jpg: 1 face" in done.stdout
    assert "1 of 3 images cannot be read: " in done.stderr


def test_several_photos_do_not_go_into_one_picture(cli, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    picture = cv2.imread(str(SAMPLE_PHOTO))
    for name in ("a.jpg", "a.png"):
        cv2.imwrite(str(folder / name), picture)
    done = cli("run", folder, "--save", "one.jpg")
    assert done.returncode == 1
    assert "2 photos need a folder" in done.stderr
    assert cli("run", folder, "--save", "many").returncode == 0
    assert {p.name for p in (tmp_path / "many").iterdir()} == {"a.jpg", "a.png.jpg"}


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("run", ""), "the source is empty"),
        (("run", "9" * 20), "does not exist"),
        (("run", "{photo}", "--save", "{file}/x.jpg"), "cannot write"),
        (("run", "{photo}", "--jsonl", "/dev/full"), "cannot write /dev/full: No space left on device"),
        (("run", "{huge}"), "is not a readable image"),
        (("train", "--data", "x", "--seed", "-1"), "seed -1 is outside"),
        (("compare", "--data", "x", "--max-drop", "nan"), "x is not a data cache"),
    ],
)
def test_nasty_input_is_one_sentence(cli, tmp_path: Path, args: tuple[str, ...], sentence: str) -> None:
    (tmp_path / "file").write_text("x")
    huge = bytearray(cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes())
    huge[16:24] = (60000).to_bytes(4, "big") * 2
    huge[29:33] = zlib.crc32(huge[12:29]).to_bytes(4, "big")
    (tmp_path / "huge.png").write_bytes(huge)
    done = cli(*(a.format(photo=SAMPLE_PHOTO, file="file", huge="huge.png") for a in args))
    assert done.returncode == 1
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_passwords_in_addresses_are_not_shown() -> None:
    assert redacted("rtsp://admin:secret@10.0.0.7/live") == "rtsp://***@10.0.0.7/live"
    assert redacted("rtsp://10.0.0.7/a@b") == "rtsp://10.0.0.7/a@b"
    from fer_edge.devices.sources import open_source

    with pytest.raises(SourceError) as caught:
        open_source("rtsp://admin:secret@127.0.0.1:9/live", give_up_s=5)
    assert "secret" not in str(caught.value)


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.create(recipe_for("cnn"), {"data_sha256": "0", "data_source": "x"}, {})
    with run.alone(), pytest.raises(RunError, match="another process is training"), RunFolder(tmp_path / "run").alone():
        pass
    with run.alone():
        pass


def test_a_short_training_shortens_its_warm_up() -> None:
    assert recipe_for("cnn-edge", epochs=1).warmup_epochs == 0
    assert recipe_for("cnn-edge").warmup_epochs == 2


def test_an_engine_that_nobody_knows_is_no_traceback(cli, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(BUNDLED, tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / "bundle.json").read_text())
    manifest["variants"][0]["engine"] = "bogus"
    (tmp_path / "b" / "bundle.json").write_text(json.dumps(manifest))
    done = cli("doctor", "b")
    assert done.returncode == 1
    assert "this version knows no such engine" in done.stdout
    done = cli("run", SAMPLE_PHOTO, "--bundle", "b", "--engine", "bogus")
    assert done.returncode == 1
    assert "unknown engine 'bogus'" in done.stderr


def test_bench_of_a_clip_takes_the_variant_asked_for(cli, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    write_sample_clip(tmp_path / "c.mp4", 12)
    args = ("--min-seconds", "0", "--min-samples", "11", "--source", "c.mp4", "--json", "b.json")
    assert cli("bench", "--only", "onnx/int8", *args).returncode == 0
    [run] = json.loads((tmp_path / "b.json").read_text())["pipeline"]
    assert run["variant"] == "onnx/int8"


def test_an_engine_without_its_weights_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from fer_edge.edge_runtime.engines import start

    (tmp_path / "m.xml").write_text("<net/>")
    with pytest.raises(EngineError, match=r"m\.bin is missing"):
        start("openvino", tmp_path / "m.xml", Precision.INT8)


def test_a_reader_who_leaves_does_not_cost_the_clip(tmp_path: Path) -> None:
    """`fer-edge run … | head -1`: the annotated clip and the lines are whole all the same."""
    write_sample_clip(tmp_path / "c.mp4", 40)
    command = f"{sys.executable} -P -m fer_edge run c.mp4 --save out.mp4 --jsonl out.jsonl | head -n 1"
    subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=True, timeout=120)
    assert int(cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)) >= 1
    assert (tmp_path / "out.jsonl").read_text().endswith("}\n")
    assert not list(tmp_path.glob(".*"))


def test_ctrl_c_in_training_waits_for_the_end_of_a_batch() -> None:
    """Raised in the middle of TensorFlow's own Python it was swallowed now and then, and the training went on."""
    code = """
import os, signal
from fer_edge.train.stopping import ctrl_c_between_batches
signal.signal(signal.SIGINT, signal.default_int_handler)
with ctrl_c_between_batches() as check:
    check()
    os.kill(os.getpid(), signal.SIGINT)
    print("the batch goes on")
    try:
        check()
    except KeyboardInterrupt:
        print("stopped between batches")
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the batch goes on\nstopped between batches\n"


def test_onnx_runtime_is_asked_for_int8_that_does_not_overflow() -> None:
    """Without VNNI it gave nine other labels on 64 golden faces; the golden vectors tell on such a processor alone."""
    from fer_edge.edge_runtime.engine_onnx import EXACT_INT8, OnnxEngine

    engine = OnnxEngine(BUNDLED / "int8.onnx", Precision.INT8, 1)
    name, value = EXACT_INT8
    assert engine._session.get_session_options().get_session_config_entry(name) == value
