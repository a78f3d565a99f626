"""Cameras that are slow, stall, vanish and return: the newest frame, counted drops and gaps, nothing left behind."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_edge.devices.errors import SourceError
from fer_edge.devices.frame import Camera, Closing, Frame
from fer_edge.devices.fresh import CAPTURE_THREAD, FreshFrames
from fer_edge.devices.source_replay import Fault, ReplayCamera, parse_faults
from fer_edge.devices.sources import find_camera, open_source

PIXELS = np.zeros((4, 4), np.uint8)


class Scripted(Closing):
    """A camera that gives frames when it is told to."""

    name, still, live, fps = "scripted", False, True, 30.0

    def __init__(self, script: Callable[[], Iterator[Frame]]) -> None:
        self._script = script
        self.damaged = 0
        self.closed = 0

    def __iter__(self) -> Iterator[Frame]:
        return self._script()

    def close(self) -> None:
        self.closed += 1


def pictures(count: int) -> Iterator[Frame]:
    for seq in range(count):
        yield Frame(PIXELS, None, seq, time.monotonic_ns())


def until(reached: Callable[[], bool], limit_s: float = 20) -> None:
    deadline = time.monotonic() + limit_s
    while not reached():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def threads_called(name: str) -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == name]


def test_only_the_newest_frame_is_taken_and_the_others_are_counted() -> None:
    go_on = threading.Event()

    def script() -> Iterator[Frame]:
        yield from pictures(10)
        go_on.wait(20)
        yield from pictures(1)

    with FreshFrames(Camera("c", lambda: Scripted(script)), give_up_s=20) as fresh:
        until(lambda: fresh.counts.captured == 10)
        taken = iter(fresh)
        assert next(taken).seq == 9
        assert (fresh.counts.captured, fresh.counts.dropped) == (10, 9)
        go_on.set()
        assert [frame.seq for frame in taken] == [10]  # and the source's own end ends it


def test_a_camera_whose_frames_wait_loses_none() -> None:
    camera = Camera("c", lambda: Scripted(lambda: pictures(50)), every_frame=True)
    with FreshFrames(camera, give_up_s=20) as fresh:
        assert [frame.seq for frame in fresh] == list(range(50))
        assert fresh.counts.dropped == 0


def test_a_camera_that_is_not_there_at_the_start_is_said_at_once() -> None:
    def absent() -> Scripted:
        raise SourceError("there is no camera c")

    with pytest.raises(SourceError, match="there is no camera c"):
        FreshFrames(Camera("c", absent), give_up_s=20)
    until(lambda: not threads_called("capture"))


def test_a_camera_that_vanishes_is_opened_again_and_the_gap_counted() -> None:
    said: list[str] = []
    opened: list[Scripted] = []

    def script() -> Iterator[Frame]:
        yield from pictures(3)
        raise SourceError("c was pulled out")

    def again() -> Scripted:
        if len(opened) == 1 and len(said) < 2:
            said.append("(one failed try)")
            raise SourceError("there is no camera c")
        opened.append(Scripted(script if not opened else lambda: pictures(2)))
        return opened[-1]

    with FreshFrames(Camera("c", again, every_frame=True), give_up_s=20, say=said.append) as fresh:
        frames = list(fresh)
    assert [frame.seq for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.gap_ms is not None for frame in frames] == [False, False, False, True, False]
    assert frames[3].gap_ms == pytest.approx(fresh.counts.gap_s * 1000)
    assert (fresh.counts.gaps, fresh.counts.reopened) == (1, 1)
    assert [source.closed for source in opened] == [1, 1]
    assert said[0] == "c was pulled out; waiting for it"
    assert said[-1].startswith("c gives frames again after ")


def test_a_camera_that_stays_away_ends_the_run() -> None:
    state = {"opened": 0}

    def once() -> Scripted:
        state["opened"] += 1
        if state["opened"] > 1:
            raise SourceError("there is no camera c")
        return Scripted(lambda: pictures(1))

    def broken() -> Iterator[Frame]:
        yield from pictures(1)
        raise SourceError("gone")

    camera = Camera("c", lambda: Scripted(broken) if not state["opened"] and not state.update(opened=1) else once())
    with (
        FreshFrames(camera, give_up_s=1.5) as fresh,
        pytest.raises(SourceError, match=r"c gave no frame for 1\.5 s; is the camera still connected\?"),
    ):
        list(fresh)
    assert fresh.counts.gaps == 1
    assert state["opened"] >= 2  # it was tried again
    until(lambda: not threads_called("capture"))


def test_a_camera_that_hangs_in_its_driver_is_a_gap_and_then_the_end() -> None:
    release = threading.Event()

    def script() -> Iterator[Frame]:
        yield from pictures(1)
        release.wait(30)

    with FreshFrames(Camera("c", lambda: Scripted(script)), give_up_s=1.5) as fresh:
        with pytest.raises(SourceError, match="gave no frame for"):
            list(fresh)
        assert fresh.away
        fresh.close()
        assert threads_called(CAPTURE_THREAD)  # so that the program knows to leave without waiting for the driver
        release.set()
    until(lambda: not threads_called("capture"))


def test_a_bug_in_a_camera_keeps_its_traceback() -> None:
    def script() -> Iterator[Frame]:
        yield from pictures(1)
        raise ZeroDivisionError

    camera = Camera("c", lambda: Scripted(script), every_frame=True)
    with pytest.raises(ZeroDivisionError), FreshFrames(camera, give_up_s=20) as fresh:
        list(fresh)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", ()),
        ("stall@300:2", (Fault("stall", 300, 2.0),)),
        ("gone@1:0.5,drop@2", (Fault("gone", 1, 0.5), Fault("drop", 2, 1.0))),
    ],
)
def test_faults(text: str, faults: tuple[Fault, ...]) -> None:
    assert parse_faults(text) == faults


@pytest.mark.parametrize("text", ["burn@3:1", "stall:2", "stall@x", "stall@1:-2", "stall@1:1e3"])
def test_a_fault_that_is_none_is_one_sentence(text: str) -> None:
    with pytest.raises(SourceError, match="expected KIND@FRAME:AMOUNT, such as stall@300:2; kinds are stall, gone"):
        parse_faults(text)


@pytest.fixture(scope="module")
def counting_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty frames whose gray says their number: 0, 6, 12, …"""
    path = tmp_path_factory.mktemp("clip") / "count.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for at in range(40):
        writer.write(np.full((48, 64, 3), 6 * at, np.uint8))
    writer.release()
    return path


