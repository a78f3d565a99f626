"""Labels replaced by what is to expect: translated out of FER+'s votes, sharpened by what other networks say."""

import dataclasses
import importlib
from pathlib import Path

import numpy as np
import pytest

from fer_edge.devices.errors import DataError, RunError
from fer_edge.train.dataset import VOTE_COLUMNS, Dataset, build_dataset
from fer_edge.train.expected import expected_labels
from fer_edge.train.recipe import Recipe
from fer_edge.train.recipes import recipe_for
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.synth import synthetic_dataset
from fer_edge.train.targets import targets

SURPRISE, SAD, NEUTRAL = 6, 5, 4
COLUMNS = [
    VOTE_COLUMNS.index(name) for name in ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
]
SHORT = {"epochs": 2, "small_epochs": 0, "warmup_epochs": 0, "fall_epochs": 1, "average": 0.0, "batch_size": 64}


@pytest.fixture(scope="module")
def voted() -> Dataset:
    """Ten voters say what each drawn face is, but for sad ones: half of these they call neutral."""
    data = synthetic_dataset(700, 3)
    votes = np.zeros((len(data.faces), len(VOTE_COLUMNS)), np.uint8)
    voted = np.where((data.labels == SAD) & (np.arange(len(votes)) % 2 == 0), NEUTRAL, data.labels)
    votes[np.arange(len(votes)), np.take(COLUMNS, voted)] = 10
    return dataclasses.replace(data, votes=votes)


