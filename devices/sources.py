"""From a word to frames: an image, a folder of images, a clip, a camera's number, an RTSP or HTTP address."""

import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

# FFmpeg inside OpenCV writes its own complaints to stderr; ours say the same in one sentence.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import SourceError
from fer_edge.devices.frame import IMAGE_SUFFIXES, Frame, FrameSource, redacted

_CAMERA_NUMBER = r"\d{1,3}"
_OPEN_TIMEOUT_MS = 10_000
_READ_TIMEOUT_MS = 5_000


def open_source(word: str) -> FrameSource:
    """The source that `word` names: a path, a camera's number, /dev/videoN, rtsp://… or http(s)://…

    Raises:
        SourceError: nothing is there, or it cannot be read.
    """
    if not word:
        raise SourceError("the source is empty; expected an image, a folder, a clip, a camera's number or an address")
    if re.fullmatch(_CAMERA_NUMBER, word) or word.startswith("/dev/video"):
        return VideoSource(word, live=True)
    if "://" in word:
        if not word.startswith(("rtsp://", "http://", "https://")):
            raise SourceError(f"{redacted(word)}: unknown kind of address; expected rtsp://, http:// or https://")
        return VideoSource(word, live=True)
    path = Path(word)
    if not path.exists():
        raise SourceError(
            f"{word} does not exist; expected an image, a folder, a clip, a camera's number or an address"
        )
    if path.is_dir():
        images = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
        if not images:
            raise SourceError(f"{word} holds no images ({', '.join(IMAGE_SUFFIXES)})")
        return ImageSource(word, images)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSource(word, [path])
    return VideoSource(word, live=False)


class _Closing:
    """What both sources share of the context manager: leaving it closes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the device back; harmless twice."""


class ImageSource(_Closing):
    """Photos, each a frame of its own."""

    still, live = True, False
    fps: float | None = None

    def __init__(self, name: str, paths: Sequence[Path]) -> None:
        self.name = name
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[Frame]:
        unreadable = []
        for seq, path in enumerate(self._paths):
            now = time.monotonic_ns()
            bgr = _decoded(path)
            if bgr is None:
                unreadable.append(path)
                continue
            yield Frame(_gray(bgr), bgr, seq, now, path.name)
        if unreadable:  # the others were labelled first
            names = ", ".join(str(path) for path in unreadable[:5])
            if len(self._paths) == 1:
                raise SourceError(f"{names} is not a readable image")
            raise SourceError(f"{len(unreadable)} of {len(self._paths)} images cannot be read: {names}")


class VideoSource(_Closing):
    """A clip or a camera through OpenCV."""

    still = False
    fps: float | None

    def __init__(self, name: str, *, live: bool) -> None:
        self.name, self.live = redacted(name), live
        if re.fullmatch(_CAMERA_NUMBER, name):
            self._capture = cv2.VideoCapture(int(name))
        elif "://" in name:
            timeouts = [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT_MS,
            ]  # fmt: skip
            self._capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG, timeouts)
        else:
            self._capture = cv2.VideoCapture(name)
        if not self._capture.isOpened():
            raise SourceError(_why_not(name))
        if live:
            self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = rate if 0 < rate < 1000 else None

    def __iter__(self) -> Iterator[Frame]:
        seq = 0
        while True:
            ok, bgr = self._capture.read()
            if not ok:
                break
            now = time.monotonic_ns()
            yield Frame(_gray(bgr), bgr if bgr.ndim == 3 else None, seq, now)  # type: ignore[arg-type]
            seq += 1
        if self.live:
            raise SourceError(f"{self.name} stopped giving frames after {seq}; is the camera still connected?")
        if seq == 0:
            raise SourceError(f"{self.name} opened but gave no frame; the file may be damaged")

    def close(self) -> None:
        """Give the device back; harmless twice."""
        self._capture.release()


def _decoded(path: Path) -> np.ndarray | None:
    try:
        data = np.fromfile(path, np.uint8)
        return cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except (OSError, cv2.error):  # no permission, or a header that promises more pixels than OpenCV takes
        return None


def _gray(bgr: np.ndarray) -> NDArray[np.uint8]:
    return bgr if bgr.ndim == 2 else cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)  # type: ignore[return-value]


def _why_not(name: str) -> str:
    if re.fullmatch(_CAMERA_NUMBER, name):
        name = f"/dev/video{name}"
    if name.startswith("/dev/video"):
        if not Path(name).exists():
            have = ", ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "none"
            return f"there is no camera {name}; cameras here: {have}"
        return f"camera {name} does not open; is another program using it, or are you missing from the group video?"
    if "://" in name:
        return f"{redacted(name)} does not answer within {_OPEN_TIMEOUT_MS // 1000} s or gives no video"
    return f"{name} is not a readable video or image"
