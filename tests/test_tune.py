"""The search for a device's settings on planted costs, its memory, its floors, and the profile that `run` takes."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_edge.devices.errors import EngineError, OutputError, SourceError
from fer_edge.edge_runtime import Bundle
from fer_edge.edge_runtime.agreement import Agreement, agreement
from fer_edge.edge_runtime.bench_pipeline_lane import ROUND_FRAMES
from fer_edge.edge_runtime.config import RunConfig
from fer_edge.edge_runtime.device_profile import (
    apply_profile,
    made_for,
    profile_path,
    write_profile,
)
from fer_edge.edge_runtime.sample_clip import write_sample_clip
from fer_edge.edge_runtime.state_folder import has_profiles, state_home
from fer_edge.edge_runtime.tune import Clip, opened_clip, tune_on
from fer_edge.edge_runtime.tune_meter import DeviceMeter
from fer_edge.edge_runtime.tune_score import Aim, Round, compared, dropped_share, front
from fer_edge.edge_runtime.tune_search import Looked, Outcome, Plan, Search
from fer_edge.edge_runtime.tune_space import Candidate, Here, Looking, Running, Space, Wishes, accuracy_floor, space_of
from fer_edge.edge_runtime.tune_store import Remembering, Store
from fer_edge.edge_runtime.vocabulary import Face, Precision

MS = 1_000_000
FRAMES = 150
SHIPPED = Bundle.open()
FLOAT = next(variant.accuracy for variant in SHIPPED.variants if variant.name == "tflite/float32")
FLOOR = f"nothing to choose from: tflite/float32: accuracy {FLOAT:.4f} is under the floor of 0.9"
FACE = Face((10, 10, 60, 60), 1.0)
MODEL_MS = {"tflite/int8": 2.0, "tflite/float32": 5.0, "onnx/int8": 1.6, "onnx/float32": 4.0}
ACCURACY = {"tflite/int8": 0.672, "tflite/float32": 0.673, "onnx/int8": 0.6715, "onnx/float32": 0.673}


def quiet(text: str) -> None:
    pass


@dataclass
class Planted:
    """A device whose costs are written down; every measurement is counted. `interrupt_after` raises Ctrl-C."""

    seed: int = 0
    noise: float = 0.05
    whole_ms: dict[Candidate, float] = field(default_factory=dict)
    interrupt_after: int | None = None
    asked: list[Any] = field(default_factory=list)

    def look_ms(self, looking: Looking) -> tuple[float, float]:
        """A full scan, and a look around a last place."""
        scan = {"yunet": 3.0, "haar": 12.0}[looking.detector] * (looking.detect_width / 320) ** 2
        return scan, {"yunet": 1.0, "haar": 2.5}[looking.detector]

    def found(self, looking: Looking) -> float:
        """Narrow pictures and rare scans lose faces; Haar loses some anyway."""
        lost = {160: 0.08, 240: 0.03, 320: 0.01, 480: 0.0, 640: 0.0}[looking.detect_width]
        return 1 - lost - looking.scan_every / 1000 - (0.02 if looking.detector == "haar" else 0)

    def model_ms(self, running: Running) -> float:
        return MODEL_MS[running.variant] * {None: 1.0, 1: 1.0, 2: 0.7, 4: 0.9}[running.threads]

    def frame_ms(self, candidate: Candidate, at: int) -> float:
        scan, look = self.look_ms(candidate.looking)
        own = scan if at % candidate.looking.scan_every == 0 else look
        return own + self.model_ms(candidate.running) + self.whole_ms.get(candidate, 0.0)

    def _noisy(self, name: object, times_ms: Sequence[float]) -> list[int]:
        rng = np.random.default_rng([self.seed, zlib.crc32(str(name).encode())])
        return [round(ms * MS * (1 + self.noise * abs(rng.normal()))) for ms in times_ms]

    def _count(self, what: Any) -> None:
        self.asked.append(what)
        if self.interrupt_after is not None and len(self.asked) > self.interrupt_after:
            raise KeyboardInterrupt

    def reference(self) -> list[list[Face]]:
        self._count("reference")
        return [[FACE]] * FRAMES

    def look(self, looking: Looking, wanted: Sequence[Sequence[Face]]) -> Looked:
        self._count(("look", looking, len(wanted)))
        scan, look = self.look_ms(looking)
        times = self._noisy(looking, [scan if at % looking.scan_every == 0 else look for at in range(len(wanted))])
        found = round(self.found(looking) * len(wanted))
        return Looked(Round(times, sum(times)), Agreement(len(wanted), found, found, found, 1))

    def infer(self, running: Running) -> Round:
        self._count(("infer", running))
        times = self._noisy(running, [self.model_ms(running)] * 100)
        return Round(times, sum(times) * (running.threads or 1))

    def turns(self, candidates: Sequence[Candidate], begin: int, end: int) -> Iterator[tuple[Candidate, int, Round]]:
        for number in range(begin, end):
            for candidate in candidates:
                self._count(("round", candidate, number))
                frames = range(number * ROUND_FRAMES, (number + 1) * ROUND_FRAMES)
                times = self._noisy((candidate, number), [self.frame_ms(candidate, at) for at in frames])
                yield candidate, number, Round(times, self.cpu_ns(candidate, times))

    def arriving(self, candidate: Candidate, fps: float, seconds: float) -> dict[str, Any]:
        self._count(("arriving", candidate, fps))
        ages = self._noisy(candidate, [self.frame_ms(candidate, at) for at in range(130)])
        return {"fps": fps, "frames": 130, "dropped": 0, "late": 0, "age_ns": ages, "utilisation": 0.2}

    def frames_labelled(self) -> int:
        return sum(ROUND_FRAMES for what in self.asked if what[0] == "round")

    def cpu_ns(self, candidate: Candidate, times: Sequence[int]) -> int:
        """Each further thread spins for a millisecond a frame."""
        return sum(times) + MS * ((candidate.running.threads or 1) - 1) * len(times)

    def exact(self, candidate: Candidate, aim: Aim) -> tuple[float, float]:
        """The score without noise."""
        times = [round(self.frame_ms(candidate, at) * MS) for at in range(ROUND_FRAMES * 9)]
        return aim.score([Round(times, self.cpu_ns(candidate, times))])

    def true_best(self, space: Space, aim: Aim, min_found: float = 0.95) -> tuple[float, float]:
        """The score of the best, by exhaustion and without noise."""
        good = [k for k in space.lookings if self.found(k) >= min_found]
        return min(self.exact(Candidate(r, k), aim) for r in space.runnings for k in good)


def space(
    threads: Sequence[int] = (1, 2, 4),
    detectors: Sequence[str] = ("yunet", "haar"),
    widths: Sequence[int] = (160, 240, 320, 480, 640),
    cadences: Sequence[int] = (1, 5, 10, 15, 30),
) -> Space:
    runnings = [Running(*name.split("/"), count) for name in MODEL_MS for count in threads]
    lookings = [Looking(d, None, w, c) for d in detectors for w in widths for c in cadences]
    return Space(tuple(runnings), tuple(lookings), dict(ACCURACY), dict.fromkeys(ACCURACY, 0.667))


BASELINE = Candidate(Running("tflite", "int8", None), Looking("haar", None, 320, 15))


def find(meter: Any, aim: Aim = Aim(), plan: Plan = Plan(), among: Space | None = None) -> Outcome:  # noqa: B008
    return Search(among or space(), meter, aim, plan, BASELINE, quiet).find()


# What is better


@pytest.mark.parametrize(
    ("service_ms", "period_ms", "share"),
    [
        ([5, 5, 5, 5], 10, 0),
        ([9.9] * 50, 10, 0),
        ([20] * 10, 10, 0.5 - 0.5 / 19),  # frames 0, 2, 4 … 18 are labelled, 9 of 19 are not
        ([14, 5, 5, 5, 5], 10, 0),  # one late frame waits in the slot
        ([25, 5, 5, 5], 10, 1 / 5),  # frames 1 and 2 come while frame 0 is labelled; 2 replaces 1
        ([], 10, 0),
    ],
)
def test_how_many_frames_drop_at_a_rate(service_ms: list[float], period_ms: float, share: float) -> None:
    assert dropped_share([ms * MS for ms in service_ms], period_ms * MS) == pytest.approx(share)


def test_the_front_is_what_nobody_dominates() -> None:
    points = {"a": (1, 5), "b": (2, 4), "c": (2, 6), "d": (3, 4), "e": (4, 1), "f": (1, 5), "g": (9, 9)}
    assert front(points, lambda name: points[name]) == ["a", "b", "e"]
    assert front([], lambda item: item) == []


def test_scores_put_a_missed_rate_behind_every_reached_one() -> None:
    quick, slow = Round([5 * MS] * 90, 900 * MS), Round([30 * MS] * 90, 90 * MS)
    assert Aim().score([quick]) == (0.0, 5.0)
    assert Aim(25.0).score([quick]) == (0.0, 10.0)  # CPU time a frame
    assert Aim(25.0).score([slow]) == (0.0, 1.0)  # slower, but it keeps up and takes less
    missed, p90 = Aim(50.0).score([slow])
    assert missed > 0.3
    assert p90 == 30.0
    assert Aim(50.0).score([quick]) < Aim(50.0).score([slow])


def test_a_p90_that_hides_full_scans_does_not_hide_the_frames_they_drop() -> None:
    """Every 15th frame takes 107 ms at 25 frames a second: the p90 is 3 ms, and 2 of 32 frames are dropped."""
    scans = [Round(([107 * MS] + [3 * MS] * 14) * 2, 1) for _ in range(5)]
    steady = [Round([9 * MS] * 30, 1) for _ in range(5)]
    assert Aim().score(scans) < Aim().score(steady)
    missed, p90 = Aim(clip_fps=25.0).score(scans)
    assert missed == pytest.approx(2 / 32)
    assert p90 == 3.0
    assert Aim(clip_fps=25.0).score(steady) < (missed, p90)


def test_a_comparison_knows_better_as_good_and_undecided() -> None:
    rng = np.random.default_rng(0)

    def rounds(ms: float, noise: float, many: int = 27) -> dict[int, Round]:
        return {n: Round([round(ms * MS * (1 + noise * rng.normal())) for _ in range(30)], 1) for n in range(many)}

    base = rounds(10, 0.02)
    same = compared(Aim(), rounds(10, 0.02), base)
    assert (same.differs, same.is_settled, same.is_as_good) == (False, True, True)
    slower = compared(Aim(), rounds(12, 0.02), base)
    assert (slower.differs, slower.is_settled, slower.is_as_good) == (True, True, False)
    assert slower.ratio == pytest.approx(1.2, abs=0.02)
    undecided = compared(Aim(), rounds(10, 0.9), rounds(10, 0.9))
    assert not undecided.is_settled
    few = compared(Aim(), rounds(10, 0.02, 3), base)
    assert (few.rounds, few.low, few.is_settled, few.is_as_good) == (3, None, False, True)
    faster = compared(Aim(), rounds(8, 0.02), base)
    assert (faster.differs, faster.is_as_good) == (True, True)


def test_one_stalled_round_moves_neither_score_nor_ratio() -> None:
    base = [Round([10 * MS] * 30, 30 * MS) for _ in range(9)]
    stalled = [*base[:4], Round([500 * MS] * 30, 30 * MS), *base[5:]]
    assert Aim().score(stalled) == Aim().score(base) == (0.0, 10.0)
    assert compared(Aim(), dict(enumerate(stalled)), dict(enumerate(base))).ratio == 1.0


# The search


@pytest.mark.parametrize("aim", [Aim(), Aim(30.0), Aim(120.0)], ids=["latency", "30 fps", "120 fps"])
def test_the_true_best_is_found_with_a_twentieth_of_the_measurements(aim: Aim) -> None:
    exhaustive = len(space()) * 27 * ROUND_FRAMES
    assert len(space()) == 600
    for seed in range(6):
        meter = Planted(seed)
        outcome = find(meter, aim)
        best, mine = meter.true_best(space(), aim), meter.exact(outcome.winner, aim)
        assert best[0] == mine[0] == outcome.missed == 0
        assert mine[1] <= 1.05 * best[1]  # settings within 5% count as equal, and the more accurate one wins then
        assert meter.frames_labelled() < exhaustive / 20


def test_a_setting_that_is_worse_as_a_whole_than_its_parts_does_not_win() -> None:
    """The sum of the halves proposes; only what ran as a whole decides."""
    plain = find(Planted(), Aim())
    meter = Planted(whole_ms={plain.winner: 5.0})
    outcome = find(meter, Aim())
    assert outcome.winner != plain.winner
    assert meter.exact(outcome.winner, Aim())[1] <= 1.05 * meter.true_best(space(), Aim())[1]


def test_a_board_that_slows_down_brings_back_what_still_keeps_up() -> None:
    """Scans of 62 ms drop no frame at 25 a second, since one may wait; from round 3 on all takes half as long again."""

    class Warming(Planted):
        def look_ms(self, looking: Looking) -> tuple[float, float]:
            return (60.0 if looking.detect_width == 640 else 12.0), (1.0 if looking.detect_width == 640 else 3.0)

        def found(self, looking: Looking) -> float:
            return 1.0

        def turns(
            self, candidates: Sequence[Candidate], begin: int, end: int
        ) -> Iterator[tuple[Candidate, int, Round]]:
            for candidate, number, taken in super().turns(candidates, begin, end):
                slow = 1.5 if number >= 3 else 1.0
                yield candidate, number, Round([round(ns * slow) for ns in taken.service_ns], taken.cpu_ns)

    among = space(threads=(1,), detectors=("yunet",), widths=(320, 640), cadences=(15,))
    among = replace(among, runnings=tuple(r for r in among.runnings if r.engine == "tflite"))
    meter = Warming(noise=0.0)
    outcome = find(meter, Aim(clip_fps=25.0), Plan(0.9, rungs=((12, 3), (1, 9)), longest=18), among)
    assert outcome.winner.looking.detect_width == 320
    assert outcome.missed == 0
    shared = outcome.over_winner[replace(outcome.winner, looking=replace(outcome.winner.looking, detect_width=640))]
    assert shared.rounds == 3 + 9


@pytest.mark.parametrize("min_found", [0.5, 0.9, 0.95, 0.98, 0.995])
def test_nothing_under_the_floor_of_faces_is_returned(min_found: float) -> None:
    for seed in range(3):
        meter = Planted(seed)
        outcome = find(meter, Aim(), Plan(min_found))
        assert meter.found(outcome.winner.looking) >= min_found - 1 / FRAMES
        for candidate in outcome.tried:
            assert candidate == BASELINE or outcome.looked[candidate.looking].found >= min_found
        assert all(candidate in outcome.tried for candidate in outcome.front)


def test_phantoms_do_not_buy_faces() -> None:
    class Phantoms(Planted):
        def look(self, looking: Looking, wanted: Sequence[Sequence[Face]]) -> Looked:
            looked = super().look(looking, wanted)
            if looking.detector == "yunet":
                looked.agreement = Agreement(len(wanted), len(wanted), 2 * len(wanted), len(wanted), 9)
            return looked

    assert find(Phantoms(), plan=Plan(0.9)).winner.looking.detector == "haar"


def test_where_the_quick_ones_find_too_little_the_slow_ones_are_tried() -> None:
    class Blind(Planted):
        def found(self, looking: Looking) -> float:
            return 1.0 if (looking.detector, looking.detect_width, looking.scan_every) == ("haar", 640, 1) else 0.96

    outcome = find(Blind(), plan=Plan(0.97))
    assert str(outcome.winner.looking) == "haar 640 wide, every 1"


def test_a_clip_without_faces_and_a_floor_that_nothing_holds_are_sentences() -> None:
    class Empty(Planted):
        def reference(self) -> list[list[Face]]:
            return [[]] * FRAMES

    with pytest.raises(EngineError, match="no face was found in the clip"):
        find(Empty())

    class Blind(Planted):
        def found(self, looking: Looking) -> float:
            return 0.9

    with pytest.raises(EngineError, match="no setting finds 95% of the faces"):
        find(Blind())


def test_a_rate_that_is_not_reached_is_said() -> None:
    outcome = find(Planted(), Aim(900.0))
    assert outcome.missed > 0.4


def test_hopeless_ones_are_looked_at_shortly_and_never_run() -> None:
    meter = Planted()
    outcome = find(meter)
    whole = {what[1] for what in meter.asked if what[0] == "look" and what[2] == FRAMES}
    ran = {what[1].looking for what in meter.asked if what[0] == "round"}
    assert outcome.hopeless
    assert not set(outcome.hopeless) & (ran - {BASELINE.looking})
    assert len(whole) <= 12 + 1 < len(space().lookings)
    rounds = {candidate: len(tried.rounds) for candidate, tried in outcome.tried.items()}
    assert sorted(set(rounds.values())) in ([3, 9, 27], [3, 9, 54])
    assert rounds[BASELINE] == max(rounds.values()) == rounds[outcome.winner]


def test_the_front_has_the_slower_ones_that_do_something_better() -> None:
    outcome = find(Planted(noise=0.0))

    def costs(c: Candidate) -> tuple[float, float, float]:
        return outcome.over_winner[c].ratio, -ACCURACY[c.running.variant], -outcome.looked[c.looking].found

    ran = [c for c in outcome.tried if c != BASELINE]
    for c in ran:
        dominated = any(
            other != c and all(o <= m for o, m in zip(costs(other), costs(c), strict=True)) and costs(other) != costs(c)
            for other in ran
        )
        twin = any(costs(other) == costs(c) for other in outcome.front)
        assert (c in outcome.front or twin) is not dominated
    assert BASELINE not in outcome.front
    assert {c.running.precision for c in outcome.front} == {"int8", "float32"}
    assert [costs(c)[0] for c in outcome.front] == sorted(costs(c)[0] for c in outcome.front)


def test_of_two_that_are_as_quick_the_more_accurate_wins() -> None:
    costs = dict.fromkeys(MODEL_MS, 2.0)
    meter = Planted(noise=0.01)
    meter.model_ms = lambda running: costs[running.variant]  # type: ignore[method-assign]
    outcome = find(meter, among=space(threads=(1,), detectors=("yunet",), widths=(320,), cadences=(15,)))
    assert ACCURACY[outcome.winner.running.variant] == max(ACCURACY[c.running.variant] for c in outcome.tried)


@pytest.mark.parametrize(
    ("rounds", "rungs", "longest"),
    [
        (27, ((12, 3), (4, 9), (2, 27)), 54),
        (1, ((12, 1), (4, 1), (2, 1)), 2),
        (100, ((12, 11), (4, 33), (2, 100)), 200),
    ],
)
def test_a_plan_of_so_many_rounds(rounds: int, rungs: tuple[tuple[int, int], ...], longest: int) -> None:
    assert (Plan.of(0.9, rounds).rungs, Plan.of(0.9, rounds).longest) == (rungs, longest)
    outcome = find(Planted(), plan=Plan.of(0.9, rounds))
    assert len(outcome.tried[outcome.winner].rounds) in (rounds, 2 * rounds)


# What may be chosen


def here(**changes: Any) -> Here:
    return replace(Here(2, 640, 30.0, None, lambda name: None), **changes)


def test_the_space_is_what_is_here() -> None:
    bundle = Bundle.open()
    made = space_of(bundle, here(why_not=lambda name: {"onnx": "onnxruntime is not installed"}.get(name)), Wishes())
    assert {r.variant for r in made.runnings} == {"tflite/int8", "tflite/float32"}
    assert {r.threads for r in made.runnings} == {1, 2}
    assert {k.detect_width for k in made.lookings} == {160, 240, 320, 480, 640}
    assert {k.scan_every for k in made.lookings} == {1, 5, 10, 15, 30}
    assert made.left_out == {"onnx/int8": "onnxruntime is not installed"}


def test_widths_end_at_the_frame_and_cadences_at_a_second() -> None:
    made = space_of(Bundle.open(), here(frame_width=400, fps=12.5), Wishes())
    assert {k.detect_width for k in made.lookings} == {160, 240, 320, 480}  # 480 takes the frame as it is
    assert {k.scan_every for k in made.lookings} == {1, 5, 10}
    asked = space_of(Bundle.open(), here(), Wishes(widths=[200], cadences=[90], threads=[8]))
    assert [(k.detect_width, k.scan_every) for k in asked.lookings] == [(200, 90)] * 2
    assert {r.threads for r in asked.runnings} == {8}


def test_the_sample_clip_does_not_argue_for_less_than_run_does_anyway() -> None:
    made = space_of(Bundle.open(), here(is_sample=True, frame_width=480, fps=25.0), Wishes())
    assert {k.detect_width for k in made.lookings} == {320, 480}
    assert max(k.scan_every for k in made.lookings) == 15


def test_the_accuracy_floor_is_half_a_point_under_the_float_variant() -> None:
    bundle = Bundle.open()
    int8 = bundle.find("tflite", Precision.INT8)
    onnx = bundle.find("onnx", Precision.INT8)
    assert accuracy_floor(bundle, int8, None) == pytest.approx(FLOAT - 0.005)
    assert accuracy_floor(bundle, onnx, None) == accuracy_floor(bundle, int8, None)  # it has no float variant here
    assert accuracy_floor(bundle, int8, 0.6) == 0.6
    without = replace(bundle, variants=(int8,))
    assert accuracy_floor(without, int8, None) is None
    with pytest.raises(EngineError, match="no float accuracy to compare with; give --min-accuracy"):
        space_of(without, here(), Wishes())


def judged(*accuracies: float | None) -> Bundle:
    bundle = Bundle.open()
    return replace(bundle, variants=tuple(map(lambda v, a: replace(v, accuracy=a), bundle.variants, accuracies)))


def test_what_is_under_the_floor_or_was_never_judged_is_left_out() -> None:
    names = [v.name for v in Bundle.open().variants]
    assert names == ["tflite/float32", "tflite/int8", "onnx/int8"]
    made = space_of(judged(0.67, 0.6649, None), here(), Wishes())
    assert {r.variant for r in made.runnings} == {"tflite/float32"}
    assert made.left_out["tflite/int8"] == "accuracy 0.6649 is under the floor of 0.6650"
    assert made.left_out["onnx/int8"] == "its accuracy was never measured"
    on_the_floor = space_of(judged(0.67, 0.665, 0.665), here(), Wishes())
    assert {r.variant for r in on_the_floor.runnings} == set(names)


@pytest.mark.parametrize(
    ("wishes", "text"),
    [
        (
            Wishes(min_accuracy=0.9),
            f"nothing to choose from: tflite/float32: accuracy {FLOAT:.4f} is under the floor of 0.9",
        ),
        (
            Wishes(engines=["openvino"]),
            f"bundle '{Bundle.open().name}' has no variant for openvino; it has onnx, tflite",
        ),
        (Wishes(engines=["onnx"], precisions=["float16"]), "nothing to choose from: .*onnx/int8: not asked for"),
        (Wishes(engines=["ncnn"]), "tune knows no engine 'ncnn'; choose among tflite, onnx, openvino"),
        (Wishes(precisions=["int4"]), "tune knows no precision 'int4'"),
        (Wishes(detectors=["none"]), "tune knows no detector 'none'; choose among yunet, haar"),
        (Wishes(threads=[0]), "threads are 0; expected numbers from 1"),
        (Wishes(widths=[]), "widths are empty"),
    ],
)
def test_a_space_of_nothing_is_one_sentence(wishes: Wishes, text: str) -> None:
    with pytest.raises(EngineError, match=text):
        space_of(Bundle.open(), here(), wishes)


def test_what_is_asked_for_by_name_must_be_there() -> None:
    """Otherwise the engine that somebody wanted to compare would be missing from the table without a word."""
    missing = here(why_not=lambda name: f"{name} is not here" if name in ("onnx", "yunet") else None)
    assert space_of(Bundle.open(), missing, Wishes()).left_out == {
        "onnx/int8": "onnx is not here",
        "yunet": "yunet is not here",
    }
    for wishes, device in (
        (Wishes(engines=["tflite", "onnx"]), missing),
        (Wishes(detectors=["haar", "yunet"]), missing),
        (Wishes(), replace(missing, detector_model=Path("gone.onnx"))),
    ):
        with pytest.raises(EngineError, match="is not here"):
            space_of(Bundle.open(), device, wishes)


def test_no_detector_is_one_sentence() -> None:
    with pytest.raises(EngineError, match="no face detector to choose from: no yunet; no haar"):
        space_of(Bundle.open(), here(why_not=lambda n: f"no {n}" if n in ("yunet", "haar") else None), Wishes())


# Its memory


def test_an_interrupted_search_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    whole = Planted()
    expected = find(whole)
    sessions: list[Any] = []
    for limit in itertools.count(40, 40):
        meter = Planted(interrupt_after=40)
        with Store({"k": 1}, folder=tmp_path) as store:
            try:
                outcome = find(Remembering(meter, store))
            except KeyboardInterrupt:
                sessions += meter.asked[:-1]  # the last one was not finished
                assert limit < 4000
                continue
        sessions += meter.asked
        break
    assert len(sessions) == len(set(sessions))
    assert set(sessions) == set(whole.asked)
    assert outcome.winner == expected.winner
    assert {c: len(t.rounds) for c, t in outcome.tried.items()} == {c: len(t.rounds) for c, t in expected.tried.items()}
    assert outcome.tried[outcome.winner].rounds == expected.tried[expected.winner].rounds


def test_a_line_that_was_cut_short_is_forgotten_and_the_rest_kept(tmp_path: Path) -> None:
    with Store("k", folder=tmp_path) as store:
        assert store.get("a", lambda: [1]) == [1]
        assert store.get("b", lambda: [2]) == [2]
        assert store.get("a", lambda: pytest.fail("measured twice")) == [1]
        path = store.path
    with path.open("ab") as file:
        file.write(b'["c",[3')
    with Store("k", folder=tmp_path) as store:
        assert store.found == 2
        assert store.get("c", lambda: [4]) == [4]
    assert [json.loads(line)[0] for line in path.read_text().splitlines()] == ["a", "b", "c"]
    with Store("other", folder=tmp_path) as store:
        assert store.found == 0
    with Store("k", folder=tmp_path, restart=True) as store:
        assert store.found == 0


def test_two_searches_at_once_are_refused(tmp_path: Path) -> None:
    with Store("k", folder=tmp_path), pytest.raises(OutputError, match="another fer-edge tune is measuring"):
        Store("k", folder=tmp_path)
    Store("k", folder=tmp_path).close()


CLIP = Clip("clip.mp4", "clip.mp4", "0" * 64, 640, 360, 30.0, False)


def tuned(tmp_path: Path, meter: Any, aim: Aim = Aim(), **changes: Any) -> tuple[dict[str, Any], Store]:  # noqa: B008
    settings = {"wishes": Wishes(), "plan": Plan(), "max_frames": 300, "restart": False, "step": quiet} | changes
    return tune_on(Bundle.open(), CLIP, here(), aim=aim, meter=meter, state_folder=tmp_path, **settings)


def test_the_report_says_what_ran_and_why(tmp_path: Path) -> None:
    made, store = tuned(tmp_path, Planted())
    store.close()
    json.dumps(made, allow_nan=False)
    rows = {row["id"]: row for row in made["tried"]}
    winner = rows[made["winner"]["id"]]
    assert winner["service"]["count"] == len(winner["samples_ns"]) == winner["rounds"] * ROUND_FRAMES
    assert winner["service"]["p99"] is not None
    assert made["winner"]["settings"]["engine"] == winner["engine"]
    assert made["winner"]["accuracy"] >= made["floors"]["accuracy"][f"{winner['engine']}/{winner['precision']}"]
    assert winner["found"] >= made["floors"]["found"] == 0.95
    assert made["winner"]["open"]["age"]["count"] == 130
    assert made["winner"]["why"].startswith("it takes ")
    assert made["measured"]["frames"] < made["measured"]["exhaustive_frames"] / 5
    assert made["reference"] == {"detector": "yunet", "frames": 150, "faces": 150}
    assert set(made["front"]) <= set(rows)
    assert made["baseline"] in rows
    assert made["bundle"]["sha256"] == Bundle.open().sha256


def test_another_aim_uses_what_was_measured(tmp_path: Path) -> None:
    first = Planted()
    tuned(tmp_path, first)[1].close()
    second = Planted()
    made, store = tuned(tmp_path, second, Aim(20.0))
    store.close()
    assert made["resumed"]
    assert "reference" not in second.asked
    assert not [what for what in second.asked if what[0] == "infer"]


# The real meter


def test_the_device_meter_measures_what_the_search_asks_for(tmp_path: Path) -> None:
    write_sample_clip(tmp_path / "clip.mp4", frames=40)
    meter = DeviceMeter(str(tmp_path / "clip.mp4"), Bundle.open(), ("haar", None), max_frames=20)
    wanted = meter.reference()
    assert len(wanted) == 20
    looked = meter.look(Looking("haar", None, 320, 10), wanted[:12])
    assert len(looked.times.service_ns) == 12
    assert looked.agreement.wanted == sum(map(len, wanted[:12]))
    assert looked.found > 0.8
    inferred = meter.infer(Running("tflite", "int8", 1))
    assert len(inferred.service_ns) == 100
    candidates = [Candidate(Running("tflite", p, 1), Looking("haar", None, 320, 10)) for p in ("int8", "float32")]
    turns = list(meter.turns(candidates, 1, 3))
    assert [number for _, number, _ in turns] == [1, 1, 2, 2]
    assert all(len(taken.service_ns) == ROUND_FRAMES for _, _, taken in turns)
    arrived = meter.arriving(candidates[0], 200.0, 0.1)
    assert arrived["frames"] == len(arrived["age_ns"]) + arrived["dropped"] == 30


def test_agreement_counts_both_ways() -> None:
    a, b, far = Face((0, 0, 10, 10), 1, 1), Face((2, 0, 12, 10), 1, 7), Face((50, 50, 60, 60), 1, 8)
    counted = agreement([[a], [a], [], [a, far]], [[b], [], [far], [b]])
    assert counted == Agreement(wanted=4, found=2, shown=3, right=2, ids=2)
    assert (counted.recall, counted.precision) == (0.5, 2 / 3)
    assert agreement([[]], [[]]).recall is None


def test_tune_wants_a_clip(tmp_path: Path) -> None:
    from fer_edge.edge_runtime.sample_clip import SAMPLE_PHOTO

    for source, text in (("fake:", "record fake: and give the clip"), (str(SAMPLE_PHOTO), "is no clip")):
        with pytest.raises(SourceError, match=text), opened_clip(source, quiet):
            pass
    with opened_clip(None, quiet) as clip:
        assert (clip.name, clip.frame_width, clip.fps, clip.is_sample) == ("sample clip", 480, 25.0, True)


# The profile


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FER_EDGE_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


SETTINGS = {
    "engine": "tflite", "precision": "float32", "threads": 2,
    "detector": "haar", "detector_model": None, "detect_width": 240, "scan_every": 10,
}  # fmt: skip


def written(**bound: Any) -> Path:
    bundle = Bundle.open()
    return write_profile(made_for(bundle, ["tflite"]) | bound, SETTINGS, {"p90_ms": 1.5}, "2026-11-21T12:00:00Z")


def applied(config: RunConfig, *given: str) -> tuple[RunConfig, list[str]]:
    said: list[str] = []
    return apply_profile(config, given, Bundle.open(), said.append), said


def test_where_state_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FER_EDGE_STATE_DIR", "STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_home() == tmp_path / ".local" / "state" / "fer-edge"
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    assert state_home() == Path("/x/fer-edge")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/fer-edge:/var/lib/other")
    assert state_home() == Path("/var/lib/fer-edge")
    monkeypatch.setenv("FER_EDGE_STATE_DIR", "/own")
    assert state_home() == Path("/own")


def test_a_profile_is_taken_and_said(state: Path) -> None:
    assert not has_profiles()
    path = written()
    assert has_profiles()
    assert path == profile_path(Bundle.open().sha256)
    made, said = applied(RunConfig())
    assert {name: getattr(made, name) for name in SETTINGS} == SETTINGS
    assert said == [
        "profile of 2026-11-21: tflite/float32, 2 threads, haar, 240 wide, a scan every 10 (--no-profile ignores it)"
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"threads": 1}, {"precision": "float32", "threads": 1, "detect_width": 240}),
        ({"scan_every": 3}, {"precision": "float32", "scan_every": 3, "detect_width": 240}),
        # Another precision: threads were measured with the profile's own.
        ({"precision": "int8"}, {"engine": "auto", "precision": "int8", "threads": None, "detect_width": 240}),
        ({"engine": "tflite"}, {"engine": "tflite", "precision": "float32", "threads": 2}),
        ({"detector": "none"}, {"detector": "none", "detect_width": 320, "scan_every": 15, "threads": 2}),
        ({"detector_model": Path("y.onnx")}, {"detector": None, "detect_width": 320, "precision": "float32"}),
    ],
)
def test_what_is_given_wins(state: Path, given: dict[str, Any], expected: dict[str, Any]) -> None:
    written()
    made, said = applied(RunConfig(**given), *given)
    assert {name: getattr(made, name) for name in expected} == expected
    assert len(said) == 1


def test_where_all_is_given_nothing_is_taken(state: Path) -> None:
    written()
    made, said = applied(RunConfig(precision="int8", detector="none"), "precision", "detector")
    assert made == RunConfig(precision="int8", detector="none")
    assert said == ["nothing is taken from the profile: its settings are given"]
    same = RunConfig(**SETTINGS)
    assert applied(same, *SETTINGS) == (same, [])


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        ({"board": "Raspberry Pi 9"}, "it was tuned on another board (Raspberry Pi 9)"),
        ({"cpu": "Z80"}, "it was tuned on another cpu (Z80)"),
        ({"versions": {"tflite": "0.1"}}, "it was tuned with tflite 0.1, here is "),
        ({"versions": {"openvino": "1.0.never"}}, "it was tuned with openvino 1.0.never, here is "),
    ],
)
def test_a_profile_of_another_device_is_refused_and_said(state: Path, bound: dict[str, Any], text: str) -> None:
    written(**bound)
    made, said = applied(RunConfig())
    assert made == RunConfig()
    assert len(said) == 1
    assert text in said[0]
    assert said[0].endswith("run: fer-edge tune")


def test_a_profile_of_another_bundle_is_refused_and_said(state: Path) -> None:
    path = written(bundle="pets", bundle_sha256="ab" * 32)
    made, said = applied(RunConfig())
    assert (made, len(said)) == (RunConfig(), 1)
    assert f"the profile here is for bundle pets (abababab), not for this one, {SHIPPED.name} (" in said[0]
    path.rename(profile_path(Bundle.open().sha256))  # by hand
    made, said = applied(RunConfig())
    assert (made, len(said)) == (RunConfig(), 1)
    assert "it was tuned for another bundle (pets)" in said[0]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: text.replace("threads = 2", 'threads = "2"'),
        lambda text: text.replace("threads = 2", "threads = true"),
        lambda text: text.replace("threads = 2", "threads = 999"),
        lambda text: text.replace("schema = 1", "schema = 2"),
        lambda text: text.replace("detect_width", "save"),
    ],
)
def test_a_damaged_profile_does_not_stop_a_run(state: Path, damage: Callable[[str], str]) -> None:
    path = written()
    path.write_text(damage(path.read_text()))
    made, said = applied(RunConfig())
    assert (made, len(said)) == (RunConfig(), 1)
    assert "is damaged" in said[0]


def test_a_detector_file_that_is_gone_is_said(state: Path, tmp_path: Path) -> None:
    path = written()
    settings = f'detector = "yunet"\ndetector_model = "{tmp_path / "gone.onnx"}"'
    path.write_text(path.read_text().replace('detector = "haar"', settings))
    made, said = applied(RunConfig())
    assert made == RunConfig()
    assert "gone.onnx is gone" in said[0]


def test_run_takes_the_profile_and_says_so(cli, state: Path, tmp_path: Path) -> None:
    write_sample_clip(tmp_path / "clip.mp4", frames=4)
    environment = {"FER_EDGE_STATE_DIR": str(state)}
    plain = cli("run", "clip.mp4", "--threads", "1", **environment)
    assert (plain.returncode, plain.stderr) == (0, "")
    assert "int8 on LiteRT" in plain.stdout
    written()
    taken = cli("run", "clip.mp4", **environment)
    assert taken.returncode == 0
    assert "float32 on LiteRT" in taken.stdout
    assert "2 threads" in taken.stdout
    assert taken.stderr.count("\n") == 1
    assert taken.stderr.startswith("fer-edge: profile of 2026-11-21: tflite/float32, 2 threads")
    flag = cli("run", "clip.mp4", "--precision", "int8", "--threads", "1", **environment)
    assert "int8 on LiteRT" in flag.stdout
    without = cli("run", "clip.mp4", "--no-profile", "--threads", "1", **environment)
    assert (without.stdout, without.stderr) == (plain.stdout, "") or "int8 on LiteRT" in without.stdout
    assert without.stderr == ""
    (tmp_path / "run.toml").write_text('source = "clip.mp4"\nprofile = false\nthreads = 1\n')
    by_file = cli("run", "--config", "run.toml", **environment)
    assert "int8 on LiteRT" in by_file.stdout
    assert by_file.stderr == ""
    shown = cli("run", "clip.mp4", "--print-config", **environment)
    assert 'precision = "float32"' in shown.stdout
    assert "detect_width = 240" in shown.stdout


# The command


def small(*more: str) -> list[str]:
    return [
        "tune", "--source", "clip.mp4", "--engines", "tflite", "--threads", "1", "--detectors", "haar",
        "--widths", "320", "--cadences", "15", "--max-frames", "20", "--rounds", "2", *more,
    ]  # fmt: skip


def test_tune_writes_a_profile_that_run_takes(cli, state: Path, tmp_path: Path) -> None:
    write_sample_clip(tmp_path / "clip.mp4", frames=30)
    environment = {"FER_EDGE_STATE_DIR": str(state), "COLUMNS": "80"}
    done = cli(*small("--json", "t.json"), **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    made = json.loads((tmp_path / "t.json").read_text())
    assert made["winner"]["settings"]["scan_every"] == 15
    assert {row["precision"] for row in made["tried"]} == {"int8", "float32"}
    assert "winner: tflite/" in done.stdout
    assert "why: it takes" in done.stdout
    assert "profile: " in done.stdout
    table = [line for line in done.stdout.splitlines() if " haar " in line and "tflite/" in line and ":" not in line]
    assert len(table) >= 2
    assert max(map(len, table)) <= 80
    path = Path(made["profile"])
    assert path.parent == state / "profiles"
    assert not list((state / "tune").glob("*.jsonl"))  # the search is over
    ran = cli("run", "clip.mp4", **environment)
    assert f"tflite/{made['winner']['settings']['precision']}, 1 thread" in ran.stderr


def test_a_rate_out_of_reach_writes_no_profile_and_fails(state: Path, tmp_path: Path, capsys) -> None:
    from fer_edge.cli.tune import _finish

    made, store = tuned(tmp_path / "measured", Planted(), Aim(900.0))
    with store, pytest.raises(EngineError, match="900 frames a second are not reached here, so no profile was written"):
        _finish(made, store, False, tmp_path / "t.json")
    assert store.path.is_file()  # for another aim
    assert not has_profiles()
    assert json.loads((tmp_path / "t.json").read_text())["profile"] is None
    assert "no setting keeps up with 900 frames a second; this one drops the fewest" in capsys.readouterr().out


def test_a_dry_run_writes_nothing_and_keeps_what_was_measured(state: Path, tmp_path: Path, capsys) -> None:
    from fer_edge.cli.tune import _finish

    made, store = tuned(tmp_path / "measured", Planted(), Aim(20.0))
    with store:
        _finish(made, store, True, None)
    assert store.path.is_file()
    assert not has_profiles()
    shown = capsys.readouterr().out
    assert "CPU ms" in shown
    assert "of its CPU time" in shown


def test_ctrl_c_says_how_to_go_on_and_what_was_measured_is_kept(state: Path, tmp_path: Path) -> None:
    write_sample_clip(tmp_path / "clip.mp4", frames=30)
    environment = os.environ | {"FER_EDGE_STATE_DIR": str(state)}
    command = [sys.executable, "-P", "-m", "fer_edge", *small()]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:

        def lines() -> int:
            return sum(len(path.read_text().splitlines()) for path in (state / "tune").glob("*.jsonl"))

        until = time.monotonic() + 120
        while lines() < 5 and time.monotonic() < until and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; what was measured is kept: the same command goes on from there, --restart begins anew" in said
    assert "Traceback" not in said
    assert not has_profiles()
    [path] = (state / "tune").glob("*.jsonl")
    before = path.read_text()
    assert before.endswith("\n")
    assert lines() >= 5


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--aim", "beauty"), "it is latency, or give --fps N"),
        (("--aim", "latency", "--fps", "9"), "give one of --aim and --fps"),
        (("--threads", "two"), "expected whole numbers such as 1,2"),
    ],
)
def test_wrong_arguments(cli, args: tuple[str, ...], text: str) -> None:
    done = cli("tune", *args)
    assert done.returncode == 2
    assert text in " ".join(done.stderr.replace("│", " ").split())


def test_a_space_of_nothing_on_the_command_line(cli, state: Path) -> None:
    done = cli("tune", "--min-accuracy", "0.99", FER_EDGE_STATE_DIR=str(state))
    assert done.returncode == 1
    assert f"{FLOOR}900" in done.stderr
