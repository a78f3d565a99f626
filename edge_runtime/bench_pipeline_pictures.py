"""The same pictures for every variant: a clip or photos that begin anew at their end, and a camera that is recorded.

Knows nothing of models and takes no time.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2

from fer_edge.devices.errors import OutputError, SourceError
from fer_edge.devices.files import replacing_file
from fer_edge.devices.frame import Closing, Frame, FrameSource
from fer_edge.devices.source_images import ImageSource
from fer_edge.devices.source_video import VideoSource
from fer_edge.devices.sources import find_camera, open_source
from fer_edge.edge_runtime.sample_clip import write_sample_clip

USUAL_FPS = 25.0
"""For what does not say its own rate."""
_RECORDED_FRAMES = 300
_GIVE_UP_S = 10.0


class Pictures(Closing):
    """One reader of a clip or of photos, which goes on from the start when it comes to the end.

    Args:
        source: a clip or photos; closed with this.

    `length` is the number of frames of a pass as the file says it, 0 where it does not. The frames' own clock goes on
    from one pass to the next.
    """

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self.name, self.still, self.fps = source.name, source.still, source.fps
        self.length = _length(source)
        self._frames = iter(source)
        self._seq = self._begun_ns = self._clock_ns = 0

    def take(self) -> Frame | None:
        """The next picture; None at the end of a pass, and then the first one again.

        Raises:
            SourceError: it gives no pictures.
        """
        frame = next(self._frames, None)
        if frame is None:
            self.restart()
            return None
        if frame.t_media_ns is not None:
            self._clock_ns = self._begun_ns + frame.t_media_ns
            frame = replace(frame, t_media_ns=self._clock_ns)
        self._seq += 1
        return replace(frame, seq=self._seq - 1)

    def take_any(self) -> Frame:
        """The next picture, over the end."""
        frame = self.take() or self.take()
        if frame is None:
            raise SourceError(f"{self.name} gives no frames")
        return frame

    def restart(self) -> None:
        """Begin again with the first picture."""
        self._begun_ns = self._clock_ns + round(1e9 / (self.fps or USUAL_FPS))
        if isinstance(self._source, VideoSource):
            self._source.rewind()
        self._frames = iter(self._source)

    def close(self) -> None:
        """Give the decoder back; harmless twice."""
        self._source.__exit__(None, None, None)


def pictures_of(source: str | None, folder: Path, max_frames: int, step: Callable[[str], None]) -> tuple[str, str]:
    """What every variant is to read, and its name for people.

    Args:
        source: a clip, photos, or a camera's word; None writes the sample clip.
        folder: where a clip may be written.
        max_frames: of a recording.
        step: told what is being done.

    Returns:
        A path, as `open_source` takes it, and the name.

    Raises:
        SourceError: it is not there or gives no frames.
        OutputError: the folder cannot be written.
    """
    if source is None:
        step("drawing the sample clip")
        write_sample_clip(folder / "sample.mp4")
        return str(folder / "sample.mp4"), "sample clip"
    camera = find_camera(source)
    if camera is None:
        return source, Path(source).name
    step(f"recording {camera.name}")
    with open_source(source, give_up_s=_GIVE_UP_S) as frames:
        _record(frames, folder / "recorded.mp4", min(max_frames, _RECORDED_FRAMES))
    return str(folder / "recorded.mp4"), f"{camera.name} (recorded)"


def open_pictures(path: str) -> Pictures:
    """A reader of its own.

    Raises:
        SourceError: not there or not readable.
    """
    return Pictures(open_source(path, give_up_s=_GIVE_UP_S))


def _length(source: FrameSource) -> int:
    if isinstance(source, ImageSource):
        return len(source)
    if not isinstance(source, VideoSource):
        return 0
    clip = cv2.VideoCapture(source.name)
    try:
        return max(0, int(clip.get(cv2.CAP_PROP_FRAME_COUNT)))
    finally:
        clip.release()


def _record(source: FrameSource, path: Path, frames: int) -> None:
    """The camera's next frames as a clip that plays at the camera's rate."""
    writer: cv2.VideoWriter | None = None
    size: tuple[int, ...] = ()
    with replacing_file(path) as temporary:
        for at, frame in enumerate(source):
            bgr = frame.bgr if frame.bgr is not None else cv2.cvtColor(frame.gray, cv2.COLOR_GRAY2BGR)
            if writer is None:
                size = frame.gray.shape
                code = cv2.VideoWriter.fourcc(*"mp4v")
                writer = cv2.VideoWriter(str(temporary), code, source.fps or USUAL_FPS, size[::-1])
                if not writer.isOpened():
                    raise OutputError(f"cannot write {path}; is the folder writable, and does OpenCV have the codec?")
            if frame.gray.shape == size:
                writer.write(bgr)
            if at + 1 == frames:
                break
        if writer is None:
            raise SourceError(f"{source.name} gives no frames")
        writer.release()


def first_frame(path: str) -> Frame:
    """The first picture, for its size.

    Raises:
        SourceError: there is none.
    """
    with open_pictures(path) as pictures:
        return pictures.take_any()


def frames_of(pictures: Pictures, most: int) -> Iterator[Frame]:
    """One pass, of `most` frames at most."""
    for _ in range(most):
        frame = pictures.take()
        if frame is None:
            return
        yield frame
        del frame  # else its buffers count as in use while the next one is read
