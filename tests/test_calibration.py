"""Which images calibrate: seeded, in proportion, from Training alone, and refused when they are of other data."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fer_edge.calibration.calibration_set import CalibrationFaces, CalibrationSet, draw, load, save
from fer_edge.calibration.coverage import coverage
from fer_edge.devices.errors import DataError
from fer_edge.train.dataset import SPLITS, Dataset, build_dataset

TRAIN_COUNTS = (40, 2, 40, 80, 40, 38, 20)  # 260 in all; angry, disgust, fear, happy, neutral, sad, surprise


def data_of(labels: NDArray[np.uint8], splits: NDArray[np.uint8], seed: int = 0) -> Dataset:
    faces = np.random.default_rng(seed).integers(0, 256, (len(labels), 48, 48), np.uint8)
    return build_dataset(faces, labels, splits, None, "made up")


@pytest.fixture
def data() -> Dataset:
    """260 rows of train in mixed order among 70 of val and 140 of test."""
    train = np.repeat(np.arange(7, dtype=np.uint8), TRAIN_COUNTS)
    val, test = (np.repeat(np.arange(7, dtype=np.uint8), k) for k in (10, 20))
    labels = np.concatenate([train, val, test])
    splits = np.repeat(np.arange(3, dtype=np.uint8), (260, 70, 140))
    order = np.random.default_rng(9).permutation(len(labels))
    return data_of(labels[order], splits[order])


def counted(data: Dataset, chosen: CalibrationSet) -> list[int]:
    return np.bincount(data.labels[list(chosen.rows)], minlength=7).tolist()


@pytest.mark.parametrize(
    ("count", "shares"),
    [
        (7, [1, 1, 1, 1, 1, 1, 1]),
        (8, [1, 1, 1, 2, 1, 1, 1]),
        (13, [2, 1, 2, 4, 2, 1, 1]),  # disgust's one is more than its share of 0.1: sad's 1.9 gives way
        (26, [4, 1, 4, 8, 4, 3, 2]),
        (27, [4, 1, 4, 8, 4, 4, 2]),  # the next goes to the largest remainder: sad's 3.95
        (130, [20, 1, 20, 40, 20, 19, 10]),
        (259, [40, 2, 40, 79, 40, 38, 20]),
        (260, [40, 2, 40, 80, 40, 38, 20]),
    ],
)
def test_shares_are_in_proportion_and_sum_exactly(data: Dataset, count: int, shares: list[int]) -> None:
    assert sum(shares) == count
    assert counted(data, draw(data, count, 0)) == shares


@pytest.mark.parametrize("count", [7, 8, 9, 50, 64, 99, 100, 200, 259])
@pytest.mark.parametrize("seed", [0, 1])
def test_rows_are_distinct_ascending_and_of_train_alone(data: Dataset, count: int, seed: int) -> None:
    rows = draw(data, count, seed).rows
    assert len(rows) == count
    assert list(rows) == sorted(set(rows))
    assert all(type(row) is int for row in rows)
    assert {SPLITS[split] for split in data.splits[list(rows)]} == {"train"}
    assert min(counted(data, draw(data, count, seed))) >= 1


def test_the_same_seed_draws_the_same_rows_and_another_seed_others(data: Dataset) -> None:
    first, again, other = draw(data, 100, 3), draw(data, 100, 3), draw(data, 100, 4)
    assert first == again
    assert first.rows != other.rows
    assert counted(data, first) == counted(data, other)
    assert (first.seed, other.seed) == (3, 4)


def test_the_id_names_data_seed_and_count(data: Dataset) -> None:
    chosen = draw(data, 64, 5)
    assert chosen.data_sha256 == data.sha256
    assert chosen.id == f"{data.sha256[:12]}-s5-n64"


@pytest.mark.parametrize("count", [-1, 0, 6, 261, 470])
def test_a_count_out_of_bounds_is_an_error(data: Dataset, count: int) -> None:
    with pytest.raises(DataError, match=rf"^--count {count} is outside 7\.\.260 \(the images of Training\)$"):
        draw(data, count, 0)


def test_a_negative_seed_is_an_error(data: Dataset) -> None:
    with pytest.raises(DataError, match=r"^expected a seed of 0 or more, got -1$"):
        draw(data, 50, -1)


def test_save_and_load_round_trip(data: Dataset, tmp_path: Path) -> None:
    chosen = draw(data, 50, 1)
    save(chosen, tmp_path / "made" / "calibration.json")
    assert load(tmp_path / "made" / "calibration.json", data) == chosen
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["calibration.json"]
    written = json.loads((tmp_path / "made" / "calibration.json").read_text())
    assert (written["schema"], written["split"], written["seed"]) == (1, "train", 1)
    assert written["rows"] == list(chosen.rows)
    assert written["data_sha256"] == data.sha256


def test_the_same_set_is_the_same_file(data: Dataset, tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        save(draw(data, 50, 1), tmp_path / name)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def repeat_a_row(about: dict[str, Any], data: Dataset) -> None:
    about["rows"][1] = about["rows"][0]


def list_a_test_row(about: dict[str, Any], data: Dataset) -> None:
    about["rows"][0] = int(data.rows("test")[0])


def list_two_val_rows(about: dict[str, Any], data: Dataset) -> None:
    about["rows"] += data.rows("val")[:2].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about, data: about.update(schema=2), "has schema 2, expected 1; calibrate again"),
        (lambda about, data: about.update(rows=[]), "lists no rows, or a row twice"),
        (repeat_a_row, "lists no rows, or a row twice"),
        (lambda about, data: about["rows"].append(470), "lists row 470, the data has 470"),
        (lambda about, data: about["rows"].append(-1), "lists row -1, the data has 470"),
        (lambda about, data: about["rows"].append(0.9), "is not a calibration set (TypeError: "),
        (lambda about, data: about["rows"].append(float("inf")), "is not a calibration set (TypeError: "),
        (lambda about, data: about.update(data_sha256=5), "was drawn from data 5, not from "),
        (list_a_test_row, "lists 1 rows of validation or test images (first: "),
        (list_two_val_rows, "lists 2 rows of validation or test images (first: "),
        (lambda about, data: about.update(rows="many"), "is not a calibration set (TypeError: "),
        (lambda about, data: about.update(rows=[None]), "is not a calibration set (TypeError: "),
        (lambda about, data: about.update(rows=7), "is not a calibration set (TypeError: "),
        (lambda about, data: about.update(seed="x"), "is not a calibration set (ValueError: "),
        (lambda about, data: about.pop("rows"), "is not a calibration set (KeyError: 'rows')"),
        (lambda about, data: about.pop("schema"), "is not a calibration set (KeyError: 'schema')"),
        (lambda about, data: about.pop("data_sha256"), "is not a calibration set (KeyError: 'data_sha256')"),
    ],
)
def test_load_refuses(
    data: Dataset, tmp_path: Path, change: Callable[[dict[str, Any], Dataset], Any], message: str
) -> None:
    path = tmp_path / "calibration.json"
    save(draw(data, 50, 1), path)
    about = json.loads(path.read_text())
    change(about, data)
    path.write_text(json.dumps(about))
    with pytest.raises(DataError) as caught:
        load(path, data)
    assert f"{path} {message}" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_load_refuses_what_was_drawn_from_other_data(data: Dataset, tmp_path: Path) -> None:
    other = data_of(data.labels, data.splits, seed=1)
    save(draw(other, 50, 1), tmp_path / "calibration.json")
    with pytest.raises(DataError) as caught:
        load(tmp_path / "calibration.json", data)
    there, here = other.sha256[:12], data.sha256[:12]
    assert f"was drawn from data {there}, not from {here}; calibrate again" in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"7"])
def test_load_refuses_what_is_not_a_set(data: Dataset, tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "broken.json").write_bytes(raw)
    with pytest.raises(DataError, match=r"broken\.json is not a calibration set \("):
        load(tmp_path / "broken.json", data)


def test_load_says_how_to_make_what_is_missing(data: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "missing.json"
    with pytest.raises(DataError) as caught:
        load(path, data)
    assert str(caught.value) == f"{path} does not exist; make it: fer-edge calibrate --data CACHE --out {path}"
    with pytest.raises(DataError, match=r"is not a calibration set \(IsADirectoryError: "):
        load(tmp_path, data)


def faces_of(*faces: NDArray[np.uint8]) -> CalibrationFaces:
    """The calibration faces of a data set of these faces, all of them chosen."""
    n = len(faces)
    data = Dataset(np.stack(faces), np.zeros(n, np.uint8), np.zeros(n, np.uint8), None, "made up", "0" * 64)
    return CalibrationFaces(data, CalibrationSet(tuple(range(n)), data.sha256, 0, {}))


def face(*first: int, rest: int) -> NDArray[np.uint8]:
    """A face of one gray but for its first pixels."""
    made = np.full((48, 48), rest, np.uint8)
    made[0, : len(first)] = first
    return made


def test_faces_can_be_gone_through_twice(data: Dataset) -> None:
    chosen = draw(data, 30, 0)
    faces = CalibrationFaces(data, chosen)
    first, second = list(faces), list(faces)
    assert len(faces) == len(first) == len(second) == 30  # random pixels reach 0 and 255: no face is added
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, data.faces[list(chosen.rows)])
    assert {(each.shape, each.dtype) for each in first} == {((48, 48), np.dtype(np.uint8))}


@pytest.mark.parametrize(
    ("faces", "added"),
    [
        ([face(0, 255, rest=9)], False),
        ([face(0, rest=9), face(255, rest=9)], False),  # 0 in one and 255 in another will do
        ([face(0, 254, rest=9)], True),
        ([face(1, 255, rest=9)], True),
        ([face(5, rest=9), face(250, rest=9)], True),
    ],
)
def test_a_stretched_face_comes_where_the_range_is_not_reached(faces: list[NDArray[np.uint8]], added: bool) -> None:
    made = faces_of(*faces)
    assert len(made) == len(list(made)) == len(faces) + added
    np.testing.assert_array_equal(list(made)[: len(faces)], faces)
    assert (min(each.min() for each in made), max(each.max() for each in made)) == (0, 255)


def test_the_stretched_face_is_the_first_at_full_range() -> None:
    *_, last = faces_of(face(10, 112, 50, rest=90), face(200, rest=90))
    np.testing.assert_array_equal(last, face(0, 255, 100, rest=200))  # (v - 10) * 255 / 102


def test_a_flat_first_face_stretches_to_a_ramp() -> None:
    flat, last = faces_of(face(rest=77))
    assert (flat == 77).all()
    assert (last[0, 0], last[-1, -1], last.dtype) == (0, 255, np.uint8)
    assert (np.diff(last.ravel().astype(int)) >= 0).all()


def test_coverage_of_a_tiny_data_set() -> None:
    grays, labels = [0, 100, 200, 255, 40], np.array([3, 3, 6, 0, 1], np.uint8)
    faces = np.stack([np.full((48, 48), gray, np.uint8) for gray in grays])
    data = Dataset(faces, labels, np.zeros(5, np.uint8), None, "made up", "0" * 64)
    assert coverage(data, (0, 1, 2)) == {
        "counts": {"angry": 0, "disgust": 0, "fear": 0, "happy": 2, "neutral": 0, "sad": 0, "surprise": 1},
        "pixel_range": [0, 200],
        "brightness": {"p5": 10.0, "p50": 100.0, "p95": 190.0},  # of the means 0, 100, 200
    }
    assert coverage(data, [3])["pixel_range"] == [255, 255]
    assert coverage(data, [3])["brightness"] == {"p5": 255.0, "p50": 255.0, "p95": 255.0}


def test_a_drawn_set_says_what_it_covers(data: Dataset) -> None:
    chosen = draw(data, 27, 0)
    assert chosen.covers == coverage(data, chosen.rows)
    assert list(chosen.covers["counts"].values()) == [4, 1, 4, 8, 4, 4, 2]
    assert chosen.covers["pixel_range"] == [0, 255]
