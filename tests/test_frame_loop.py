"""What the frame loop may cost, in counts: bytes allocated, full scans, looks; and boxes against a full scan."""

import itertools
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from fer_edge.edge_runtime import Bundle, Pipeline, open_engine
from fer_edge.edge_runtime.detect import iou
from fer_edge.edge_runtime.sample_clip import write_sample_clip
from fer_edge.edge_runtime.threads import fewest_that_help

YUNET = "models/face_detection_yunet_2026may.onnx"
SMALL = 16_384
"""Bytes: a tenth of the gray frame of the sample clip. What is under it are Python's own small objects."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "sample.mp4"
    write_sample_clip(path, frames=150)
    return path


def bytes_by_frame(pipeline: Pipeline, frames: int) -> list[int]:
    """Most memory that each frame had at a time beyond what there was before it."""
    seen = []
    before = 0
    tracemalloc.start()
    try:
        for frame, observation in itertools.islice(pipeline.with_frames(), frames):
            _, peak = tracemalloc.get_traced_memory()
            seen.append(peak - before)
            del frame, observation
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return seen


def test_a_frame_allocates_nothing_of_its_own_size(clip: Path) -> None:
    """Decoder, gray picture, shrunk picture, looks and faces all go into buffers that were there before."""
    with Pipeline(clip, threads=1) as pipeline:
        seen = bytes_by_frame(pipeline, 120)[30:]
    assert sorted(seen)[-3] < SMALL, sorted(seen)[-5:]  # a face that is nearer than any before makes a buffer grow


def test_a_frame_allocates_nothing_of_its_own_size_with_yunet(clip: Path, shared: Path) -> None:
    with Pipeline(clip, threads=1, detector_model=shared / YUNET) as pipeline:
        seen = bytes_by_frame(pipeline, 120)[30:]
    assert sorted(seen)[-3] < SMALL, sorted(seen)[-5:]  # a face that is nearer than any before makes a buffer grow


def test_the_engine_allocates_its_answer_and_nothing_else() -> None:
    engine = open_engine(Bundle.open(), "tflite", "int8", 1)
    faces = np.random.default_rng(0).integers(0, 256, (4, 48, 48), np.uint8)
    engine.infer(faces)
    tracemalloc.start()
    for _ in range(50):
        logits = engine.infer(faces)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert logits.shape == (4, 7)
    assert peak < 4096


def test_logits_are_the_callers_own() -> None:
    engine = open_engine(Bundle.open(), "tflite", "int8", 1)
    faces = np.random.default_rng(0).integers(0, 256, (2, 48, 48), np.uint8)
    first = engine.infer(faces[:1])
    kept = first.copy()
    engine.infer(faces[1:])
    assert (first == kept).all()


def test_scans_are_rare_and_looks_cheap(clip: Path) -> None:
    with Pipeline(clip, scan_every=15) as pipeline:
        frames = sum(1 for _ in pipeline)
        follower = pipeline.labeller.follower
    assert frames == 150
    assert follower.full_scans <= 150 / 15 * 1.5
    assert follower.looks <= 150 * 1.2


@pytest.mark.parametrize("detector", ["haar", "yunet"])
@pytest.mark.parametrize("name", ["interview.mp4", "walking_phone.mp4"])
def test_following_finds_what_a_full_scan_of_every_frame_finds(shared: Path, name: str, detector: str) -> None:
    """IoU of at least 0.5 on 95% of the faces; and nobody gets a second id."""
    model = shared / YUNET if detector == "yunet" else None

    def boxes(scan_every: int) -> list[list]:
        with Pipeline(shared / "media" / name, detector_model=model, scan_every=scan_every, gate=False) as pipeline:
            return [[p.face for p in observation.predictions] for observation in pipeline]

    scanned, followed = boxes(1), boxes(15)
    wanted = sum(map(len, scanned))
    found = sum(
        any(iou(face.box_xyxy, other.box_xyxy) >= 0.5 for other in others)
        for faces, others in zip(scanned, followed, strict=True)
        for face in faces
    )
    assert wanted > 100
    assert found / wanted >= 0.95
    assert {face.track_id for faces in followed for face in faces} == {1}


def test_a_sink_that_never_returns_does_not_stop_the_loop(clip: Path) -> None:
    from fer_edge.devices.fresh import FreshFrames
    from fer_edge.devices.source_replay import ReplayCamera
    from fer_edge.edge_runtime.runner import Runner

    class Stuck:
        name, needs_pixels = "stuck", True

        def __init__(self) -> None:
            self.release = threading.Event()

        def put(self, observation, frame) -> None:
            self.release.wait(60)

        def idle(self) -> None: ...

        def close(self) -> None: ...

    stuck = Stuck()
    source = FreshFrames(ReplayCamera(clip, fps=0).camera(), give_up_s=20)
    runner = Runner(Pipeline(source), say=lambda text: None)
    runner.add([stuck])
    runner.run()
    status = runner.monitor.status()
    assert status["frames"] == 150
    assert status["sinks"]["stuck"] == {"written": 0, "dropped": 145, "failed": 0, "error": None}
    runner.close()
    assert runner.stuck() == ["stuck"]  # it is left behind, not waited for
    stuck.release.set()


@pytest.mark.parametrize(
    ("times", "chosen"),
    [
        ({1: 100.0}, 1),
        ({1: 100.0, 2: 90.0}, 1),  # not worth a core
        ({1: 100.0, 2: 60.0}, 2),
        ({1: 100.0, 2: 60.0, 4: 55.0}, 2),
        ({1: 100.0, 2: 90.0, 4: 50.0}, 4),
        ({1: 100.0, 2: 130.0, 4: 400.0}, 1),
    ],
)
def test_as_many_threads_as_help(times: dict[int, float], chosen: int) -> None:
    assert fewest_that_help(times) == chosen


def test_threads_that_were_asked_for_are_not_measured(clip: Path) -> None:
    with Pipeline(clip, threads=3) as pipeline:
        assert pipeline.engine.spec.threads == 3
    with Pipeline(clip) as pipeline:
        assert pipeline.engine.spec.threads in (1, 2, 4)
