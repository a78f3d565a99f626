"""Words for detectors, and the model file that is fetched once and known by its hash."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fer_edge.devices.errors import EngineError
from fer_edge.edge_runtime import detector_models
from fer_edge.edge_runtime.detect import open_detector
from fer_edge.edge_runtime.detect_fixed import FixedDetector, parse_region
from fer_edge.edge_runtime.sample_clip import SAMPLE_PHOTO

YUNET = "models/face_detection_yunet_2026may.onnx"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """An HTTP server over a folder of its own."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **more) -> None:
            super().__init__(*args, directory=str(folder), **more)

        def log_message(self, *_: object) -> None: ...

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()


def test_yunet_is_fetched_checked_kept_and_used(cli, shared: Path, server: str, tmp_path: Path) -> None:
    (tmp_path / "served" / "yunet.onnx").write_bytes((shared / YUNET).read_bytes())
    home = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    fetched = cli("models", "fetch", "yunet", "--from", f"{server}/yunet.onnx", **home)
    assert fetched.returncode == 0, fetched.stderr
    assert "229,738 bytes" in fetched.stdout
    again = cli("models", "fetch", "yunet", **home)  # it is there: no network is asked
    assert again.returncode == 0, again.stderr
    done = cli("run", SAMPLE_PHOTO, "--detector", "yunet", **home)
    assert done.returncode == 0, done.stderr
    assert "faces by yunet" in done.stdout
    assert "1 face" in done.stdout


def test_a_file_will_do_where_there_is_no_network(cli, shared: Path, tmp_path: Path) -> None:
    done = cli("models", "fetch", "yunet", "--from", shared / YUNET, XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "fer-edge" / "face_detection_yunet_2026may.onnx").is_file()


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("{server}/other.onnx", "is not the yunet that is known (sha256"),
        ("{server}/missing.onnx", "cannot fetch"),
        (
            "http://127.0.0.1:9/x.onnx",
            "on a machine with a network get face_detection_yunet_2026may.onnx, copy it here",
        ),
        ("nowhere.onnx", "nowhere.onnx does not exist"),
    ],
)
def test_what_is_not_yunet_is_not_kept(cli, server: str, tmp_path: Path, source: str, sentence: str) -> None:
    (tmp_path / "served" / "other.onnx").write_bytes(b"another file")
    cache = tmp_path / "cache"
    done = cli("models", "fetch", "yunet", "--from", source.format(server=server), XDG_CACHE_HOME=str(cache))
    assert done.returncode == 1
    assert sentence in done.stderr
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_unknown_models_and_one_that_was_not_fetched(cli, tmp_path: Path) -> None:
    assert "unknown model 'x'; choose one of yunet" in cli("models", "fetch", "x").stderr
    done = cli("run", SAMPLE_PHOTO, "--detector", "yunet", XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 1
    assert "run: fer-edge models fetch yunet, or give --detector-model" in done.stderr


def test_the_hash_is_that_of_the_file_that_was_measured(shared: Path) -> None:
    from fer_edge.devices.files import sha256_of

    assert sha256_of(shared / YUNET) == detector_models.MODELS["yunet"].sha256


def test_a_region_is_a_face_in_every_frame(cli, tmp_path: Path) -> None:
    done = cli("run", "fake:?frames=30", "--detector", "region:200,100,400,300", "--jsonl", "out.jsonl", "--quiet")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {tuple(face["box_xyxy"]) for row in rows for face in row["faces"]} == {(200, 100, 400, 300)}
    assert {face["track_id"] for row in rows for face in row["faces"]} == {1}


def test_the_frame_may_be_the_face(cli, tmp_path: Path) -> None:
    done = cli("run", SAMPLE_PHOTO, "--detector", "none", "--jsonl", "out.jsonl")
    assert done.returncode == 0, done.stderr
    [row] = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(row["faces"]) == 1
    assert row["faces"][0]["box_xyxy"][:2] == [0, 0]


@pytest.mark.parametrize(("text", "box"), [("0,0,10,10", (0, 0, 10, 10)), ("100,50,300,250", (100, 50, 300, 250))])
def test_regions(text: str, box: tuple[int, int, int, int]) -> None:
    assert parse_region(text) == box


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,x", "10,10,10,20", "10,10,20,5", "-1,0,5,5"])
def test_regions_that_are_none(text: str) -> None:
    with pytest.raises(EngineError, match="region:"):
        parse_region(text)


def test_a_region_outside_the_frame_is_said() -> None:
    with pytest.raises(EngineError, match="lies outside the 64x48 frame"):
        FixedDetector((100, 0, 120, 20)).find(np.zeros((48, 64), np.uint8), 8)


@pytest.mark.parametrize(
    ("word", "model", "sentence"),
    [
        ("mtcnn", None, "unknown detector 'mtcnn'; choose haar, yunet, region"),
        ("haar", Path("x.onnx"), "--detector-model is YuNet's file; with --detector haar leave it away"),
        (None, Path("nowhere.onnx"), "nowhere.onnx does not exist"),
    ],
)
def test_words_that_name_no_detector(word: str | None, model: Path | None, sentence: str) -> None:
    with pytest.raises(EngineError, match=sentence):
        open_detector(word, model)
