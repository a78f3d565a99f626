"""The temperature that convert puts into a network: which one, where, and what it changes."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from fer_edge.calibration.ranges import Range
from fer_edge.convert.build import _judged, _with_temperature
from fer_edge.convert.frozen import FrozenModel, load_frozen
from fer_edge.convert.order import Order
from fer_edge.convert.tempered import temperature_of, tempered, tempered_ranges
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.vocabulary import softmax
from fer_edge.train.dataset import Dataset, build_dataset, load_dataset
from fer_edge.train.recipes import recipe_for
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.split import rows_of

FACES = np.random.default_rng(3).integers(0, 256, (12, 48, 48), np.uint8)


def chain_of(*ends: keras.layers.Layer) -> keras.Model:
    pixels = x = keras.Input((48, 48, 1))
    for layer in (keras.layers.Rescaling(1 / 255), keras.layers.GlobalAveragePooling2D(), *ends):
        x = layer(x)
    return keras.Model(pixels, x)


def logits_of(model: keras.Model) -> FrozenModel:
    return FrozenModel(model, None, None)


def test_the_logits_are_divided_and_nothing_else() -> None:
    model = logits_of(chain_of(keras.layers.Dense(5, activation="relu"), keras.layers.Dense(7)))
    before, weights = model.logits(FACES), model.keras_model.get_weights()
    after = tempered(model, 1.6)
    assert after is not None
    np.testing.assert_allclose(after.logits(FACES), before / 1.6, rtol=1e-5, atol=1e-6)
    for one, other in zip(weights[:-2], after.keras_model.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(one, other)


def test_so_are_those_of_every_member_of_an_ensemble() -> None:
    members = [chain_of(keras.layers.Dense(7)) for _ in range(2)]
    pixels = keras.Input((48, 48, 1))
    model = logits_of(keras.Model(pixels, keras.layers.Average()([member(pixels) for member in members])))
    before = model.logits(FACES)
    after = tempered(model, 0.5)
    assert after is not None
    np.testing.assert_allclose(after.logits(FACES), before * 2, rtol=1e-5, atol=1e-6)


def test_so_is_a_map_of_which_the_mean_is_taken() -> None:
    pixels = keras.Input((48, 48, 1))
    maps = keras.layers.Conv2D(7, 3)(keras.layers.Rescaling(1 / 255)(pixels))
    model = logits_of(keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(maps)))
    before = model.logits(FACES)
    after = tempered(model, 1.6)
    assert after is not None
    np.testing.assert_allclose(after.logits(FACES), before / 1.6, rtol=1e-4, atol=1e-6)


def test_a_network_that_ends_otherwise_stays_as_it_is() -> None:
    model = logits_of(chain_of(keras.layers.Dense(7), keras.layers.LayerNormalization()))
    before = model.logits(FACES)
    assert tempered(model, 2.0) is None
    np.testing.assert_array_equal(model.logits(FACES), before)


def test_the_learned_range_of_the_logits_goes_with_them() -> None:
    model = logits_of(chain_of(keras.layers.Dense(5), keras.layers.Dense(7)))
    ranges = {"mean1": Range(0, 1), "dense1": Range(-1, 2), "dense2": Range(-4, 6)}
    assert tempered_ranges(ranges, model, 2.0) == ranges | {"dense2": Range(-2, 3)}


def test_a_temperature_must_be_told_from_1() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0, 1.5, (4000, 7)).astype(np.float32)
    labels = np.array([rng.choice(7, p=p) for p in softmax(true)], np.uint8)
    assert temperature_of(true, labels) is None, "these logits are right as they are"
    found = temperature_of(2 * true, labels)
    assert found is not None
    assert found.low < 2 < found.high
    assert temperature_of(2 * true[:4], labels[:4]) is None, "four faces say nothing"


def test_convert_puts_it_in_and_says_so(chain) -> None:
    run, data = RunFolder(chain.run), load_dataset(chain.data)
    network = load_frozen(run.network())
    validation = rows_of(data, run.recipe())[1]
    wanted = temperature_of(network.logits(data.faces[validation]), data.labels[validation])
    bundle = Bundle.open(chain.bundle)
    put_in = json.loads((chain.bundle / "report.json").read_text())["temperature"]
    golden = bundle.golden()
    reference, said = network.logits(golden.faces), golden.logits["keras/float32"]
    if wanted is None:
        assert put_in["value"] is None
        assert put_in["why_not"] in chain.outputs["convert"]
        np.testing.assert_allclose(said, reference, rtol=1e-4, atol=1e-4)
        return
    assert put_in["value"] == pytest.approx(wanted.value)
    assert put_in["fitted_on"]["images"] == len(validation)
    np.testing.assert_allclose(said, reference / wanted.value, rtol=1e-4, atol=1e-4)
    assert f"at temperature {wanted.value:.3f}" in chain.outputs["convert"]


def a_run(data: Dataset, folder: Path, times: float) -> RunFolder:
    """Not trained: a network whose logits are those of the labels that the faces' grays spell, `times` too large."""
    recipe = recipe_for("cnn", val_fraction=0.3)
    run = RunFolder(folder)
    run.create(recipe, {"data_sha256": data.sha256}, {})
    model = chain_of(keras.layers.Dense(7))
    kernel = np.linspace(-1, 1, 7, dtype=np.float32)[None]
    model.layers[-1].set_weights([times * 9 * kernel, -times * 9 * kernel[0] / 2])
    model.save(run.model)
    return run


