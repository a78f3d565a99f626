"""The balance that convert puts into a network: what each logit gains, where, and what it changes."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from fer_edge.calibration.ranges import Range
from fer_edge.convert.balanced import balanced, chosen_tau, judged, shift_of, shifted_ranges
from fer_edge.convert.frozen import FrozenModel, load_frozen
from fer_edge.devices.errors import ConversionError
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.dataset import Dataset, build_dataset, load_dataset
from fer_edge.train.recipes import recipe_for
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.split import rows_of

FACES = np.random.default_rng(3).integers(0, 256, (12, 48, 48), np.uint8)
SHIFT = np.array([0, 0.5, -0.25, 0, 0, 0, -0.25], np.float32)


def chain_of(*ends: keras.layers.Layer) -> FrozenModel:
    pixels = x = keras.Input((48, 48, 1))
    for layer in (keras.layers.Rescaling(1 / 255), keras.layers.GlobalAveragePooling2D(), *ends):
        x = layer(x)
    return FrozenModel(keras.Model(pixels, x), None, None)


@pytest.fixture(scope="module")
def uneven() -> Dataset:
    """Faces of one gray each; of the last emotion 20 of 1,000 are, of the others as many as of each other."""
    labels = np.tile(np.append(np.arange(980) % 6, np.full(20, 6)), 2).astype(np.uint8)
    faces = np.broadcast_to(np.arange(2000)[:, None, None] % 256, (2000, 48, 48)).astype(np.uint8)
    return build_dataset(faces, labels, np.repeat([0, 2], 1000).astype(np.uint8), None, "uneven")


def a_run(data: Dataset, folder: Path, **values: object) -> RunFolder:
    run = RunFolder(folder)
    run.create(recipe_for("cnn", val_fraction=0.3, **values), {"data_sha256": data.sha256}, {})
    return run


def test_a_rare_emotion_gains_by_how_rare_it_was_in_the_training(uneven: Dataset, tmp_path: Path) -> None:
    run = a_run(uneven, tmp_path / "run")
    counts = np.bincount(uneven.labels[rows_of(uneven, run.recipe())[0]], minlength=7)
    assert counts[6] < counts[:6].min() / 5
    shift = shift_of(run, uneven, 0.4)
    assert shift.sum() == pytest.approx(0, abs=1e-6)
    assert shift[6] - shift[0] == pytest.approx(0.4 * np.log(counts[0] / counts[6]))
    assert shift_of(run, uneven, 0.8) == pytest.approx(2 * shift)


def test_auto_takes_the_most_that_costs_no_face() -> None:
    """Of five faces two rare ones are found from 0.3 and 0.6 on, two frequent ones lost from 0.5 on."""
    whole = np.array([-1, 1, 0, 0, 0, 0, 0], np.float32)
    labels = np.array([1, 1, 0, 0, 0], np.uint8)
    logits = np.zeros((5, 7), np.float32) - 9
    logits[:, 1] = 0
    logits[:, 0] = [0.59, 1.19, 0.99, 0.99, 9]
    assert chosen_tau(logits, labels, whole) == 1, "too few at 0.5, as many as at 0 from 0.6 on"
    logits[1, 0] = 9
    assert chosen_tau(logits, labels, whole) == 0.45
    assert chosen_tau(logits[2:], labels[2:], whole) == 0.45
    assert chosen_tau(np.float32(logits[2:4] - [[0.98] + [0] * 6]), labels[2:4], whole) == 0


@pytest.mark.parametrize("values", [{"class_weights": True}, {"oversample": True}])
def test_what_learned_from_balanced_emotions_is_refused(values: dict, uneven: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="learned from balanced emotions already; leave it out"):
        shift_of(a_run(uneven, tmp_path / "run", **values), uneven, 0.3)


def test_other_data_does_not_say_how_frequent_emotions_were(uneven: Dataset, tmp_path: Path) -> None:
    other = build_dataset(uneven.faces[::-1], uneven.labels[::-1], uneven.splits[::-1], None, "other")
    with pytest.raises(ConversionError, match="this is not the run's data; give its --data"):
        shift_of(a_run(other, tmp_path / "run"), uneven, 0.3)


def test_the_logits_are_shifted_and_nothing_else() -> None:
    model = chain_of(keras.layers.Dense(5, activation="relu"), keras.layers.Dense(7))
    before, weights = model.logits(FACES), model.keras_model.get_weights()
    after = balanced(model, SHIFT)
    np.testing.assert_allclose(after.logits(FACES), before + SHIFT, atol=1e-5)
    for one, other in zip(weights[:-1], after.keras_model.get_weights()[:-1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_so_are_those_of_an_ensemble_and_of_a_map_of_which_the_mean_is_taken() -> None:
    members = [chain_of(keras.layers.Dense(7)).keras_model for _ in range(2)]
    pixels = keras.Input((48, 48, 1))
    mean = keras.Model(pixels, keras.layers.Average()([member(pixels) for member in members]))
    maps = keras.layers.Conv2D(7, 3)(keras.layers.Rescaling(1 / 255)(pixels))
    for network in (mean, keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(maps))):
        model = FrozenModel(network, None, None)
        before = model.logits(FACES)
        np.testing.assert_allclose(balanced(model, SHIFT).logits(FACES), before + SHIFT, atol=1e-5)


@pytest.mark.parametrize("end", [keras.layers.Dense(7, use_bias=False), keras.layers.LayerNormalization()])
def test_a_network_without_a_bias_at_its_end_is_refused(end: keras.layers.Layer) -> None:
    with pytest.raises(ConversionError, match="does not end in a layer whose bias can be shifted"):
        balanced(chain_of(keras.layers.Dense(7), end), SHIFT)


def test_the_learned_range_of_the_logits_takes_the_shift_in() -> None:
    model = chain_of(keras.layers.Dense(5), keras.layers.Dense(7))
    ranges = {"mean1": Range(0, 1), "dense1": Range(-1, 2), "dense2": Range(-4, 6)}
    assert shifted_ranges(ranges, model, SHIFT) == ranges | {"dense2": Range(-4.25, 6.5)}


def test_it_says_what_the_balance_did_also_under_a_temperature() -> None:
    """One disgust is found and one angry face lost: accuracy as before, mean recall up."""
    labels = np.array([0, 0, 0, 0, 1, 1], np.uint8)
    before = np.zeros((6, 7), np.float32)
    before[:, 0] = [2, 2, 2, 0.2, 0.3, 2]
    shift = {name: float(by) for name, by in zip(EMOTIONS, SHIFT, strict=True)}
    part = judged({"tau": 0.3, "shift": shift}, (before + SHIFT) / 2, labels, 2.0)
    assert part["before"] == {
        "accuracy": pytest.approx(4 / 6), "mean_recall": 0.5, "worst_class": {"name": "disgust", "recall": 0.0},
    }  # fmt: skip
    assert part["after"] == {
        "accuracy": pytest.approx(4 / 6), "mean_recall": pytest.approx(0.625),
        "worst_class": {"name": "disgust", "recall": 0.5},
    }  # fmt: skip


def test_convert_puts_it_in_and_says_so(chain, cli, tmp_path: Path) -> None:
    done = cli(
        "convert", chain.run, "--to", "tflite", "--balance", "0.5", "--max-drop", "3",
        "--calibration", chain.calibration, "--out", tmp_path / "even",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "even" / "report.json").read_text())
    put_in, temperature = report["balance"], report["temperature"]["value"] or 1.0
    shift = np.array([put_in["shift"][name] for name in EMOTIONS])
    assert shift == pytest.approx(shift_of(RunFolder(chain.run), load_dataset(chain.data), 0.5))
    golden = Bundle.open(tmp_path / "even").golden()
    own = load_frozen(RunFolder(chain.run).network()).logits(golden.faces)
    np.testing.assert_allclose(golden.logits["keras/float32"], (own + shift) / temperature, rtol=1e-4, atol=1e-4)
    assert put_in["after"]["accuracy"] == report["reference"]["accuracy"]
    assert "balance 0.5: accuracy" in done.stdout
    assert json.loads((chain.bundle / "report.json").read_text())["balance"] is None
    assert "balance" not in chain.outputs["convert"]


def test_auto_says_on_which_faces_it_was_chosen(chain, cli, tmp_path: Path) -> None:
    done = cli(
        "convert", chain.run, "--to", "tflite/float32", "--balance", "auto",
        "--calibration", chain.calibration, "--out", tmp_path / "auto",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run, data = RunFolder(chain.run), load_dataset(chain.data)
    rows = rows_of(data, run.recipe())[1]
    wanted = chosen_tau(
        load_frozen(run.network()).logits(data.faces[rows]), data.labels[rows], shift_of(run, data, 1.0)
    )
    put_in = json.loads((tmp_path / "auto" / "report.json").read_text())["balance"]
    assert put_in["tau"] == wanted
    assert put_in["chosen_on"] == {"what": "validation faces of the run", "images": len(rows)}
    assert f"balance {wanted:g}, chosen on {len(rows)} validation faces" in " ".join(done.stdout.split())


@pytest.mark.parametrize("tau", ["-0.1", "1.5", "nan", "much"])
def test_a_balance_out_of_range_is_one_sentence(chain, cli, tmp_path: Path, tau: str) -> None:
    done = cli("convert", chain.run, f"--balance={tau}", "--out", tmp_path / "none")
    assert done.returncode == 1
    says = "--balance 'much' is neither a number" if tau == "much" else f"--balance {tau} is outside 0..1"
    assert says in done.stderr
    assert not (tmp_path / "none").exists()
