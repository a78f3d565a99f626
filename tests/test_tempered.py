"""The temperature that convert puts into a network: which one, where, and what it changes."""

import json

import keras
import numpy as np
import pytest

from fer_edge.calibration.ranges import Range
from fer_edge.convert.frozen import FrozenModel, load_frozen
from fer_edge.convert.tempered import temperature_of, tempered, tempered_ranges
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.vocabulary import softmax
from fer_edge.train.dataset import load_dataset
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
        assert put_in is None
        np.testing.assert_allclose(said, reference, rtol=1e-4, atol=1e-4)
        assert "as trained" in chain.outputs["convert"]
        return
    assert put_in["value"] == pytest.approx(wanted.value)
    assert put_in["fitted_on"]["images"] == len(validation)
    np.testing.assert_allclose(said, reference / wanted.value, rtol=1e-4, atol=1e-4)
    assert f"at temperature {wanted.value:.3f}" in chain.outputs["convert"]
