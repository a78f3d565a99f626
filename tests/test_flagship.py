"""The recipe made for boards: clean validation, averaged weights, small faces first, a rate that holds."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fer_edge.devices.errors import DataError, RunError
from fer_edge.train.dataset import Dataset, build_dataset
from fer_edge.train.recipe import Recipe
from fer_edge.train.recipes import recipe_for
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.schedule import next_rate, with_other_end
from fer_edge.train.split import clean_rows, rows_of
from fer_edge.train.synth import synthetic_dataset

SHORT = {"epochs": 3, "small_epochs": 1, "warmup_epochs": 0, "fall_epochs": 1, "average": 0.9, "batch_size": 32}


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    return synthetic_dataset(140, 1)


def network(**values: object) -> Recipe:
    made = recipe_for("tiny", **values)
    assert isinstance(made, Recipe)
    return made


def planted(drawn: Dataset) -> tuple[Dataset, list[int], list[int]]:
    """Ten training faces once more, brighter; and four test faces as training ones. Rows of the copies."""
    train, test = drawn.rows("train")[:10], drawn.rows("test")[:4]
    brighter = np.clip(drawn.faces[train].astype(np.int64) + 5, 0, 255).astype(np.uint8)
    n = len(drawn.faces)
    data = build_dataset(
        np.concatenate([drawn.faces, brighter, drawn.faces[test]]),
        np.concatenate([drawn.labels, drawn.labels[train], drawn.labels[test]]),
        np.concatenate([drawn.splits, np.zeros(14, np.uint8)]),
        None,
        "planted",
    )
    return data, list(range(n, n + 10)), list(range(n + 10, n + 14))


def test_a_clean_split_shares_no_photo(drawn: Dataset) -> None:
    data, near, of_test = planted(drawn)
    fit, val = clean_rows(data, 0.2)
    assert len(val) > 0
    assert set(val) <= set(data.rows("train"))
    assert not set(fit) & set(val)
    copied = set(drawn.rows("train")[:10]) | set(near)
    assert not copied & set(val), "a face that has a duplicate validates"
    assert not set(of_test) & (set(fit) | set(val)), "a copy of a test face is learned from"
    assert copied & set(fit)
    assert set(data.labels[val]) == set(range(7))


def test_a_split_apart_validates_on_the_same_faces_and_learns_the_copies_of_test_images(drawn: Dataset) -> None:
    data, near, of_test = planted(drawn)
    clean, apart = (rows_of(data, network(validation=kind, val_fraction=0.2)) for kind in ("clean", "apart"))
    assert np.array_equal(apart[1], clean[1])
    shared = set(drawn.rows("train")) - set(clean[0]) - set(clean[1])
    assert set(apart[0]) - set(clean[0]) == set(of_test) | shared
    assert set(near) <= set(apart[0])


def test_a_clean_split_is_the_same_for_every_seed(drawn: Dataset) -> None:
    one, other = (rows_of(drawn, network(seed=seed, validation="clean")) for seed in (1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    usual = [rows_of(drawn, network(seed=seed, validation="stratified"))[1] for seed in (1, 2)]
    assert not np.array_equal(*usual)


def test_the_rate_holds_and_falls() -> None:
    recipe = network(epochs=8, warmup_epochs=2, fall_epochs=4, small_epochs=0, learning_rate=1.0)
    rates = [next_rate(recipe, [{"epoch": at} for at in range(done)]) for done in range(9)]
    assert rates[:5] == pytest.approx([1 / 3, 2 / 3, 1, 1, 1])
    assert rates[5] == pytest.approx(0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi / 4)))
    assert rates[8] is None
    with pytest.raises(RunError, match="warmup_epochs 2 and fall_epochs 7 are more than epochs 8"):
        dataclasses.replace(recipe, fall_epochs=7)


def test_the_end_of_a_training_may_move_while_nothing_of_it_has_begun() -> None:
    recipe = network(epochs=8, warmup_epochs=1, fall_epochs=3, small_epochs=4)
    done = [{"epoch": at} for at in range(3)]
    moved = with_other_end(recipe, done, {"epochs": 20, "small_epochs": 3})
    assert (moved.epochs, moved.small_epochs, moved.fall_epochs) == (20, 3, 3)
    for late, changes in ((3, {"small_epochs": 2}), (7, {"epochs": 9}), (2, {"epochs": 4, "small_epochs": 1})):
        with pytest.raises(RunError, match="which is trained already, would have been another"):
            with_other_end(recipe, [{"epoch": at} for at in range(late)], changes)


def test_fewer_epochs_keep_their_shares() -> None:
    whole, tenth = network(), network(epochs=7)
    assert tenth.small_epochs == whole.small_epochs // 10
    assert tenth.fall_epochs == whole.fall_epochs // 10
    assert network(epochs=30, small_epochs=2).small_epochs == 2
    assert recipe_for("cnn-edge", "flagship", epochs=1).warmup_epochs == 0


def test_small_faces_come_first_and_only_where_the_network_takes_them(drawn: Dataset) -> None:
    from fer_edge.train.fit import batches_of
    from fer_edge.train.objective import compiled

    recipe = network(**SHORT)
    batches, _ = batches_of(drawn, recipe)
    sides = []
    for epoch in range(recipe.epochs):
        batches.set_epoch(epoch)
        sides.append(batches[0][0].shape[1:])
    assert sides == [(32, 32, 1), (48, 48, 1), (48, 48, 1)]
    with pytest.raises(RunError, match="small_epochs is for networks that take faces of any side"):
        compiled(dataclasses.replace(recipe, model="cnn"))
    with pytest.raises(RunError, match="small_epochs 3 leave none of epochs 3"):
        dataclasses.replace(recipe, small_epochs=3)


def test_copies_alone_cannot_validate_cleanly(drawn: Dataset) -> None:
    """As frames of one clip: nothing would be left to judge by."""
    n = len(drawn.faces)
    twice = build_dataset(
        np.concatenate([drawn.faces, drawn.faces]),
        np.concatenate([drawn.labels, drawn.labels]),
        np.concatenate([drawn.splits, np.zeros(n, np.uint8)]),
        None,
        "twice",
    )
    with pytest.raises(DataError, match="none can validate cleanly; give --set validation=stratified"):
        clean_rows(twice, 0.1)


@pytest.fixture(scope="module")
def trained(drawn: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    from fer_edge.train.fit import train
    from fer_edge.train.quietly import keras_quietly

    keras_quietly(1)
    folder = tmp_path_factory.mktemp("flagship") / "run"
    train(drawn, network(**SHORT), folder)
    return RunFolder(folder)


def test_the_model_is_what_was_judged(trained: RunFolder, drawn: Dataset) -> None:
    """The averaged weights, not the raw ones that train on, and with batch statistics that fit them."""
    from fer_edge.train.models import load_network

    recipe, history = trained.recipe(), trained.history()
    _, val = rows_of(drawn, recipe)
    faces, labels = np.asarray(drawn.faces[val])[..., None], drawn.labels[val]

    def accuracy_and_loss(path: Path) -> tuple[float, float]:
        logits = load_network(path).predict(faces, verbose=0)
        said = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        wanted = np.eye(7)[labels] * (1 - recipe.label_smoothing) + recipe.label_smoothing / 7
        return float((logits.argmax(1) == labels).mean()), float(-(wanted * said).sum(1).mean())

    accuracy, loss = accuracy_and_loss(trained.model)
    assert accuracy == pytest.approx(history[-1]["val_accuracy"])
    assert loss == pytest.approx(history[-1]["val_loss"], abs=1e-4)
    assert accuracy_and_loss(trained.checkpoint(3))[1] != pytest.approx(loss, abs=1e-3)
    assert load_network(trained.model).input_shape == (None, 48, 48, 1)


def test_an_averaged_training_resumes_to_the_same_history(trained: RunFolder, drawn: Dataset, tmp_path: Path) -> None:
    from fer_edge.train.fit import train

    class KilledError(Exception):
        pass

    def kill(row: dict[str, float]) -> None:
        if row["epoch"] == 1:
            raise KilledError

    with pytest.raises(KilledError):
        train(drawn, network(**SHORT), tmp_path / "run", on_epoch=kill)
    again = train(drawn, network(**SHORT), tmp_path / "run", resume=True)
    for one, other in zip(again, trained.history(), strict=True):
        assert {k: v for k, v in one.items() if k != "seconds"} == pytest.approx(
            {k: v for k, v in other.items() if k != "seconds"}, rel=1e-4
        )


def test_the_recipe_alone_names_its_network(cli, chain, tmp_path: Path) -> None:
    done = cli(
        "train", "--data", chain.data, "--recipe", "flagship", "--epochs", "1", "--set", "train_fraction=0.02",
        "--out", "run", "--threads", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())["recipe"]
    assert recipe["model"] == "flagship"
    assert recipe["validation"] == "clean"


@pytest.fixture(scope="module")
def finished(drawn: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    from fer_edge.train.fit import train

    run = RunFolder(tmp_path_factory.mktemp("runs") / "first")
    train(drawn, network(**SHORT), run.path)
    return run


@pytest.mark.parametrize(("labels", "same"), [("fer2013", True), ("votes-8", False)])
def test_a_run_begins_with_another_runs_weights(finished: RunFolder, labels: str, same: bool) -> None:
    from fer_edge.train.models import load_network
    from fer_edge.train.objective import compiled

    first = load_network(finished.finished_model()).get_weights()
    new = compiled(network(**SHORT, start=str(finished.path), labels=labels)).get_weights()
    for one, other in zip(first[:-2], new[:-2], strict=True):
        assert np.array_equal(one, other)
    assert (new[-1].shape == first[-1].shape) is same
    assert np.array_equal(new[-2], first[-2]) is same


def test_of_several_runs_it_begins_with_the_mean(finished: RunFolder, drawn: Dataset, tmp_path: Path) -> None:
    """Also where a path is given twice, or the logits begin anew; each must have kept the same faces."""
    from fer_edge.train.fit import train
    from fer_edge.train.models import load_network
    from fer_edge.train.objective import compiled

    other = tmp_path / "other"
    train(drawn, network(**SHORT, start=str(finished.path), seed=1), other)
    both = f"{finished.path},{other}"
    theirs = [load_network(run / "model.keras").get_weights() for run in (finished.path, other)]
    for mine, one, another in zip(compiled(network(**SHORT, start=both)).get_weights(), *theirs, strict=True):
        assert mine == pytest.approx((one + another) / 2, abs=1e-6)
    assert len(train(drawn, network(**SHORT, start=both), tmp_path / "mean")) == SHORT["epochs"]
    eight = tmp_path / "eight"
    shutil.copytree(other, eight)
    about = json.loads((eight / "recipe.json").read_text(encoding="utf-8"))
    about["recipe"]["labels"] = "votes-8"
    (eight / "recipe.json").write_text(json.dumps(about), encoding="utf-8")
    for path, sentence in (
        (eight, "have not the same classes"),
        (tmp_path / "no", "is neither a training run nor a bundle"),
    ):
        with pytest.raises(RunError, match=sentence):
            train(drawn, network(**SHORT, start=f"{finished.path},{path}"), tmp_path / "run")


def test_it_trains_on_from_there_and_no_longer_needs_it(finished: RunFolder, drawn: Dataset, tmp_path: Path) -> None:
    from fer_edge.train.fit import train

    class KilledError(Exception):
        pass

    def kill(row: dict[str, float]) -> None:
        raise KilledError

    first = shutil.copytree(finished.path, tmp_path / "first")
    still = network(**SHORT, start=str(first), learning_rate=1e-9, weight_decay=0.0)
    with pytest.raises(KilledError):
        train(drawn, still, tmp_path / "on", on_epoch=kill)
    shutil.rmtree(first)
    on = train(drawn, None, tmp_path / "on", resume=True)
    assert len(on) == SHORT["epochs"]
    assert on[-1]["val_accuracy"] == pytest.approx(finished.history()[-1]["val_accuracy"], abs=0.03)


def test_a_run_that_cannot_be_begun_with_is_refused(finished: RunFolder, drawn: Dataset, tmp_path: Path) -> None:
    from fer_edge.train.fit import train

    for values, sentence in (
        ({"start": str(finished.path), "val_fraction": 0.2}, "keeps other faces for validation"),
        ({"start": str(tmp_path / "no")}, "is neither a training run nor a bundle"),
        ({"start": ","}, "names no run"),
        ({"start": str(finished.path), "standardize": True}, "was trained with standardize=False; give the same"),
    ):
        with pytest.raises(RunError, match=sentence):
            train(drawn, network(**SHORT | values), tmp_path / "run")
    other = recipe_for("flagship", **SHORT, start=str(finished.path))
    assert isinstance(other, Recipe)
    with pytest.raises(RunError, match="is a tiny, not a flagship"):
        train(drawn, other, tmp_path / "run")
