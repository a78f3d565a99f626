"""Camera to label: the iterator behind `fer-edge run` and the public Python API.

    with Pipeline("clip.mp4") as pipeline:
        for observation in pipeline:
            print([p.label for p in observation.predictions])

Prints nothing; does not know who consumes its observations.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.frame import Frame, FrameSource
from fer_edge.devices.sources import open_source
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.detect import open_detector
from fer_edge.edge_runtime.engines import open_engine
from fer_edge.edge_runtime.follow import FaceFollower
from fer_edge.edge_runtime.preprocess import face_pixels
from fer_edge.edge_runtime.vocabulary import (
    EMOTIONS,
    FACE_SIDE,
    UNCERTAIN,
    Face,
    Observation,
    Precision,
    Prediction,
    softmax,
)

STAGES = ("capture", "detect", "preprocess", "infer", "total")
"""The keys of `Observation.stage_ns`; `total` is from before the capture to the label."""
STILL_SCAN_WIDTH = 1600
"""Photos are scanned at up to this width: nothing is in a hurry there, and faces in a group photo are small."""


class Pipeline:
    """Yields one Observation a frame.

    Args:
        source: a path, a camera's number, an address, or any FrameSource of your own.
        bundle: a bundle or its path; None is the one that ships.
        engine: `auto`, `tflite`, `onnx` or `openvino`.
        precision: what is asked for is what runs, or an error.
        detector_model: YuNet's file; without it Haar's cascade out of OpenCV finds the faces.
        threads: of the engine; None chooses by the machine.
        min_confidence: a face whose best probability is lower is labelled `uncertain`; 0 labels all.
        scan_every: frames between full scans of a stream.

    Raises:
        SourceError, BundleError, EngineError: before the first frame, in one sentence.
    """

    def __init__(
        self,
        source: str | Path | FrameSource,
        bundle: Bundle | str | Path | None = None,
        *,
        engine: str = "auto",
        precision: Precision | str = Precision.INT8,
        detector_model: Path | None = None,
        threads: int | None = None,
        min_confidence: float = 0.0,
        scan_every: int = 15,
    ) -> None:
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        self.engine = open_engine(self.bundle, engine, precision, threads)
        self._faces_u8 = np.zeros((4, FACE_SIDE, FACE_SIDE), np.uint8)
        try:
            self.engine.infer(self._faces_u8[:1])  # an engine that cannot run its model fails here, not mid-stream
            self.detector = open_detector(detector_model)
            self.source = open_source(str(source)) if isinstance(source, str | Path) else source
        except BaseException:
            self.engine.close()
            raise
        if self.source.still:
            self._follower = FaceFollower(self.detector, scan_width=STILL_SCAN_WIDTH, min_face=32, scan_every=1)
        else:
            self._follower = FaceFollower(self.detector, scan_every=scan_every)
        self._min_confidence = min_confidence

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Observation]:
        return (observation for _, observation in self.with_frames())

    def with_frames(self) -> Iterator[tuple[Frame, Observation]]:
        """Each frame with what was seen in it, for those who draw."""
        with self.source as source:
            start = time.perf_counter_ns()
            for frame in source:
                captured = time.perf_counter_ns()
                predictions, stage_ns = self._label(frame)
                stage_ns["capture"] = captured - start
                stage_ns["total"] = time.perf_counter_ns() - start
                age_ms = (time.monotonic_ns() - frame.t_capture_ns) / 1e6
                yield frame, Observation(frame.seq, predictions, stage_ns, age_ms)
                start = time.perf_counter_ns()

    def _label(self, frame: Frame) -> tuple[tuple[Prediction, ...], dict[str, int]]:
        begun = time.perf_counter_ns()
        faces = self._follower.find(frame.gray)
        detected = time.perf_counter_ns()
        pixels = self._crop(frame.gray, faces)
        cropped = time.perf_counter_ns()
        logits = self.engine.infer(pixels) if faces else None
        inferred = time.perf_counter_ns()
        stage_ns = {"detect": detected - begun, "preprocess": cropped - detected, "infer": inferred - cropped}
        if logits is None:
            return (), stage_ns
        rows = zip(faces, logits, softmax(logits), strict=True)
        return tuple(self._prediction(*row) for row in rows), stage_ns

    def _crop(self, gray: NDArray[np.uint8], faces: list[Face]) -> NDArray[np.uint8]:
        if len(faces) > len(self._faces_u8):
            self._faces_u8 = np.empty((2 * len(faces), FACE_SIDE, FACE_SIDE), np.uint8)
        for face, out in zip(faces, self._faces_u8, strict=False):
            face_pixels(gray, face.box_xyxy, self.bundle.face_margin, out)
        return self._faces_u8[: len(faces)]

    def _prediction(self, face: Face, logits: NDArray[np.float32], probabilities: NDArray[np.float32]) -> Prediction:
        best = int(probabilities.argmax())
        label = EMOTIONS[best] if probabilities[best] >= self._min_confidence else UNCERTAIN
        return Prediction(face, logits, probabilities, label)

    def close(self) -> None:
        """Give camera and engine back; harmless twice."""
        self.source.__exit__(None, None, None)
        self.engine.close()
