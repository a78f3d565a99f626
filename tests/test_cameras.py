"""Cameras without cameras: a V4L2 driver and picamera2 in Python, strict where the real ones are; drawn people."""

import errno
import itertools
import json
import struct
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import astuple
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fer_edge.cli.devices import devices
from fer_edge.devices import camera_list, source_argus, source_picamera2, source_v4l2, v4l2_query
from fer_edge.devices.buffer_pool import BufferPool
from fer_edge.devices.camera_list import CameraInfo, list_cameras
from fer_edge.devices.camera_uri import CameraUri, fps, parse_uri, size
from fer_edge.devices.capture_clock import capture_time_ns
from fer_edge.devices.drawn_face import EXPRESSIONS
from fer_edge.devices.errors import SourceError
from fer_edge.devices.frame import Camera
from fer_edge.devices.fresh import FreshFrames
from fer_edge.devices.pixels import raw_shape, unpack
from fer_edge.devices.source_argus import ArgusSource, pipeline
from fer_edge.devices.source_fake import MOOD_S, FakeSource, _mood
from fer_edge.devices.source_picamera2 import Picamera2Source
from fer_edge.devices.source_v4l2 import FORMATS, V4l2Source
from fer_edge.devices.v4l2_query import CameraFormat, V4l2Node
from fer_edge.edge_runtime.detect_haar import HaarDetector
from fer_edge.edge_runtime.detect_yunet import YunetDetector
from fer_edge.edge_runtime.vocabulary import EMOTIONS

ALLOWED: dict[str, Callable[[str], Any]] = {"size": size, "fps": fps, "colour": bool, "every": int, "speed": float}


# addresses


@pytest.mark.parametrize(
    ("word", "target", "options"),
    [
        ("picamera2:0?size=1296x972&fps=30", "0", {"size": (1296, 972), "fps": 30.0}),
        ("v4l2:/dev/video0", "/dev/video0", {}),
        ("v4l2:/dev/v4l/by-id/usb-A:B?fps=29.97", "/dev/v4l/by-id/usb-A:B", {"fps": 29.97}),
        ("replay:a clip.mp4?every=2000&speed=0.5", "a clip.mp4", {"every": 2000, "speed": 0.5}),
        ("fake:", "", {}),
        ("v4l2:0?colour", "0", {"colour": True}),
        ("v4l2:0?colour=no&", "0", {"colour": False}),
    ],
)
def test_an_address_comes_apart(word: str, target: str, options: dict[str, Any]) -> None:
    assert parse_uri(word, ALLOWED) == CameraUri(word.partition(":")[0], target, options)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("fsp=30", "there is no option 'fsp'; did you mean fps? (options: size, fps, colour, every, speed)"),
        ("color=1", "there is no option 'color'; did you mean colour? "),
        ("zoom=2", "there is no option 'zoom' (options: "),
        ("fps=30&fps=20", "the option fps is given twice"),
        ("size=640", "size=640 is wrong; expected a size such as 640x480"),
        ("size=8x8", "size=8x8 is wrong; expected a size from 16x16 to 8192x8192"),
        ("size=641x480", "size=641x480 is wrong; expected a size with an even width and height"),
        ("fps=0", "fps=0 is wrong; expected a rate from 1 to 240 frames a second"),
        ("fps=nan", "fps=nan is wrong; expected a rate of 0 or more"),
        ("fps=241", "fps=241 is wrong; expected a rate from 1 to 240 frames a second"),
        ("colour=blue", "colour=blue is wrong; expected 1 or 0"),
        ("every=1.5", "every=1.5 is wrong; expected a whole number of 0 or more"),
        ("speed=-1", "speed=-1 is wrong; expected a number of 0 or more"),
    ],
)
def test_a_wrong_option_is_explained_in_one_sentence(query: str, says: str) -> None:
    with pytest.raises(SourceError) as error:
        parse_uri(f"v4l2:0?{query}", ALLOWED)
    assert str(error.value).startswith(f"v4l2:0?{query}: {says}")


def test_a_parser_of_its_own_may_say_the_whole_sentence() -> None:
    def refuse(text: str) -> None:
        raise SourceError(f"fault {text!r} is none")

    with pytest.raises(SourceError, match=r"^fault 'x' is none$"):
        parse_uri("replay:a?faults=x", {"faults": refuse})


# buffers


def test_a_buffer_comes_again_only_when_nobody_holds_it() -> None:
    pool = BufferPool()
    first = pool.take((4, 6))
    address = first.ctypes.data
    assert pool.take((4, 6)).ctypes.data != address
    view = first[1:, ::2]
    del first
    assert pool.take((4, 6)).ctypes.data != address  # the view still sees it
    held = {"view": memoryview(view)}
    del view
    assert pool.take((4, 6)).ctypes.data != address
    held["view"].release()
    held.clear()
    assert address in {a.ctypes.data for a in (pool.take((4, 6)), pool.take((4, 6)), pool.take((4, 6)))}


def test_a_buffer_is_of_the_shape_and_type_that_was_asked_for() -> None:
    pool = BufferPool()
    pool.take((4, 6), np.uint8)
    for shape, dtype in (((6, 4), np.uint8), ((4, 6), np.float32), ((4, 6, 3), np.uint8)):
        array = pool.take(shape, dtype)
        assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
        assert array.flags.c_contiguous


def test_many_held_frames_never_change_and_the_pool_stays_small() -> None:
    pool, held = BufferPool(), []
    for value in range(50):
        array = pool.take((8, 8))
        array[:] = value
        held.append(array[2:])
    assert [int(view[0, 0]) for view in held] == list(range(50))
    assert all((view == view[0, 0]).all() for view in held)
    assert len(pool._arrays) <= 8


