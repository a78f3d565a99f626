"""Capture to label, measured in a closed and in an open loop: planted times, fake clocks, then the real thing."""

import gc
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fer_edge.devices.errors import SourceError
from fer_edge.devices.frame import Camera, Closing, Frame
from fer_edge.devices.fresh import CaptureCounts
from fer_edge.edge_runtime import Bundle
from fer_edge.edge_runtime.bench_pipeline import bench_pipeline
from fer_edge.edge_runtime.bench_pipeline_closed import closed_loop
from fer_edge.edge_runtime.bench_pipeline_lane import Lane, Turn
from fer_edge.edge_runtime.bench_pipeline_open import Clock, Open, Paced, open_loop, open_turn
from fer_edge.edge_runtime.bench_pipeline_pictures import Pictures, open_pictures
from fer_edge.edge_runtime.bench_stats import paired_ratio
from fer_edge.edge_runtime.labeller import STAGES
from fer_edge.edge_runtime.sample_clip import SAMPLE_PHOTO, write_sample_clip
from fer_edge.edge_runtime.vocabulary import Observation

MS = 1_000_000


class FakeClip(Closing):
    """`frames` pictures of one colour each, 25 a second on its own clock."""

    name, still, live, fps, damaged = "fake.mp4", False, False, 25.0, 0

    def __init__(self, frames: int = 40) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[Frame]:
        for at in range(self._frames):
            yield Frame(np.full((4, 4), at, np.uint8), None, at, time.monotonic_ns(), None, at * 40 * MS)


class FakeLabeller:
    """Says that a frame took what was planted; remembers which frames it saw, and who was asked when."""

    def __init__(
        self,
        total_ms: Callable[[int], float],
        asked: list[str] | None = None,
        name: str = "",
        work: Callable[[], None] = lambda: None,
    ) -> None:
        self._total_ms, self._asked, self._name, self._work = total_ms, asked if asked is not None else [], name, work
        self.seen: list[int] = []
        self.clocks_ns: list[int] = []
        self.closed = False

    def observe(self, frame: Frame, started_ns: int | None = None) -> Observation:
        total_ns = round(self._total_ms(len(self.seen)) * MS)
        self._work()
        self.seen.append(int(frame.gray[0, 0]))
        self.clocks_ns.append(frame.clock_ns)
        self._asked.append(self._name)
        return Observation(frame.seq, (), dict.fromkeys(STAGES, MS) | {"total": total_ns}, 0.0, 0, frame.clock_ns)

    def close(self) -> None:
        self.closed = True


def lane(total_ms: Callable[[int], float] = lambda at: 5.0, frames: int = 40, **kwargs) -> Lane:
    return Lane(Pictures(FakeClip(frames)), FakeLabeller(total_ms, **kwargs))


def measure(*lanes: Lane, min_seconds: float = 1e9, max_frames: int = 1000):
    return closed_loop(lanes, min_seconds=min_seconds, max_frames=max_frames, seed=0, step=lambda text: None)


