"""`fer-edge evaluate`: figures worked out by hand, maps of networks whose reasons are known, and the whole command."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import joblib
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from fer_edge.cli.main import main
from fer_edge.devices.errors import DataError
from fer_edge.devices.files import write_json
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.train.classical import build_classical, flat
from fer_edge.train.dataset import Dataset, load_dataset, save_dataset
from fer_edge.train.degrade import brightened, compressed, occluded
from fer_edge.train.eval_explain import chosen_images
from fer_edge.train.eval_images import images_of
from fer_edge.train.eval_known import known_and_new
from fer_edge.train.eval_latency import BATCH, latency_ms
from fer_edge.train.eval_page import evaluation_page
from fer_edge.train.eval_robustness import CONDITIONS
from fer_edge.train.eval_subject import Subject, opened
from fer_edge.train.eval_training import phases
from fer_edge.train.eval_views import under_views
from fer_edge.train.evaluate import Plan, evaluate
from fer_edge.train.occlusion_map import occlusion_maps
from fer_edge.train.recipe import ClassicalRecipe, Recipe
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.synth import synthetic_dataset
from fer_edge.train.targets import class_names

CHROMIUM = Path("/usr/bin/chromium")
ANGRY, DISGUST, FEAR, HAPPY, NEUTRAL, SAD, SURPRISE = range(7)
TRUE = [ANGRY, ANGRY, ANGRY, ANGRY, DISGUST, FEAR, HAPPY, HAPPY, HAPPY, HAPPY]
NAMED = [ANGRY, ANGRY, ANGRY, HAPPY, ANGRY, FEAR, HAPPY, HAPPY, HAPPY, SAD]
SURE = [3.0, 3.0, 3.0, 1.0, 2.0, 3.0, 3.0, 3.0, 3.0, 4.0]
"""The greatest logit; the others are 0."""


def written(labels: list[int], named: list[int], sure: list[float]) -> NDArray[np.uint8]:
    """Faces that say in their first pixels what the model of `read` is to answer."""
    faces = np.full((len(labels), 48, 48), 100, np.uint8)
    faces[:, 0, 0], faces[:, 0, 1] = named, np.array(sure) * 10
    return faces


def read(faces: NDArray[np.uint8], classes: int = 7) -> NDArray[np.float32]:
    return np.eye(classes, dtype=np.float32)[faces[:, 0, 0] % classes] * (faces[:, 0, 1, None] / np.float32(10))


def subject(classes: int = 7, **changes: Any) -> Subject:
    made = Subject(
        kind="run", model="reader", name="by-hand", variant=None, precision=None, identity="0" * 16,
        classes=class_names(classes), logits=lambda faces: read(faces, classes),
        call=lambda faces: read(faces, classes), library="none", threads=None, size_bytes=1, parameters=None, macs=None,
    )  # fmt: skip
    return replace(made, **changes)


def dataset(faces: NDArray[np.uint8], labels: list[int], votes: NDArray[np.uint8] | None = None) -> Dataset:
    test = np.full(len(labels), 2, np.uint8)
    return Dataset(faces, np.array(labels, np.uint8), test, votes, "<by hand>", "0" * 64)


def quiet(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def by_hand() -> dict[str, Any]:
    data = dataset(written(TRUE, NAMED, SURE), TRUE)
    return evaluate(data, subject(), Plan(), quiet) | {"made_at": "now", "command": ["fer-edge", "evaluate"]}


def test_the_figures_of_ten_images(by_hand: dict[str, Any]) -> None:
    assert (by_hand["accuracy"], by_hand["correct"]) == (0.7, 7)
    assert by_hand["accuracy_interval"] == pytest.approx([0.3968, 0.8922], abs=1e-4)  # Wilson's formula, by hand
    angry, disgust, surprise = (by_hand["by_class"][name] for name in ("angry", "disgust", "surprise"))
    assert (angry["precision"], angry["recall"], angry["f1"], angry["support"]) == (0.75, 0.75, 0.75, 4)
    assert (disgust["precision"], disgust["recall"], disgust["f1"], disgust["support"]) == (None, 0.0, 0.0, 1)
    assert [surprise[key] for key in ("precision", "recall", "f1", "recall_interval")] == [None] * 4
    assert by_hand["by_class"]["sad"]["precision"] == 0.0  # named once, and wrongly
    # happy: 3 of 4 named, 3 of 4 found; means over the four classes that have images
    assert by_hand["macro"]["f1"] == pytest.approx((0.75 + 0 + 1 + 0.75) / 4)
    assert by_hand["macro"]["precision"] == pytest.approx((0.75 + 0 + 1 + 0.75) / 4)
    assert by_hand["weighted"]["f1"] == pytest.approx((4 * 0.75 + 0 + 1 + 4 * 0.75) / 10)
    assert by_hand["weighted"]["f1"] == pytest.approx(f1_score(TRUE, NAMED, average="weighted", zero_division=0))
    assert by_hand["worst_class"] == {"name": "disgust", "recall": 0.0}
    assert by_hand["confusion"][ANGRY] == [3, 0, 0, 1, 0, 0, 0]
    assert by_hand["confusion"][HAPPY] == [0, 0, 0, 3, 0, 1, 0]


def test_what_is_named_wrongly_comes_by_confidence(by_hand: dict[str, Any]) -> None:
    wrong = by_hand["misclassified"]
    assert [(i["row"], i["true"], i["predicted"]) for i in wrong] == [
        (9, "happy", "sad"),
        (4, "disgust", "angry"),
        (3, "angry", "happy"),
    ]
    assert wrong[0]["confidence"] == pytest.approx(np.exp(4) / (np.exp(4) + 6), abs=1e-6)
    assert wrong[0]["path"] == "faces.npy[9]"


def test_every_image_is_there_for_a_paired_test(by_hand: dict[str, Any]) -> None:
    each = by_hand["predictions"]
    assert (each["rows"], each["labels"], each["predicted"]) == (list(range(10)), TRUE, NAMED)
    assert sorted(i["row"] for i in by_hand["random_images"]) == list(range(10))
    assert evaluate(dataset(written(TRUE, NAMED, SURE), TRUE), subject(), Plan(seed=1), quiet)["predictions"] == each


def test_a_confidence_that_is_always_one_half_too_high() -> None:
    sure = float(np.log(6 * 0.9 / 0.1))  # softmax 0.9 among seven
    labels = [HAPPY] * 10
    named = [HAPPY] * 4 + [SAD] * 6
    made = evaluate(
        dataset(written(labels, named, [sure] * 10), labels),
        subject(logits=lambda faces: read(faces) / read(faces).max() * np.float32(sure)),
        Plan(robustness_images=0, views=False, latency=False, explanation=False),
        quiet,
    )
    assert made["confidence"]["ece"] == pytest.approx(0.5, abs=1e-6)
    assert made["robustness"] is made["latency_ms"] is made["explanation"] is made["training"] is None
    assert made["views"] is made["more_than_half"] is None


def test_eight_classes_are_judged_by_the_votes_and_ties_are_left_out() -> None:
    contempt, happy = (0, 0, 0, 0, 0, 0, 0, 8, 2, 0), (0, 9, 0, 0, 0, 0, 0, 0, 0, 1)
    tie, nobody = (5, 5, 0, 0, 0, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0, 0, 0, 0, 10)
    data = dataset(
        written([ANGRY] * 4, [7, ANGRY, 0, 0], [3.0] * 4),
        [ANGRY] * 4,
        np.array([contempt, happy, tie, nobody], np.uint8),
    )
    made = evaluate(data, subject(8), Plan(robustness_images=0, latency=False), quiet)
    assert (made["data"]["images"], made["data"]["left_out"]) == (2, 2)
    assert made["classes"][-1] == "contempt"
    assert (made["predictions"]["labels"], made["accuracy"]) == ([7, HAPPY], 0.5)
    assert made["more_than_half"] == {"images": 2, "accuracy": 0.5, "accuracy_interval": made["accuracy_interval"]}
    with pytest.raises(DataError, match="no FER\\+ votes"):
        images_of(dataset(data.faces, [ANGRY] * 4), "test", 8)
    with pytest.raises(DataError, match="held-out"):
        images_of(data, "train", 7)


def test_published_figures_of_the_votes_are_of_images_with_more_than_half() -> None:
    """Five of ten is no more than half, also where the rest is unknown; slips of one vote do not count against it."""
    votes = {
        "clear": (0, 9, 0, 0, 0, 0, 0, 0, 0, 1), "slips": (1, 5, 1, 1, 1, 1, 0, 0, 0, 0),
        "first": (4, 5, 0, 0, 0, 0, 0, 0, 0, 1), "half": (3, 5, 2, 0, 0, 0, 0, 0, 0, 0),
        "unknown": (0, 5, 0, 0, 0, 0, 0, 0, 4, 1), "unclear": (0, 5, 0, 0, 0, 0, 0, 0, 3, 2),
    }  # fmt: skip
    data = dataset(
        written([ANGRY] * 6, [HAPPY, HAPPY, ANGRY, HAPPY, HAPPY, HAPPY], [3.0] * 6),
        [ANGRY] * 6,
        np.array(list(votes.values()), np.uint8),
    )
    made = evaluate(data, subject(8), Plan(robustness_images=0, latency=False, explanation=False), quiet)
    assert made["correct"] == 5
    half = made["more_than_half"]
    assert (half["images"], half["accuracy"]) == (4, 0.75), "of half and unclear nobody has more than half"
    page = evaluation_page(made | {"made_at": "now", "command": ["fer-edge", "evaluate"]}, None)
    assert "more than half of the votes: 75.00%" in page


def test_the_conditions_change_what_they_say() -> None:
    faces = synthetic_dataset(21, 0).faces
    covered = occluded(faces, 0.5, np.random.default_rng(0))
    plain = np.zeros((30, 48, 48), np.uint8)
    squares = occluded(plain, 0.25, np.random.default_rng(0)) == 128
    assert (squares.sum(axis=(1, 2)) == 144).all()  # twelve pixels a side, whole, wherever it lies
    assert len({square.tobytes() for square in squares}) > 20
    assert (plain == 0).all()
    assert (covered != faces).any()
    assert brightened(np.array([[[100, 200]]], np.uint8), 1.5).tolist() == [[[150, 255]]]
    loss = [np.abs(compressed(faces, q).astype(int) - faces).mean() for q in (100, 50, 10)]
    assert loss[0] < loss[1] < loss[2]
    for at, condition in enumerate(CONDITIONS):
        first, again = (condition.apply(faces, np.random.default_rng(at)) for _ in range(2))
        assert first.dtype == np.uint8
        assert first.shape == faces.shape
        assert (first == again).all()
        assert (first != faces).any()


def test_robustness_asks_the_model_of_the_bad_faces(by_hand: dict[str, Any]) -> None:
    # The reader sees but two pixels: twice the light doubles the number that they say.
    twice = next(row for row in by_hand["robustness"] if (row["condition"], row["level"]) == ("bright", 2.0))
    assert twice["accuracy"] == np.mean(
        [min(2 * named, 255) % 7 == true for named, true in zip(NAMED, TRUE, strict=True)]
    )
    assert [row["condition"] for row in by_hand["robustness"]] == [condition.kind for condition in CONDITIONS]
    few = evaluate(
        dataset(written(TRUE, NAMED, SURE), TRUE), subject(), Plan(robustness_images=4, latency=False), quiet
    )
    assert {row["images"] for row in few["robustness"]} == {4}


def test_images_that_training_knows_are_counted_apart() -> None:
    drawn = synthetic_dataset(70, 3)
    train, test = drawn.rows("train"), drawn.rows("test")
    faces = np.array(drawn.faces)
    faces[test[0]] = faces[train[0]]  # an exact copy
    faces[test[1]] = np.clip(faces[train[1]].astype(int) + 4, 0, 255)  # a near one
    data = replace(drawn, faces=faces)
    right = np.ones(len(test), bool)
    right[[0, 2]] = False
    found = known_and_new(data, test, right)
    assert found is not None
    assert (found["known"]["images"], found["known"]["accuracy"]) == (2, 0.5)
    assert found["new"]["images"] == len(test) - 2
    assert found["new"]["accuracy"] == pytest.approx(1 - 1 / (len(test) - 2))
    none = known_and_new(drawn, test, right)
    assert none is not None
    assert none["known"] == {"images": 0, "accuracy": None, "accuracy_interval": None}
    assert known_and_new(replace(data, splits=np.full(len(faces), 2, np.uint8)), test, right) is None


def test_the_page_sets_known_and_new_images_side_by_side(by_hand: dict[str, Any]) -> None:
    assert by_hand["duplicates"] is None, "no Training there"
    assert "Known from Training" not in evaluation_page(by_hand, None)
    known = {"images": 4, "accuracy": 0.75, "accuracy_interval": [0.3, 0.95]}
    none = {"images": 0, "accuracy": None, "accuracy_interval": None}
    page = evaluation_page(by_hand | {"duplicates": {"known": known, "new": none}}, None)
    assert "known: Training has a duplicate" in page
    assert "75.00%" in page
    assert "new: it has none" not in page
    assert "Known from Training" not in evaluation_page(by_hand | {"duplicates": {"known": none, "new": known}}, None)


def test_views_are_mirrored_and_cropped_as_they_say() -> None:
    # The left half's gray says happy, the right half's sad, by as many logits and one more.
    faces = np.zeros((3, 48, 48), np.uint8)
    faces[0, :, :24], faces[0, :, 24:] = 4, 1
    faces[1] = 20
    faces[2, :, :24], faces[2, :, 24:] = 9, 3
    asked: list[NDArray[np.uint8]] = []

    def halves(views: NDArray[np.uint8]) -> NDArray[np.float32]:
        asked.append(views)
        logits = np.zeros((len(views), 7), np.float32)
        logits[:, HAPPY], logits[:, SAD] = views[:, :, :24].mean((1, 2)), views[:, :, 24:].mean((1, 2)) + 1
        return logits

    once = halves(faces)
    assert once.argmax(1).tolist() == [HAPPY, SAD, HAPPY]
    asked.clear()
    rows = under_views(faces, np.array([SAD, SAD, HAPPY]), once, halves, quiet)
    assert [(row["what"], row["passes"]) for row in rows] == [("the face and its mirror image", 2), ("ten crops", 10)]
    assert len(asked) == 11
    assert all(view.shape == faces.shape for view in asked)
    assert (asked[0] == faces[:, :, ::-1]).all()
    middle = cv2.resize(faces[2, 2:46, 2:46], (48, 48), interpolation=cv2.INTER_LINEAR)
    assert (asked[5][2] == middle).all()
    assert [row["accuracy"] for row in rows] == [pytest.approx(2 / 3)] * 2  # mirrored, the third says sad by more


def test_views_name_by_the_mean_probability_not_the_mean_logit() -> None:
    once, other = np.zeros((1, 7), np.float32), np.zeros((1, 7), np.float32)
    once[0, [HAPPY, FEAR]], other[0, SAD] = (10, 9.5), 8  # 62% happy, then 99.8% sad; mean logits 5 and 4
    rows = under_views(np.zeros((1, 48, 48), np.uint8), np.array([SAD]), once, lambda _: other, quiet)
    assert rows[0]["accuracy"] == 1


def test_latency_asks_of_one_face_and_of_256_after_warming_up() -> None:
    asked: list[int] = []

    def call(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        asked.append(len(faces))
        return read(faces)

    took = latency_ms(call, written([0] * 3, [0] * 3, [1.0] * 3), seconds=0)
    assert asked == [1] * (5 + took["batch1"]["runs"]) + [BATCH] * (1 + took["batch256"]["runs"])
    assert (took["batch1"]["runs"], took["batch256"]["runs"]) == (11, 3)
    assert took["batch1"]["p90"] is None  # eleven runs do not tell
    assert took["batch256_per_sample"] == took["batch256"]["median"] / 256
    assert latency_ms(call, written([0], [0], [1.0]), seconds=60)["batch1"]["p90"] > 0


def test_phases_of_the_learning_rate() -> None:
    rates = [0.001, 0.001, 0.0005, 0.00025, 0.00025]
    history = [{"epoch": at + 1, "learning_rate": rate} for at, rate in enumerate(rates)]
    assert phases(history) == [
        {"learning_rate": 0.001, "first": 1, "last": 2},
        {"learning_rate": 0.0005, "first": 3, "last": 3},
        {"learning_rate": 0.00025, "first": 4, "last": 5},
    ]
    assert phases([{"epoch": 1, "seconds": 3.0}]) == []


def test_the_surest_of_each_class_are_explained() -> None:
    labels, named = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 1])
    assert chosen_images(labels, named, np.array([0.5, 0.9, 0.4, 0.6, 0.3])).tolist() == [1, 2, 3]


def corners() -> NDArray[np.uint8]:
    """A gray face with a white corner at the top left and a black one at the bottom right."""
    face = np.full((1, 48, 48), 128, np.uint8)
    face[0, :12, :12], face[0, 36:, 36:] = 255, 0
    return face


def corner_network(nested: bool) -> Any:
    """Angry is how much white there is, disgust how much black; nothing else is seen."""
    from fer_edge.train.quietly import keras_quietly

    keras_quietly(1)
    import keras
    from keras import layers

    pixels = keras.Input((48, 48, 1))
    x = layers.Conv2D(2, 1, name="white_black")(layers.Rescaling(1 / 255)(pixels))
    body = keras.Model(pixels, layers.ReLU(name="map")(x), name="body")
    body.get_layer("white_black").set_weights([np.array([[[[1.0, -1.0]]]]), np.array([-0.8, 0.2])])
    x = layers.Conv2D(2, 1, activation="sigmoid", name="squeeze")
    whole = keras.Input((48, 48, 1))
    features = body(whole) if nested else body.output
    head = layers.GlobalAveragePooling2D(keepdims=True)(features)
    answer = layers.Flatten()(layers.Conv2D(7, 1, use_bias=False, name="classes")(head))
    model = keras.Model(whole if nested else pixels, answer)
    weights = np.zeros((1, 1, 2, 7))
    weights[0, 0, 0, ANGRY] = weights[0, 0, 1, DISGUST] = 60
    model.get_layer("classes").set_weights([weights])
    return model


@pytest.mark.parametrize("nested", [False, True])
def test_grad_cam_lights_the_corner_that_the_answer_hangs_on(nested: bool) -> None:
    network = corner_network(nested)
    from fer_edge.train.grad_cam import feature_layer, grad_cam

    layer = feature_layer(network)
    assert layer is not None
    assert layer.name == "map"  # not the convolution on a single place behind it, nor the pooling
    before = network.predict(corners()[..., None], verbose=0)
    for label, row in ((ANGRY, slice(0, 12)), (DISGUST, slice(36, 48))):
        (heat,) = grad_cam(network, layer, corners(), np.array([label]))
        lit = np.zeros((48, 48), bool)
        lit[row, row] = True
        assert heat[lit].min() == 1
        assert heat[~lit].max() == 0
    assert grad_cam(network, layer, corners(), np.array([SAD])).max() == 0  # nothing speaks for it
    assert (network.predict(corners()[..., None], verbose=0) == before).all()


def test_occlusion_finds_the_same_corners_in_any_model() -> None:
    def white_or_black(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        found = np.zeros((len(faces), 7), np.float32)
        found[:, ANGRY], found[:, DISGUST] = (faces > 250).mean((1, 2)) * 30, (faces < 5).mean((1, 2)) * 30
        return found

    for label, at in ((ANGRY, slice(0, 3)), (DISGUST, slice(9, 12))):
        (lost,) = occlusion_maps(white_or_black, corners(), np.array([label]))
        assert lost.shape == (12, 12)
        assert lost[at, at].min() > 0
        own = np.zeros((12, 12), bool)
        own[at, at] = True
        assert np.unravel_index(lost.argmax(), lost.shape) in np.argwhere(own).tolist() or lost[own].max() == lost.max()
        assert (lost[4:8, 4:8] == 0).all()  # covering the gray middle with gray takes nothing


def test_the_page_escapes_says_what_was_not_measured_and_shows_no_face_unasked(by_hand: dict[str, Any]) -> None:
    page = evaluation_page(by_hand, None)
    assert "70.00% of the images are named rightly" in page
    assert "&lt;by hand&gt;" in page
    assert "<by hand>" not in page
    assert "data:image/png" not in page
    assert "never named" in page
    assert "not measured" in page  # parameters
    assert "this model is not shown to do better" in page  # 40% are happy, and ten images say little
    faces = written(TRUE, NAMED, SURE)
    shown = evaluation_page(by_hand, faces)
    looks = len(by_hand["explanation"]["images"])
    assert shown.count("data:image/png") == looks + 3 + 10


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "cache"
    save_dataset(synthetic_dataset(350, 0), folder)
    return folder


@pytest.fixture(scope="module")
def forest(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classical_run(ClassicalRecipe("random-forest", trees=20), drawn, tmp_path_factory.mktemp("runs") / "forest")


def classical_run(recipe: ClassicalRecipe, cache: Path, folder: Path) -> Path:
    """A finished run as `fer-edge train` leaves it, without the seconds that Keras takes."""
    data, run = load_dataset(cache), RunFolder(folder)
    about = {"data_sha256": data.sha256, "data_source": data.source, "data_path": str(cache)}
    run.create(recipe, about, {})
    rows = data.rows("train")
    joblib.dump(build_classical(recipe).fit(flat(data.faces[rows]), data.labels[rows]), run.model)
    run.record([{"epoch": 1, "seconds": 1.0, "val_loss": 1.0, "val_accuracy": 0.5}], set())
    return folder


WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {"tensorflow", "keras"} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
from fer_edge.cli.main import main
main()
"""


