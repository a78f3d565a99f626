"""The Jetson's CSI cameras: `argus:0?size=1280x720&fps=30&colour=1`, through NVIDIA's GStreamer elements.

Scaling and the conversion to gray run on the video engine; only gray (or with `colour` I420, whose first rows are
gray) comes to main memory. GStreamer gives no time of capture that could be compared with ours, so a frame's age
counts from its arrival.
"""

import os
import re
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from fer_edge.devices.buffer_pool import BufferPool
from fer_edge.devices.camera_uri import Parser, fps, parse_uri, size
from fer_edge.devices.errors import SourceError
from fer_edge.devices.frame import Closing, Frame
from fer_edge.devices.pixels import raw_shape, unpack

OPTIONS: dict[str, Parser] = {"size": size, "fps": fps, "colour": bool}
_ELEMENT = "nvarguscamerasrc"
_USUAL_SIZE, _USUAL_FPS = (1280, 720), 30.0


class ArgusSource(Closing):
    """An open CSI camera.

    Args:
        word: `argus:0` with options; the number is the sensor-id.

    Raises:
        SourceError: this OpenCV has no GStreamer, this machine is no Jetson, or the camera does not open; while
            iterating, when the camera stops.
    """

    still, live = False, True

    def __init__(self, word: str) -> None:
        uri = parse_uri(word, OPTIONS)
        self.name, self.damaged = uri.name, 0
        if uri.target and not uri.target.isdigit():
            raise SourceError(f"{self.name}: expected a sensor's number, as in argus:0")
        why_not = missing()
        if why_not:
            raise SourceError(f"{self.name}: {why_not}")
        wanted = uri.options.get("size", _USUAL_SIZE)
        self.fps: float | None = uri.options.get("fps", _USUAL_FPS)
        self._colour = uri.options.get("colour", False)
        self._fourcc = "I420" if self._colour else "GREY"
        shape = raw_shape(self._fourcc, *wanted)
        assert shape is not None  # neither format is compressed
        self._shape = shape
        self._pool = BufferPool()
        line = pipeline(int(uri.target or 0), wanted, self.fps or _USUAL_FPS, colour=self._colour)
        self._capture = cv2.VideoCapture(line, cv2.CAP_GSTREAMER)
        if not self._capture.isOpened():
            raise SourceError(
                f"camera {self.name} does not open at {wanted[0]}x{wanted[1]}; is it connected, is another program "
                "using it, and does its service run? (systemctl status nvargus-daemon)"
            )

    def __iter__(self) -> Iterator[Frame]:
        seq = 0
        while (raw := self._read()) is not None:
            now_ns = time.monotonic_ns()
            pictures = unpack(self._fourcc, raw, self._pool, colour=self._colour)
            assert pictures is not None  # only a JPEG can be damaged
            yield Frame(*pictures, seq, now_ns)
            del raw, pictures  # else its buffers count as in use while the next one is read
            seq += 1
        raise SourceError(f"{self.name} stopped giving frames after {seq}; is the camera still connected?")

    def close(self) -> None:
        """Give the device back; harmless twice."""
        self._capture.release()

    def _read(self) -> np.ndarray | None:
        ok, raw = self._capture.read(self._pool.take(self._shape))
        if not ok:
            return None
        if raw.size != np.prod(self._shape):
            raise SourceError(f"{self.name} gives pictures of shape {raw.shape}, expected {self._shape}")
        return raw.reshape(self._shape)


def pipeline(number: int, size_wh: tuple[int, int], rate: float, *, colour: bool) -> str:
    """What GStreamer runs; the sink keeps the newest frame alone and waits for no clock."""
    each = Fraction(rate).limit_denominator(1001)
    return (
        f"{_ELEMENT} sensor-id={number} ! video/x-raw(memory:NVMM),width={size_wh[0]},height={size_wh[1]},"
        f"framerate={each.numerator}/{each.denominator} ! nvvidconv ! "
        f"video/x-raw,format={'I420' if colour else 'GRAY8'} ! appsink drop=true max-buffers=1 sync=false"
    )


def missing() -> str | None:
    """What keeps this machine from reading a Jetson's cameras, with the fix; None where nothing does."""
    if not any(_plugins()):
        return f"GStreamer's {_ELEMENT} is not here; it comes with JetPack, on a Jetson"
    if not re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()):
        return (
            "this OpenCV has no GStreamer (pip's has none); use JetPack's: pip uninstall opencv-python-headless, in a "
            "virtual environment made with python3 -m venv --system-site-packages"
        )
    return None


def _plugins() -> Iterator[Path]:
    folders = [Path(p) for p in os.environ.get("GST_PLUGIN_PATH", "").split(":") if p]
    for folder in (*folders, *Path("/usr/lib").glob("*/gstreamer-1.0")):
        yield from folder.glob(f"libgst{_ELEMENT}.so")
