"""USB and other V4L2 cameras: `v4l2:/dev/video0?size=640x480&fps=30&format=MJPG&colour=1`.

OpenCV's conversion to BGR is switched off, so that gray is the luma the camera sent: nothing computes colour only to
throw it away. What was asked for and is not given is an error: nothing falls back silently.
"""

import os
from collections.abc import Iterator
from pathlib import Path

# Seconds, not OpenCV's 10: a camera that hangs is opened again all the sooner, and ending a run waits no longer.
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "4")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

import cv2
import numpy as np

from fer_edge.devices.buffer_pool import BufferPool
from fer_edge.devices.camera_uri import CameraUri, Parser, fps, parse_uri, size
from fer_edge.devices.capture_clock import capture_time_ns
from fer_edge.devices.errors import SourceError
from fer_edge.devices.frame import Closing, Frame
from fer_edge.devices.pixels import MJPG, WITHOUT_COLOUR, raw_shape, unpack
from fer_edge.devices.v4l2_query import line_bytes, query

FORMATS = ("YUYV", "MJPG", "UYVY", "NV12", "GREY")
_USUAL_SIZE = (640, 480)
_QUEUE = 3
"""The driver's buffers: one is filled, one waits, one is copied. With fewer, a reader that is late once loses frames;
with more, one that is late shows old ones."""
_DAMAGED_IN_A_ROW = 30
_FPS_TOLERANCE = 0.05


def _format(text: str) -> str:
    if text.upper() not in FORMATS:
        raise ValueError(f"one of {', '.join(FORMATS)}")
    return text.upper()


OPTIONS: dict[str, Parser] = {"size": size, "fps": fps, "format": _format, "colour": bool}