def without_tensorflow(*args: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`fer-edge ARGS` where neither TensorFlow nor Keras can be imported."""
    command = [sys.executable, "-c", WITHOUT, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd, check=False)


SHORT = ("--robustness-images", "20", "--no-latency")


def test_a_forest_is_evaluated_without_tensorflow(forest: Path, tmp_path: Path) -> None:
    done = without_tensorflow("evaluate", forest, "--out", "e", *SHORT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = json.loads((tmp_path / "e/evaluation.json").read_text())
    data = load_dataset(Path(RunFolder(forest).about()["data_path"]))
    model, rows = joblib.load(forest / "model.joblib"), data.rows("test")
    assert made["accuracy"] == model.score(flat(data.faces[rows]), data.labels[rows])
    assert f"{made['accuracy']:.2%}" in done.stdout
    assert (made["what"]["kind"], made["what"]["model"]) == ("run", "random-forest")
    assert made["what"]["identity"] == RunFolder(forest).identity()
    assert made["parameters"] is made["macs"] is None
    assert made["size_bytes"] == (forest / "model.joblib").stat().st_size
    assert made["data"]["same_as_training"] is True
    assert made["training"]["epochs_run"] == 1
    assert made["explanation"]["method"] == "occlusion"
    importance = np.array(made["explanation"]["importance"])
    assert importance.shape == (48, 48)
    assert importance.sum() == pytest.approx(1, abs=1e-5)
    assert np.allclose(importance.ravel(), model[-1].feature_importances_, atol=1e-8)
    assert "Importance of each pixel" in (tmp_path / "e/evaluation.html").read_text()


def test_a_regression_is_counted_by_its_components(drawn: Path, tmp_path: Path) -> None:
    run = classical_run(ClassicalRecipe("logreg", components=10), drawn, tmp_path / "logreg")
    with opened(run) as model:
        assert model.parameters == 2 * 2304 + 2304 + 10 * 2304 + 10 * 7 + 7
        assert model.macs == 10 * 2304 + 10 * 7
        scaler, pca, regression = model.sklearn_model
        learned = (scaler.mean_, scaler.scale_, pca.mean_, pca.components_, regression.coef_, regression.intercept_)
        assert model.parameters == sum(array.size for array in learned)


@pytest.fixture(scope="module")
def of_network(chain: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evaluation of the chain's run, made once, by the data path that the run remembers."""
    home = tmp_path_factory.mktemp("network")
    command = [sys.executable, "-m", "fer_edge", "evaluate", str(chain.run), "--out", "e", "--robustness-images", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=home, check=False)
    assert done.returncode == 0, done.stderr
    assert "written: e/evaluation.html" in done.stdout
    return home / "e"


def test_a_network_is_explained_by_grad_cam_and_told_with_its_training(chain: Any, of_network: Path) -> None:
    made = json.loads((of_network / "evaluation.json").read_text())
    assert set(made) >= {
        *("schema", "what", "data", "classes", "accuracy", "accuracy_interval", "correct", "macro", "weighted"),
        *("by_class", "worst_class", "confusion", "confidence", "robustness", "predictions", "parameters", "macs"),
        *("views", "duplicates", "size_bytes", "latency_ms", "training", "machine", "versions", "made_at", "command"),
    }
    assert (made["schema"], made["parameters"], made["macs"]) == (1, 981_159, 33_105_664)
    assert made["explanation"]["method"] == "grad-cam"
    assert np.array([image["map"] for image in made["explanation"]["images"]]).shape[1:] == (6, 6)
    assert made["accuracy"] == made["correct"] / made["data"]["images"] > 0.5
    assert made["training"]["epochs_run"] == 6
    assert made["training"]["history"] == RunFolder(chain.run).history()
    assert made["latency_ms"]["batch1"]["median"] > made["latency_ms"]["batch256_per_sample"] > 0
    assert "/" not in made["what"]["name"]


def test_an_int8_variant_is_evaluated_without_tensorflow_as_convert_judged_it(chain: Any, tmp_path: Path) -> None:
    args = ("evaluate", chain.bundle, "--variant", "tflite/int8", "--data", chain.data, "--no-images", *SHORT)
    done = without_tensorflow(*args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (home,) = (tmp_path / "evaluation").iterdir()  # never into the bundle
    made = json.loads((home / "evaluation.json").read_text())
    bundle = Bundle.open(chain.bundle)
    variant = next(v for v in bundle.variants if v.name == "tflite/int8")
    assert made["accuracy"] == pytest.approx(variant.accuracy)
    assert made["what"]["variant"] == "tflite/int8"
    assert made["what"]["identity"] == variant.files[0].sha256[:16]
    assert (made["macs"], made["parameters"], made["training"]) == (33_105_664, None, None)
    assert made["explanation"]["method"] == "occlusion"
    assert "data:image/png" not in (home / "evaluation.html").read_text()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_shows_the_figures_of_the_json_and_fits_its_window(
    chromium: Any, of_network: Path, width: int, scheme: str
) -> None:
    made = json.loads((of_network / "evaluation.json").read_text())
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab, trouble = context.new_page(), []
    tab.on("console", lambda message: trouble.append(message.text))
    tab.goto((of_network / "evaluation.html").as_uri())
    says = tab.inner_text(".verdict .say")
    assert re.findall(r"[\d.]+%", says) == [
        f"{made['accuracy']:.2%}",
        "95%",
        *(f"{end:.2%}" for end in made["accuracy_interval"]),
    ]
    happy = tab.locator("tr", has=tab.locator("th", has_text=re.compile("^happy$"))).first.inner_text()
    assert f"{made['by_class']['happy']['recall']:.1%}" in happy
    assert tab.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert tab.locator("section[aria-labelledby=looks] img").count() == len(made["explanation"]["images"])
    assert tab.locator("section[aria-labelledby=random] img").count() == 50
    assert tab.locator("section[aria-labelledby=training] svg").count() == 1
    assert all(tab.evaluate("[...document.images].map(image => image.naturalWidth > 0)"))
    context.close()
    assert trouble == []


def test_what_cannot_be_evaluated_is_said_in_a_sentence(
    forest: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unfinished, elsewhere, outliers = (tmp_path / name for name in ("unfinished", "elsewhere", "outliers"))
    for folder in (unfinished, elsewhere):
        shutil.copytree(forest, folder)
    (unfinished / "model.joblib").unlink()
    about = RunFolder(forest).about()
    write_json(elsewhere / "recipe.json", about | {"data_path": "/nowhere/cache"})
    RunFolder(outliers).create(Recipe("autoencoder"), {"data_sha256": "0", "data_source": "x"}, {})
    (outliers / "model.keras").write_bytes(b"")
    on_drawn = ("--data", drawn)
    wrong: list[tuple[tuple[str | Path, ...], str]] = [
        (("nothing",), "nothing is not a training run (no recipe.json)"),
        (("nothing", *on_drawn), "nothing is not a training run (no recipe.json)"),
        ((unfinished,), "is not finished (no model.joblib)"),
        ((elsewhere,), "was trained on /nowhere/cache, which is not there; give --data CACHE"),
        ((outliers,), "does not say where its data is; give --data CACHE"),
        ((outliers, *on_drawn), "is an autoencoder, which names no emotions"),
        ((forest, "--variant", "tflite/int8"), "is a training run, which has no variants"),
        ((forest, "--split", "train"), "held-out images"),
        (on_drawn, f"bundle '{Bundle.open().name}' needs --variant, one of tflite/float32, tflite/int8"),
        (
            (*on_drawn, "--variant", "tflite/int4"),
            f"bundle '{Bundle.open().name}' has no variant 'tflite/int4'; it has tflite/float32",
        ),
        (("--variant", "tflite/int8"), "data/fer2013 is not a data cache"),
    ]
    monkeypatch.chdir(tmp_path)
    for args, sentence in wrong:
        monkeypatch.setattr(sys, "argv", ["fer-edge", "evaluate", *map(str, args)])
        with pytest.raises(SystemExit) as left:
            main()
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fer-edge: ")]
        assert left.value.code == 1, args
        assert len(said) == 1, args
        assert sentence in said[0], args
    assert not (tmp_path / "evaluation").exists()
