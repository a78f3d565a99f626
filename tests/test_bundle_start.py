"""A training that begins with a bundle's weights: what ships learns other faces, without the run that it came from."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fer_edge.devices.errors import BundleError, RunError
from fer_edge.edge_runtime.bundle import BUNDLED, Bundle, bundle_path
from fer_edge.train.dataset import Dataset
from fer_edge.train.models import build_model, load_network
from fer_edge.train.recipe import Recipe
from fer_edge.train.recipes import recipe_for
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.synth import synthetic_dataset

ONE = {"epochs": 1, "small_epochs": 0, "warmup_epochs": 0, "fall_epochs": 1, "batch_size": 32, "start": "tiny"}


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    return synthetic_dataset(140, 1)


def network(model: str = "tiny", **values: object) -> Recipe:
    made = recipe_for(model, **ONE | values)
    assert isinstance(made, Recipe)
    return made


def altered(folder: Path, **values: object) -> str:
    """A copy of the small bundle that ships, with other words in its manifest; None leaves one out."""
    shutil.copytree(bundle_path("tiny"), folder)
    manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8")) | values
    kept = {name: value for name, value in manifest.items() if value is not None}
    (folder / "bundle.json").write_text(json.dumps(kept), encoding="utf-8")
    return str(folder)


@pytest.mark.parametrize("name", ["flagship", "tiny"])
def test_the_network_says_what_the_bundle_says(name: str, drawn: Dataset) -> None:
    """Of faces that batch norm's statistics were not taken from; they cancel out."""
    from fer_edge.train.bundle_start import begin_with_bundle

    model, bundle = build_model(name), Bundle.open(name)
    begin_with_bundle(model, bundle, np.asarray(drawn.faces[:64])[..., None])
    golden = bundle.golden()
    said = np.asarray(model.predict(golden.faces[..., None], verbose=0))
    assert said == pytest.approx(golden.logits["tflite/float32"], abs=1e-3)
    assert said.std(0).min() > 0.1


def test_on_a_batch_it_says_nearly_the_same(drawn: Dataset) -> None:
    """Batch norm's own mean and variance of the batch are about those that it was given."""
    from fer_edge.train.bundle_start import begin_with_bundle

    model, faces = build_model("tiny"), np.asarray(drawn.faces[:256])[..., None]
    begin_with_bundle(model, Bundle.open("tiny"), faces)
    still, moving = (np.asarray(model(faces, training=training)) for training in (False, True))
    assert (still.argmax(1) == moving.argmax(1)).mean() > 0.8


def test_it_trains_on_from_there(drawn: Dataset, tmp_path: Path) -> None:
    from fer_edge.train.fit import train

    train(drawn, network(learning_rate=1e-9, weight_decay=0.0), tmp_path / "run")
    golden = Bundle.open("tiny").golden()
    said = load_network(RunFolder(tmp_path / "run").finished_model()).predict(golden.faces[..., None], verbose=0)
    assert (said.argmax(1) == golden.logits["tflite/float32"].argmax(1)).mean() > 0.8


def test_with_eight_classes_the_logits_begin_anew(drawn: Dataset) -> None:
    from fer_edge.train.objective import compiled

    faces = np.asarray(drawn.faces[:64])[..., None]
    seven = compiled(network(), lambda: faces).get_weights()
    eight = compiled(network(labels="votes-8"), lambda: faces).get_weights()
    for one, other in zip(seven[:-2], eight[:-2], strict=True):
        assert np.array_equal(one, other)
    assert eight[-1].shape == (8,)


def test_a_bundle_that_cannot_be_begun_with_is_refused(drawn: Dataset, tmp_path: Path) -> None:
    from fer_edge.train.fit import train

    of_this_data = {"data_sha256": drawn.sha256, "recipe": {"model": "tiny", "validation": "clean"}}
    float_lost = [v for v in Bundle.open("tiny").manifest["variants"] if v["precision"] != "float32"]
    for at, (recipe, sentence) in enumerate((
        (network("flagship"), "is a tiny, not a flagship"),
        (network(start=altered(tmp_path / "a", trained=None)), "does not say what it was trained on"),
        (network(start=altered(tmp_path / "b", trained=of_this_data), val_fraction=0.2), "keeps other faces"),
        (network(start=altered(tmp_path / "c", trained={"recipe": {}})), "`trained` cannot be read"),
        (network(start=altered(tmp_path / "d", variants=float_lost)), "has no tflite/float32"),
        (network(start=altered(tmp_path / "e", schema=99)), "has schema 99"),
        (network(weights="some.h5"), "leave out --weights"),
    )):  # fmt: skip
        with pytest.raises((RunError, BundleError), match=sentence):
            train(drawn, recipe, tmp_path / f"run{at}")
        assert not (tmp_path / f"run{at}" / "recipe.json").exists()


def test_another_network_of_that_name_is_found_out(drawn: Dataset, tmp_path: Path) -> None:
    """Shapes or golden faces tell; `trained` is a word in a file."""
    from fer_edge.train.bundle_start import begin_with_bundle

    faces = np.asarray(drawn.faces[:64])[..., None]
    with pytest.raises(RunError, match="of other shapes than a tiny"):
        begin_with_bundle(build_model("tiny"), Bundle.open(BUNDLED), faces)
    with pytest.raises(RunError, match="says something else of the golden faces"):
        begin_with_bundle(build_model("tiny", standardize=True), Bundle.open("tiny"), faces)
    for name in ("resnet", "mini-xception"):
        with pytest.raises(RunError, match="cannot begin with a bundle"):
            begin_with_bundle(build_model(name), Bundle.open("tiny"), faces)


def test_from_the_command_line(cli, chain, tmp_path: Path) -> None:
    done = cli(
        "train", "--data", chain.data, "--model", "tiny", "--start", "tiny", "--epochs", "1",
        "--set", "train_fraction=0.05", "--set", "small_epochs=0", "--out", "run", "--threads", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["recipe"]["start"] == "tiny"
    done = cli("train", "--data", chain.data, "--model", "tiny", "--start", "nowhere", "--out", "other")
    assert done.returncode != 0
    assert "nowhere is not a training run" in done.stderr
