"""An annotated picture (.jpg, .png), a clip (.mp4, .avi), or for several photos a folder of pictures."""

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import OutputError
from fer_edge.devices.files import replacing_file
from fer_edge.devices.frame import Frame
from fer_edge.edge_runtime.annotate import annotated
from fer_edge.edge_runtime.vocabulary import Observation

_FPS = 25.0
_MIN_FREE_BYTES = 16 << 20
_CHECK_EVERY = 100
_LONGEST_REPEAT_S = 2.0


class SaveSink:
    """Draws and writes; whole or not at all.

    Args:
        path: its suffix says what is written; none is a folder of pictures.
        still: the source gives photos.
        live: the source is a camera: pictures are repeated or left out so that the clip plays in real time.
        fps: of the source; 25 where it has none.
        photos: how many photos there will be.

    `saved` says, once closed, whether something took its name.

    Raises:
        OutputError: the suffix does not fit the source.
    """

    name, needs_pixels = "save", True

    def __init__(
        self, path: Path, *, still: bool, live: bool = False, fps: float | None = None, photos: int = 1
    ) -> None:
        self._path, self._fps, self._still, self._live = path, fps or _FPS, still, live
        self._files = ExitStack()
        self._writer: cv2.VideoWriter | None = None
        self._temporary: Path | None = None
        self._size: tuple[int, ...] = ()
        self._used: set[str] = set()
        self._started_ns = self._written = 0
        self._failed: str | None = None
        self.saved = False
        wanted = (".jpg", ".jpeg", ".png", "") if still else (".mp4", ".avi")
        if path.suffix.lower() not in wanted:
            kinds = ", ".join(word or "a folder" for word in wanted)
            raise OutputError(f"--save {path}: expected {kinds} for this source")
        if path.suffix and photos > 1:
            raise OutputError(f"--save {path}: {photos} photos need a folder, not one picture")

    def put(self, observation: Observation, frame: Frame | None) -> None:
        """Draw and write one frame.

        Raises:
            OutputError: the disk refuses or is full, or OpenCV cannot write that kind of clip.
        """
        assert frame is not None
        picture = annotated(frame, observation)
        if self._still:
            self._picture(self._path if self._path.suffix else self._path / self._name(frame), picture)
            return
        if self._failed is not None:
            raise OutputError(self._failed)
        try:
            self._add(picture, observation.clock_ns)
        except OutputError as error:
            if not self._live:
                self._discard()
                raise
            self.close()  # what a camera gave until then is kept; a second clip would take its name
            kept = "; the clip until then is kept" if self.saved else ""
            self._failed = f"{error}{kept}"
            raise OutputError(self._failed) from error

    def idle(self) -> None:
        """Nothing to do between frames."""

    def close(self) -> None:
        """Finish the clip and give it its name; a clip without frames is not written."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
            self.saved = self._written > 0
        self._files.close()

    def _add(self, picture: NDArray[np.uint8], clock_ns: int) -> None:
        if self._writer is None:
            self._open(picture)
            self._started_ns = clock_ns
        if picture.shape != self._size:  # OpenCV would drop such frames without a word
            raise OutputError(f"{self._path}: the stream changed its size from {self._size} to {picture.shape}")
        if self._written % _CHECK_EVERY == 0 and shutil.disk_usage(self._path.parent).free < _MIN_FREE_BYTES:
            raise OutputError(f"cannot write {self._path}: less than 16 MiB are free on that disk")
        assert self._writer is not None
        for _ in range(self._times(clock_ns)):
            self._writer.write(picture)
            self._written += 1

    def _times(self, clock_ns: int) -> int:
        if not self._live:
            return 1
        due = round((clock_ns - self._started_ns) / 1e9 * self._fps) + 1 - self._written
        longest = round(_LONGEST_REPEAT_S * self._fps)
        if due > longest:  # the camera was away: the clip goes on without the gap
            self._started_ns += round((due - longest) / self._fps * 1e9)
        return min(max(due, 0), longest)

    def _open(self, picture: NDArray[np.uint8]) -> None:
        self._temporary = self._files.enter_context(replacing_file(self._path))
        code = cv2.VideoWriter.fourcc(*("mp4v" if self._path.suffix.lower() == ".mp4" else "MJPG"))
        self._writer = cv2.VideoWriter(str(self._temporary), code, self._fps, picture.shape[1::-1])
        self._size = picture.shape
        if not self._writer.isOpened():
            raise OutputError(f"cannot write {self._path}; is the folder writable, and does OpenCV have the codec?")

    def _discard(self) -> None:
        """Leave nothing behind of a clip that could not be finished."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._files.pop_all()

    def _name(self, frame: Frame) -> str:
        """The photo's own name as .jpg; a.png beside a.jpg becomes a.png.jpg."""
        name = frame.name or f"{frame.seq:06d}.jpg"
        own = Path(name).with_suffix(".jpg").name
        own = f"{name}.jpg" if own in self._used else own
        self._used.add(own)
        return own

    def _picture(self, path: Path, picture: Any) -> None:
        with replacing_file(path) as temporary:
            if not cv2.imwrite(str(temporary), picture):
                raise OutputError(f"cannot write {path}; is the disk full?")
        self.saved = True
