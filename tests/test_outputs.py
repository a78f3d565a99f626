"""Files of lines, the record they hold, and the privacy mode: what is written, rotated, and left after a full disk."""

import csv
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_edge.devices.errors import OutputError
from fer_edge.edge_runtime.aggregate import LABELS, Aggregated, MinuteCounts
from fer_edge.edge_runtime.line_file import LineFile
from fer_edge.edge_runtime.record import observation_record, wall_time
from fer_edge.edge_runtime.sink_csv import FACE_COLUMNS, MINUTE_COLUMNS, CsvSink
from fer_edge.edge_runtime.sink_jsonl import JsonlSink
from fer_edge.edge_runtime.vocabulary import EMOTIONS, UNCERTAIN, Doubt, Face, Observation, Prediction

SECOND = 10**9


def prediction(label: str = "happy", track_id: int | None = 1, x0: int = 10) -> Prediction:
    probabilities = np.full(7, 0.05, np.float32)
    probabilities[EMOTIONS.index(label) if label in EMOTIONS else 3] = 0.7
    reason = Doubt.SMALL if label == UNCERTAIN else None
    return Prediction(
        Face((x0, 20, x0 + 50, 70), 0.9, track_id), np.zeros(7, np.float32), probabilities, label, reason=reason
    )


def seen(*faces: Prediction, frame: int = 0, clock_ns: int = 0, **more: Any) -> Observation:
    told = {"age_ms": 12.34567, "t_capture_ns": time.monotonic_ns(), "name": None} | more
    return Observation(frame, faces, {"detect": 1_234_567}, clock_ns=clock_ns, **told)


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_record_of_a_frame() -> None:
    record = observation_record(seen(prediction(UNCERTAIN), frame=7, clock_ns=5, name="a.jpg", gap_ms=1234.56789))
    assert json.loads(json.dumps(record)) == record
    t_capture_ns, t_wall = record.pop("t_capture_ns"), record.pop("t_wall")
    assert isinstance(t_capture_ns, int)
    assert len(t_wall) == len("2026-01-31T12:03:04.567Z")
    assert t_wall.endswith("Z")
    assert record == {
        "v": 1,
        "frame": 7,
        "name": "a.jpg",
        "clock_ns": 5,
        "age_ms": 12.346,
        "gap_ms": 1234.568,
        "stage_ms": {"detect": 1.2346},
        "faces": [
            {
                "box_xyxy": [10, 20, 60, 70],
                "track_id": 1,
                "label": "uncertain",
                "reason": "small",
                "confidence": 0.7,
                "probabilities": {e: 0.7 if e == "happy" else 0.05 for e in EMOTIONS},
            }
        ],
    }


def test_the_wall_time_follows_the_monotonic_one() -> None:
    now_ns = time.monotonic_ns()
    assert wall_time(now_ns, "minutes") != wall_time(now_ns - 3600 * SECOND, "minutes")
    assert wall_time(now_ns - 86_400 * SECOND)[:10] < wall_time(now_ns)[:10]


def test_a_line_a_frame(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path / "new" / "out.jsonl", max_bytes=None, keep=0)
    for frame in range(3):
        sink.put(seen(*[prediction()] * frame, frame=frame), None)
        assert len(lines_of(tmp_path / "new" / "out.jsonl")) == frame + 1  # at once, not when it is closed
    sink.close()
    assert [len(line["faces"]) for line in lines_of(tmp_path / "new" / "out.jsonl")] == [0, 1, 2]


def test_a_row_a_face(tmp_path: Path) -> None:
    sink = CsvSink(tmp_path / "out.csv", max_bytes=None, keep=0)
    sink.put(seen(prediction("sad"), prediction(UNCERTAIN, 2, x0=100), name='odd, "name"\udcff.jpg'), None)
    sink.put(seen(frame=1), None)
    sink.close()
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == FACE_COLUMNS
    assert [row["label"] for row in rows] == ["sad", "uncertain"]
    assert [row["reason"] for row in rows] == ["", "small"]
    assert [row["x0"] for row in rows] == ["10", "100"]
    assert rows[0]["name"] == 'odd, "name"\\udcff.jpg'
    assert rows[0]["sad"] == rows[0]["confidence"] == "0.7"
    assert rows[0]["age_ms"] == "12.346"