def test_pictures_begin_anew_and_their_clock_goes_on() -> None:
    pictures = Pictures(FakeClip(3))
    taken = [pictures.take() for _ in range(8)]
    assert [None if f is None else int(f.gray[0, 0]) for f in taken] == [0, 1, 2, None, 0, 1, 2, None]
    assert [f.t_media_ns // MS for f in taken if f is not None] == [0, 40, 80, 120, 160, 200]
    assert [f.seq for f in taken if f is not None] == [0, 1, 2, 3, 4, 5]


def test_pictures_of_an_empty_source_are_an_error() -> None:
    with pytest.raises(SourceError, match=r"fake\.mp4 gives no frames"):
        Pictures(FakeClip(0)).take_any()


def test_the_closed_loop_drops_nothing_and_all_lanes_see_the_same_frames() -> None:
    lanes = [lane(), lane(lambda at: 50.0), lane(lambda at: 0.1)]
    taken = measure(*lanes, max_frames=75)
    assert [t.frames for t in taken] == [75, 75, 75]
    first, second, third = (labeller.labeller.seen for labeller in lanes)
    assert first == second == third
    # 30 to warm up, then again from the start, without a gap, over the end of the clip
    assert first == [*range(30), *range(40), *range(35)]


def test_the_closed_loop_takes_turns_in_shuffled_rounds() -> None:
    asked: list[str] = []
    lanes = [lane(asked=asked, name=name) for name in "abc"]
    taken = measure(*lanes, max_frames=300)
    turns = asked[90::30]
    rounds = ["".join(turns[at : at + 3]) for at in range(0, len(turns), 3)]
    assert len(rounds) == 10
    assert {"".join(sorted(turn)) for turn in rounds} == {"abc"}
    assert len(set(rounds)) > 2
    assert [len(t.round_medians_ns) for t in taken] == [10, 10, 10]
    again: list[str] = []
    measure(*[lane(asked=again, name=name) for name in "abc"], max_frames=300)
    assert asked == again  # the seed makes the order


@pytest.mark.parametrize(
    ("min_seconds", "max_frames", "frames"),
    [
        (0.0, 1000, 60),  # one pass over 40 frames, in whole rounds
        (0.0, 35, 35),
        (0.0, 7, 7),
        (0.95, 1000, 210),  # 5 ms a frame
        (60.0, 130, 130),
    ],
)
def test_how_long_the_closed_loop_measures(min_seconds: float, max_frames: int, frames: int) -> None:
    clip = Lane(Pictures(FakeClip(40)), FakeLabeller(lambda at: 5.0))
    clip.pictures.length = 40
    assert measure(clip, min_seconds=min_seconds, max_frames=max_frames)[0].frames == frames


def test_nothing_is_clipped_and_the_collector_is_as_it_was() -> None:
    [taken] = measure(lane(lambda at: 900.0 if at == 33 else 5.0), max_frames=60)  # frames 0 to 29 warm up
    assert gc.isenabled()
    assert taken.stage_ns["total"][3] == 900 * MS
    assert taken.stage_ns["total"].count(5 * MS) == 59
    assert taken.round_medians_ns == [5 * MS, 5 * MS]


def test_what_a_camera_waits_for_leaves_out_the_fetching() -> None:
    turn = Turn({stage: [] for stage in STAGES} | {"capture": [3 * MS, MS], "total": [10 * MS, 7 * MS]})
    assert turn.service_ns == [7 * MS, 6 * MS]


def test_the_ratio_is_paired_by_round() -> None:
    drift = [5.0, 6.0, 9.0, 5.0, 7.0, 8.0, 5.0, 5.0]  # of the machine, by frame; it hits both lanes alike
    base, slower = (
        lane(lambda at, by=by: by * drift[max(0, at - 30) // 30], frames=500) for by in (1.0, 1.2)
    )  # fmt: skip
    first, second = measure(base, slower, max_frames=240)
    found = paired_ratio(second.round_medians_ns, first.round_medians_ns, 0)
    assert found == {"time_ratio": pytest.approx(1.2), "interval": [pytest.approx(1.2)] * 2, "rounds": 8}


def test_every_turn_has_a_lead_in_that_is_not_timed() -> None:
    calls: list[int] = []
    clip = FakeLabeller(lambda at: 5.0)
    taken = measure(Lane(Pictures(FakeClip(40)), clip, lambda: calls.append(len(clip.seen))), max_frames=75)
    assert calls == [0, 30, 60, 90]
    assert taken[0].frames == 75


class Simulated:
    """The capture thread as FreshFrames promises it, on a clock that stands still while nobody works: frames come when
    they are due, one slot, the newest wins."""

    def __init__(self, camera: Camera, clock: "FakeClock") -> None:
        self._source, self._clock = camera.open(), clock
        self.counts = CaptureCounts()

    def __iter__(self) -> Iterator[Frame]:
        coming = list(self._source)
        self.counts.captured = len(coming)
        while coming:
            self._clock.now = max(self._clock.now, coming[0].t_capture_ns)
            here = [frame for frame in coming if frame.t_capture_ns <= self._clock.now]
            del coming[: len(here)]
            self.counts.dropped += len(here) - 1
            yield here[-1]

    def close(self) -> None:
        pass


class FakeClock:
    def __init__(self) -> None:
        self.now = 0

    def work(self, ms: float) -> Callable[[], None]:
        def spend() -> None:
            self.now += round(ms * MS)

        return spend


def simulate(work_ms: float, fps: float, frames: int) -> Open:
    clock, opened = FakeClock(), Open(fps)
    measured = lane(work=clock.work(work_ms))
    fake = Clock(lambda: clock.now, lambda due_ns: None)
    open_turn(measured, opened, frames, clock=fake, capture=lambda camera: Simulated(camera, clock))
    return opened


def test_a_slow_labeller_drops_frames_and_their_age_grows_and_is_then_bounded() -> None:
    opened = simulate(work_ms=24, fps=100, frames=13)
    # Frame 1 is due at 10 and done at 34; then the newest is the one of 30, done at 58; then 50, 80, 100, 130.
    assert [age // MS for age in opened.age_ns] == [24, 28, 32, 26, 30, 24]
    assert max(opened.age_ns) <= (24 + 10) * MS  # its work and a period: the slot never holds an older one
    assert (opened.frames, len(opened.age_ns), opened.dropped) == (13, 6, 7)
    assert [gap // MS for gap in opened.interval_ns] == [24] * 5
    assert opened.utilisation == pytest.approx(6 * 24 / 154)


def test_a_quick_labeller_drops_none_and_waits() -> None:
    opened = simulate(work_ms=4, fps=100, frames=10)
    assert [age // MS for age in opened.age_ns] == [4] * 10
    assert opened.dropped == 0
    assert [gap // MS for gap in opened.interval_ns] == [10] * 9
    assert opened.utilisation == pytest.approx(40 / 104)


def test_the_same_labeller_has_one_service_time_and_another_age() -> None:
    """Coordinated omission: the closed loop says 24 ms whatever the rate is; the age at 100 frames a second is more."""
    [closed] = measure(lane(lambda at: 24.0), max_frames=60)
    assert set(closed.stage_ns["total"]) == {24 * MS}
    assert max(simulate(24, 100, 60).age_ns) > 24 * MS


def test_a_frame_is_as_old_as_it_was_due_even_when_the_clip_is_slow() -> None:
    """A decoder that takes 15 ms at 100 frames a second: what comes late is not young."""
    clock = FakeClock()

    class Slow(FakeClip):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                clock.now += 15 * MS
                yield frame

    paced = Paced(Pictures(Slow()), 100.0, 4, Clock(lambda: clock.now, lambda due_ns: None))
    assert [frame.t_capture_ns // MS for frame in paced] == [10, 20, 30, 40]
    assert paced.late == 2  # fetched at 15, 30, 45 and 60: the last two more than a period after they were due


def test_real_capture_thread_with_a_labeller_that_sleeps() -> None:
    slow = lane(work=lambda: time.sleep(0.03))
    [opened] = open_loop([slow], 200.0, min_seconds=0, max_frames=24, seed=0, step=lambda text: None)
    assert opened.frames == 24 == len(opened.age_ns) + opened.dropped
    assert opened.dropped > 0
    assert min(opened.age_ns) >= 30 * MS
    assert opened.utilisation is not None
    assert 0 < opened.utilisation <= 1


def test_the_report_of_the_real_thing(tmp_path: Path) -> None:
    write_sample_clip(tmp_path / "clip.mp4", frames=40)
    steps: list[str] = []
    rows = bench_pipeline(
        str(tmp_path / "clip.mp4"), Bundle.open(), [("tflite", "int8"), ("tflite", "float32")], threads=1,
        detector=None, detector_model=None, fps=200.0, min_seconds=0, max_frames=60, seed=0, step=steps.append,
    )  # fmt: skip
    json.dumps(rows, allow_nan=False)
    assert [row["variant"] for row in rows] == ["tflite/int8", "tflite/float32"]
    for row in rows:
        assert (row["source"], row["frame_size"], row["detector"]) == ("clip.mp4", [480, 360], "haar")
        assert (row["threads"], row["scan_every"], row["detect_width"]) == (1, 15, 320)
        closed, opened = row["closed"], row["open"]
        assert closed["frames"] == len(closed["samples_ns"]) == 60  # a pass of 40, in whole rounds of 30
        assert closed["rounds"] == len(closed["round_medians_ns"]) == 2
        assert set(closed["stages"]) == set(STAGES)
        assert {len(samples) for samples in closed["stage_samples_ns"].values()} == {60}
        assert set(closed["stage_samples_ns"]) == set(STAGES) - {"total"}
        assert closed["stages"]["total"]["mean_ms"] == pytest.approx(np.mean(closed["samples_ns"]) / 1e6)
        assert closed["frames_per_second"] == pytest.approx(1e9 / np.mean(closed["samples_ns"]))
        assert closed["faces"] > 30
        assert opened["fps"] == 200
        assert opened["frames"] == opened["labelled"] + opened["dropped"] == 30
        assert opened["labelled"] == len(opened["age_samples_ns"]) == opened["age"]["count"]
    assert rows[0]["closed"]["faces"] == rows[1]["closed"]["faces"]
    assert rows[1]["closed"]["over"] is None
    over = rows[0]["closed"]["over"]
    assert (over["variant"], over["rounds"]) == ("tflite/float32", 2)
    assert over["interval"] is None  # two rounds tell nothing
    assert any("closed loop" in text for text in steps)
    assert any("open loop at 200 frames a second" in text for text in steps)


BOUNDS = {"threads": 1, "detector_model": None, "min_seconds": 0, "seed": 0, "step": lambda text: None}


def test_photos_have_no_rate_and_no_open_loop() -> None:
    [row] = bench_pipeline(
        str(SAMPLE_PHOTO), Bundle.open(), [("tflite", "int8")], detector=None, fps=None, max_frames=3, **BOUNDS
    )
    assert row["open"] is None
    assert (row["closed"]["frames"], row["closed"]["faces"]) == (3, 3)
    assert (row["scan_every"], row["detect_width"]) == (None, None)


def test_a_camera_is_recorded_so_that_all_see_the_same() -> None:
    word = "fake:?size=320x240&fps=120"
    variants = [("tflite", "int8"), ("tflite", "float32")]
    rows = bench_pipeline(word, Bundle.open(), variants, detector="none", fps=None, max_frames=25, **BOUNDS)
    assert {row["source"] for row in rows} == {f"{word} (recorded)"}
    assert {row["closed"]["frames"] for row in rows} == {25}
    assert {row["closed"]["faces"] for row in rows} == {25}  # the frame is the face
    assert {row["open"]["fps"] for row in rows} == {120}


def test_no_source_is_the_sample_clip() -> None:
    [row] = bench_pipeline(None, Bundle.open(), [("tflite", "int8")], detector="none", fps=240, max_frames=12, **BOUNDS)
    assert (row["source"], row["closed"]["frames"], row["open"]["frames"]) == ("sample clip", 12, 12)


def test_a_clip_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.mp4 does not exist"):
        open_pictures(str(tmp_path / "gone.mp4"))
