"""The measurement core of `fer-edge bench`, on planted times: fake engines and a clock that only they advance."""

import gc
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fer_edge.devices.conditions import Conditions
from fer_edge.edge_runtime import bench_rounds, bench_stats
from fer_edge.edge_runtime.bench_ratios import Timed, ratio_over_float, ratios
from fer_edge.edge_runtime.bench_rounds import Lane, measure, round_samples, timed_calls, until_quiet, warm_up
from fer_edge.edge_runtime.bench_steady import Soak, soak
from fer_edge.edge_runtime.bench_subject import Subject
from fer_edge.edge_runtime.bench_watch import Watch
from fer_edge.edge_runtime.engines import EngineSpec
from fer_edge.edge_runtime.latency import distribution, quantile_ranks
from fer_edge.edge_runtime.vocabulary import Precision

MS = 1_000_000
SPEC = EngineSpec("fake", Precision.INT8, 1, "0", "none")


@dataclass
class Clock:
    """Nanoseconds that pass when somebody says so."""

    now: int = 0

    def __call__(self) -> int:
        return self.now


def lane(call: Callable[[Any], Any], inputs: int = 1) -> Lane:
    return Lane(Subject(SPEC, 1, [("infer", call)], list(range(inputs)), lambda: None))


def constant(clock: Clock, ns: float) -> Lane:
    def call(value: Any) -> None:
        clock.now += round(ns)

    return lane(call)


class World:
    """A machine as they are: a trend, moods that all lanes share for many turns, moods of each lane, heavy tails."""

    def __init__(self, seed: int, factors: tuple[float, ...], turns: int = 400) -> None:
        rng = np.random.default_rng(seed)
        self.clock, self.calls = Clock(), 0
        trend = 0.06 * rng.uniform(-1, 1) * np.linspace(0, 1, turns)
        self.shared = np.exp(trend + moods(rng, turns, 0.9, 0.08))
        self.own = np.exp([moods(rng, turns, 0.5, 0.015) for _ in factors])
        noise = 1 + 0.05 * np.abs(rng.standard_t(3, 1 << 14))
        self.noise = np.where(rng.random(1 << 14) < 0.01, 8 * noise, noise)
        self.lanes = [self.lane(at, factor) for at, factor in enumerate(factors)]

    def lane(self, at: int, factor: float) -> Lane:
        def call(value: Any) -> None:
            turn = self.calls // 12  # ten timed calls and two before them
            state = self.shared[turn % len(self.shared)] * self.own[at][turn % len(self.shared)]
            self.clock.now += int(MS * factor * state * self.noise[self.calls % len(self.noise)])
            self.calls += 1

        return lane(call)

    def ratio(self, seed: int = 0) -> dict[str, Any]:
        measure(self.lanes, min_seconds=0, min_samples=700, seed=seed, clock=self.clock)
        base, other = (each.round_medians_ns for each in self.lanes)
        return bench_stats.paired_ratio(other, base, seed)


def moods(rng: np.random.Generator, turns: int, alike: float, spread: float) -> np.ndarray:
    values = rng.normal(0, spread, turns)
    for at in range(1, turns):
        values[at] = alike * values[at - 1] + math.sqrt(1 - alike**2) * values[at]
    return values


def test_a_variant_that_takes_a_fifth_longer_is_found_and_one_that_is_the_same_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench_rounds, "_WINDOW_NS", 5 * MS)
    monkeypatch.setattr(bench_stats, "RESAMPLES", 1000)
    alarms = [not low <= 1 <= high for low, high in (World(s, (1, 1)).ratio(s)["interval"] for s in range(100))]
    assert sum(alarms) < 5
    found = [World(s, (1, 1.2)).ratio(s) for s in range(100)]
    assert all(ratio["interval"][0] > 1 for ratio in found)
    inside = [low <= 1.2 <= high for low, high in (ratio["interval"] for ratio in found)]
    assert sum(inside) > 95


def test_a_stalled_round_does_not_move_the_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_rounds, "_WINDOW_NS", 5 * MS)
    for seed in range(10):
        calm = World(seed, (1, 1.1))
        usual = calm.ratio(seed)
        base, other = (np.array(each.round_medians_ns) for each in calm.lanes)
        other[30] *= 50
        stalled = bench_stats.paired_ratio(other, base, seed)
        low, high = usual["interval"]
        assert low <= stalled["time_ratio"] <= high
        assert stalled["time_ratio"] == pytest.approx(usual["time_ratio"], rel=0.01)
        assert stalled["interval"][1] < 1.5