class V4l2Source(Closing):
    """An open camera.

    Args:
        word: `v4l2:/dev/video0` or `v4l2:0`, with options. Without `format`, MJPG is taken above 640x480 (USB 2 does
            not carry more unpacked) and YUYV up to it, or else what there is. Without `size` it is 640x480 or the
            nearest that the driver gives.

    Raises:
        SourceError: there is no such camera, it is in use, or it does not give what was asked for; while iterating,
            when the camera vanishes or gives nothing for 4 seconds.
    """

    still, live = False, True

    def __init__(self, word: str) -> None:
        uri = parse_uri(word, OPTIONS)
        self.name = self._path = _path(uri.target)
        self.damaged = 0
        self._colour = uri.options.get("colour", False)
        self._pool = BufferPool()
        why_not = _why_not(self._path)
        if why_not:
            raise SourceError(why_not)
        self._capture = cv2.VideoCapture(self._path, cv2.CAP_V4L2)
        try:
            if not self._capture.isOpened():
                raise SourceError(_does_not_open(self._path))
            self._fourcc = self._negotiate(uri)
            self.fps: float | None = self._rate(uri.options.get("fps"))
        except BaseException:
            self._capture.release()
            raise

    def __iter__(self) -> Iterator[Frame]:
        seq = in_a_row = 0
        while self._capture.grab():
            taken_ns = capture_time_ns(round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6) or None)
            pictures = self._retrieved()
            if pictures is None:
                self.damaged, in_a_row = self.damaged + 1, in_a_row + 1
                if in_a_row >= _DAMAGED_IN_A_ROW:
                    raise SourceError(f"{self.name} gave {in_a_row} damaged pictures in a row; try another cable")
                continue
            in_a_row = 0
            yield Frame(*pictures, seq, taken_ns)
            del pictures  # else its buffers count as in use while the next one is read
            seq += 1
        raise SourceError(f"{self.name} stopped giving frames after {seq}; is the camera still connected?")

    def close(self) -> None:
        """Give the device back; harmless twice."""
        self._capture.release()

    def _retrieved(self) -> tuple[np.ndarray, np.ndarray | None] | None:
        buffer = self._pool.take(self._shape) if self._shape else None
        ok, raw = self._capture.retrieve(buffer)
        if not ok or (self._shape and raw.shape != self._shape):
            return None
        return unpack(self._fourcc, raw, self._pool, colour=self._colour)  # type: ignore[arg-type]

    def _negotiate(self, uri: CameraUri) -> str:
        """Set format and size; the rate comes last, since OpenCV sets it anew with every other setting."""
        width, height = uri.options.get("size", _USUAL_SIZE)
        self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, _QUEUE)
        candidates, gave = _candidates(uri, width * height), []
        for fourcc in candidates:
            self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*fourcc))
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
            given = self._given_size()
            if self._given_format() == fourcc and ("size" not in uri.options or given == (width, height)):
                break
            gave.append(f"{self._given_format()} at {given[0]}x{given[1]}")
        else:
            at = f" at {width}x{height}" if "size" in uri.options else ""
            wanted = uri.options.get("format") or "format that is read here"
            raise self._not_given(f"no {wanted}{at}", " and ".join(dict.fromkeys(gave)))
        self._shape = raw_shape(fourcc, *given)
        self._refuse_padding(fourcc, given[0])
        return fourcc

    def _rate(self, wanted: float | None) -> float | None:
        self._capture.set(cv2.CAP_PROP_FPS, wanted or 30)
        given = self._capture.get(cv2.CAP_PROP_FPS)
        if not 0 < given < 1000:
            return None  # a driver that does not say
        if wanted and abs(given - wanted) > _FPS_TOLERANCE * wanted:
            size_now = "{}x{}".format(*self._given_size())
            raise self._not_given(f"no {wanted:g} frames a second at {size_now} as {self._fourcc}", f"{given:.3g}")
        return float(given)

    def _refuse_padding(self, fourcc: str, width: int) -> None:
        """OpenCV takes lines to follow each other without a gap; where they do not, the picture would be sheared."""
        expected = {MJPG: None, "YUYV": 2 * width, "UYVY": 2 * width}.get(fourcc, width)
        if expected and (line_bytes(self._path) or expected) != expected:
            raise SourceError(f"{self.name} pads its lines at this size; ask for a width that is a multiple of 32")

    def _given_format(self) -> str:
        code = int(self._capture.get(cv2.CAP_PROP_FOURCC))
        return code.to_bytes(4, "little", signed=code < 0).decode("ascii", "replace").rstrip()

    def _given_size(self) -> tuple[int, int]:
        width, height = (self._capture.get(p) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        return int(width), int(height)

    def _not_given(self, wanted: str, given: str) -> SourceError:
        return SourceError(f"{self.name} gives {wanted}, it gave {given}; fer-edge devices lists what it has")


def _path(target: str) -> str:
    return f"/dev/video{target or 0}" if target.isdigit() or not target else target


def _candidates(uri: CameraUri, pixels: int) -> list[str]:
    colour, wanted = uri.options.get("colour", False), uri.options.get("format")
    if colour and wanted == WITHOUT_COLOUR:
        raise SourceError(f"{uri.name}: format={wanted} has no colour; leave format or colour away")
    if wanted:
        return [wanted]
    first = MJPG if pixels > _USUAL_SIZE[0] * _USUAL_SIZE[1] else "YUYV"
    others = [f for f in FORMATS if f != first and not (colour and f == WITHOUT_COLOUR)]
    return [first, *others]


def _why_not(path: str) -> str | None:
    """What can be said before OpenCV tries, which takes long over a camera that is in use."""
    if not Path(path).exists():
        have = ", ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "none"
        return f"there is no camera {path}; cameras here: {have}"
    try:
        node = query(path)
    except OSError:
        return _does_not_open(path)
    if node.busy:
        return _does_not_open(path)
    if not node.is_capture:
        return f"{path} ({node.driver}) is no camera; fer-edge devices lists those there are"
    return None


def _does_not_open(path: str) -> str:
    return f"camera {path} does not open; is another program using it, or are you missing from the group video?"
