"""Drawn faces: the same seed draws the same bytes, and a classifier can tell the emotions apart."""

import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fer_edge.devices.errors import DataError
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train import synth
from fer_edge.train.dataset import Dataset, load_dataset
from fer_edge.train.synth import EXPRESSIONS, Expression, draw_face, synthetic_dataset


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    return synthetic_dataset(1400, 0)


def test_same_seed_draws_the_same_bytes() -> None:
    first, again = synthetic_dataset(70, 5), synthetic_dataset(70, 5)
    assert first.sha256 == again.sha256
    np.testing.assert_array_equal(first.faces, again.faces)


def test_another_seed_draws_other_faces_in_another_order() -> None:
    first, other = synthetic_dataset(70, 5), synthetic_dataset(70, 6)
    assert (first.labels != other.labels).any()
    assert not {face.tobytes() for face in first.faces} & {face.tobytes() for face in other.faces}


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_a_face_is_48_by_48_uint8_with_contrast(emotion: str) -> None:
    face = draw_face(emotion, np.random.default_rng(0))
    assert face.shape == (48, 48)
    assert face.dtype == np.uint8
    assert face.std() > 10


@pytest.mark.parametrize("muscle", [field.name for field in dataclasses.fields(Expression)])
def test_every_muscle_shows_in_the_picture(muscle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(shown: Expression) -> NDArray[np.int16]:
        monkeypatch.setattr(synth, "_express", lambda emotion, rng: shown)
        return draw_face("neutral", np.random.default_rng(1)).astype(np.int16)

    rest = Expression()
    moved = dataclasses.replace(rest, **{muscle: getattr(rest, muscle) + 0.5})
    changed = np.abs(draw(moved) - draw(rest)) > 5
    assert 4 <= changed.sum() < 48 * 48 / 4  # something moves, and the rest of the face stays


def test_every_emotion_has_an_expression_of_its_own() -> None:
    assert tuple(EXPRESSIONS) == EMOTIONS
    assert len(set(EXPRESSIONS.values())) == 7


@pytest.mark.parametrize(
    ("count", "train", "test"),
    [(21, 2, 1), (35, 4, 1), (70, 8, 2), (140, 16, 4), (175, 20, 5)],
)
def test_counts_by_split_are_balanced(count: int, train: int, test: int) -> None:
    assert synthetic_dataset(count, 1).counts() == {
        "train": dict.fromkeys(EMOTIONS, train),
        "test": dict.fromkeys(EMOTIONS, test),
    }


def test_a_count_that_seven_does_not_divide_goes_to_the_first_emotions() -> None:
    counts = np.bincount(synthetic_dataset(24, 1).labels)
    assert counts.tolist() == [4, 4, 4, 3, 3, 3, 3]


def test_the_order_is_shuffled(drawn: Dataset) -> None:
    same_as_next = (drawn.labels[1:] == drawn.labels[:-1]).mean()
    assert 0.08 < same_as_next < 0.22  # 1/7 by chance; sorted labels give 0.99, labels in turn give 0
    assert 0.1 < drawn.splits[:700].mean() / drawn.splits.max() < 0.3


def test_no_face_is_drawn_twice(drawn: Dataset) -> None:
    assert len({face.tobytes() for face in drawn.faces}) == 1400


def test_source_names_count_and_seed() -> None:
    assert synthetic_dataset(21, 3).source == "synth-21-seed3"


def test_tick_counts_up_to_the_end() -> None:
    seen: list[int] = []
    synthetic_dataset(250, 0, seen.append)
    assert seen == [100, 200, 250]


@pytest.mark.parametrize(
    ("count", "seed", "message"),
    [
        (20, 0, "expected 21 faces or more, got 20: both splits need all seven"),
        (21, -1, "expected a seed of 0 or more, got -1"),
    ],
)
def test_too_few_faces_and_a_negative_seed_are_refused(count: int, seed: int, message: str) -> None:
    with pytest.raises(DataError, match=f"^{message}$"):
        synthetic_dataset(count, seed)


def _linear_scores(drawn: Dataset, labels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Scores (T, 7) of the test faces by ridge regression from 24x24 pixels, fitted on the training faces."""
    pixels = drawn.faces.reshape(-1, 24, 2, 24, 2).mean(axis=(2, 4)).reshape(len(drawn.faces), -1)
    pixels -= pixels.mean(axis=1, keepdims=True)  # light is no sign of an emotion
    pixels /= pixels.std(axis=1, keepdims=True)
    train, test = pixels[drawn.rows("train")], pixels[drawn.rows("test")]
    targets = np.eye(len(EMOTIONS))[labels[drawn.rows("train")]] - 1 / len(EMOTIONS)
    weights = np.linalg.solve(train.T @ train + 100 * np.eye(train.shape[1]), train.T @ targets)
    return test @ weights


def test_a_linear_classifier_tells_emotions_apart_but_not_always(drawn: Dataset) -> None:
    right = _linear_scores(drawn, drawn.labels).argmax(axis=1) == drawn.labels[drawn.rows("test")]
    assert 0.8 < right.mean() < 0.97  # chance is 0.14; with no mistakes at all int8 could flip nothing


def test_no_emotion_is_drawn_as_another(drawn: Dataset) -> None:
    truth, scores = drawn.labels[drawn.rows("test")], _linear_scores(drawn, drawn.labels)
    for a, b in itertools.combinations(range(len(EMOTIONS)), 2):
        rows = (truth == a) | (truth == b)
        right = np.where(scores[rows, a] > scores[rows, b], a, b) == truth[rows]
        assert right.mean() > 0.75, f"{EMOTIONS[a]} looks like {EMOTIONS[b]}"  # alike would be 0.5


def test_the_linear_classifier_is_no_better_than_chance_on_shuffled_labels(drawn: Dataset) -> None:
    """Guards the tests above: what they measure has to come from the labels."""
    shuffled = np.random.default_rng(0).permutation(drawn.labels)
    right = _linear_scores(drawn, shuffled).argmax(axis=1) == drawn.labels[drawn.rows("test")]
    assert right.mean() < 0.25


def _synth(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fer_edge", "data", "synth", "--out", str(out), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synth") / "cache"
    done = _synth(out, "--count", "140")
    assert done.returncode == 0, done.stderr
    return out


def test_command_writes_a_cache_that_loads(made: Path) -> None:
    loaded = load_dataset(made)
    assert loaded.faces.shape == (140, 48, 48)
    assert loaded.source == "synth-140-seed0"
    assert loaded.sha256 == synthetic_dataset(140, 0).sha256


def test_command_refuses_a_folder_that_exists_and_leaves_it(made: Path) -> None:
    before = (made / "faces.npy").read_bytes()
    done = _synth(made, "--count", "21", "--seed", "4")
    assert done.returncode == 1
    fix = "choose another --out or pass --force to replace it"
    assert done.stderr == f"fer-edge: {made} exists already; {fix}\n"
    assert done.stdout == ""
    assert (made / "faces.npy").read_bytes() == before


def test_command_replaces_with_force(tmp_path: Path) -> None:
    out = tmp_path / "cache"
    out.mkdir()
    (out / "cache.json").write_text("an older cache")  # nothing but a cache is replaced
    (out / "old.txt").write_text("old")
    done = _synth(out, "--count", "21", "--seed", "4", "--force")
    assert done.returncode == 0, done.stderr
    assert load_dataset(out).source == "synth-21-seed4"
    assert not (out / "old.txt").exists()


def test_command_says_a_negative_seed_in_one_sentence(tmp_path: Path) -> None:
    done = _synth(tmp_path / "cache", "--seed", "-1")
    assert done.returncode == 1
    assert "fer-edge: expected a seed of 0 or more, got -1" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "cache").exists()