def test_each_stage_has_its_own_time_and_the_call_is_their_sum() -> None:
    clock = Clock()

    def stage(ns: int) -> Callable[[int], int]:
        def work(value: int) -> int:
            clock.now += ns * value
            return value + 1

        return work

    stages = [("crop", stage(10)), ("infer", stage(100))]
    assert timed_calls(stages, [1, 2], clock).tolist() == [[10, 200], [20, 300]]
    subject = Lane(Subject(SPEC, 1, stages, [1, 2], lambda: None))
    subject.turn(2, clock)
    subject.turn(3, clock)
    assert subject.samples_ns.tolist() == [210, 320, 210, 320, 210]
    assert subject.stage_samples_ns["crop"].tolist() == [10, 20, 10, 20, 10]
    assert subject.round_medians_ns == [265.0, 210.0]
    assert subject.spent_ns == 1270


def test_warm_up_ends_when_it_is_stable_and_not_before() -> None:
    clock = Clock()
    steady = constant(clock, 10 * MS)
    warm_up(steady, clock)
    assert (steady.stable, steady.warmup_calls, steady.usual_ns) == (True, 15, 10 * MS)  # three windows of five calls

    def slow_at_first(value: Any) -> None:
        clock.now += 20 * MS if clock.now < 2_000 * MS else 10 * MS

    ramping = lane(slow_at_first)
    clock.now = 1_900 * MS
    warm_up(ramping, clock)
    assert ramping.stable
    assert ramping.usual_ns == 10 * MS
    assert ramping.warmup_calls == 20  # the first window was not like the others