@pytest.fixture(scope="module")
def spelled() -> Dataset:
    """Faces of one gray each; what they are was drawn from a softmax that the gray decides."""
    rng = np.random.default_rng(1)
    grays = rng.integers(0, 256, 3000)
    slopes = np.linspace(-1, 1, 7)
    chances = softmax(np.float32(9 * slopes * (grays[:, None] / 255 - 0.5)))
    labels = np.array([rng.choice(7, p=p / p.sum()) for p in chances.astype(np.float64)], np.uint8)
    faces = np.broadcast_to(grays[:, None, None], (3000, 48, 48)).astype(np.uint8)
    return build_dataset(faces, labels, np.repeat([0, 1, 2], 1000).astype(np.uint8), None, "spelled")


def _put_in(run: RunFolder, data: Dataset, order: Order) -> tuple[FrozenModel, Any, dict[str, Any] | None]:
    return _with_temperature(run, data, order, lambda _: None, load_frozen(run.network()), None)


def test_logits_twice_too_large_are_halved(spelled: Dataset, tmp_path: Path) -> None:
    run = a_run(spelled, tmp_path / "run", 2.0)
    own = load_frozen(run.network()).logits(FACES)
    model, _, put_in = _put_in(run, spelled, Order(("tflite",)))
    assert put_in is not None
    assert put_in["interval"][0] < 2 < put_in["interval"][1]
    np.testing.assert_allclose(model.logits(FACES), own / put_in["value"], rtol=1e-4, atol=1e-5)
    test = spelled.faces[spelled.rows("test")]
    found = _judged(put_in, model.logits(test), spelled, "test")
    assert found["after"]["ece"] < found["before"]["ece"] / 2
    assert found["after"]["nll"] < found["before"]["nll"]
    val = _judged(put_in, model.logits(test), spelled, "val")
    assert val["before"] is val["after"] is None, "faces that fitted it cannot judge it"


def test_what_is_right_already_is_left_and_so_is_what_nobody_asked_for(spelled: Dataset, tmp_path: Path) -> None:
    run = a_run(spelled, tmp_path / "run", 1.0)
    own = load_frozen(run.network()).logits(FACES)
    for order, why in ((Order(("tflite",)), "tell none from 1"), (Order(("tflite",), temperature=False), None)):
        model, _, put_in = _put_in(run, spelled, order)
        np.testing.assert_array_equal(model.logits(FACES), own)
        assert (put_in is None) if why is None else (put_in["value"] is None and why in put_in["why_not"])