def test_a_run_without_a_face_leaves_the_header(tmp_path: Path) -> None:
    sink = CsvSink(tmp_path / "out.csv", max_bytes=None, keep=0)
    sink.put(seen(), None)
    sink.close()
    assert (tmp_path / "out.csv").read_text() == ",".join(FACE_COLUMNS) + "\n"


def test_a_new_run_overwrites_unless_the_file_is_rotated(tmp_path: Path) -> None:
    for max_bytes, expected in ((None, 1), (10_000, 2)):
        for _ in range(2):
            sink = JsonlSink(tmp_path / f"{max_bytes}", max_bytes=max_bytes, keep=1)
            sink.put(seen(), None)
            sink.close()
        assert len(lines_of(tmp_path / f"{max_bytes}")) == expected


@pytest.mark.parametrize(
    ("keep", "files"),
    [
        (0, {"log": "8"}),
        (1, {"log": "8", "log.1": "67"}),
        (2, {"log": "8", "log.1": "67", "log.2": "45"}),
        (9, {"log": "8", "log.1": "67", "log.2": "45", "log.3": "23", "log.4": "01"}),
    ],
)
def test_files_are_rotated_by_size(tmp_path: Path, keep: int, files: dict[str, str]) -> None:
    lines = LineFile(tmp_path / "log", max_bytes=6, keep=keep, header="#\n")
    for digit in range(9):
        lines.append(f"{digit}\n")
    lines.close()
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {name: "#\n" + "".join(f"{d}\n" for d in digits) for name, digits in files.items()}


def test_a_line_larger_than_the_limit_gets_a_file_of_its_own(tmp_path: Path) -> None:
    lines = LineFile(tmp_path / "log", max_bytes=4, keep=3)
    for line in ("a\n", "long line\n", "b\n"):
        lines.append(line)
    lines.close()
    assert [(tmp_path / name).read_text() for name in ("log.2", "log.1", "log")] == ["a\n", "long line\n", "b\n"]


@pytest.mark.parametrize("torn", ["", '{"half', "x" * 200_000])
def test_what_a_power_cut_tore_off_is_cut_off(tmp_path: Path, torn: str) -> None:
    (tmp_path / "log").write_text("whole\n" + torn)
    lines = LineFile(tmp_path / "log", max_bytes=10**6, keep=1)
    lines.append("next\n")
    lines.close()
    assert (tmp_path / "log").read_text() == "whole\nnext\n"