def test_warm_up_that_never_becomes_stable_ends_and_says_so() -> None:
    clock, calls = Clock(), [0]

    def wild(value: Any) -> None:
        calls[0] += 1
        clock.now += MS * (1 + calls[0] // 10 % 2)

    never = lane(wild)
    warm_up(never, clock)
    assert not never.stable
    assert clock.now <= 11_000 * MS

    slow = lane(lambda value: setattr(clock, "now", clock.now + 3_000 * MS * (1 + clock.now // MS % 7)))
    begun = clock.now
    warm_up(slow, clock)
    assert slow.warmup_calls == 15  # three windows at least, and no more once ten seconds are over
    assert clock.now > begun


@pytest.mark.parametrize(
    ("min_samples", "min_seconds", "samples", "rounds"),
    [(700, 0, 10, 70), (21, 0, 1, 21), (1, 0, 1, 20), (200, 0, 10, 20), (100, 0, 5, 20), (705, 0, 10, 71)],
)
def test_rounds_and_calls_in_a_turn(min_samples: int, min_seconds: float, samples: int, rounds: int) -> None:
    clock = Clock()
    lanes = [constant(clock, 10 * MS), constant(clock, 20 * MS)]
    assert round_samples(min_samples) == samples
    assert measure(lanes, min_seconds=min_seconds, min_samples=min_samples, seed=0, clock=clock) == rounds
    assert all(len(each.samples_ns) == rounds * samples >= min_samples for each in lanes)
    assert all(len(each.round_medians_ns) == rounds for each in lanes)


def test_short_calls_get_more_of_them_and_the_slowest_is_not_measured_for_minutes() -> None:
    clock = Clock()
    fast, slow = constant(clock, 0.1 * MS), constant(clock, 20 * MS)
    rounds = measure([fast, slow], min_seconds=3, min_samples=700, seed=0, clock=clock)
    assert rounds == 70
    assert fast.spent_ns >= 3e9
    assert 3e9 <= slow.spent_ns <= 16e9
    assert len(slow.samples_ns) >= 700


def test_min_seconds_holds_where_calls_become_shorter() -> None:
    clock = Clock()

    def quickening(value: Any) -> None:
        clock.now += max(2 * MS, 10 * MS - clock.now // 1000)

    one = lane(quickening)
    rounds = measure([one], min_seconds=2, min_samples=20, seed=0, clock=clock)
    assert rounds > 20
    assert one.spent_ns >= 2e9


def test_every_round_has_every_lane_in_an_order_of_its_own_and_nothing_between_is_timed() -> None:
    clock, order = Clock(), list[int]()

    def numbered(at: int) -> Lane:
        def call(value: Any) -> None:
            order.append(at)
            clock.now += 10 * MS

        return lane(call)

    looks = [0]

    def between() -> None:
        looks[0] += 1
        clock.now += 7_000 * MS

    lanes = [numbered(at) for at in range(3)]
    rounds = measure(lanes, min_seconds=0, min_samples=200, seed=1, between=between, clock=clock)
    turns = np.array(order[3 * 15 :]).reshape(rounds, 3, 12)  # after the warm-up
    assert (turns == turns[:, :, :1]).all()
    assert {tuple(sorted(turn)) for turn in turns[:, :, 0]} == {(0, 1, 2)}
    assert len({tuple(turn) for turn in turns[:, :, 0]}) > 3
    assert looks == [rounds]
    assert all((each.samples_ns == 10 * MS).all() for each in lanes)


@pytest.mark.parametrize(("spinning_ms", "slept_ms"), [(0, 1), (30, 31), (10_000, 200)])
def test_the_next_turn_waits_for_threads_that_still_spin(spinning_ms: int, slept_ms: int) -> None:
    slept = [0.0]

    def sleep(seconds: float) -> None:
        slept[0] += seconds

    until_quiet(lambda: min(slept[0], spinning_ms / 1000), sleep)
    assert slept[0] * 1000 == pytest.approx(slept_ms, abs=1)


def test_the_collector_is_off_while_it_is_timed_and_on_again_after_a_failure() -> None:
    clock, seen = Clock(), set[bool]()

    def call(value: Any) -> None:
        seen.add(gc.isenabled())
        clock.now += 10 * MS
        if clock.now > 1_000 * MS:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure([lane(call)], min_seconds=9, min_samples=1, seed=0, clock=clock)
    assert seen == {False}
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("n", "quantile", "ranks"),
    [
        (5, 0.5, None),
        (6, 0.5, (1, 6)),
        (11, 0.5, (2, 10)),
        (64, 0.9, (53, 63)),
        (130, 0.95, (118, 129)),
        (35, 0.9, None),
    ],
)
def test_intervals_of_percentiles_are_exact(n: int, quantile: float, ranks: tuple[int, int] | None) -> None:
    assert quantile_ranks(n, quantile) == ranks
    if ranks is None:
        return
    chance = [math.comb(n, k) * quantile**k * (1 - quantile) ** (n - k) for k in range(n + 1)]
    low, high = ranks
    assert sum(chance[low:high]) >= 0.95  # the quantile lies between the order statistics low and high
    assert sum(chance[:low]) <= 0.025
    assert sum(chance[high:]) <= 0.025
    assert sum(chance[: low + 1]) > 0.025  # and no narrower interval would do
    assert sum(chance[high - 1 :]) > 0.025


def test_a_distribution_gives_only_what_its_sample_supports() -> None:
    made = distribution(np.arange(1, 131) * MS)
    assert made["p50"] == {"ms": 65.5, "low_ms": 54.0, "high_ms": 77.0}
    assert made["p95"]["low_ms"] == 118.0
    assert made["p95"]["high_ms"] == 129.0
    assert made["p99"] is None
    assert (made["count"], made["min_ms"], made["max_ms"], made["mean_ms"]) == (130, 1.0, 130.0, 65.5)
    assert distribution(np.arange(10))["p50"] is None


def test_blocks_grow_with_what_neighbours_share() -> None:
    rng = np.random.default_rng(0)
    assert bench_stats.block_length(np.full(50, 2.0)) == 1.0
    white = [bench_stats.block_length(rng.normal(size=200)) for _ in range(20)]
    alike = [bench_stats.block_length(moods(rng, 200, 0.9, 1.0)) for _ in range(20)]
    assert np.median(white) < 4
    assert np.median(alike) > 12
    assert bench_stats.block_length(np.arange(100.0)) <= 30


def test_an_interval_is_never_narrower_than_the_exact_one_and_none_with_too_few_rounds() -> None:
    values = np.arange(20.0)
    low, high = bench_stats.median_interval(values, 0) or (0.0, 0.0)
    ranks = quantile_ranks(20, 0.5)
    assert ranks is not None
    assert low <= values[ranks[0] - 1]
    assert high >= values[ranks[1] - 1]
    few = bench_stats.paired_ratio([2.0] * 5, [1.0] * 5, 0)
    assert few == {"time_ratio": pytest.approx(2.0), "interval": None, "rounds": 5}
    same = bench_stats.paired_ratio([2.0] * 6, [1.0] * 6, 0)
    assert same["interval"] == pytest.approx([2.0, 2.0])


def timed(name: str, threads: int = 1, batch: int = 1, ms: float = 1.0, suffix: str = "") -> Timed:
    engine, _, precision = name.partition(" ")[0].partition("/")
    return Timed(name + suffix, name, engine, precision, threads, batch, [ms * MS] * 6)


def test_what_is_compared_with_what() -> None:
    rows = [
        timed("a/float32", 1, ms=4, suffix=" t1"), timed("a/int8", 1, ms=1, suffix=" t1"),
        timed("a/float32", 2, ms=3, suffix=" t2"), timed("a/int8", 2, ms=0.5, suffix=" t2"),
        timed("b/int8", 1, ms=0.8, suffix=" t1"), timed("b/dynamic-int8", 1, ms=2, suffix=" t1"),
    ]  # fmt: skip
    found = ratios(rows, 0)
    pairs = {(r["variant"], r["over"]): r["time_ratio"] for r in found}
    assert pairs == {
        ("a/int8 t1", "a/float32 t1"): pytest.approx(0.25),
        ("a/int8 t2", "a/float32 t2"): pytest.approx(0.5 / 3),
        ("a/int8 t1", "b/int8 t1"): pytest.approx(1.25),
        ("a/float32 t2", "a/float32 t1"): pytest.approx(0.75),
        ("a/int8 t2", "a/int8 t1"): pytest.approx(0.5),
    }
    own = ratio_over_float(rows[1], rows, found)
    assert own is not None
    assert own["over"] == "a/float32 t1"
    assert ratio_over_float(rows[4], rows, found) is None  # b has no float32
    assert ratio_over_float(rows[0], rows, found) is None  # is float32


def test_two_files_of_a_kind_are_compared_too() -> None:
    rows = [timed("a/int8 old.tflite", ms=2), timed("a/int8 new.tflite", ms=1)]
    assert [(r["variant"], r["over"]) for r in ratios(rows, 0)] == [("a/int8 new.tflite", "a/int8 old.tflite")]


@dataclass
class Kettle:
    """Heats up to 70 °C, two thirds of what is left in each minute; its sensor counts in halves."""

    clock: Clock

    def celsius(self) -> float:
        return round(2 * (70 - 30 * 3 ** (-self.seconds() / 60))) / 2

    def seconds(self) -> float:
        return self.clock.now / 1e9

    def work(self) -> None:
        self.clock.now += 200 * MS


def test_a_soak_ends_when_the_temperature_stays() -> None:
    kettle = Kettle(Clock())
    made = soak(kettle.work, Soak(), thermometer=kettle.celsius, clock_s=kettle.seconds)
    assert made["reached"]
    assert abs(made["slope_c_per_minute"]) < 1
    assert 180 < made["soak_seconds"] < 300  # 30 °C to go, a third a minute: under 1 °C a minute in the fourth or fifth
    assert made["temp_c"][0] == 40.0
    assert made["temp_c"][1] > 69


def test_a_soak_has_an_end_where_the_temperature_does_not_stay() -> None:
    kettle = Kettle(Clock())
    bounds = Soak(max_seconds=90)
    made = soak(kettle.work, bounds, thermometer=lambda: kettle.seconds(), clock_s=kettle.seconds)
    assert not made["reached"]
    assert made["slope_c_per_minute"] == pytest.approx(60)
    assert made["soak_seconds"] == pytest.approx(90, abs=0.3)


def test_a_soak_without_a_sensor_takes_a_stated_time_and_says_nothing_of_heat() -> None:
    kettle = Kettle(Clock())
    made = soak(kettle.work, Soak(), thermometer=lambda: None, clock_s=kettle.seconds)
    assert made["soak_seconds"] == pytest.approx(120, abs=0.3)
    assert (made["slope_c_per_minute"], made["reached"], made["temp_c"]) == (None, False, None)


def look(
    clock_mhz: float | None = 1500, now: tuple[str, ...] | None = (), ever: tuple[str, ...] | None = ()
) -> Conditions:
    return Conditions(50.0, now, ever, clock_mhz, "ondemand", (0.1, 0.1, 0.1))


@pytest.mark.parametrize(
    ("looks", "reasons"),
    [
        ([look()] * 9, []),
        ([look(None, None, None)] * 9, []),
        ([*[look()] * 8, look(ever=("under-voltage",))], ["throttling began: under-voltage"]),
        ([look(ever=("throttled",))] * 9, []),  # before the run, some time since boot
        (
            [look(), look(now=("frequency capped",)), *[look()] * 7],
            ["throttled while it was measured: frequency capped"],
        ),
        ([*[look()] * 4, look(1000), *[look()] * 4], []),  # one look may be between two states
        ([*[look()] * 5, *[look(1000)] * 4], ["the clock fell from 1500 to 1000 MHz"]),
        ([*[look()] * 5, *[look(1400)] * 4], []),
    ],
)
def test_a_run_that_does_not_hold_says_why(looks: list[Conditions], reasons: list[str]) -> None:
    clock, left = Clock(), list(looks)
    watch = Watch(lambda: left.pop(0), lambda: clock.now / 1e9)
    while len(left) > 1:
        clock.now += 500 * MS
        watch.between()
    watch.finish()
    made = watch.report()
    assert (made["valid"], made["invalid_because"]) == (not reasons, reasons)
    assert made["conditions"]["during"]["samples"] == 7


def test_the_machine_is_looked_at_once_a_second_at_most() -> None:
    clock, looked = Clock(), list[float]()

    def read() -> Conditions:
        looked.append(clock.now / 1e9)
        return look()

    watch = Watch(read, lambda: clock.now / 1e9)
    for _ in range(100):
        clock.now += 90 * MS
        watch.between()
    assert len(looked) == 1 + 8
    assert min(np.diff(looked)) >= 1
