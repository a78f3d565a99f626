"""A network that finished networks teach: what it is asked to say, and what is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from fer_edge.devices.errors import RunError
from fer_edge.train.dataset import Dataset
from fer_edge.train.recipe import Recipe, parse_value
from fer_edge.train.recipes import recipe_for
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.split import check_unseen
from fer_edge.train.synth import synthetic_dataset

SHORT = {
    "epochs": 2, "small_epochs": 1, "warmup_epochs": 0, "fall_epochs": 1, "average": 0.0, "batch_size": 64,
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    return synthetic_dataset(140, 1)


@pytest.fixture(scope="module")
def teacher(drawn: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    from fer_edge.train.fit import train
    from fer_edge.train.quietly import keras_quietly

    keras_quietly(1)
    folder = tmp_path_factory.mktemp("teacher") / "run"
    train(drawn, recipe_for("mlp", epochs=2, validation="clean", val_fraction=0.1), folder)
    return RunFolder(folder)


def pupil(teacher: RunFolder, **values: object) -> Recipe:
    made = recipe_for("tiny", teachers=(str(teacher.path),), **SHORT, **values)
    assert isinstance(made, Recipe)
    return made


def test_the_loss_is_the_published_one() -> None:
    """By hand: cross-entropy with the label, and the divergence at temperature 2, four times."""
    import keras

    from fer_edge.train.distill import DistillationLoss

    rng = np.random.default_rng(0)
    label, theirs, ours = np.eye(7)[[2, 5]], rng.normal(size=(2, 7)), rng.normal(size=(2, 7))

    def softmax(z: np.ndarray) -> np.ndarray:
        return np.exp(z) / np.exp(z).sum(1, keepdims=True)

    by_labels = -(label * np.log(softmax(ours))).sum(1)
    p, q = softmax(theirs / 2), softmax(ours / 2)
    wanted = 0.75 * by_labels + 0.25 * 4 * (p * np.log(p / q)).sum(1)
    loss = DistillationLoss(keras.losses.CategoricalCrossentropy(from_logits=True), 0.25, 2.0)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    both = np.concatenate([label, theirs], axis=1).astype(np.float32)
    for one in (loss, again):
        assert float(one(both, ours.astype(np.float32))) == pytest.approx(wanted.mean(), rel=1e-5)
        assert float(one(both[:, :7], ours.astype(np.float32))) == pytest.approx(by_labels.mean(), rel=1e-5)


def test_the_teacher_sees_the_very_view_and_is_asked_once(
    teacher: RunFolder, drawn: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fer_edge.train.fit import batches_of
    from fer_edge.train.predictor import open_run

    batches, _ = batches_of(drawn, pupil(teacher, teacher_cache=str(tmp_path)))
    batches.set_epoch(1)
    said = open_run(teacher)
    for at in range(len(batches)):
        x, y = batches[at]
        assert x.shape[1:] == (48, 48, 1)
        assert y[:, :7].sum() == len(x)
        assert y[:, 7:] == pytest.approx(said.logits(x[..., 0]), abs=5e-3)  # kept in float16
    assert len(list(tmp_path.rglob("epoch-0002.npy"))) == 1
    again, _ = batches_of(drawn, pupil(teacher, teacher_cache=str(tmp_path)))
    monkeypatch.setattr("fer_edge.train.predictor.KerasPredictor.logits", None)
    again.set_epoch(1)
    assert np.array_equal(again[0][1], batches[0][1])
    other, _ = batches_of(drawn, pupil(teacher, teacher_cache=str(tmp_path), rotation_deg=3.0))
    other.set_epoch(1)
    with pytest.raises(TypeError, match="not callable"):
        other[0]  # other views, so the store is not for them


def test_a_taught_network_trains_resumes_and_is_judged_by_labels(
    teacher: RunFolder, drawn: Dataset, tmp_path: Path
) -> None:
    """Its first epoch sees small faces; the teacher, which takes no other, sees them whole."""
    from fer_edge.train.fit import train

    class KilledError(Exception):
        pass

    def kill(row: dict[str, float]) -> None:
        if row["epoch"] == 1:
            raise KilledError

    whole = train(drawn, pupil(teacher), tmp_path / "whole")
    with pytest.raises(KilledError):
        train(drawn, pupil(teacher), tmp_path / "cut", on_epoch=kill)
    again = train(drawn, pupil(teacher), tmp_path / "cut", resume=True)
    for one, other in zip(whole, again, strict=True):
        assert [one[k] for k in ("loss", "val_loss", "val_accuracy")] == pytest.approx(
            [other[k] for k in ("loss", "val_loss", "val_accuracy")], rel=1e-5
        )
    untaught = train(drawn, dataclasses.replace(pupil(teacher), teachers=()), tmp_path / "untaught")
    assert untaught[0]["loss"] != pytest.approx(whole[0]["loss"], rel=1e-3)


def test_a_teacher_that_may_know_the_answers_is_refused(teacher: RunFolder, drawn: Dataset, tmp_path: Path) -> None:
    from fer_edge.train.fit import train

    for recipe, sentence in (
        (pupil(teacher, val_fraction=0.2), "keeps other faces for validation"),
        (pupil(teacher, validation="stratified"), "keeps other faces for validation"),
        (dataclasses.replace(pupil(teacher), teachers=(str(tmp_path / "no"),)), "is not a training run"),
    ):
        with pytest.raises(RunError, match=sentence):
            train(drawn, recipe, tmp_path / "run")
    with pytest.raises(RunError, match="was trained on other data"):
        train(synthetic_dataset(140, 2), pupil(teacher), tmp_path / "run")
    apart = dataclasses.replace(teacher.recipe(), validation="apart")
    check_unseen("teacher", drawn.sha256, teacher.recipe(), drawn, apart)  # a clean one may teach one apart,
    with pytest.raises(RunError, match="fitted to copies of test images; give --set validation=apart"):
        check_unseen("teacher", drawn.sha256, apart, drawn, teacher.recipe())  # and not the other way round
    assert parse_value(Recipe, "teachers", "a,b") == ("a", "b")


def test_a_teacher_computes_as_its_pupil_does(drawn: Dataset, tmp_path: Path) -> None:
    """In bfloat16 where the pupil is trained so, with the weights that it has; its policy is nobody else's."""
    import keras

    from fer_edge.train.fit import train
    from fer_edge.train.teacher import Teacher

    train(drawn, recipe_for("tiny", **SHORT, validation="clean"), tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    faces = np.asarray(drawn.faces[:32])[..., None]
    said = {}
    for mixed in (False, True):
        asked = Teacher(drawn, pupil(run, mixed_precision=mixed))
        network = asked._networks[0].keras_model
        assert network.layers[-2].compute_dtype == ("bfloat16" if mixed else "float32")
        said[mixed] = asked.logits(0, 0, 32, faces)
    assert keras.mixed_precision.global_policy().name == "float32"
    assert np.abs(said[True] - said[False]).max() > 0
    assert said[True] == pytest.approx(said[False], abs=0.05 * float(np.ptp(said[False])))
