"""`data explore`: what a cache holds, and the balanced class weights, FER-2013's written out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_edge.devices.errors import DataError, OutputError
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.balance import class_weights
from fer_edge.train.dataset import Dataset, save_dataset
from fer_edge.train.explore import explore, mean_faces, sample, weights
from fer_edge.train.explore_page import explore_page
from fer_edge.train.synth import synthetic_dataset

TRAINING = (3995, 436, 4097, 7215, 4965, 4830, 3171)
"""FER-2013's Training by emotion, in our order."""
WEIGHTS = (1.0266, 9.4016, 1.0010, 0.5685, 0.8261, 0.8492, 1.2933)
"""Of the 22,968 images that a stratified fifth leaves."""


def of_labels(labels: np.ndarray) -> Dataset:
    """Training with these labels and no pixels worth the memory."""
    n = len(labels)
    faces = np.broadcast_to(np.zeros((1, 48, 48), np.uint8), (n, 48, 48))
    return Dataset(faces, labels.astype(np.uint8), np.zeros(n, np.uint8), None, "counts", "0" * 64)


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    return synthetic_dataset(350, 0)


def with_faces(data: Dataset, faces: dict[int, Any]) -> Dataset:
    changed = data.faces.copy()
    for row, face in faces.items():
        changed[row] = face
    return Dataset(changed, data.labels, data.splits, None, data.source, data.sha256)


def test_the_weights_of_fer_2013_from_its_counts() -> None:
    made = weights(of_labels(np.repeat(np.arange(7), TRAINING)), 0.2, 0)
    assert tuple(made["fit"]["weights"].values()) == WEIGHTS
    assert tuple(made["fit"]["weights"]) == EMOTIONS
    assert made["fit"]["images"] == 22968
    assert tuple(made["fit"]["counts"].values()) == (3196, 349, 3278, 5772, 3972, 3864, 2537)
    assert tuple(made["train"]["counts"].values()) == TRAINING


def test_the_weights_of_fer_2013_from_its_file(shared: Path) -> None:
    from fer_edge.train.importer import import_data

    data = import_data(shared / "data" / "fer2013" / "fer2013.csv.gz", None)
    assert tuple(weights(data, 0.2, 0)["fit"]["weights"].values()) == WEIGHTS


def test_weights_are_those_of_the_batches() -> None:
    from fer_edge.train import batches

    assert batches.class_weights is class_weights
    np.testing.assert_allclose(class_weights(np.array([1, 1, 2])), [4 / 3, 4 / 3, 2 / 3])
    np.testing.assert_allclose(class_weights(np.array([0, 2])), [0, 0.5])


def test_counts_grays_and_missing_of_planted_images(drawn: Dataset) -> None:
    train, test = drawn.rows("train"), drawn.rows("test")
    data = with_faces(drawn, {train[0]: 0, train[1]: 77, test[0]: 0})
    made = explore(data, 0.2, 0)
    assert made["counts"] == data.counts()
    missing = made["missing"]
    assert missing["constant_rows"] == sorted([train[0], train[1], test[0]])
    assert (missing["constant_images"], missing["black_images"]) == (3, 2)
    assert missing["constant_by_split"] == {"train": 2, "test": 1}
    assert missing["absent_emotions"] == {"train": [], "test": []}
    whole = made["grays"]["by_split"]["train"]
    pixels = data.faces[train]
    assert whole["mean"] == pytest.approx(pixels.mean(), abs=0.006)
    assert whole["deviation"] == pytest.approx(pixels.std(), abs=0.006)
    assert len(whole["histogram"]) == 64
    assert sum(whole["histogram"]) == pytest.approx(1, abs=1e-4)
    assert whole["histogram"][19] == pytest.approx(((pixels // 4) == 19).mean(), abs=1e-6)


def test_an_untouched_cache_misses_nothing(drawn: Dataset) -> None:
    missing = explore(drawn, 0.2, 0)["missing"]
    assert (missing["constant_images"], missing["black_images"], missing["constant_rows"]) == (0, 0, [])


def test_an_emotion_without_images_is_named_weighs_nothing_and_has_no_grays(drawn: Dataset) -> None:
    labels = np.where(drawn.labels == 1, 0, drawn.labels).astype(np.uint8)
    few = Dataset(drawn.faces, labels, drawn.splits, None, "six", "0" * 64)
    made = explore(few, 0.2, 0)
    assert made["missing"]["absent_emotions"] == {"train": ["disgust"], "test": ["disgust"]}
    assert made["class_weights"]["fit"]["weights"]["disgust"] == 0
    assert made["grays"]["by_emotion_in_train"]["disgust"]["mean"] is None
    stamp = {"seed": 0, "command": ["fer-edge"], "made_at": "now", "seconds": 1.0, "machine": {"cpu": "a"}}
    assert "train has no disgust; test has no disgust" in explore_page(made | stamp, few)


def test_mean_faces_and_samples_are_of_their_emotion(drawn: Dataset) -> None:
    means = mean_faces(drawn)
    own = drawn.rows("train")[drawn.labels[drawn.rows("train")] == EMOTIONS.index("happy")]
    np.testing.assert_array_equal(means["happy"], np.rint(drawn.faces[own].mean(axis=0)).astype(np.uint8))
    rows = sample(drawn, "happy", 3)
    assert len(rows) == 25
    assert set(rows) <= set(own)
    assert rows.tolist() == sample(drawn, "happy", 3).tolist() != sample(drawn, "happy", 4).tolist()


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_a_validation_part_that_is_none_is_refused(drawn: Dataset, fraction: float) -> None:
    with pytest.raises(DataError, match="between 0 and 1, got"):
        weights(drawn, fraction, 0)


def test_the_command_writes_the_page_and_the_numbers(cli, tmp_path: Path, drawn: Dataset) -> None:
    save_dataset(drawn, tmp_path / "cache")
    done = cli("data", "explore", "cache", "--val-fraction", "0.25")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "cache-explore"
    made = json.loads((folder / "explore.json").read_text())
    assert made["schema"] == 1
    assert made["command"] == ["fer-edge", "data", "explore", "cache", "--val-fraction", "0.25"]
    assert made["class_weights"] == weights(drawn, 0.25, 0)
    page = (folder / "explore.html").read_text()
    assert page == explore_page(made, drawn)
    assert page.count("data:image/png") == 14  # seven mean faces, seven grids
    assert "1.0000" in done.stdout
    assert str(tmp_path) not in page

    again = cli("data", "explore", "cache")
    assert again.returncode == 1
    assert "cache-explore exists already" in again.stderr
    assert cli("data", "explore", "cache", "--force").returncode == 0


def test_another_folder_is_not_replaced(tmp_path: Path, drawn: Dataset) -> None:
    from fer_edge.cli.data_reports import explore as command

    save_dataset(drawn, tmp_path / "cache")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match=r"holds no explore\.json"):
        command(tmp_path / "cache", tmp_path / "mine", force=True)
