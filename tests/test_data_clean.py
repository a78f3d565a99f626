"""`data clean`: what it removes, what it never touches, what the new cache remembers, and what it refuses."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fer_edge.cli.data_clean import clean
from fer_edge.devices.errors import DataError, OutputError, RunError
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.clean import Removal, blank, cleaned, denoised, leaking, outliers
from fer_edge.train.dataset import VOTE_COLUMNS, Dataset, build_dataset, load_dataset, save_dataset
from fer_edge.train.duplicates import Rule, find_duplicates
from fer_edge.train.recipes import recipe_for
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.synth import synthetic_dataset

STRICT = Rule(likeness=0.95)
"""Drawn faces are one drawing with other muscles; what repeats among them repeats whole."""


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    """140 drawn faces with two copies across splits, one within Training, a blank one in each split, and votes."""
    data = synthetic_dataset(140, 0)
    faces, train, test = data.faces.copy(), data.rows("train"), data.rows("test")
    for row in (0, 1):
        same = test[data.labels[test] == data.labels[train[row]]]
        faces[same[row]] = faces[train[row]]
    faces[train[4]] = faces[train[3]]
    faces[train[5]], faces[test[-1]] = 0, 7
    votes = np.zeros((140, len(VOTE_COLUMNS)), np.uint8)
    votes[:, 0] = np.arange(140)
    return build_dataset(faces, data.labels, data.splits, votes, "drawn")


@pytest.fixture
def cache(tmp_path: Path, drawn: Dataset) -> Path:
    save_dataset(drawn, tmp_path / "cache")
    return tmp_path / "cache"


def a_run(folder: Path, model: str, *, finished: bool = False) -> Path:
    """A run without a network; finished only by its file."""
    run = RunFolder(folder)
    run.create(recipe_for(model), {"data_sha256": "a" * 64, "data_source": "drawn"}, {})
    if finished:
        run.model.write_bytes(b"network")
    return folder


def test_only_training_loses_what_a_held_out_split_has(drawn: Dataset) -> None:
    found = find_duplicates(drawn.faces, STRICT)
    after = cleaned(drawn, [leaking(drawn, found)])
    train = drawn.rows("train")
    kept = np.setdiff1d(np.arange(140), train[:2])
    np.testing.assert_array_equal(after.faces, drawn.faces[kept])
    np.testing.assert_array_equal(after.labels, drawn.labels[kept])
    assert after.votes is not None
    assert after.votes[:, 0].tolist() == kept.tolist()
    assert len(after.rows("test")) == len(drawn.rows("test"))
    again = find_duplicates(after.faces, STRICT)
    assert len(leaking(after, again).rows) == 0
    assert len(again.groups()) == 1  # the copy within Training stays


def test_the_record_says_what_was_done(drawn: Dataset) -> None:
    after = cleaned(drawn, [leaking(drawn, find_duplicates(drawn.faces, STRICT)), blank(drawn)], denoise=4.0)
    (record,) = after.cleaned
    assert (record["from_sha256"], record["images_before"], record["removed"]) == (drawn.sha256, 140, 3)
    across, nothing, noise = record["steps"]
    assert (across["step"], across["removed"], across["splits"]) == ("across-splits", 2, ["train"])
    assert across["rule"] == {"most_bits": 12, "least_likeness": 0.95}
    assert sum(across["removed_by_emotion"].values()) == 2
    assert (nothing["step"], nothing["removed"]) == ("blank", 1)
    assert noise == {
        "step": "denoise", "method": "cv2.fastNlMeansDenoising", "strength": 4.0, "patch_px": 3, "search_px": 11,
        "splits": ["train", "test"],
    }  # fmt: skip
    assert after.source == "drawn, cleaned"
    assert after.sha256 != drawn.sha256


def test_a_cache_remembers_each_cleaning_and_an_old_one_has_none(tmp_path: Path, drawn: Dataset) -> None:
    once = cleaned(drawn, [blank(drawn)])
    twice = cleaned(once, [leaking(once, find_duplicates(once.faces, STRICT))])
    for data, folder in ((drawn, "old"), (twice, "new")):
        save_dataset(data, tmp_path / folder)
    assert "cleaned" not in json.loads((tmp_path / "old" / "cache.json").read_text())
    assert load_dataset(tmp_path / "old").cleaned == ()
    read = load_dataset(tmp_path / "new")
    assert read.cleaned == twice.cleaned
    assert [record["removed"] for record in read.cleaned] == [1, 2]
    assert read.cleaned[1]["from_sha256"] == once.sha256
    assert (read.source, read.sha256) == ("drawn, cleaned", twice.sha256)


def test_the_threshold_is_of_training_and_only_training_loses(tmp_path: Path, drawn: Dataset) -> None:
    run = RunFolder(a_run(tmp_path / "run", "autoencoder", finished=True))
    train, test = drawn.rows("train"), drawn.rows("test")
    errors = np.zeros(140)
    errors[train], errors[test] = np.arange(len(train)), 1e6
    made = outliers(drawn, errors, 98, run)
    assert len(train) == 112
    assert made.rows.tolist() == train[-3:].tolist()  # the 98th percentile of 0 to 111 is 108.78
    assert made.about["threshold_mse"] == pytest.approx(108.78)
    assert made.about["autoencoder"] == run.identity()
    assert made.about["autoencoder_data_sha256"] == "a" * 64
    assert len(outliers(drawn, errors, 50, run).rows) == 56


def test_a_held_out_image_is_never_removed(drawn: Dataset) -> None:
    with pytest.raises(ValueError, match="only images of Training"):
        cleaned(drawn, [Removal("blank", drawn.rows("test")[:1], {})])


def test_an_emotion_is_not_removed_whole(drawn: Dataset) -> None:
    train = drawn.rows("train")
    happy = train[drawn.labels[train] == EMOTIONS.index("happy")]
    with pytest.raises(DataError, match="split 'train' has no image of happy"):
        cleaned(drawn, [Removal("outliers", happy, {})])


def test_denoising_takes_noise_from_every_split_and_removes_nothing(drawn: Dataset) -> None:
    after = cleaned(drawn, [], denoise=5.0)
    assert len(after.faces) == 140
    for split in ("train", "test"):
        rows = drawn.rows(split)
        changed = (after.faces[rows] != drawn.faces[rows]).any(axis=(1, 2))
        assert changed.mean() > 0.9
    noisy = np.clip(100 + np.random.default_rng(0).normal(0, 4, (1, 48, 48)), 0, 255).astype(np.uint8)
    assert denoised(noisy, 5.0).std() < noisy.std() / 2


def refused(tmp_path: Path, cache: Path) -> dict[str, tuple[dict[str, Any], type[Exception], str]]:
    runs = tmp_path / "runs"
    unfinished, mlp = a_run(runs / "unfinished", "autoencoder"), a_run(runs / "mlp", "mlp")
    finished = a_run(runs / "finished", "autoencoder", finished=True)
    return {
        "nothing asked for": ({}, DataError, "nothing to clean; ask for --autoencoder RUN, --across-splits"),
        "unfinished": (
            {"autoencoder": unfinished},
            RunError,
            r"unfinished is not finished \(no model.keras\); run: fer-",
        ),
        "another model": (
            {"autoencoder": mlp},
            RunError,
            "mlp is a mlp, not an autoencoder; train one: fer-edge train",
        ),
        "no run": ({"autoencoder": tmp_path}, RunError, "is not a training run"),
        "percentile 100": ({"autoencoder": finished, "percentile": 100.0}, DataError, "above 0 and below 100, got 100"),
        "percentile 0": ({"autoencoder": finished, "percentile": 0.0}, DataError, "above 0 and below 100, got 0"),
        "damaged": ({"autoencoder": finished}, RunError, "cannot be read as a Keras model"),
        "a rule": ({"across_splits": True, "distance": 64}, DataError, "a distance of 0 to 63 bits, got 64"),
        "occupied": (
            {"blank": True, "out": cache},
            OutputError,
            "exists already; choose another --out or pass --force",
        ),
        "not ours": ({"blank": True, "out": runs, "force": True}, OutputError, "holds no cache.json, so --force does"),
    }


@pytest.mark.parametrize(
    "case",
    ["nothing asked for", "unfinished", "another model", "no run", "percentile 100", "percentile 0", "damaged",
     "a rule", "occupied", "not ours"],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a_sentence(tmp_path: Path, cache: Path, case: str) -> None:
    options, error, sentence = refused(tmp_path, cache)[case]
    with pytest.raises(error, match=sentence):
        clean(cache, **{"out": tmp_path / "new", **options})
    assert not (tmp_path / "new").exists()


def test_planted_outliers_are_found_by_a_trained_autoencoder_and_the_page_shows_them(cli, tmp_path: Path) -> None:
    data = synthetic_dataset(140, 1)
    faces, train = data.faces.copy(), data.rows("train")
    planted = train[[3, 50, 100]]
    faces[planted] = np.random.default_rng(0).integers(0, 2, (3, 48, 48)) * 255  # black and white dots
    save_dataset(build_dataset(faces, data.labels, data.splits, None, "planted"), tmp_path / "cache")
    trained = cli("train", "--data", "cache", "--model", "autoencoder", "--epochs", "1", "--out", "run")
    assert trained.returncode == 0, trained.stderr
    (following,) = (line for line in trained.stdout.splitlines() if line.startswith("next: "))
    assert following == "next: fer-edge data clean CACHE --out CLEANED --autoencoder run"

    words = following.removeprefix("next: fer-edge ").replace("CACHE", "cache").replace("CLEANED", "new").split()
    done = cli(*words, "--denoise", "--across-splits", "--likeness", "0.95")
    assert done.returncode == 0, done.stderr
    after = load_dataset(tmp_path / "new")
    with (tmp_path / "new" / "removed.csv").open() as file:
        removed = list(csv.DictReader(file))
    assert [int(row["row"]) for row in removed] == planted.tolist()  # a fiftieth of 112, rounded up
    scores: NDArray = np.array([float(row["score"]) for row in removed])
    step = next(step for step in after.cleaned[0]["steps"] if step["step"] == "outliers")
    assert step["autoencoder"] == RunFolder(tmp_path / "run").identity()
    assert (scores > step["threshold_mse"] - 1e-6).all()
    assert (len(after.rows("train")), len(after.rows("test"))) == (109, 28)
    page = (tmp_path / "new" / "clean.html").read_text()
    assert "3 of 112 images of Training removed" in page
    assert page.count("<section") == 5  # counts, across, outliers, denoised, how
    assert f"{len(after.faces)} faces of 140" in done.stdout
