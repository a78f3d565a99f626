"""Steady labels: averages that do not depend on the frame rate, hysteresis, dwell, and what both cost."""

import math

import numpy as np
import pytest

from fer_edge.edge_runtime.steady import Steadiness, SteadyLabels
from fer_edge.edge_runtime.vocabulary import EMOTIONS, Doubt, softmax

HAPPY, SAD = EMOTIONS.index("happy"), EMOTIONS.index("sad")
NS = 1_000_000_000


def logits(emotion: int, strength: float = 5.0) -> np.ndarray:
    made = np.zeros(7, np.float32)
    made[emotion] = strength
    return made


def shown(
    labels: SteadyLabels, said: list[int], fps: int = 10, start: int = 0, doubt: Doubt | None = None
) -> list[str]:
    return [labels.update(1, logits(e), doubt, (start + at) * NS // fps)[1] for at, e in enumerate(said)]


def test_without_steadiness_each_frame_is_labelled_by_itself() -> None:
    labels = SteadyLabels(Steadiness(0, 0, 0), None)
    assert shown(labels, [HAPPY, SAD, HAPPY, SAD]) == ["happy", "sad", "happy", "sad"]
    assert labels.counts.changes == labels.counts.unsmoothed_changes == 3


def test_a_flicker_is_not_shown() -> None:
    labels = SteadyLabels(Steadiness(0.4, 0.1, 0.3), None)
    assert set(shown(labels, [HAPPY] * 10 + [SAD] + [HAPPY] * 10 + [SAD] + [HAPPY] * 10)) == {"happy"}
    assert (labels.counts.changes, labels.counts.unsmoothed_changes) == (0, 4)
    counts = labels.counts.as_dict()
    assert counts["per_face_minute"] == 0
    assert counts["unsmoothed_per_face_minute"] == pytest.approx(4 / (3.1 / 60))
    assert counts["delay_ms"] is None  # nothing changed, so nothing was late


def test_a_real_change_is_shown_late_by_what_is_reported() -> None:
    labels = SteadyLabels(Steadiness(0.4, 0.1, 0.3), None)
    told = shown(labels, [HAPPY] * 10 + [SAD] * 20)
    first = told.index("sad")
    assert told == ["happy"] * first + ["sad"] * (30 - first)
    assert 3 <= first - 10 <= 10  # at least the dwell, at most a second
    assert labels.counts.delays_ms[0] == pytest.approx((first - 10) * 100)
    assert labels.counts.changes == 1


@pytest.mark.parametrize("fps", [5, 10, 30, 120])
def test_the_average_does_not_depend_on_the_frame_rate(fps: int) -> None:
    """After t seconds of another input a first-order average has gone 1 - exp(-t / tau) of the way."""
    labels = SteadyLabels(Steadiness(0.5, 0, 0), None)
    labels.update(1, logits(HAPPY), None, 0)
    for at in range(1, fps + 1):
        probabilities, _, _ = labels.update(1, logits(SAD), None, at * NS // fps)
    way = 1 - math.exp(-1 / 0.5)
    expected = softmax(logits(HAPPY) * np.float32(1 - way) + logits(SAD) * np.float32(way))
    assert probabilities == pytest.approx(expected, abs=1e-4)


def test_hysteresis_holds_a_label_against_a_narrow_lead() -> None:
    labels = SteadyLabels(Steadiness(0, 0.2, 0), None)
    labels.update(1, logits(HAPPY), None, 0)
    close = logits(HAPPY, 3.0)
    close[SAD] = 3.1
    assert labels.update(1, close, None, NS)[1] == "happy"
    close[SAD] = 4.5
    assert labels.update(1, close, None, 2 * NS)[1] == "sad"


def test_a_narrow_margin_is_unsure_and_is_let_go_later_than_it_is_taken() -> None:
    labels = SteadyLabels(Steadiness(0, 0, 0), 0.2)
    between = logits(HAPPY, 2.0)
    between[SAD] = 1.7
    p = np.sort(softmax(between))
    assert 0.1 < p[-1] - p[-2] < 0.2
    assert labels.update(1, between, None, 0)[1:] == ("uncertain", Doubt.UNSURE)  # a new face needs the whole margin
    assert labels.update(1, logits(HAPPY), None, NS)[1:] == ("happy", None)
    assert labels.update(1, between, None, 2 * NS)[1:] == ("happy", None)  # one that is shown half of it


def test_a_bad_picture_does_not_enter_the_average() -> None:
    labels = SteadyLabels(Steadiness(0.4, 0.1, 0.3), None)
    assert shown(labels, [HAPPY] * 5)[-1] == "happy"
    dark = [labels.update(1, logits(SAD), Doubt.DARK, (5 + at) * NS // 10) for at in range(10)]
    assert dark[0][1:] == ("happy", None)  # not at once
    assert dark[-1][1:] == ("uncertain", Doubt.DARK)
    assert [row[0].argmax() for row in dark] == [HAPPY] * 10


def test_tracks_do_not_mix_and_old_ones_are_forgotten() -> None:
    labels = SteadyLabels(Steadiness(), None)
    assert labels.update(1, logits(HAPPY), None, 0)[1] == "happy"
    assert labels.update(2, logits(SAD), None, 0)[1] == "sad"
    for track in range(3, 200):
        labels.update(track, logits(SAD), None, track * NS)
    assert len(labels._tracks) < 20


@pytest.mark.parametrize("values", [(-1, 0, 0), (0, 1, 0), (0, 0, 61), (math.nan, 0, 0)])
def test_values_that_cannot_be_meant(values: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="expected 0 to 60 s"):
        Steadiness(*values)
