"""A clip as a camera: on a real-time clock, with faults on schedule, the same on every run.

Tests and benchmarks use it in place of a camera: `replay:clip.mp4?fps=30&faults=gone@300:3,stall@900:1.5&every=2000`.
"""

import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_edge.devices.errors import SourceError
from fer_edge.devices.frame import Camera, Closing, Frame
from fer_edge.devices.source_video import VideoSource

FAULTS = {
    "stall": "seconds without a frame",
    "gone": "seconds for which the camera is not there",
    "drop": "frames that never arrive",
    "damaged": "frames that cannot be decoded",
    "noise": "frames of noise",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """`kind` out of FAULTS at frame `at`, for `amount` seconds or frames."""

    kind: str
    at: int
    amount: float


def parse_faults(text: str) -> tuple[Fault, ...]:
    """`stall@300:2,gone@900:3.5` as faults; the amount is 1 where it is left away.

    Raises:
        SourceError: a word that is no fault; the sentence lists those there are.
    """
    faults = []
    for word in filter(None, text.split(",")):
        parts = re.fullmatch(r"([a-z]+)@(\d+)(?::(\d+(?:\.\d+)?))?", word)
        if parts is None or parts[1] not in FAULTS:
            kinds = ", ".join(FAULTS)
            raise SourceError(f"fault {word!r}: expected KIND@FRAME:AMOUNT, such as stall@300:2; kinds are {kinds}")
        faults.append(Fault(parts[1], int(parts[2]), float(parts[3] or 1)))
    return tuple(faults)


class ReplayCamera:
    """The camera that is opened again and again; its place in the clip and its schedule outlive a disconnection.

    Args:
        path: the clip.
        fps: frames a second; None is the clip's own rate, 0 as fast as they are taken.
        faults: what goes wrong, by the number of the frame since the start.
        every: the schedule of faults repeats after so many frames; None runs it once.
        loop: how often the clip is played; 0 is without end.
    """

    def __init__(
        self,
        path: Path,
        *,
        fps: float | None = None,
        faults: tuple[Fault, ...] = (),
        every: int | None = None,
        loop: int = 1,
    ) -> None:
        self.name = f"replay:{path}"
        self.happened: Counter[str] = Counter()
        self.damaged = 0
        self._path, self._fps, self._every, self._loop = path, fps, every, loop
        self._faults = {fault.at: fault for fault in faults}
        self._clip: VideoSource | None = None
        self._pictures: Iterator[Frame] = iter(())
        self._at = self._played = self._noisy = 0
        self._due_s = self._gone_until_s = 0.0
        self._rng = np.random.default_rng(0)

    def camera(self) -> Camera:
        """What FreshFrames opens."""
        return Camera(self.name, self._open, every_frame=self._fps == 0)

    def close(self) -> None:
        """Give the clip back, once the camera is not opened any more."""
        if self._clip is not None:
            self._clip.close()

    def _open(self) -> "_Session":
        if time.monotonic() < self._gone_until_s:
            raise SourceError(f"there is no camera {self.name}")
        if self._clip is None:
            self._clip = VideoSource(str(self._path), live=False)
        self._due_s = time.monotonic()
        return _Session(self, self._fps if self._fps is not None else self._clip.fps)

    def step(self, fps: float | None) -> Frame | None:
        """The next frame when it is due, or None when the clip was played often enough.

        Raises:
            SourceError: the schedule says that the camera vanishes now.
        """
        place = self._at % self._every if self._every else self._at
        fault = self._faults.get(place)
        self._at += 1
        if fault is not None:
            self._happen(fault)
        picture = self._picture()
        if fps:
            self._due_s += 1 / fps
            time.sleep(max(0.0, self._due_s - time.monotonic()))
        if picture is None:
            return None
        gray, bgr = picture.gray, picture.bgr
        if self._noisy:
            self._noisy -= 1
            gray, bgr = self._rng.integers(0, 256, gray.shape, np.uint8), None
        rate = self._clip.fps if self._clip and self._clip.fps else 25.0
        media_ns = None if fps else round(self._at / rate * 1e9)
        return Frame(gray, bgr, self._at, time.monotonic_ns(), None, media_ns)

    def _happen(self, fault: Fault) -> None:
        self.happened[fault.kind] += 1
        if fault.kind == "gone":
            self._gone_until_s = time.monotonic() + fault.amount
            raise SourceError(f"{self.name} was disconnected")
        if fault.kind == "stall":
            time.sleep(fault.amount)
            self._due_s += fault.amount
        elif fault.kind == "noise":
            self._noisy = round(fault.amount)
        else:
            missed = sum(self._picture() is not None for _ in range(round(fault.amount)))
            self._at += missed
            self.damaged += missed if fault.kind == "damaged" else 0

    def _picture(self) -> Frame | None:
        assert self._clip is not None
        while (frame := next(self._pictures, None)) is None:
            if self._loop and self._played >= self._loop:
                return None
            self._played += 1
            self._clip.rewind()
            self._pictures = iter(self._clip)
        return frame


class _Session(Closing):
    """One opening of the camera."""

    still, live = False, True

    def __init__(self, camera: ReplayCamera, fps: float | None) -> None:
        self.name, self.fps, self._camera = camera.name, fps or None, camera
        self._damaged_before = camera.damaged

    @property
    def damaged(self) -> int:
        """Pictures of this opening that could not be decoded."""
        return self._camera.damaged - self._damaged_before

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self._camera.step(self.fps)) is not None:
            yield frame
            del frame  # else its buffers count as in use while the next one is decoded
