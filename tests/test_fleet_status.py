"""What a fleet's owner reads of each device: labels in the last full minute, and the release that runs."""

import json
from pathlib import Path

import numpy as np
import pytest

from fer_edge.edge_runtime.labeller import STAGES
from fer_edge.edge_runtime.release import release_id
from fer_edge.edge_runtime.status import Summary
from fer_edge.edge_runtime.vocabulary import Face, Observation, Prediction

SECOND = 10**9
MINUTE = 60 * SECOND


class Clock:
    now_ns = 5 * SECOND

    def __call__(self) -> int:
        return self.now_ns


def seen(*labels: str) -> Observation:
    predictions = tuple(
        Prediction(
            Face((0, 0, 9, 9), 1, None),
            np.zeros(7, np.float32),
            np.full(7, 1 / 7, np.float32),
            label,
            "dark" if label == "uncertain" else None,
        )
        for label in labels
    )
    return Observation(0, predictions, dict.fromkeys(STAGES, 1), 1.0, 0, 0)


def test_labels_a_minute_are_those_of_the_last_full_one() -> None:
    clock = Clock()
    summary, began = Summary(clock), clock.now_ns
    told: list[int | None] = []
    for after, labels in (
        (0, ("happy", "sad")),
        (30 * SECOND, ("happy", "uncertain")),
        (MINUTE - 1, ()),
        (MINUTE, ("fear",)),  # the first minute is over: three labels, the uncertain one is none
        (MINUTE + SECOND, ("fear", "fear")),
        (2 * MINUTE, ()),
    ):
        clock.now_ns = began + after
        summary.put(seen(*labels))
        told.append(summary.labels_a_minute())
    assert told == [None, None, None, 3, 3, 3]


def test_a_minute_without_frames_has_none_and_asking_is_enough() -> None:
    clock = Clock()
    summary, began = Summary(clock), clock.now_ns
    summary.put(seen("happy"))
    for after, expected in ((59, None), (60, 1), (119, 1), (120, 0), (600, 0)):
        clock.now_ns = began + after * SECOND
        assert summary.labels_a_minute() == expected
    summary.put(seen("happy", "happy"))
    clock.now_ns += MINUTE
    assert summary.labels_a_minute() == 2
    clock.now_ns -= MINUTE  # a thread that looked at the clock and then waited
    assert summary.labels_a_minute() == 2


def test_the_release_is_the_one_beside_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FER_EDGE_RELEASE", raising=False)
    release = tmp_path / "releases" / "0.1.0-0123456789ab"
    (release / "venv").mkdir(parents=True)
    (tmp_path / "current").symlink_to(release)
    environment = tmp_path / "current" / "venv"
    assert release_id(environment) is None
    told = release / "release.json"
    told.write_text(json.dumps({"schema": 1, "id": "0.1.0-0123456789ab"}))
    assert release_id(environment) == "0.1.0-0123456789ab"
    for damaged in ('{"id": 7}', "{}", "[]", "{", ""):
        told.write_text(damaged)
        assert release_id(environment) is None
    monkeypatch.setenv("FER_EDGE_RELEASE", "by-hand")
    assert release_id(environment) == "by-hand"
