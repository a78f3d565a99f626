"""What is written of an observation: one schema, which the files, the brokers and the pages share."""

import time
from datetime import UTC, datetime
from typing import Any

from fer_edge.edge_runtime.vocabulary import EMOTIONS, Observation, Prediction

SCHEMA = 1
"""Goes up when a key is taken away or changes its meaning; a new key does not raise it."""


def observation_record(observation: Observation) -> dict[str, Any]:
    """One frame as plain JSON values. `docs/outputs.md` says what each key means."""
    return {
        "v": SCHEMA,
        "frame": observation.frame_seq,
        "name": observation.name,
        "t_capture_ns": observation.t_capture_ns,
        "t_wall": wall_time(observation.t_capture_ns),
        "clock_ns": observation.clock_ns,
        "age_ms": round(observation.age_ms, 3),
        "gap_ms": None if observation.gap_ms is None else round(observation.gap_ms, 3),
        "stage_ms": {stage: round(ns / 1e6, 4) for stage, ns in observation.stage_ns.items()},
        "faces": [_face_record(prediction) for prediction in observation.predictions],
    }


def wall_time(t_ns: int, timespec: str = "milliseconds") -> str:
    """A time of the monotonic clock as ISO 8601 in UTC, by what the system's clock says now.

    A board without a battery starts with a wrong date; a line that is written after the date was set has the right one.
    """
    wall_s = (time.time_ns() - time.monotonic_ns() + t_ns) / 1e9
    return datetime.fromtimestamp(wall_s, UTC).replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def _face_record(prediction: Prediction) -> dict[str, Any]:
    return {
        "box_xyxy": [int(side) for side in prediction.face.box_xyxy],
        "track_id": prediction.face.track_id,
        "label": prediction.label,
        "reason": None if prediction.reason is None else prediction.reason.value,
        "confidence": round(prediction.confidence, 4),
        "probabilities": {e: round(float(p), 4) for e, p in zip(EMOTIONS, prediction.probabilities, strict=True)},
    }
