"""The words that every folder shares: the emotions in their one order, precisions, and one value type a stage.

Value types are checked when built; the message says what was expected and what came. Imports numpy and nothing heavier.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""Label order everywhere in this project. FER-2013's CSV uses another one; only its reader knows."""

FACE_SIDE = 48
"""Side in pixels of the square gray face that every model takes."""

UNCERTAIN = "uncertain"
"""The label of a face that the runtime will not name; `Prediction.reason` says why."""


class Doubt(StrEnum):
    """Why a face is uncertain."""

    SMALL = "small"
    DARK = "dark"
    BLURRED = "blurred"
    UNSURE = "unsure"


class Precision(StrEnum):
    """What a variant computes in. `int8` means weights and activations; `dynamic-int8` means weights alone."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC_INT8 = "dynamic-int8"
    INT8 = "int8"


@dataclass(frozen=True, slots=True)
class Face:
    """A face found in a frame. `box_xyxy` is in pixels of the frame, end exclusive, and may reach over its border."""

    box_xyxy: tuple[int, int, int, int]
    score: float
    track_id: int | None = None

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.box_xyxy
        if x1 <= x0 or y1 <= y0:
            raise ValueError(f"expected a box (x0, y0, x1, y1) with x0 < x1 and y0 < y1, got {self.box_xyxy}")


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the model says of one face.

    `logits` (7,) float32 are the model's for this frame alone; `probabilities` (7,) float32 are of the track, smoothed
    where the source is a stream; `label` is what is shown; `reason` says why it is `uncertain`, else None.
    """

    face: Face
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    label: str
    reason: Doubt | None = None

    def __post_init__(self) -> None:
        if self.logits.shape != (len(EMOTIONS),):
            raise ValueError(f"expected logits ({len(EMOTIONS)},), got {self.logits.shape}")
        if self.label != UNCERTAIN and self.label not in EMOTIONS:
            raise ValueError(f"expected a label out of {EMOTIONS} or {UNCERTAIN!r}, got {self.label!r}")
        if (self.label == UNCERTAIN) != (self.reason is not None):
            raise ValueError(f"expected a reason with {UNCERTAIN!r} and with no other label, got {self.reason!r}")

    @property
    def confidence(self) -> float:
        """Probability of the most likely emotion, 0 to 1."""
        return float(self.probabilities.max())


@dataclass(frozen=True, slots=True)
class Observation:
    """What the pipeline says of one frame.

    `stage_ns` maps a stage to its time; `age_ms` is sensor to label; `clock_ns` is the source's own time (see `Frame`);
    `gap_ms` is set on the first frame after the camera was away.
    """

    frame_seq: int
    predictions: tuple[Prediction, ...]
    stage_ns: dict[str, int]
    age_ms: float
    t_capture_ns: int
    clock_ns: int
    name: str | None = None
    gap_ms: float | None = None


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities (..., 7) of logits (..., 7); stable for any finite input."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