def test_another_thread_may_let_go_and_hold_on() -> None:
    pool, held, wrong = BufferPool(), [], []

    def look() -> None:
        while len(held) < 2000:
            if held and held[-1] is not None:
                array, value = held[-1]
                wrong.extend([value] if (array != value).any() else [])

    watcher = threading.Thread(target=look)
    watcher.start()
    for value in range(2000):
        array = pool.take((4, 4), np.uint16)
        array[:] = value
        held.append((array, value))
        if value > 3:
            held[value - 3] = None
        del array
    watcher.join()
    assert not wrong


# clocks and pixels


def test_stamps_of_either_clock_come_onto_the_monotonic_one(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = 3_600_000_000_000
    monkeypatch.setattr(time, "monotonic_ns", lambda: 50_000_000_000)
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: 50_000_000_000 + slept)
    assert capture_time_ns(49_970_000_000) == 49_970_000_000
    assert capture_time_ns(49_970_000_000 + slept) == 49_970_000_000  # CLOCK_BOOTTIME
    for unusable in (None, 0, 1_790_000_000_000_000_000, 39_000_000_000, 50_000_000_001):
        assert capture_time_ns(unusable) == 50_000_000_000


LUMA = np.random.default_rng(0).integers(16, 235, (48, 64), np.uint8)


def packed(fourcc: str) -> np.ndarray:
    """LUMA as a driver sends it, without colour (chroma 128)."""
    if fourcc in ("YUYV", "UYVY"):
        raw = np.full((48, 64, 2), 128, np.uint8)
        raw[:, :, int(fourcc == "UYVY")] = LUMA
        return raw
    if fourcc in ("NV12", "I420"):
        return np.vstack([LUMA, np.full((24, 64), 128, np.uint8)])
    if fourcc == "MJPG":
        smooth = cv2.GaussianBlur(LUMA, (15, 15), 5)
        return cv2.imencode(".jpg", cv2.cvtColor(smooth, cv2.COLOR_GRAY2BGR))[1].reshape(1, -1)
    return LUMA.copy()


@pytest.mark.parametrize("fourcc", ["YUYV", "UYVY", "NV12", "I420", "GREY"])
def test_gray_is_the_luma_that_was_sent(fourcc: str) -> None:
    raw = packed(fourcc)
    assert raw.shape == raw_shape(fourcc, 64, 48)
    for colour in (False, True):
        gray, bgr = unpack(fourcc, raw, BufferPool(), colour=colour) or (None, None)
        np.testing.assert_array_equal(gray, LUMA)
        assert gray is not None
        assert gray.flags.c_contiguous
        assert (bgr is not None) == (colour and fourcc != "GREY")
        if bgr is not None:
            assert bgr.shape == (48, 64, 3)
            assert np.ptp(bgr.astype(int), axis=2).max() <= 1  # without chroma, gray


@pytest.mark.parametrize("colour", [False, True])
def test_jpeg_decodes_to_gray_and_a_damaged_one_to_none(colour: bool) -> None:
    gray, bgr = unpack("MJPG", packed("MJPG"), BufferPool(), colour=colour) or (None, None)
    assert gray is not None
    assert gray.shape == (48, 64)
    assert abs(gray.mean() - LUMA.mean()) < 3
    assert (bgr is not None) == colour
    for damaged in (np.zeros((1, 0), np.uint8), np.zeros((1, 100), np.uint8), packed("MJPG")[:, :20]):
        assert unpack("MJPG", damaged, BufferPool(), colour=colour) is None


# V4L2 through OpenCV


class Driver:
    """cv2.VideoCapture over a camera: sizes by format, quirks of OpenCV's V4L2 backend included."""

    sizes: dict[str, list[tuple[int, int]]]
    fps = 30.0
    ends_after = 10**9
    stamps = True
    damaged: set[int]
    opened: list["Driver"]

    def __init__(self, path: str, backend: int) -> None:
        assert backend == cv2.CAP_V4L2
        self.fourcc, self.size, self.convert, self.count, self.is_open = "BGR3", (640, 480), True, 0, True
        self._width = 0
        type(self).opened.append(self)

    def isOpened(self) -> bool:  # noqa: N802
        return self.is_open

    def set(self, prop: int, value: float) -> bool:
        if prop == cv2.CAP_PROP_CONVERT_RGB:
            self.convert = bool(value)
        elif prop == cv2.CAP_PROP_FOURCC:
            name = int(value).to_bytes(4, "little").decode()
            self.fourcc = name if name in self.sizes else "BGR3"  # OpenCV quietly takes what there is
        elif prop == cv2.CAP_PROP_FRAME_WIDTH:
            self._width = int(value)
        elif prop == cv2.CAP_PROP_FRAME_HEIGHT:
            have = self.sizes.get(self.fourcc, [(640, 480)])
            wanted = (self._width, int(value))
            self.size = min(have, key=lambda s: abs(s[0] - wanted[0]) + abs(s[1] - wanted[1]))
        return True

    def get(self, prop: int) -> float:
        if prop == cv2.CAP_PROP_POS_MSEC:
            return (time.monotonic_ns() - 20_000_000) / 1e6 if self.stamps else 0.0
        return {
            cv2.CAP_PROP_FOURCC: float(int.from_bytes(self.fourcc.encode(), "little")),
            cv2.CAP_PROP_FRAME_WIDTH: self.size[0],
            cv2.CAP_PROP_FRAME_HEIGHT: self.size[1],
            cv2.CAP_PROP_FPS: self.fps,
        }[prop]

    def grab(self) -> bool:
        self.count += 1
        return self.is_open and self.count <= self.ends_after

    def retrieve(self, buffer: np.ndarray | None) -> tuple[bool, np.ndarray]:
        assert not self.convert
        gray = np.full(self.size[::-1], self.count % 200 + 20, np.uint8)
        if self.fourcc == "MJPG":
            jpeg = cv2.imencode(".jpg", gray)[1].reshape(1, -1)
            return True, jpeg[:, :30] if self.count in self.damaged else jpeg
        assert buffer is not None
        assert buffer.shape == raw_shape(self.fourcc, *self.size)
        if self.fourcc in ("YUYV", "UYVY"):
            buffer[:] = 128
            buffer[:, :, int(self.fourcc == "UYVY")] = gray
        else:
            buffer[: self.size[1]] = gray
        return True, buffer

    def release(self) -> None:
        self.is_open = False


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[type[Driver], str]:
    """The class to set up, and the camera's address."""

    class Mine(Driver):
        sizes = {"YUYV": [(320, 240), (640, 480)], "MJPG": [(640, 480), (1280, 720)]}  # noqa: RUF012
        damaged: set[int] = set()  # noqa: RUF012
        opened: list[Driver] = []  # noqa: RUF012

    path = tmp_path / "video0"
    path.touch()
    monkeypatch.setattr(source_v4l2.cv2, "VideoCapture", Mine)
    monkeypatch.setattr(source_v4l2, "query", lambda path: V4l2Node(path, "uvcvideo", "Cam", True, (), False))
    return Mine, f"v4l2:{path}"


