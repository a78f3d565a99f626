"""Frame to predictions: find the faces, cut them out, run the model, judge whether to name what it says.

Owns the buffers of the hot path. Knows nothing of sources and sinks; the pipeline and the upload of a photo share it.
"""

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.frame import Frame
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.detect import open_detector
from fer_edge.edge_runtime.engines import open_engine
from fer_edge.edge_runtime.follow import FaceFollower
from fer_edge.edge_runtime.preprocess import Scratch, face_pixels
from fer_edge.edge_runtime.quality import Gate, side_px
from fer_edge.edge_runtime.steady import Steadiness, SteadyLabels
from fer_edge.edge_runtime.threads import open_fastest
from fer_edge.edge_runtime.vocabulary import (
    EMOTIONS,
    FACE_SIDE,
    UNCERTAIN,
    Doubt,
    Face,
    Observation,
    Precision,
    Prediction,
    softmax,
)

STAGES = ("capture", "detect", "preprocess", "infer", "label", "total")
"""The keys of `Observation.stage_ns`; `capture` is the wait for the frame, `total` from before it to the label."""
CONFIRM_FRAMES = 2
"""A face that comes into a stream must be found in so many frames: Haar's phantoms last for one."""
STILL_SCAN_WIDTH = 1600
"""Photos are scanned at up to this width: nothing is in a hurry there, and faces in a group photo are small."""
_NO_GATE = Gate()


class Labeller:
    """Labels one frame after the other; not thread-safe.

    Args:
        bundle: what to run.
        still: frames have nothing to do with each other: each is scanned whole, nothing is followed or smoothed.
        engine: `auto`, `tflite`, `onnx` or `openvino`.
        precision: what is asked for is what runs, or an error.
        threads: of the engine; None measures how many help for a stream, and takes one for photos.
        detector: see `open_detector`.
        detector_model: YuNet's file.
        gate: when a face is `uncertain`: True is the bundle's own gate, False none.
        steadiness: of a stream's labels; None labels each frame by itself.
        scan_every: frames between full scans of a stream.
        detect_width: a stream's full scans look at the frame shrunk to this width, in pixels.

    Raises:
        BundleError, EngineError: in one sentence.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        still: bool,
        engine: str = "auto",
        precision: Precision | str = Precision.INT8,
        threads: int | None = None,
        detector: str | None = None,
        detector_model: Path | None = None,
        gate: Gate | bool = True,
        steadiness: Steadiness | None = None,
        scan_every: int = 15,
        detect_width: int = 320,
    ) -> None:
        self.bundle = bundle
        self.gate = gate if isinstance(gate, Gate) else (bundle.gate or _NO_GATE) if gate else _NO_GATE
        if threads is None and not still:
            self.engine = open_fastest(bundle, engine, precision)
        else:  # a photo is labelled before the measuring would be over
            self.engine = open_engine(bundle, engine, precision, threads or 1)
        self._scratch = Scratch()
        self._faces_u8 = np.zeros((4, FACE_SIDE, FACE_SIDE), np.uint8)
        try:
            self.engine.infer(self._faces_u8[:1])  # an engine that cannot run its model fails here, not mid-stream
            self.detector = open_detector(detector, detector_model)
        except BaseException:
            self.engine.close()
            raise
        if not self.detector.looks:
            self.follower = FaceFollower(self.detector, still=still, scan_width=1 << 30, scan_every=1)
        elif still:
            self.follower = FaceFollower(self.detector, still=True, scan_width=STILL_SCAN_WIDTH, min_face=32)
        else:
            self.follower = FaceFollower(
                self.detector, scan_width=detect_width, scan_every=scan_every, confirm=CONFIRM_FRAMES
            )
        self.steady = SteadyLabels(steadiness or Steadiness(0, 0, 0), self.gate.min_margin)
        self._still = still

    def observe(self, frame: Frame, started_ns: int | None = None) -> Observation:
        """What is seen in a frame.

        Args:
            frame: what to look at.
            started_ns: when the wait for the frame began, on the performance counter; None is now.
        """
        captured = time.perf_counter_ns()
        started = captured if started_ns is None else started_ns
        faces = self.follower.find(frame.gray)
        detected = time.perf_counter_ns()
        pixels = self._crop(frame.gray, faces)
        cropped = time.perf_counter_ns()
        logits = self.engine.infer(pixels) if faces else ()
        inferred = time.perf_counter_ns()
        rows = zip(faces, pixels, logits, strict=True)
        predictions = tuple(self._prediction(frame.clock_ns, *row) for row in rows)
        labelled = time.perf_counter_ns()
        stage_ns = {
            "capture": captured - started,
            "detect": detected - captured,
            "preprocess": cropped - detected,
            "infer": inferred - cropped,
            "label": labelled - inferred,
            "total": labelled - started,
        }
        age_ms = (time.monotonic_ns() - frame.t_capture_ns) / 1e6
        return Observation(
            frame.seq, predictions, stage_ns, age_ms, frame.t_capture_ns, frame.clock_ns, frame.name, frame.gap_ms
        )

    def close(self) -> None:
        """Give the engine back; harmless twice."""
        self.engine.close()

    def _crop(self, gray: NDArray[np.uint8], faces: list[Face]) -> NDArray[np.uint8]:
        if len(faces) > len(self._faces_u8):
            self._faces_u8 = np.empty((2 * len(faces), FACE_SIDE, FACE_SIDE), np.uint8)
        for face, out in zip(faces, self._faces_u8, strict=False):
            face_pixels(gray, face.box_xyxy, self.bundle.face_margin, out, self._scratch)
        return self._faces_u8[: len(faces)]

    def _prediction(self, t_ns: int, face: Face, face_u8: NDArray[np.uint8], logits: NDArray[np.float32]) -> Prediction:
        doubt = self.gate.doubt_of_face(side_px(face.box_xyxy), face_u8)
        if not self._still:
            probabilities, label, reason = self.steady.update(face.track_id, logits, doubt, t_ns)
            return Prediction(face, logits, probabilities, label, reason)
        probabilities = softmax(logits)
        if doubt is None and self.gate.is_unsure(probabilities):
            doubt = Doubt.UNSURE
        label = EMOTIONS[int(probabilities.argmax())] if doubt is None else UNCERTAIN
        return Prediction(face, logits, probabilities, label, doubt)
