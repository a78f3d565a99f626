"""What becomes of observations: a line of JSON each, an annotated picture or clip, a summary. No sink knows another."""

import json
import shutil
from collections import Counter, deque
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TextIO

import cv2

from fer_edge.devices.errors import OutputError
from fer_edge.devices.files import replacing_file
from fer_edge.devices.frame import Frame
from fer_edge.edge_runtime.annotate import annotated
from fer_edge.edge_runtime.latency import summarize
from fer_edge.edge_runtime.pipeline import STAGES
from fer_edge.edge_runtime.vocabulary import EMOTIONS, Observation

_KEPT_FRAMES = 10_000
_MIN_FREE_BYTES = 16 << 20


def observation_json(frame: Frame, observation: Observation) -> dict[str, Any]:
    """One line of the JSONL file."""
    return {
        "frame": observation.frame_seq,
        "name": frame.name,
        "t_capture_ns": frame.t_capture_ns,
        "age_ms": round(observation.age_ms, 3),
        "stage_ms": {stage: round(ns / 1e6, 4) for stage, ns in observation.stage_ns.items()},
        "faces": [
            {
                "box_xyxy": list(p.face.box_xyxy),
                "track_id": p.face.track_id,
                "label": p.label,
                "confidence": round(p.confidence, 4),
                "probabilities": {e: round(float(v), 4) for e, v in zip(EMOTIONS, p.probabilities, strict=True)},
            }
            for p in observation.predictions
        ],
    }


class JsonlSink:
    """Appends a line a frame as it comes, so that a killed run keeps what it saw."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: TextIO = path.open("w", encoding="utf-8", buffering=1)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        self._path = path

    def put(self, frame: Frame, observation: Observation) -> None:
        """Write one line.

        Raises:
            OutputError: the disk refuses; what was written before stays.
        """
        try:
            self._file.write(json.dumps(observation_json(frame, observation)) + "\n")
        except OSError as error:
            with suppress(OSError):  # else Python tries the last line again when the program ends, and complains
                self._file.close()
            raise OutputError(f"cannot write {self._path}: {error.strerror}; the lines before are kept") from error

    def close(self) -> None:
        """Close the file."""
        try:
            self._file.close()
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}; the lines before are kept") from error


class SaveSink:
    """An annotated picture (.jpg, .png), a clip (.mp4, .avi), or for several photos a folder of pictures."""

    def __init__(self, path: Path, *, still: bool, fps: float | None, photos: int = 1) -> None:
        self._path, self._fps = path, fps or 25.0
        self._files = ExitStack()
        self._writer: cv2.VideoWriter | None = None
        self._temporary: Path | None = None
        self._still = still
        self._size: tuple[int, ...] = ()
        self._used: set[str] = set()
        wanted = (".jpg", ".jpeg", ".png", "") if still else (".mp4", ".avi")
        if path.suffix.lower() not in wanted:
            kinds = ", ".join(word or "a folder" for word in wanted)
            raise OutputError(f"--save {path}: expected {kinds} for this source")
        if path.suffix and photos > 1:
            raise OutputError(f"--save {path}: {photos} photos need a folder, not one picture")

    def put(self, frame: Frame, observation: Observation) -> None:
        """Draw and write one frame.

        Raises:
            OutputError: the disk refuses or is full, or OpenCV cannot write that kind of clip.
        """
        picture = annotated(frame, observation)
        if self._still:
            self._picture(self._path if self._path.suffix else self._path / self._name(frame), picture)
            return
        if self._writer is None:
            self._temporary = self._files.enter_context(replacing_file(self._path))
            code = cv2.VideoWriter.fourcc(*("mp4v" if self._path.suffix.lower() == ".mp4" else "MJPG"))
            self._writer = cv2.VideoWriter(str(self._temporary), code, self._fps, picture.shape[1::-1])
            self._size = picture.shape
            if not self._writer.isOpened():
                raise OutputError(f"cannot write {self._path}; is the folder writable, and does OpenCV have the codec?")
        if picture.shape != self._size:  # OpenCV would drop such frames without a word
            raise OutputError(f"{self._path}: the stream changed its size from {self._size} to {picture.shape}")
        if frame.seq % 100 == 0 and shutil.disk_usage(self._path.parent).free < _MIN_FREE_BYTES:
            raise OutputError(f"cannot write {self._path}: less than 16 MiB are free on that disk")
        self._writer.write(picture)

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

    def close(self) -> None:
        """Finish the clip and give it its name; a clip without frames is not written."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
        self._files.close()

    def discard(self) -> None:
        """Leave nothing behind of a clip that could not be finished."""
        if self._writer is not None:
            self._writer.release()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)


class Summary:
    """Counts and percentiles by stage, over the last 10,000 frames, so that a run of months stays as small."""

    def __init__(self) -> None:
        self.frames = self.faces = 0
        self.labels: Counter[str] = Counter()
        self._stage_ns: dict[str, deque[int]] = {stage: deque(maxlen=_KEPT_FRAMES) for stage in STAGES}

    def put(self, observation: Observation) -> None:
        """Count one frame."""
        self.frames += 1
        self.faces += len(observation.predictions)
        for prediction in observation.predictions:
            self.labels[prediction.label] += 1
        for stage, samples in self._stage_ns.items():
            samples.append(observation.stage_ns[stage])

    def stages(self) -> dict[str, dict[str, float | int | None]]:
        """`latency.summarize` by stage."""
        return {stage: summarize(samples) for stage, samples in self._stage_ns.items()}

    def frames_per_second(self) -> float | None:
        """Rate of the pipeline itself: frames over the time spent from capture to label."""
        spent = sum(self._stage_ns["total"])
        return len(self._stage_ns["total"]) / spent * 1e9 if spent else None