def first(source: Any, count: int = 1) -> list[Any]:
    return list(itertools.islice(source, count))


@pytest.mark.parametrize(
    ("query", "fourcc", "size_wh"),
    [
        ("", "YUYV", (640, 480)),
        ("?size=320x240", "YUYV", (320, 240)),
        ("?size=1280x720", "MJPG", (1280, 720)),
        ("?format=mjpg", "MJPG", (640, 480)),
        ("?size=640x480&format=YUYV&fps=30", "YUYV", (640, 480)),
    ],
)
def test_the_format_follows_the_size(
    driver: tuple[type[Driver], str], query: str, fourcc: str, size_wh: tuple[int, int]
) -> None:
    with V4l2Source(driver[1] + query) as source:
        frames = first(source, 3)
    assert [f.seq for f in frames] == [0, 1, 2]
    assert frames[0].gray.shape == size_wh[::-1]
    assert frames[0].bgr is None
    assert (source.fps, source.live, source.still, source.damaged) == (30.0, True, False, 0)
    assert driver[0].opened[0].fourcc == fourcc
    assert [int(f.gray[0, 0]) for f in frames] == [21, 22, 23]  # held frames did not change
    assert not driver[0].opened[0].is_open


def test_small_pictures_fall_to_what_there_is(driver: tuple[type[Driver], str]) -> None:
    driver[0].sizes = {"GREY": [(640, 480)]}
    with V4l2Source(driver[1]) as source:
        assert first(source)[0].gray[0, 0] == 21
    driver[0].sizes = {"YUYV": [(1296, 972)], "MJPG": [(1280, 720)]}
    with V4l2Source(driver[1] + "?size=1296x972") as source:  # MJPG comes first but has no such size
        assert first(source)[0].gray.shape == (972, 1296)


@pytest.mark.parametrize("fourcc", ["YUYV", "MJPG", "UYVY", "NV12"])
def test_colour_on_demand(driver: tuple[type[Driver], str], fourcc: str) -> None:
    driver[0].sizes = {fourcc: [(640, 480)]}
    with V4l2Source(f"{driver[1]}?colour=1&format={fourcc}") as source:
        (frame,) = first(source)
    assert frame.bgr.shape == (480, 640, 3)
    assert abs(int(frame.gray[0, 0]) - 21) <= 1


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?size=800x600", "gives no format that is read here at 800x600, it gave MJPG at 640x480 and YUYV at 640x480"),
        ("?size=1280x720&format=YUYV", "gives no YUYV at 1280x720, it gave YUYV at 640x480; fer-edge devices lists"),
        ("?format=GREY", "gives no GREY, it gave BGR3 at 640x480; fer-edge devices lists what it has"),
        ("?fps=60", "gives no 60 frames a second at 640x480 as YUYV, it gave 30; fer-edge devices lists what it has"),
        ("?colour=1&format=GREY", "format=GREY has no colour"),
        ("?format=H264", "format=H264 is wrong; expected one of YUYV, MJPG, UYVY, NV12, GREY"),
    ],
)
def test_what_is_asked_for_and_not_given_is_an_error(driver: tuple[type[Driver], str], query: str, says: str) -> None:
    with pytest.raises(SourceError) as error:
        V4l2Source(driver[1] + query)
    assert says in str(error.value).replace(" and BGR3 at 640x480", "")
    assert not any(each.is_open for each in driver[0].opened)


