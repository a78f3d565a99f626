"""A training that begins with a bundle's weights: what ships learns other faces, without the run that it came from."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_edge.devices.errors import BundleError, RunError
from fer_edge.edge_runtime.bundle import Bundle, bundle_path
from fer_edge.train.dataset import Dataset, build_dataset
from fer_edge.train.feed import predicted
from fer_edge.train.models import load_network
from fer_edge.train.recipe import Recipe
from fer_edge.train.recipes import recipe_for
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.synth import synthetic_dataset
from fer_edge.train.trained_on import trained_on

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


def restored(drawn: Dataset, recipe: Recipe, start: str) -> Any:
    """The recipe's network with the weights of a bundle."""
    from fer_edge.train.bundle_start import begin_with_bundle
    from fer_edge.train.models import of_recipe

    model = of_recipe(recipe, pretrained=False, side=None if recipe.small_epochs else 48)
    begin_with_bundle(model, recipe, Bundle.open(start), np.asarray(drawn.faces[:64])[..., None])
    return model


@pytest.mark.parametrize("name", ["flagship", "tiny"])
def test_the_network_says_what_the_bundle_says(name: str, drawn: Dataset) -> None:
    """Of faces that batch norm's statistics were not taken from; they cancel out."""
    model, golden = restored(drawn, network(name), name), Bundle.open(name).golden()
    said = predicted(model, golden.faces[..., None])
    assert said == pytest.approx(golden.logits["tflite/float32"], abs=1e-3)
    assert said.std(0).min() > 0.1


def test_also_where_it_trains_in_bfloat16_or_on_small_faces(drawn: Dataset) -> None:
    import keras

    from fer_edge.train.models import computing_in

    golden = Bundle.open("tiny").golden()
    wanted = golden.logits["tflite/float32"]
    with computing_in("mixed_bfloat16"):
        model = restored(drawn, network(mixed_precision=True), "tiny")
    assert model.layers[-2].compute_dtype == "bfloat16"
    assert predicted(model, golden.faces[..., None]) == pytest.approx(wanted, abs=0.05 * float(np.ptp(wanted)))
    assert keras.mixed_precision.dtype_policy().name == "float32"
    small = restored(drawn, network(epochs=3, small_epochs=1), "tiny")
    assert small.input_shape == (None, None, None, 1)
    assert predicted(small, golden.faces[..., None]) == pytest.approx(wanted, abs=1e-3)


def test_of_a_batch_it_says_nearly_the_same(drawn: Dataset) -> None:
    """Batch norm's own mean and variance of the batch are about those that it was given."""
    model, faces = restored(drawn, network(), "tiny"), np.asarray(drawn.faces[:64])[..., None]
    still, moving = (np.asarray(model(faces, training=training)) for training in (False, True))
    assert (still.argmax(1) == moving.argmax(1)).mean() > 0.7


def test_it_trains_on_from_there(drawn: Dataset, tmp_path: Path) -> None:
    """A chain with dense layers, and from the bundle's file; resumed after a kill it no longer needs the bundle."""
    from fer_edge.train.fit import train

    class KilledError(Exception):
        pass

    def kill(row: dict[str, float]) -> None:
        raise KilledError

    start = altered(tmp_path / "bundle")
    with pytest.raises(KilledError):
        train(
            drawn, network(start=start, learning_rate=1e-9, weight_decay=0.0, epochs=2), tmp_path / "run", on_epoch=kill
        )
    shutil.rmtree(start)
    assert len(train(drawn, None, tmp_path / "run", resume=True)) == 2
    run, golden = RunFolder(tmp_path / "run"), Bundle.open("tiny").golden()
    said = predicted(load_network(run.finished_model()), golden.faces[..., None])
    assert (said.argmax(1) == golden.logits["tflite/float32"].argmax(1)).mean() > 0.7
    assert trained_on(run) == [
        {"data_sha256": drawn.sha256, "model": "tiny", "validation": "clean", "val_fraction": 0.1, "seed": 0},
        *Bundle.open("tiny").manifest["trained"],
    ], "its bundle would not say whose faces it has seen"
    train(drawn, network(start=str(run.path)), tmp_path / "next")
    assert trained_on(RunFolder(tmp_path / "next"))[1:] == Bundle.open("tiny").manifest["trained"]