@pytest.fixture(scope="module")
def teacher(voted: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    from fer_edge.train.fit import train
    from fer_edge.train.quietly import keras_quietly

    keras_quietly(1)
    folder = tmp_path_factory.mktemp("teacher") / "run"
    train(voted, recipe_for("mlp", epochs=1, validation="clean", val_fraction=0.1), folder)
    return RunFolder(folder)


def pupil(**values: object) -> Recipe:
    made = recipe_for("tiny", labels="expected", **SHORT, **values)
    assert isinstance(made, Recipe)
    return made


def test_votes_are_translated_into_the_labels_habit(voted: Dataset) -> None:
    """Faces that the voters call neutral are labelled sad in part, and are expected to be sad as often."""
    rows = voted.rows("train")
    expected = expected_labels(voted, rows)
    assert expected.sum(axis=1) == pytest.approx(1, abs=1e-5)
    neutral = voted.votes[rows][:, COLUMNS[NEUTRAL]] == 10  # type: ignore[index]
    sad = (voted.labels[rows][neutral] == SAD).mean()
    assert 0.2 < sad < 0.5
    assert expected[neutral][:, SAD] == pytest.approx(sad, abs=0.05)
    surprised = voted.labels[rows] == SURPRISE
    assert expected[surprised][:, SURPRISE].min() > 0.9


def test_what_networks_say_tells_apart_what_the_votes_do_not(voted: Dataset) -> None:
    rows = voted.rows("train")
    labels = voted.labels[rows]
    said = 4 * np.eye(7, dtype=np.float32)[labels]
    neutral = voted.votes[rows][:, COLUMNS[NEUTRAL]] == 10  # type: ignore[index]
    expected = expected_labels(voted, rows, said)
    assert (expected[neutral].argmax(axis=1) == labels[neutral]).all()


def test_the_share_of_the_votes_mixes_with_the_label(voted: Dataset) -> None:
    rows = voted.rows("train")
    kept, half = targets(voted, rows, pupil(vote_share=0.5))
    assert np.array_equal(kept, rows)  # no image is left out
    label = np.eye(7, dtype=np.float32)[voted.labels[rows]]
    assert half == pytest.approx(0.5 * expected_labels(voted, rows) + 0.5 * label, abs=1e-6)


def test_a_teacher_is_asked_once_of_each_face_and_its_mirror_image(
    voted: Dataset, teacher: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fer_edge.train.fit import batches_of, train
    from fer_edge.train.predictor import KerasPredictor, open_run
    from fer_edge.train.split import rows_of

    recipe = pupil(teachers=(str(teacher.path),), teacher_cache=str(tmp_path / "said"))
    asked: list[np.ndarray] = []
    logits = KerasPredictor.logits

    def counted(self: KerasPredictor, faces: np.ndarray) -> np.ndarray:
        asked.append(faces)
        return logits(self, faces)

    monkeypatch.setattr(KerasPredictor, "logits", counted)
    whole = train(voted, recipe, tmp_path / "run")
    rows = rows_of(voted, recipe)[0]
    assert [len(faces) for faces in asked] == [len(rows)] * 2
    assert np.array_equal(asked[0], asked[1][:, :, ::-1])
    monkeypatch.setattr(KerasPredictor, "logits", logits)
    said = open_run(teacher)
    mean = (said.logits(asked[0]) + said.logits(asked[1])) / 2
    monkeypatch.setattr(KerasPredictor, "logits", None)  # from here on the store answers
    batches, _ = batches_of(voted, recipe)
    assert batches[0][1].shape[1] == 7
    wanted = expected_labels(voted, rows, mean)
    assert np.sort(np.concatenate([batches[at][1] for at in range(len(batches))]).max(axis=1)) == pytest.approx(
        np.sort(wanted.max(axis=1)), abs=1e-5
    )
    assert train(voted, recipe, tmp_path / "again")[-1]["loss"] == pytest.approx(whole[-1]["loss"], rel=1e-5)


def test_without_votes_or_with_an_emotion_missing_it_is_refused(voted: Dataset) -> None:
    rows = voted.rows("train")
    with pytest.raises(DataError, match="no FER\\+ votes"):
        targets(synthetic_dataset(140, 3), np.arange(70), pupil())
    with pytest.raises(DataError, match="all seven emotions"):
        targets(voted, rows[voted.labels[rows] != SAD], pupil())


def test_a_teacher_that_may_know_the_answers_is_refused(voted: Dataset, teacher: RunFolder, tmp_path: Path) -> None:
    from fer_edge.train.fit import train

    recipe = pupil(teachers=(str(teacher.path),), validation="stratified")
    with pytest.raises(RunError, match="keeps other faces for validation"):
        train(voted, recipe, tmp_path / "run")


def test_how_well_labels_are_foretold_is_counted_on_faces_that_were_not_fitted_on(
    voted: Dataset, teacher: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "tools"))
    tool = importlib.import_module("label_chance")
    said = tool.lines(voted, [teacher])
    assert [line.split(":")[0] for line in said] == [
        "FER+'s voters", "1 networks", "both", "the copies in Training, test images",
    ]  # fmt: skip
    assert all(" labels (" in line for line in said)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 350).astype(np.uint8)
    assert tool.foretold(np.eye(7)[labels], labels).all()
    assert tool.foretold(rng.normal(size=(350, 7)), labels).mean() < 0.3  # chance alone: nothing is learned by heart
    with pytest.raises(SystemExit, match="may know the clean validation faces"):
        tool.lines(voted, [_other_split(teacher)])


def test_copies_foretell_by_what_most_of_them_are_labelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "tools"))
    drawn = synthetic_dataset(140, 1)
    test = drawn.rows("test")[:2]
    copies = np.concatenate([drawn.faces, *([drawn.faces[test]] * 3)])
    right, wrong = drawn.labels[test], (drawn.labels[test] + 1) % 7
    labels = np.concatenate([drawn.labels, right, [right[0], wrong[1]], wrong]).astype(np.uint8)
    splits = np.concatenate([drawn.splits, np.zeros(6, np.uint8)])
    data = build_dataset(copies, labels, splits, None, "copied")
    assert importlib.import_module("label_chance").of_copies(data).tolist() == [True, False]


def _other_split(run: RunFolder) -> RunFolder:
    class Other(RunFolder):
        def recipe(self) -> Recipe:
            made = super().recipe()
            assert isinstance(made, Recipe)
            return dataclasses.replace(made, val_fraction=0.2)

    return Other(run.path)
