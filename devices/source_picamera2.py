"""The Raspberry Pi's CSI cameras: `picamera2:0?size=1296x972&fps=30&lores=640x480&colour=1`.

`size` is the main stream, which decides the sensor's mode and field of view; frames come from the `lores` stream, which
the image processor scales for nothing. It is YUV420, so its first rows are gray already.
"""

import os
from collections.abc import Iterator
from concurrent.futures import TimeoutError as LateError
from typing import Any

import cv2
import numpy as np

from fer_edge.devices.buffer_pool import BufferPool
from fer_edge.devices.camera_uri import CameraUri, Parser, fps, parse_uri, size
from fer_edge.devices.capture_clock import capture_time_ns
from fer_edge.devices.errors import SourceError
from fer_edge.devices.frame import Closing, Frame

OPTIONS: dict[str, Parser] = {"size": size, "fps": fps, "lores": size, "colour": bool}
_USUAL_SIZE = (1296, 972)
_USUAL_FPS = 30.0
_LORES_WIDTH = 640
_BUFFERS = 4
_TIMEOUT_S = 4.0


class Picamera2Source(Closing):
    """An open CSI camera.

    Args:
        word: `picamera2:0` with options; the number is the camera's place in `rpicam-hello --list-cameras`.

    Raises:
        SourceError: picamera2 is not installed, there is no such camera, it is in use, or it does not give what was
            asked for; while iterating, when no frame comes for 4 seconds.
    """

    still, live = False, True

    def __init__(self, word: str) -> None:
        uri = parse_uri(word, OPTIONS)
        self.name, self.damaged = uri.name, 0
        self._colour = uri.options.get("colour", False)
        self._pool = BufferPool()
        self._library = import_picamera2()
        self._camera: Any = self._opened(uri)
        try:
            self._size = self._configure(uri)
            self.fps: float | None = self._rate(uri.options.get("fps"))
            self._camera.start()
        except BaseException as error:
            self.close()
            if isinstance(error, RuntimeError):
                raise SourceError(f"{self.name} does not start: {error}") from error
            raise

    def __iter__(self) -> Iterator[Frame]:
        seq = 0
        while True:
            request = self._next_request(seq)
            try:
                taken_ns = capture_time_ns(request.get_metadata().get("SensorTimestamp"))
                pictures = self._copied(request)
            finally:
                request.release()
            yield Frame(*pictures, seq, taken_ns)
            del pictures  # else its buffers count as in use while the next one is read
            seq += 1

    def close(self) -> None:
        """Give the camera back; harmless twice."""
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.stop()
            camera.close()

    def _copied(self, request: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Gray, and BGR if asked, out of the camera's memory, which is the camera's again when the request goes back.

        One copy, of the luma alone: a frame may be looked at long after the next one has come.
        """
        width, height = self._size
        gray, bgr = self._pool.take((height, width)), None
        with self._library.MappedArray(request, "lores", write=False) as mapped:
            yuv = mapped.array  # (height * 3 / 2, stride): lines may be longer than the picture is wide
            np.copyto(gray, yuv[:height, :width])
            if self._colour:
                wide = self._pool.take((height, yuv.shape[1], 3))
                cv2.cvtColor(yuv, cv2.COLOR_YUV2BGR_I420, dst=wide)
                bgr = wide[:, :width]
        return gray, bgr

    def _next_request(self, seq: int) -> Any:
        job = self._camera.capture_request(wait=False)
        try:
            return job.get_result(timeout=_TIMEOUT_S)
        except (LateError, TimeoutError) as error:
            self._camera.cancel_all_and_flush()  # the job that waits would block stop() for ever
            raise SourceError(
                f"{self.name} stopped giving frames after {seq}; is the camera's cable still connected?"
            ) from error

    def _opened(self, uri: CameraUri) -> Any:
        if uri.target and not uri.target.isdigit():
            raise SourceError(f"{self.name}: expected a camera's number, as in picamera2:0")
        number = int(uri.target or 0)
        models = [f"{at} ({info.get('Model', '?')})" for at, info in enumerate(camera_infos(self._library))]
        if number >= len(models):
            hint = "" if models else "; check the cable, then: rpicam-hello --list-cameras"
            raise SourceError(f"there is no camera {self.name}; cameras here: {', '.join(models) or 'none'}{hint}")
        try:
            return self._library.Picamera2(number)
        except (RuntimeError, IndexError) as error:
            raise SourceError(f"camera {self.name} does not open; is another program using it?") from error

    def _configure(self, uri: CameraUri) -> tuple[int, int]:
        main = uri.options.get("size", _USUAL_SIZE)
        wanted = uri.options.get("lores") or _shrunk(main)
        if wanted[0] > main[0] or wanted[1] > main[1]:
            raise SourceError("{}: lores={}x{} is larger than size={}x{}".format(self.name, *wanted, *main))
        frame_us = round(1e6 / uri.options.get("fps", _USUAL_FPS))
        self._camera.configure(
            self._camera.create_video_configuration(
                main={"size": main, "format": "YUV420"},
                lores={"size": wanted, "format": "YUV420"},  # up to the Pi 4 lores can be nothing else
                raw=None,
                buffer_count=_BUFFERS,
                controls={"FrameDurationLimits": (frame_us, frame_us)},
                queue=False,  # a frame that was queued before it was asked for may be one frame old
            )
        )
        given = self._camera.camera_configuration()
        for option, asked, stream in (("size", main, "main"), ("lores", wanted, "lores")):
            if option in uri.options and tuple(given[stream]["size"]) != asked:
                got = "{}x{}".format(*given[stream]["size"])
                raise SourceError("{} gives no {}={}x{}, it gave {}".format(self.name, option, *asked, got))
        return tuple(given["lores"]["size"])

    def _rate(self, wanted: float | None) -> float:
        shortest_us = self._camera.camera_controls.get("FrameDurationLimits", (0,))[0]
        fastest = 1e6 / shortest_us if shortest_us else float("inf")
        if wanted and wanted > fastest * 1.01:
            raise SourceError(f"{self.name} gives no {wanted:g} frames a second at this size, at most {fastest:.3g}")
        return wanted or min(_USUAL_FPS, fastest)


def import_picamera2() -> Any:
    """The module, which Debian brings and pip does not.

    Raises:
        SourceError: it is not installed, or was built for another numpy than the one here.
    """
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:WARN")
    try:
        import picamera2
    except ModuleNotFoundError as error:
        raise SourceError(
            f"{error.name} is not installed; run: sudo apt install python3-picamera2, and make the virtual environment "
            "with: python3 -m venv --system-site-packages"
        ) from error
    except (ImportError, ValueError) as error:  # "numpy.dtype size changed": its simplejpeg is from numpy 1's time
        raise SourceError(
            f"picamera2 does not load with numpy {np.__version__} ({error}); run: "
            "pip install 'numpy<2' 'opencv-python-headless<4.12'"
        ) from error
    return picamera2


def camera_infos(library: Any) -> list[dict[str, Any]]:
    """What libcamera sees, in the order of its numbers; USB cameras too, where it serves them."""
    return list(library.Picamera2.global_camera_info())


def _shrunk(main: tuple[int, int]) -> tuple[int, int]:
    """At most 640 wide, of the main stream's shape, both sides even."""
    width = min(main[0], _LORES_WIDTH)
    return width, round(width * main[1] / main[0] / 2) * 2
