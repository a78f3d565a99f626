"""The models of the comparison: their sizes are the published ones, and each trains and answers on drawn faces."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fer_edge.devices.errors import RunError
from fer_edge.train.dataset import Dataset
from fer_edge.train.recipe import ClassicalRecipe, Recipe, parse_value
from fer_edge.train.recipes import NAMED, RECIPES, recipe_for
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.synth import synthetic_dataset
from fer_edge.train.zoo import MODELS

PUBLISHED = {
    "cnn-small": 57_527, "unet": 2_026_247, "vit": 605_127, "mini-xception": 58_423, "autoencoder": 75_425,
}  # fmt: skip
"""Parameters, from the publications."""
NETWORKS = [name for name, entry in MODELS.items() if entry.kind in ("keras", "autoencoder")]
# So that the heavy ones are fast: the layers are the same, the pictures inside are smaller.
SMALLER = {"resnet50": {"image_side": 32, "weights": "none"}, "dlib-resnet": {"image_side": 80, "weights": "none"}}


@pytest.fixture(scope="module")
def keras_here() -> None:
    from fer_edge.train.quietly import keras_quietly

    keras_quietly()


@pytest.fixture(scope="module")
def faces() -> Dataset:
    return synthetic_dataset(70, 3)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, faces: Dataset, keras_here: None) -> Callable[[str], RunFolder]:
    """Each model trained for one epoch, once."""
    home = tmp_path_factory.mktemp("models")

    def trained(name: str) -> RunFolder:
        import keras
        import tensorflow as tf

        from fer_edge.train.fit import train

        if not (home / name).exists():
            values = (
                {"components": 20, "train_fraction": 1.0, "trees": 5} if name in ("logreg", "random-forest") else {}
            )
            if name in NETWORKS:
                values = {"epochs": 1, "train_fraction": 0.1} | SMALLER.get(name, {})
            # One batch of one face of each emotion: tracing a graph for it would take ten times as long as the step.
            tf.config.run_functions_eagerly(name not in ("mlp", "cnn-small"))
            try:
                train(faces, recipe_for(name, **values, val_fraction=0.2), home / name)
            finally:
                tf.config.run_functions_eagerly(False)
                keras.backend.clear_session()
        return RunFolder(home / name)

    return trained


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_the_parameters_and_multiply_adds_that_are_listed(name: str, keras_here: None) -> None:
    import keras

    from fer_edge.train.macs import count_macs
    from fer_edge.train.models import build_model

    keras.backend.clear_session()
    model = build_model(name)
    entry = MODELS[name]
    assert (model.count_params(), count_macs(model)) == (entry.parameters, entry.macs)
    assert entry.parameters == PUBLISHED.get(name, entry.parameters)
    assert model.input_shape == (None, 48, 48, 1)
    assert model.output_shape == ((None, 48, 48, 1) if name == "autoencoder" else (None, 7))


def test_logreg_has_the_parameters_that_are_listed() -> None:
    """Means and deviations do not count as learned; 300 components of 2304 pixels with their mean, 7 rows of 301."""
    recipe = RECIPES["logreg"]
    assert isinstance(recipe, ClassicalRecipe)
    pca, regression = recipe.components * 2304, 7 * recipe.components
    assert MODELS["logreg"].macs == pca + regression
    assert MODELS["logreg"].parameters == pca + regression + 7 + 2 * 2304 + 2304


@pytest.mark.parametrize("name", [name for name in MODELS if name != "ensemble"])
def test_every_model_trains_and_answers(name: str, runs: Callable[[str], RunFolder], faces: Dataset) -> None:
    from fer_edge.train.predictor import open_run

    run = runs(name)
    history = run.history()
    assert run.is_finished()
    assert len(history) == 1
    assert np.isfinite([value for key, value in history[0].items() if key.endswith("loss")]).all()
    if name == "autoencoder":
        with pytest.raises(RunError, match="is an autoencoder, which names no emotions"):
            open_run(run)
        return
    said = open_run(run).logits(faces.faces[:9])
    assert said.shape == (9, 7)
    assert said.dtype == np.float32
    assert np.isfinite(said).all()
    assert len({tuple(row) for row in said.round(6)}) > 1, "the answer does not hang on the face"
    assert np.array_equal(said, open_run(RunFolder(run.path)).logits(faces.faces[:9]))


def test_an_ensemble_says_the_mean_of_its_members(
    runs: Callable[[str], RunFolder], faces: Dataset, tmp_path: Path
) -> None:
    from fer_edge.train.fit import train
    from fer_edge.train.predictor import open_run

    members = [runs("mlp"), runs("cnn-small")]
    recipe = recipe_for("ensemble", members=tuple(str(run.path) for run in members), val_fraction=0.2)
    history = train(faces, recipe, tmp_path / "both")
    wanted = np.mean([open_run(run).logits(faces.faces) for run in members], axis=0)
    both = open_run(RunFolder(tmp_path / "both"))
    assert np.allclose(both.logits(faces.faces), wanted, atol=1e-4)
    assert 0 <= history[0]["val_accuracy"] <= 1
    assert RunFolder(tmp_path / "both").network().is_file()


def test_an_ensemble_refuses_members_that_do_not_fit(
    runs: Callable[[str], RunFolder], faces: Dataset, tmp_path: Path
) -> None:
    from fer_edge.train.fit import train

    good = str(runs("mlp").path)
    for members, values, sentence in (
        ((good, str(runs("logreg").path)), {}, "an ensemble averages networks with logits"),
        ((good, str(runs("autoencoder").path)), {}, "an ensemble averages networks with logits"),
        ((good, str(tmp_path / "no")), {}, "is not a training run"),
        ((good, str(runs("cnn-small").path)), {"seed": 5}, "keep different faces for validation"),
    ):
        with pytest.raises(RunError, match=sentence):
            train(faces, recipe_for("ensemble", members=members, val_fraction=0.2, **values), tmp_path / "both")
        assert not (tmp_path / "both").exists(), "a run that never began is in the way of the next"
    with pytest.raises(RunError, match="needs two members or more"):
        recipe_for("ensemble", members=(good,))


def test_what_has_no_logits_by_layers_is_not_converted(runs: Callable[[str], RunFolder]) -> None:
    for name in ("logreg", "random-forest", "autoencoder"):
        with pytest.raises(RunError, match=f"is a {name}, which cannot be converted"):
            runs(name).network()


def test_a_network_of_eight_classes_is_not_converted(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "eight")
    run.create(recipe_for("cnn", labels="votes-8"), {"data_sha256": "0", "data_source": "x"}, {})
    run.model.write_bytes(b"a network")
    with pytest.raises(RunError, match="knows FER\\+'s 8 classes, a bundle has the 7 emotions"):
        run.network()


def test_weights_that_cannot_be_had_are_one_sentence(
    keras_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    from fer_edge.train.models import of_recipe

    with pytest.raises(RunError, match="neither none, imagenet nor a file"):
        of_recipe(recipe_for("resnet50", weights=str(tmp_path / "no.h5"), image_side=32))
    (tmp_path / "bad.weights.h5").write_bytes(b"no weights")
    with pytest.raises(RunError, match="holds no weights of ResNet50"):
        of_recipe(recipe_for("resnet50", weights=str(tmp_path / "bad.weights.h5"), image_side=32))

    def no_network(*args: object, **values: object) -> None:
        raise Exception("URL fetch failure: name resolution")  # what keras.utils.get_file raises

    monkeypatch.setattr(keras.applications, "ResNet50", no_network)
    with pytest.raises(RunError, match=r"ImageNet's weights cannot be downloaded .* --set weights=none"):
        of_recipe(recipe_for("resnet50", image_side=32))


def test_weights_from_a_file_leave_the_lower_layers_as_they_are(keras_here: None, tmp_path: Path) -> None:
    import keras

    from fer_edge.train.models import of_recipe

    donor = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(32, 32, 3))
    donor.save_weights(tmp_path / "donor.weights.h5")
    model = of_recipe(recipe_for("resnet50", weights=str(tmp_path / "donor.weights.h5"), image_side=32))
    backbone = model.get_layer("resnet50")
    frozen = [layer.trainable for layer in backbone.layers].count(False)
    assert frozen == round(0.6 * len(backbone.layers))
    assert np.array_equal(backbone.get_weights()[0], donor.get_weights()[0])


def test_models_lists_every_model(cli) -> None:
    done = cli("models")
    assert done.returncode == 0, done.stderr
    for name, entry in MODELS.items():
        line = next(line for line in done.stdout.splitlines() if line.split()[:1] == [name])
        assert f"{entry.parameters:,}" in line if entry.parameters else "–" in line
    listed = json.loads(cli("models", "--json").stdout)
    assert [row["name"] for row in listed] == list(MODELS)
    assert next(row for row in listed if row["name"] == "vit")["recipe"]["learning_rate"] == 1e-4


def test_models_shows_every_value_of_a_recipe(cli) -> None:
    done = cli("models", "show", "cnn-wide", "--recipe", "plateau")
    assert done.returncode == 0, done.stderr
    words = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines() if len(line.split()) > 2}
    assert words["plateau_factor"] == "0.2"
    assert words["rotation_deg"] == "20"
    assert words["val_fraction"] == "0.2"
    assert cli("models", "show", "nope").stderr.startswith("fer-edge: unknown model 'nope'; choose one of logreg,")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--set", "epochs"), "--set 'epochs' is not NAME=VALUE"),
        (("--set", "rotation=4"), "the recipe has no 'rotation'; it has epochs,"),
        (("--set", "rotation_deg=far"), "rotation_deg 'far' is not a number"),
        (("--set", "flip=perhaps"), "flip 'perhaps' is not true or false"),
        (("--set", "erase=2"), "erase 2.0 is outside 0..0.9"),
        (("--loss", "hinge"), "loss 'hinge' is unknown; choose one of cross-entropy, focal"),
        (("--labels", "votes"), "the data has no FER+ votes"),
        (("--recipe", "best"), "unknown recipe 'best'"),
        (("--model", "logreg", "--mixup", "0.2"), "logreg is not trained by mixup"),
        (("--model", "logreg", "--recipe", "plateau"), "plateau"),
        (("--model", "cnn", "--members", "a,b"), "cnn is not trained by members"),
        (("--model", "ensemble", "--members", "a"), "an ensemble needs two members or more, got 1"),
        (("--model", "logreg", "--full"), "faces cannot have 300 principal components"),
    ],
)
def test_a_wrong_order_is_one_sentence(arguments: tuple[str, ...], sentence: str, cli, chain, tmp_path: Path) -> None:
    done = cli("data", "synth", "--out", "tiny", "--count", "70") if "--full" in arguments else None
    data = "tiny" if done else chain.data
    done = cli("train", "--data", data, "--out", "run", *arguments)
    assert done.returncode == 1, done.stdout
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_values_come_out_of_text() -> None:
    assert parse_value(Recipe, "epochs", "7") == 7
    assert parse_value(Recipe, "dropout", "none") is None
    assert parse_value(Recipe, "weights", "none") == "none"
    assert parse_value(Recipe, "flip", "no") is False
    assert parse_value(ClassicalRecipe, "depth", "12") == 12


def test_a_recipe_survives_its_run_folder() -> None:
    for name, recipe in RECIPES.items():
        assert type(recipe).from_json(json.loads(json.dumps(recipe.to_json()))) == recipe, name
    plateau = recipe_for("cnn-wide", "plateau", epochs=3)
    assert plateau.shear == 0
    assert plateau.epochs == 3
    assert set(NAMED) == {"plateau", "flagship"}


@pytest.mark.parametrize("option", ["--no-class-weights", "--seed=0", "--set=flip=no"])
def test_a_resumed_run_takes_no_other_recipe(option: str, cli) -> None:
    done = cli("train", "--data", "data", "--resume", option)
    assert done.returncode == 1
    name = option.removeprefix("--no-").lstrip("-").partition("=")[0]
    assert f"--resume takes the stored recipe; leave out --{name}" in done.stderr