def numbers(frames: list[Frame]) -> list[int]:
    return [round(float(frame.gray.mean()) / 6) for frame in frames]


def replayed(camera: ReplayCamera) -> tuple[list[int], FreshFrames]:
    seen: list[int] = []
    with FreshFrames(camera.camera(), give_up_s=20) as fresh:
        for frame in fresh:
            seen += numbers([frame])
    return seen, fresh


def test_a_replay_gives_every_frame_as_often_as_asked(counting_clip: Path) -> None:
    seen, fresh = replayed(ReplayCamera(counting_clip, fps=0, loop=2))
    assert seen == [*range(40), *range(40)]
    assert fresh.counts.gaps == 0


def test_a_replay_drops_damages_and_vanishes_on_schedule_and_goes_on_where_it_was(counting_clip: Path) -> None:
    camera = ReplayCamera(counting_clip, fps=0, faults=parse_faults("drop@5:3,damaged@20:2,gone@30:0.3"))
    seen, fresh = replayed(camera)
    missing = {5, 6, 7, 20, 21}
    assert seen == [n for n in range(40) if n not in missing]
    assert fresh.counts.damaged == 2
    assert (fresh.counts.gaps, fresh.counts.reopened) == (1, 1)
    assert camera.happened == {"drop": 1, "damaged": 1, "gone": 1}


def test_a_schedule_repeats(counting_clip: Path) -> None:
    camera = ReplayCamera(counting_clip, fps=0, faults=parse_faults("noise@2:1"), every=10)
    seen, _ = replayed(camera)
    assert camera.happened == {"noise": 4}
    assert [at for at, n in enumerate(seen) if n != at] == [2, 12, 22, 32]


def test_a_replay_on_the_clock_is_never_early(counting_clip: Path) -> None:
    """By the frames' own stamps: the n-th comes at n / fps after the opening at the soonest."""
    camera = ReplayCamera(counting_clip, fps=200)
    opened_ns = time.monotonic_ns()
    with camera.camera().open() as source:
        stamps = [frame.t_capture_ns for frame in source]
    assert len(stamps) == 40
    assert all(at - opened_ns >= n * 5_000_000 for n, at in enumerate(stamps, start=1))


def test_a_frame_that_is_held_does_not_change(counting_clip: Path) -> None:
    """Buffers are used again, but not those that somebody still looks at."""
    held = list(open_source(str(counting_clip), give_up_s=1))
    assert numbers(held) == list(range(40))


def test_a_clip_that_nobody_holds_is_read_into_few_buffers(counting_clip: Path) -> None:
    places = set()
    for frame in open_source(str(counting_clip), give_up_s=1):
        places.add(frame.gray.ctypes.data)
        del frame
    assert len(places) <= 2


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("0", "v4l2:/dev/video0"),
        ("/dev/video7", "v4l2:/dev/video7"),
        ("picamera2:0?fps=30", "picamera2:0?fps=30"),
        ("rtsp://me:secret@10.0.0.1/live", "rtsp://***@10.0.0.1/live"),
        ("http://10.0.0.1/a.mjpg", "http://10.0.0.1/a.mjpg"),
        ("fake:", "fake:"),
        ("replay:a.mp4?fps=0", "replay:a.mp4"),
    ],
)
def test_words_for_cameras(word: str, name: str) -> None:
    camera = find_camera(word)
    assert camera is not None
    assert camera.name == name


@pytest.mark.parametrize("word", ["clip.mp4", "C:clip.mp4", "folder/a.jpg"])
def test_words_for_files(word: str) -> None:
    assert find_camera(word) is None


def test_nothing_is_left_behind_by_many_cameras(counting_clip: Path) -> None:
    def left() -> tuple[int, int]:
        return len(threading.enumerate()), len(list(Path("/proc/self/fd").iterdir()))

    before = left()
    for _ in range(20):
        replayed(ReplayCamera(counting_clip, fps=0, faults=parse_faults("gone@3:0.01")))
    until(lambda: left()[0] <= before[0])
    assert left()[1] <= before[1] + 1