def test_lines_that_are_padded_are_refused(driver: tuple[type[Driver], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_v4l2, "line_bytes", lambda path: 1344)
    with pytest.raises(SourceError, match="pads its lines at this size"):
        V4l2Source(driver[1])


def test_frames_are_as_old_as_the_driver_says(driver: tuple[type[Driver], str]) -> None:
    for stamps, youngest, oldest in ((True, 20, 200), (False, 0, 150)):
        driver[0].stamps = stamps
        with V4l2Source(driver[1]) as source:
            for frame in first(source, 3):
                assert youngest <= (time.monotonic_ns() - frame.t_capture_ns) / 1e6 <= oldest


def test_an_unplugged_camera_raises_and_close_is_harmless_twice(driver: tuple[type[Driver], str]) -> None:
    driver[0].ends_after = 2
    source = V4l2Source(driver[1])
    with pytest.raises(SourceError, match=r"stopped giving frames after 2; is the camera still connected\?$"):
        first(source, 5)
    source.close()
    source.close()


def test_damaged_pictures_are_skipped_and_counted(driver: tuple[type[Driver], str]) -> None:
    driver[0].damaged = {2, 3}
    with V4l2Source(driver[1] + "?format=MJPG") as source:
        assert [f.seq for f in first(source, 3)] == [0, 1, 2]
        assert source.damaged == 2
    driver[0].damaged = set(range(100))
    with (
        V4l2Source(driver[1] + "?format=MJPG") as source,
        pytest.raises(SourceError, match="30 damaged pictures in a row"),
    ):
        first(source)


def test_buffers_are_used_again(driver: tuple[type[Driver], str]) -> None:
    with V4l2Source(driver[1] + "?colour=1") as source:
        addresses = {(frame.gray.ctypes.data, frame.bgr.ctypes.data) for frame in first_by_one(source, 20)}
    assert len(addresses) <= 2


def first_by_one(source: Any, count: int) -> Iterator[Any]:
    for frame in source:
        yield frame
        count -= 1
        if not count:
            return
        del frame


def test_a_camera_that_is_not_there_is_busy_or_none(
    driver: tuple[type[Driver], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = driver[1].removeprefix("v4l2:")
    with pytest.raises(SourceError, match=f"^there is no camera {path}9; cameras here: "):
        V4l2Source(f"{driver[1]}9")
    monkeypatch.setattr(source_v4l2, "query", lambda path: V4l2Node(path, "uvcvideo", "Cam", True, (), True))
    with pytest.raises(SourceError, match=f"^camera {path} does not open; is another program using it, or are you"):
        V4l2Source(driver[1])
    monkeypatch.setattr(source_v4l2, "query", lambda path: V4l2Node(path, "bcm2835-codec", "Codec", False, (), False))
    with pytest.raises(SourceError, match=r"\(bcm2835-codec\) is no camera"):
        V4l2Source(driver[1])
    monkeypatch.undo()
    with pytest.raises(SourceError, match="does not open"):  # a plain file answers no V4L2 call
        V4l2Source(driver[1])


def test_a_number_is_a_path() -> None:
    if not Path("/dev/video99").exists():
        with pytest.raises(SourceError, match=r"^there is no camera /dev/video99; cameras here: "):
            V4l2Source("v4l2:99")


# the kernel's calls


class Kernel:
    """ioctl of a camera with one discrete and one stepwise format; structures written out byte by byte."""

    caps = 0x85200001
    device_caps = 0x04200001
    driver = b"uvcvideo"
    busy = False

    def __call__(self, fd: int, request: int, raw: bytearray) -> int:
        assert (request >> 16 & 0x3FFF, request >> 8 & 0xFF) == (len(raw), ord("V"))
        answer = {0: self._cap, 2: self._fmt, 4: self._get, 5: self._set, 74: self._size, 75: self._rate}[
            request & 0xFF
        ]
        raw[:] = answer(bytes(raw)).ljust(len(raw), b"\0")
        return 0

    def _cap(self, raw: bytes) -> bytes:
        numbers = struct.pack("<3I", 0x60100, self.caps, self.device_caps)
        return self.driver.ljust(16, b"\0") + b"Cam".ljust(32, b"\0") + b"usb-1".ljust(32, b"\0") + numbers

    def _fmt(self, raw: bytes) -> bytes:
        index, kind = struct.unpack_from("<2I", raw)
        if index > 1 or kind != 1:
            raise OSError(errno.EINVAL, "no more")
        return raw[:44] + (b"MJPG", b"YUYV")[index] + raw[48:]

    def _size(self, raw: bytes) -> bytes:
        index, code = struct.unpack_from("<I4s", raw)
        if code == b"MJPG" and index < 2:
            return raw[:8] + struct.pack("<3I", 1, *((1280, 720), (640, 480))[index])
        if code == b"YUYV" and index == 0:
            return raw[:8] + struct.pack("<7I", 3, 16, 1296, 16, 16, 972, 2)
        raise OSError(errno.EINVAL, "no more")

    def _rate(self, raw: bytes) -> bytes:
        index, code = struct.unpack_from("<I4s", raw)
        if code == b"MJPG" and index < 2:
            return raw[:16] + struct.pack("<3I", 1, *((1001, 30000), (1, 60))[index])
        if code == b"YUYV" and index == 0:
            return raw[:16] + struct.pack("<7I", 3, 1, 40, 1, 10, 1, 1)
        raise OSError(errno.EINVAL, "no more")

    def _get(self, raw: bytes) -> bytes:
        at = 8 if struct.calcsize("P") == 8 else 4
        return raw[:at] + struct.pack("<2I4s3I", 640, 480, b"YUYV", 1, 1280, 614400)

    def _set(self, raw: bytes) -> bytes:
        if self.busy:
            raise OSError(errno.EBUSY, "busy")
        assert raw == self._get(raw).ljust(len(raw), b"\0")  # the format that is set, and no other
        return raw


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> type[Kernel]:
    class Mine(Kernel):
        pass

    monkeypatch.setattr(v4l2_query.fcntl, "ioctl", lambda fd, request, raw: Mine()(fd, request, raw))
    return Mine


def test_structures_have_the_kernels_sizes() -> None:
    """Printed by a C program that includes linux/videodev2.h, on x86-64."""
    if struct.calcsize("P") == 8:
        assert (v4l2_query.QUERYCAP, v4l2_query.ENUM_FMT) == (2154321408, 3225441794)
        assert (v4l2_query.G_FMT, v4l2_query.S_FMT) == (3234878980, 3234878981)
        assert (v4l2_query.ENUM_FRAMESIZES, v4l2_query.ENUM_FRAMEINTERVALS) == (3224131146, 3224655435)


def test_a_camera_tells_its_formats(kernel: type[Kernel], tmp_path: Path) -> None:
    path = tmp_path / "video0"
    path.touch()
    node = v4l2_query.query(str(path))
    assert (node.driver, node.card, node.is_capture, node.busy) == ("uvcvideo", "Cam", True, False)
    yuyv = (40.0, 30.0, 25.0, 20.0, 15.0, 10.0)
    assert [f for f in node.formats if f.fourcc == "MJPG"] == [
        CameraFormat("MJPG", (1280, 720), (60.0, 29.97)),
        CameraFormat("MJPG", (640, 480), (60.0, 29.97)),
    ]
    stepwise = [f for f in node.formats if f.fourcc == "YUYV"]
    assert [f.size for f in stepwise] == [
        *((320, 240), (640, 360), (640, 480), (800, 600), (1280, 720), (1296, 972)),
    ]
    assert {f.fps for f in stepwise} == {yuyv}
    assert v4l2_query.line_bytes(str(path)) == 1280
    kernel.busy = True
    assert v4l2_query.query(str(path)).busy


@pytest.mark.parametrize(
    ("device_caps", "is_capture"),
    [
        (0x04200001, True),
        (0x04201000, True),  # several planes
        (0x04A00000, False),  # metadata
        (0x04208000, False),  # a codec: memory to memory
        (0x04204000, False),
        (0x04200002, False),  # an output
    ],
)
def test_what_is_no_camera_is_seen(kernel: type[Kernel], tmp_path: Path, device_caps: int, is_capture: bool) -> None:
    path = tmp_path / "video0"
    path.touch()
    kernel.device_caps = device_caps
    node = v4l2_query.query(str(path))
    assert node.is_capture is is_capture
    if not is_capture:
        assert not node.formats


# picamera2


class Stub:
    """picamera2 with the interface of its real one, and stricter: memory of a released request is poisoned."""

    def __init__(self, models: tuple[str, ...] = ("imx219", "imx708"), frames: int = 10**9, padding: int = 32) -> None:
        self.models, self.frames, self.padding = models, frames, padding
        self.cameras: list[Any] = []
        self.stamp: Callable[[], int | None] = lambda: time.monotonic_ns() - 15_000_000
        self.busy = False
        self.adjust: tuple[int, int] | None = None
        self.fastest_us = 16_000

    def module(self) -> types.ModuleType:
        stub = self

        class Request:
            def __init__(self, camera: "Picamera2", count: int) -> None:
                self.camera, self.released = camera, False
                width, height = camera.config["lores"]["size"]
                self.memory = np.full((height * 3 // 2, width + stub.padding), 128, np.uint8)
                self.memory[:height, :width] = count % 200
                self.memory[:height, width:] = 255  # the padding must not be seen
                camera.unreleased += 1
                assert camera.unreleased < camera.config["buffer_count"], "the camera has no buffer left"

            def get_metadata(self) -> dict[str, Any]:
                assert not self.released
                stamp = stub.stamp()
                return {"ExposureTime": 1} | ({"SensorTimestamp": stamp} if stamp is not None else {})

            def release(self) -> None:
                assert not self.released
                self.released = True
                self.memory[:] = 77  # the next frame is written here
                self.camera.unreleased -= 1

        class MappedArray:
            def __init__(self, request: Request, stream: str, reshape: bool = True, write: bool = True) -> None:
                assert stream == "lores"
                assert not write
                self._request, self.array = request, None

            def __enter__(self) -> "MappedArray":
                assert not self._request.released
                self.array = self._request.memory
                return self

            def __exit__(self, *_: object) -> None:
                del self.array

        class Picamera2:
            def __init__(self, number: int) -> None:
                if stub.busy:
                    raise RuntimeError("Camera __init__ sequence did not complete.")
                self.number, self.unreleased, self.count, self.state = number, 0, 0, "open"
                self.camera_controls: dict[str, tuple[int, int, int]] = {}
                self.waiting: list[Future] = []
                self.sensor_modes = [{"size": (640, 480), "fps": 103.33}, {"size": (3280, 2464), "fps": 21.19}]
                stub.cameras.append(self)

            @staticmethod
            def global_camera_info() -> list[dict[str, Any]]:
                usb = {"Model": "Webcam", "Id": "/base/scb/pcie/usb@0", "Num": len(stub.models)}
                csi = [{"Model": m, "Id": f"/base/soc/i2c/{m}@10", "Num": n} for n, m in enumerate(stub.models)]
                return [*csi, usb] if stub.models else []

            def create_video_configuration(self, **config: Any) -> dict[str, Any]:
                assert config["lores"]["format"] == "YUV420"
                return {"queue": True, "buffer_count": 6} | config

            def configure(self, config: dict[str, Any]) -> None:
                assert self.state == "open"
                assert all(side % 2 == 0 for name in ("main", "lores") for side in config[name]["size"])
                if stub.adjust:
                    config["lores"] = config["lores"] | {"size": stub.adjust}
                self.config = config
                self.camera_controls = {"FrameDurationLimits": (stub.fastest_us, 1_000_000, 33_333)}

            def camera_configuration(self) -> dict[str, Any]:
                return self.config

            def start(self) -> None:
                self.state = "started"

            def capture_request(self, wait: bool | None = None) -> Future:
                assert self.state == "started"
                assert wait is False
                job: Any = Future()
                job.get_result = job.result
                self.count += 1
                if self.count > stub.frames:
                    self.waiting.append(job)
                else:
                    job.set_result(Request(self, self.count))
                return job

            def cancel_all_and_flush(self) -> None:
                self.waiting.clear()

            def stop(self) -> None:
                assert not self.waiting, "stop() queues behind a job that never ends"
                self.state = "stopped"

            def close(self) -> None:
                assert self.state != "started"
                self.state = "closed"

        module = types.ModuleType("picamera2")
        module.Picamera2, module.MappedArray = Picamera2, MappedArray  # type: ignore[attr-defined]
        return module


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    made = Stub()
    monkeypatch.setitem(sys.modules, "picamera2", made.module())
    return made


def test_luma_comes_out_of_the_request_before_it_goes_back(stub: Stub) -> None:
    with Picamera2Source("picamera2:0?size=1296x972&fps=30&lores=640x480") as source:
        frames = first(source, 10)
        assert (source.name, source.fps, source.live, source.still, source.damaged) == (
            *("picamera2:0", 30.0, True, False, 0),
        )
    assert [f.seq for f in frames] == list(range(10))
    for count, frame in enumerate(frames, start=1):
        assert frame.gray.shape == (480, 640)
        assert frame.gray.flags.c_contiguous
        assert (frame.gray == count).all()  # no padding, and nothing that was written later
        assert frame.bgr is None
    (camera,) = stub.cameras
    assert (camera.unreleased, camera.state) == (0, "closed")
    assert camera.config["main"]["size"] == (1296, 972)
    assert camera.config["controls"]["FrameDurationLimits"] == (33333, 33333)
    assert camera.config["queue"] is False


def test_colour_out_of_the_same_stream(stub: Stub) -> None:
    with Picamera2Source("picamera2:0?colour=1&lores=320x240") as source:
        (frame,) = first(source)
    assert frame.bgr.shape == (240, 320, 3)
    assert np.ptp(frame.bgr.astype(int)) == 0


@pytest.mark.parametrize(
    ("query", "main", "lores"),
    [
        ("", (1296, 972), (640, 480)),
        ("?size=1920x1080", (1920, 1080), (640, 360)),
        ("?size=320x240", (320, 240), (320, 240)),
    ],
)
def test_the_small_stream_has_the_shape_of_the_large_one(
    stub: Stub, query: str, main: tuple[int, int], lores: tuple[int, int]
) -> None:
    with Picamera2Source("picamera2:1" + query) as source:
        assert first(source)[0].gray.shape == lores[::-1]
    assert stub.cameras[0].number == 1
    assert stub.cameras[0].config["main"]["size"] == main


def test_pi_buffers_are_used_again(stub: Stub) -> None:
    with Picamera2Source("picamera2:0") as source:
        addresses = {frame.gray.ctypes.data for frame in first_by_one(source, 20)}
    assert len(addresses) <= 2


def test_the_age_counts_from_the_sensor(stub: Stub) -> None:
    for stamp, oldest in ((stub.stamp, 150), (lambda: None, 100)):
        stub.stamp = stamp
        with Picamera2Source("picamera2:0") as source:
            (frame,) = first(source)
        assert (15 if oldest == 150 else 0) <= (time.monotonic_ns() - frame.t_capture_ns) / 1e6 <= oldest


def test_a_camera_that_falls_silent_raises_and_closes(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_picamera2, "_TIMEOUT_S", 0.05)
    stub.frames = 3
    source = Picamera2Source("picamera2:0")
    with pytest.raises(SourceError, match=r"^picamera2:0 stopped giving frames after 3; is the camera's cable still"):
        first(source, 5)
    source.close()
    source.close()
    assert stub.cameras[0].state == "closed"


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("picamera2:5", "there is no camera picamera2:5; cameras here: 0 (imx219), 1 (imx708), 2 (Webcam)"),
        ("picamera2:front", "picamera2:front: expected a camera's number, as in picamera2:0"),
        ("picamera2:0?fps=120", "picamera2:0 gives no 120 frames a second at this size, at most 62.5"),
        ("picamera2:0?size=640x480&lores=800x600", "picamera2:0: lores=800x600 is larger than size=640x480"),
        ("picamera2:0?loress=1x1", "picamera2:0?loress=1x1: there is no option 'loress'; did you mean lores?"),
    ],
)
def test_what_a_pi_camera_does_not_have_is_said(stub: Stub, word: str, says: str) -> None:
    with pytest.raises(SourceError) as error:
        Picamera2Source(word)
    assert str(error.value).startswith(says)
    assert all(camera.state == "closed" for camera in stub.cameras)


def test_no_camera_a_busy_one_and_one_that_gives_another_size(stub: Stub) -> None:
    stub.adjust = (608, 480)
    with pytest.raises(SourceError, match=r"^picamera2:0 gives no lores=640x480, it gave 608x480$"):
        Picamera2Source("picamera2:0?lores=640x480")
    with Picamera2Source("picamera2:0") as source:
        assert first(source)[0].gray.shape == (480, 608)
    stub.busy = True
    with pytest.raises(SourceError, match=r"^camera picamera2:0 does not open; is another program using it"):
        Picamera2Source("picamera2:0")
    stub.models = ()
    with pytest.raises(SourceError, match="cameras here: none; check the cable, then: rpicam-hello --list-cameras"):
        Picamera2Source("picamera2:0")


def test_a_missing_or_unfitting_picamera2_is_said_with_its_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(SourceError, match="picamera2 is not installed; run: sudo apt install python3-picamera2, and"):
        Picamera2Source("picamera2:0")
    monkeypatch.delitem(sys.modules, "picamera2")
    (tmp_path / "picamera2.py").write_text("raise ValueError('numpy.dtype size changed')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SourceError, match=r"does not load with numpy .*pip install 'numpy<2'"):
        Picamera2Source("picamera2:0")


# Argus


def test_the_pipeline_of_a_jetson() -> None:
    tail = "appsink drop=true max-buffers=1 sync=false"
    assert pipeline(1, (1280, 720), 30.0, colour=False) == (
        "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=1280,height=720,framerate=30/1 ! "
        f"nvvidconv ! video/x-raw,format=GRAY8 ! {tail}"
    )
    assert "framerate=30000/1001 ! nvvidconv ! video/x-raw,format=I420 !" in pipeline(
        0, (64, 48), 29.97003, colour=True
    )


def test_without_jetson_or_gstreamer_argus_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^argus:0: GStreamer's nvarguscamerasrc is not here; it comes with JetPack"):
        ArgusSource("argus:0?size=1280x720")
    (tmp_path / "libgstnvarguscamerasrc.so").touch()
    monkeypatch.setenv("GST_PLUGIN_PATH", str(tmp_path))
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GStreamer:                   NO\n")
    with pytest.raises(SourceError, match=r"this OpenCV has no GStreamer \(pip's has none\); use JetPack's"):
        ArgusSource("argus:0")


@pytest.mark.parametrize("colour", [False, True])
def test_argus_frames(monkeypatch: pytest.MonkeyPatch, colour: bool) -> None:
    class Capture:
        def __init__(self, line: str, backend: int) -> None:
            assert backend == cv2.CAP_GSTREAMER
            self.left = 2

        def isOpened(self) -> bool:  # noqa: N802
            return True

        def read(self, buffer: np.ndarray) -> tuple[bool, np.ndarray | None]:
            self.left -= 1
            buffer[:] = 128
            return (True, buffer) if self.left >= 0 else (False, None)

        def release(self) -> None:
            pass

    monkeypatch.setattr(source_argus, "missing", lambda: None)
    monkeypatch.setattr(source_argus.cv2, "VideoCapture", Capture)
    source = ArgusSource(f"argus:0?size=64x48&colour={int(colour)}")
    frames: list[Any] = []
    with pytest.raises(SourceError, match=r"^argus:0 stopped giving frames after 2"):
        frames.extend(source)
    assert [f.gray.shape for f in frames] == [(48, 64)] * 2
    assert [f.bgr is not None for f in frames] == [colour] * 2


# drawn people


def fake(query: str, every: int = 1) -> list[Any]:
    with FakeSource(f"fake:?fps=0&{query}") as source:
        return [frame for frame in source if frame.seq % every == 0]


def test_the_same_seed_draws_the_same_frames() -> None:
    once, again = fake("frames=40&faces=2&size=320x240"), fake("frames=40&faces=2&size=320x240")
    assert all((a.gray == b.gray).all() for a, b in zip(once, again, strict=True))
    assert [f.t_media_ns for f in once[:2]] == [0, 33_333_333]
    assert sum((a.gray != b.gray).any() for a, b in itertools.pairwise(once)) == 39
    assert (once[0].gray != fake("frames=1&faces=2&size=320x240&seed=1")[0].gray).any()
    assert (once[5].bgr == once[5].gray[:, :, None]).all()


def test_drawn_people_wear_all_emotions_in_turn() -> None:
    assert tuple(EXPRESSIONS) == EMOTIONS
    table = np.array([astuple(shown) for shown in EXPRESSIONS.values()])
    worn = [np.array(astuple(_mood((at + 0.9) * MOOD_S))) for at in range(14)]
    assert [int(np.abs(table - each).sum(axis=1).argmin()) for each in worn] == [*range(7), *range(7)]
    halfway = np.array(astuple(_mood(MOOD_S + 0.3)))  # one face turns into the next, it does not jump
    assert 0 < np.abs(halfway - worn[0]).sum() < np.abs(worn[1] - worn[0]).sum()


@pytest.mark.parametrize(("size_wh", "faces"), [("640x480", 1), ("640x480", 2), ("1280x720", 3), ("320x240", 4)])
def test_both_detectors_find_the_drawn_people(size_wh: str, faces: int, shared: Path) -> None:
    """As the pipeline scans: shrunk to 320 wide, faces of 24 pixels or more; over 21 seconds, all seven emotions."""
    model = shared / "models" / "face_detection_yunet_2026may.onnx"
    detectors = [HaarDetector()] + ([YunetDetector(model)] if model.is_file() else [])
    hits = np.zeros(len(detectors))
    frames = fake(f"size={size_wh}&faces={faces}&frames=630", every=15)
    for frame in frames:
        small = cv2.resize(frame.gray, (320, 320 * frame.gray.shape[0] // frame.gray.shape[1]))
        hits += [len(detector.find(small, 24)) == faces for detector in detectors]
    assert (hits >= 0.95 * len(frames)).all()


def test_an_empty_room_has_no_face() -> None:
    (frame,) = fake("faces=0&frames=1")
    assert HaarDetector().find(frame.gray, 24) == []


def test_the_drawn_camera_keeps_its_rate() -> None:
    with FakeSource("fake:?fps=50&size=160x120&frames=11") as source:
        stamps = [frame.t_capture_ns for frame in source]
    assert source.fps == 50
    assert 0.19 <= (stamps[-1] - stamps[0]) / 1e9 <= 0.6


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("fake:?faces=9", "fake:?faces=9: faces=9 is wrong; expected 0 to 4 faces"),
        ("fake:x?faces=1", "fake:x?faces=1: fake: has no name before its options, as in fake:?faces=2"),
        ("fake:?face=1", "fake:?face=1: there is no option 'face'; did you mean faces?"),
    ],
)
def test_a_wrong_word_for_the_drawn_camera(word: str, says: str) -> None:
    with pytest.raises(SourceError) as error:
        FakeSource(word)
    assert str(error.value).startswith(says)


# the list


NODES = {
    "video0": V4l2Node(
        *("video0", "uvcvideo", "HD Webcam", True),
        (CameraFormat("YUYV", (640, 480), (30.0, 15.0)), CameraFormat("H264", (640, 480), (30.0,))),
        False,
    ),
    "video1": V4l2Node("video1", "uvcvideo", "HD Webcam", False, (), False),  # its metadata
    "video2": V4l2Node("video2", "uvcvideo", "Other", True, (CameraFormat("YUYV", (640, 480), (30.0,)),), True),
    "video10": V4l2Node("video10", "bcm2835-isp", "isp", True, (CameraFormat("YUYV", (64, 64), ()),), False),
    "video11": V4l2Node("video11", "unicam", "unicam", True, (CameraFormat("BG10", (64, 64), ()),), False),
    "video12": V4l2Node(
        "video12", "tegra-video", "vi-output, imx219", True, (CameraFormat("RG10", (64, 64), ()),), False
    ),
    "video13": V4l2Node("video13", "odd", "Thermal", True, (CameraFormat("Y16", (160, 120), (9.0,)),), False),
}


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in (*NODES, "video3"):
        (tmp_path / name).touch()

    def query(path: str) -> V4l2Node:
        name = Path(path).name
        if name == "video3":
            raise PermissionError(errno.EACCES, "Permission denied")
        return NODES[name]

    class Dev:
        def __new__(cls, path: str) -> Any:
            return tmp_path if path == "/dev" else Path(path)

    monkeypatch.setattr(camera_list, "query", query)
    monkeypatch.setattr(camera_list, "Path", Dev)
    monkeypatch.setitem(sys.modules, "picamera2", None)
    return tmp_path


def test_cameras_are_listed_and_what_is_none_is_left_out(nodes: Path) -> None:
    found = {info.name: info for info in list_cameras()}
    assert list(found) == ["CSI camera", "HD Webcam", "Other", "video3", "Thermal"]
    assert found["HD Webcam"] == CameraInfo(
        f"v4l2:{nodes}/video0", "HD Webcam", "uvcvideo", NODES["video0"].formats, True, None
    )
    assert [found[name].answers for name in ("Other", "video3", "Thermal", "CSI camera")] == [False] * 4
    assert found["Other"].why_not == "another program is using it"
    assert "usermod -aG video" in str(found["video3"].why_not)
    assert found["Thermal"].why_not == "gives Y16 alone, which is not read here"
    assert "apt install python3-picamera2" in str(found["CSI camera"].why_not)


def test_csi_cameras_are_listed_with_their_modes(nodes: Path, stub: Stub) -> None:
    found = [info for info in list_cameras() if info.driver == "libcamera"]
    assert [(info.uri, info.name, info.answers) for info in found] == [
        *(("picamera2:0", "imx219", True), ("picamera2:1", "imx708", True)),
    ]
    assert found[0].formats[0] == CameraFormat("YUV420", (640, 480), (103.33,))
    assert all(camera.state == "closed" for camera in stub.cameras)
    stub.busy = True
    assert [info.why_not for info in list_cameras()][:2] == ["another program is using it"] * 2


def test_a_jetsons_sensors_are_listed_by_number(nodes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_list, "read_text", lambda path: "nvidia,p3768-0000\0nvidia,tegra234")
    found = {info.uri: info for info in list_cameras()}
    assert found["argus:0"].name == "vi-output, imx219"
    assert not found["argus:0"].answers  # no JetPack here


# the command


def test_devices_prints_80_columns(nodes: Path, stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    devices(as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("board        ")
    assert f"v4l2:{nodes}/video0  HD Webcam (uvcvideo)" in lines
    at = lines.index("  YUYV")
    assert lines[at + 1 : at + 3] == ["    640x480    30, 15 fps", "  not read: H264"]
    assert "  does not answer: another program is using it" in lines
    assert lines.index("picamera2:0  imx219 (libcamera)") < lines.index(f"v4l2:{nodes}/video2  Other (uvcvideo)")
    assert all(len(line) <= 80 for line in lines if str(nodes) not in line and "usermod" not in line)


def test_devices_as_json_is_json_alone(nodes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    devices(as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"board", "profile", "cameras"}
    assert set(told["board"]) >= {"board", "cpu", "int8_features", "memory_bytes", "temp_c", "governor"}
    webcam = next(camera for camera in told["cameras"] if camera["name"] == "HD Webcam")
    assert webcam["formats"][0] == {"fourcc": "YUYV", "size": [640, 480], "fps": [30.0, 15.0]}
    assert webcam["answers"] is True


def test_no_camera_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(camera_list, "list_cameras", list)
    devices(as_json=False)
    assert "no camera answers." in capsys.readouterr().out


# a real camera, or tools/with_vivid.sh


@pytest.fixture
def webcam() -> CameraInfo:
    found = [info for info in list_cameras() if info.answers and info.uri.startswith("v4l2:")]
    if not found:
        pytest.skip("no V4L2 camera answers")
    return found[0]


@pytest.mark.hardware
def test_a_real_camera_gives_every_format_it_lists(webcam: CameraInfo) -> None:
    tried = 0
    for fourcc in FORMATS:
        sizes = [f.size for f in webcam.formats if f.fourcc == fourcc]
        if not sizes:
            continue
        width, height = min(sizes)
        with V4l2Source(f"{webcam.uri}?format={fourcc}&size={width}x{height}") as source:
            frames = first(source, 10)
            age_ms = (time.monotonic_ns() - frames[-1].t_capture_ns) / 1e6
        assert {f.gray.shape for f in frames} == {(height, width)}
        assert all(b.t_capture_ns > a.t_capture_ns for a, b in itertools.pairwise(frames))
        assert (frames[0].gray != frames[-1].gray).any()
        assert 0 <= age_ms < 1000
        print(fourcc, width, height, source.fps, f"{age_ms:.1f} ms")
        tried += 1
    assert tried


@pytest.mark.hardware
def test_a_real_camera_refuses_what_it_does_not_have_and_a_second_reader(webcam: CameraInfo) -> None:
    for query in ("size=646x382", "fps=239"):
        with pytest.raises(SourceError, match="fer-edge devices lists what it has"):
            V4l2Source(f"{webcam.uri}?{query}")
    with V4l2Source(webcam.uri) as source:
        first(source)
        with pytest.raises(SourceError, match="does not open; is another program using it"):
            V4l2Source(webcam.uri)
        busy = next(info for info in list_cameras() if info.uri == webcam.uri)
        assert (busy.answers, busy.why_not) == (False, "another program is using it")


@pytest.mark.hardware
def test_a_camera_is_unplugged_and_plugged_in_again(webcam: CameraInfo) -> None:
    port = Path("/sys/bus/platform/drivers/vivid")
    if not port.is_dir():
        pytest.skip("pulls the plug of the kernel's virtual camera alone")
    said: list[str] = []
    camera = Camera(webcam.uri, lambda: V4l2Source(webcam.uri))
    with FreshFrames(camera, give_up_s=30, say=said.append) as source:
        frames = iter(source)
        next(frames)
        threading.Timer(0.5, (port / "unbind").write_text, ["vivid.0"]).start()
        threading.Timer(4.0, (port / "bind").write_text, ["vivid.0"]).start()
        gap_ms = next(frame.gap_ms for frame in frames if frame.gap_ms is not None)
    print(said)
    assert gap_ms > 3000
    assert source.counts.reopened == 1
    assert "stopped giving frames" in said[0]
