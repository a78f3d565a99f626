"""From a word to frames: the one table of cameras, and what else may be labelled: photos, folders, clips."""

import os
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

# FFmpeg inside OpenCV writes its own complaints to stderr; ours say the same in one sentence.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

from fer_edge.devices.errors import SourceError
from fer_edge.devices.frame import IMAGE_SUFFIXES, Camera, FrameSource, redacted
from fer_edge.devices.fresh import FreshFrames
from fer_edge.devices.source_images import ImageSource
from fer_edge.devices.source_video import VideoSource

CAMERAS = {
    "picamera2": ("fer_edge.devices.source_picamera2", "Picamera2Source"),
    "v4l2": ("fer_edge.devices.source_v4l2", "V4l2Source"),
    "argus": ("fer_edge.devices.source_argus", "ArgusSource"),
    "fake": ("fer_edge.devices.source_fake", "FakeSource"),
}
"""Scheme to module and class; a module is imported only when chosen. A class takes the whole word."""
EXPECTED = (
    "an image, a folder, a clip, a camera's number, picamera2:, v4l2:, argus:, rtsp://, http://, replay: or fake:"
)


def open_source(word: str, *, give_up_s: float, say: Callable[[str], None] | None = None) -> FrameSource:
    """The source that `word` names, open.

    Args:
        word: a path, a camera's number, /dev/videoN, or an address with one of the schemes in `EXPECTED`.
        give_up_s: seconds without a frame after which a camera counts as lost for good.
        say: called with one line when a camera goes away and when it is back.

    Raises:
        SourceError: nothing is there, or it cannot be read.
    """
    if not word:
        raise SourceError(f"the source is empty; expected {EXPECTED}")
    camera = find_camera(word)
    if camera is not None:
        return FreshFrames(camera, give_up_s=give_up_s, say=say)
    path = Path(word)
    if not path.exists():
        raise SourceError(f"{word} does not exist; expected {EXPECTED}")
    if path.is_dir():
        images = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
        if not images:
            raise SourceError(f"{word} holds no images ({', '.join(IMAGE_SUFFIXES)})")
        return ImageSource(word, images)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSource(word, [path])
    return VideoSource(word, live=False)


def find_camera(word: str) -> Camera | None:
    """The camera that `word` names, not yet opened; None where it is a path.

    Raises:
        SourceError: an address of an unknown kind, or with options it does not have.
    """
    if re.fullmatch(r"\d{1,3}", word):
        word = f"v4l2:/dev/video{word}"
    elif word.startswith("/dev/video"):
        word = f"v4l2:{word}"
    scheme, colon, rest = word.partition(":")
    if not colon or Path(word).exists():
        return None
    if scheme == "replay":
        return _replay(word)
    if scheme in CAMERAS:
        module, name = CAMERAS[scheme]
        unpaced = scheme == "fake" and "fps=0" in re.split("[?&]", rest)
        return Camera(word, lambda: getattr(import_module(module), name)(word), every_frame=unpaced)
    if scheme in ("rtsp", "rtsps", "http", "https") and rest.startswith("//"):
        return Camera(redacted(word), lambda: VideoSource(word, live=True))
    if rest.startswith("//"):
        raise SourceError(f"{redacted(word)}: unknown kind of address; expected {EXPECTED}")
    return None


def _replay(word: str) -> Camera:
    from fer_edge.devices.camera_uri import parse_uri
    from fer_edge.devices.source_replay import ReplayCamera, parse_faults

    if word in ("replay:", "replay") or word.startswith("replay:?"):
        raise SourceError(f"{word} names no clip; expected replay:clip.mp4")
    uri = parse_uri(word, {"fps": float, "faults": parse_faults, "every": int, "loop": int})
    return ReplayCamera(Path(uri.target), **uri.options).camera()