def test_with_eight_classes_the_logits_begin_anew(drawn: Dataset) -> None:
    from fer_edge.train.objective import compiled

    faces = np.asarray(drawn.faces[:64])[..., None]
    seven = compiled(network(), lambda: faces).get_weights()
    eight = compiled(network(labels="votes-8"), lambda: faces).get_weights()
    for one, other in zip(seven[:-2], eight[:-2], strict=True):
        assert np.array_equal(one, other)
    assert eight[-1].shape == (8,)


def cleaned(drawn: Dataset) -> Dataset:
    """The same data as if it had been cleaned of nothing."""
    record = {"from_sha256": drawn.sha256}
    return build_dataset(drawn.faces[1:], drawn.labels[1:], drawn.splits[1:], None, "cleaned", (record,))


def test_a_bundle_that_cannot_be_begun_with_is_refused(drawn: Dataset, tmp_path: Path) -> None:
    from fer_edge.train.fit import train

    here = {"data_sha256": drawn.sha256, "model": "tiny", "validation": "clean", "val_fraction": 0.1, "seed": 0}
    elsewhere = here | {"data_sha256": "0" * 64}
    no_float = [v for v in Bundle.open("tiny").manifest["variants"] if v["precision"] != "float32"]
    count = iter(range(99))

    def start(**values: object) -> dict[str, str]:
        return {"start": altered(tmp_path / f"bundle{next(count)}", **values)}

    for data, recipe, sentence in (
        (drawn, network("flagship"), "is a tiny, not a flagship"),
        (drawn, network(**start(trained=None)), "does not say what it was trained on"),
        (drawn, network(**start(trained=[here]), val_fraction=0.2), "keeps other faces"),
        (drawn, network(**start(trained=[elsewhere, here]), val_fraction=0.2), "keeps other faces"),
        (cleaned(drawn), network(**start(trained=[here])), "what this data was cleaned from"),
        (drawn, network(**start(trained=[{"model": "tiny"}])), "`trained` cannot be read"),
        (drawn, network(**start(trained=7)), "`trained` cannot be read"),
        (drawn, network(**start(variants=no_float)), "has no tflite/float32"),
        (drawn, network(**start(schema=99)), "has schema 99"),
        (drawn, network(weights="some.h5"), "leave out --weights"),
        (drawn, network(standardize=True, labels="votes-8"), "leave out standardize"),
        (drawn, network(start="flagship,tiny"), "flagship is a bundle, which is begun with alone"),
        (drawn, network(start="x" * 300), "neither a training run nor a bundle"),
    ):
        folder = tmp_path / f"run{next(count)}"
        with pytest.raises((RunError, BundleError), match=sentence):
            train(data, recipe, folder)
        assert not folder.exists()


def test_another_network_of_that_name_is_found_out(drawn: Dataset, tmp_path: Path) -> None:
    """Shapes or golden faces tell; `trained` is but a word in a file."""
    with pytest.raises(RunError, match="of other shapes than a tiny"):
        restored(drawn, network(), "flagship")
    with pytest.raises(RunError, match="says something else of the golden faces"):
        restored(drawn, network(standardize=True), "tiny")
    for name in ("resnet12", "mini-xception"):
        with pytest.raises(RunError, match="cannot begin with a bundle"):
            restored(drawn, network(name, epochs=1), "tiny")


def test_from_data_to_a_bundle_by_commands(cli, chain, tmp_path: Path) -> None:
    """Its bundle says what it has seen: its own data, and before that what shipped."""
    done = cli(
        "train", "--data", chain.data, "--model", "tiny", "--start", "tiny", "--epochs", "1",
        "--set", "train_fraction=0.05", "--set", "small_epochs=0", "--out", "run", "--threads", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = cli("convert", "run", "--no-int8", "--to", "tflite", "--out", "bundle")
    assert done.returncode == 0, done.stderr
    trained = json.loads((tmp_path / "bundle" / "bundle.json").read_text(encoding="utf-8"))["trained"]
    assert trained[0]["model"] == "tiny"
    assert trained[0]["data_sha256"] != trained[1]["data_sha256"]
    assert trained[1:] == Bundle.open("tiny").manifest["trained"]
    done = cli("train", "--data", chain.data, "--model", "tiny", "--start", "nowhere", "--out", "other")
    assert done.returncode != 0
    assert "nowhere is neither a training run nor a bundle" in done.stderr