def test_a_file_with_other_columns_is_rotated_away(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("old columns\n1\n")
    lines = LineFile(tmp_path / "log", max_bytes=1000, keep=1, header="new\n")
    lines.append("2\n")
    lines.close()
    assert (tmp_path / "log").read_text() == "new\n2\n"
    assert (tmp_path / "log.1").read_text() == "old columns\n1\n"


def test_a_place_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, reason in (
        (tmp_path, "Is a directory"),
        (tmp_path / "file" / "out.jsonl", "Not a directory|File exists"),
    ):
        with pytest.raises(OutputError, match=f"cannot write {path}: ({reason})$"):
            JsonlSink(path, max_bytes=None, keep=0)


def test_a_device_that_is_full() -> None:
    sink = JsonlSink(Path("/dev/full"), max_bytes=None, keep=0)
    for _ in range(2):
        with pytest.raises(OutputError, match="cannot write /dev/full: No space left on device; the lines before are"):
            sink.put(seen(), None)
    sink.close()


def test_a_pipe_takes_lines(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    lines = LineFile(tmp_path / "pipe", max_bytes=4, keep=1)
    lines.append("first\n")
    lines.append("second\n")
    lines.close()
    assert os.read(reader, 100) == b"first\nsecond\n"
    os.close(reader)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no mount command, so no small disk")
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def until_refused(put: Callable[[int], None]) -> tuple[int, str]:
    """How many frames are taken, and what is said to the next."""
    for frame in range(10_000):
        try:
            put(frame)
        except OutputError as error:
            return frame, str(error)
    raise AssertionError("10,000 frames were taken")


@pytest.mark.parametrize(("sink_type", "header"), [(JsonlSink, 0), (CsvSink, 1)])
@pytest.mark.parametrize("max_bytes", [None, 10**9])
def test_a_full_disk_and_room_again(
    small_disk: Path, sink_type: Callable[..., JsonlSink | CsvSink], header: int, max_bytes: int | None
) -> None:
    path, ballast = small_disk / "out", small_disk / "ballast"
    ballast.write_bytes(bytes(40 << 10))
    sink = sink_type(path, max_bytes=max_bytes, keep=1)
    written, refusal = until_refused(lambda frame: sink.put(seen(prediction(), frame=frame), None))
    assert written > 10
    assert refusal == f"cannot write {path}: No space left on device; the lines before are kept"
    for _ in range(3):
        with pytest.raises(OutputError):
            sink.put(seen(prediction(), frame=-1), None)
    assert path.read_bytes().endswith(b"\n")  # nothing torn, even while it lasts
    assert len(path.read_text().splitlines()) == header + written
    ballast.unlink()
    for more in range(5):
        sink.put(seen(prediction(), frame=written + more), None)
    sink.close()
    lines = path.read_text().splitlines()[header:]
    frames = [json.loads(line)["frame"] if not header else int(line.split(",")[1]) for line in lines]
    assert frames == list(range(written + 5))


def test_rotation_makes_its_own_room(small_disk: Path) -> None:
    sink = JsonlSink(small_disk / "out", max_bytes=16 << 10, keep=2)
    for frame in range(1000):
        sink.put(seen(prediction(), frame=frame), None)
    sink.close()
    frames = [line["frame"] for name in ("out.2", "out.1", "out") for line in lines_of(small_disk / name)]
    assert frames == list(range(frames[0], 1000))


class Minutes:
    """Keeps what it is given."""

    name = "minutes"

    def __init__(self) -> None:
        self.given: list[MinuteCounts] = []
        self.full = self.closed = False
        self.idled = 0

    def put_counts(self, counts: MinuteCounts) -> None:
        if self.full:
            raise OutputError("full")
        self.given.append(counts)

    def idle(self) -> None:
        self.idled += 1

    def close(self) -> None:
        self.closed = True


def labelled(**seconds: float) -> dict[str, float]:
    return {label: seconds.get(label, 0.0) for label in LABELS}


def test_minutes_of_a_clip() -> None:
    inner = Minutes()
    sink = Aggregated(inner, live=False)
    for second in range(90):  # one happy face all the time, a sad one in the first 30 seconds, a new one at the end
        faces = (
            [prediction("happy", 1)] + [prediction("sad", 2)] * (second < 30) + [prediction("fear", 3)] * (second > 79)
        )
        sink.put(seen(*faces, frame=second, clock_ns=second * SECOND), None)
    assert len(inner.given) == 1
    assert inner.idled == 90  # an inner heartbeat does not wait for a pause
    sink.idle()
    assert len(inner.given) == 1  # a clip's minute ends by the clip's clock alone
    sink.close()
    assert inner.closed
    assert inner.given == [
        MinuteCounts("00:00", 60.0, 60, 2, labelled(happy=60.0, sad=30.0)),
        MinuteCounts("00:01", 30.0, 30, 2, labelled(happy=30.0, fear=10.0)),
    ]


def test_a_step_over_the_minute_is_shared() -> None:
    inner = Minutes()
    sink = Aggregated(inner, live=False)
    for clock_s in (0, 59, 61, 62):
        sink.put(seen(prediction("angry"), clock_ns=clock_s * SECOND), None)
    sink.close()
    assert [(m.start, m.seconds, m.frames, m.face_seconds["angry"]) for m in inner.given] == [
        ("00:00", 60.0, 2, 60.0),
        ("00:01", 3.0, 2, 3.0),
    ]


def test_the_time_without_a_camera_is_not_counted() -> None:
    inner = Minutes()
    sink = Aggregated(inner, live=False)
    for clock_s, gap_ms in ((0, None), (1, None), (40, 39_000.0), (41, None), (200, 159_000.0), (201, None)):
        sink.put(seen(prediction(UNCERTAIN), clock_ns=clock_s * SECOND, gap_ms=gap_ms), None)
    sink.close()
    assert [(m.start, m.seconds, m.frames, m.face_seconds["uncertain"]) for m in inner.given] == [
        ("00:00", 2.0, 4, 2.0),
        ("00:03", 2.0, 2, 2.0),
    ]


def test_a_live_minute_is_given_though_no_frame_comes() -> None:
    inner = Minutes()
    sink = Aggregated(inner, live=True)
    ago_ns = time.monotonic_ns() - 63 * SECOND
    sink.put(seen(prediction(), clock_ns=ago_ns, t_capture_ns=ago_ns), None)
    sink.idle()
    [minute] = inner.given
    assert minute.start == wall_time(ago_ns, "minutes")
    assert minute.frames == 1
    now_ns = time.monotonic_ns()
    sink.put(seen(prediction(), clock_ns=now_ns, t_capture_ns=now_ns), None)
    sink.idle()
    assert len(inner.given) == 1  # this minute is not over


def test_a_live_source_with_a_clock_of_its_own_has_minutes_of_its_own() -> None:
    inner = Minutes()
    sink = Aggregated(inner, live=True)
    for second in range(100, 170):
        sink.put(seen(prediction(), clock_ns=second * SECOND), None)
        sink.idle()
    sink.close()
    assert [(m.start, m.seconds) for m in inner.given] == [("00:00", 60.0), ("00:01", 10.0)]


def test_minutes_wait_for_a_disk() -> None:
    inner = Minutes()
    inner.full = True
    sink = Aggregated(inner, live=False)
    for minute in range(4):
        try:
            sink.put(seen(clock_ns=minute * 60 * SECOND), None)
        except OutputError:
            assert minute
    inner.full = False
    sink.close()
    assert [m.start for m in inner.given] == ["00:00", "00:01", "00:02", "00:03"]


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_nothing_of_a_single_face_leaves_in_privacy_mode(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out"
    inner = (
        JsonlSink(path, max_bytes=None, keep=0)
        if kind == "jsonl"
        else CsvSink(path, max_bytes=None, keep=0, aggregate=True)
    )
    sink = Aggregated(inner, live=False)
    for second in range(70):
        sink.put(seen(prediction("sad", 4711, x0=2222), clock_ns=second * SECOND, name="secret.jpg"), None)
    sink.close()
    text = path.read_text()
    for word in ("4711", "2222", "box", "track_id", "probab", "confidence", "secret", "0.7", "reason"):
        assert word not in text
    if kind == "jsonl":
        assert lines_of(path)[0] == {
            "v": 1,
            "start": "00:00",
            "seconds": 60.0,
            "frames": 60,
            "tracks": 1,
            "face_seconds": labelled(sad=60.0),
        }
    else:
        header, first, second = text.splitlines()
        assert header == ",".join(MINUTE_COLUMNS)
        assert first == "00:00,60.0,60,1,0.0,0.0,0.0,0.0,0.0,60.0,0.0,0.0"
        assert second.startswith("00:01,10.0,10,1,")
