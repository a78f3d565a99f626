"""Quantization-aware training: what is trained with is what every format computes with."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from fer_edge.convert.build import learned
from fer_edge.convert.frozen import load_frozen
from fer_edge.convert.order import Order
from fer_edge.convert.quantization_recipe import QuantizationRecipe
from fer_edge.convert.scheme import Scheme
from fer_edge.convert.scheme_onnx import read_onnx
from fer_edge.convert.scheme_openvino import read_openvino
from fer_edge.convert.scheme_tflite import read_tflite
from fer_edge.convert.target import Target
from fer_edge.convert.write_models import write_models
from fer_edge.devices.errors import ConversionError, RunError
from fer_edge.edge_runtime.engines import infer_all, start
from fer_edge.edge_runtime.vocabulary import Precision
from fer_edge.train.dataset import Dataset
from fer_edge.train.recipes import aware_recipe, recipe_for
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.synth import synthetic_dataset

FILES = {"tflite": "int8.tflite", "onnx": "int8.onnx", "openvino": "int8.xml"}
READERS = {"tflite": read_tflite, "onnx": read_onnx, "openvino": read_openvino}
BASE = {"epochs": 2, "average": 0.0, "small_epochs": 0, "batch_size": 32, "warmup_epochs": 0}


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    return synthetic_dataset(280, 1)


@pytest.fixture(scope="module")
def runs(drawn: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunFolder]:
    """A float run, and the same trained on under rounding."""
    from fer_edge.train.fit import train
    from fer_edge.train.quietly import keras_quietly

    keras_quietly(1)
    home = tmp_path_factory.mktemp("aware")
    base, aware = RunFolder(home / "float"), RunFolder(home / "aware")
    train(drawn, recipe_for("tiny", **BASE), base.path)
    train(drawn, aware_recipe(base.recipe(), str(base.path), epochs=2), aware.path)
    return base, aware


@pytest.fixture(scope="module")
def rounded(runs: tuple[RunFolder, RunFolder]) -> Any:
    """The network as it was trained, rounding and all."""
    from fer_edge.train.models import load_network

    return load_network(runs[1].checkpoint(2))


@pytest.fixture(scope="module")
def files(runs: tuple[RunFolder, RunFolder], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """int8 in all formats, with all eight bits of weights, as for ARM."""
    folder, aware = tmp_path_factory.mktemp("files"), runs[1]
    order = Order(
        ("tflite/int8", "onnx/int8", "openvino/int8"), target=Target.ARM, recipe=QuantizationRecipe(ranges="learned")
    )
    write_models(load_frozen(aware.network()), [], order, Target.ARM, folder, lambda _: None, learned(aware))  # type: ignore[arg-type]
    return folder


def test_folding_leaves_the_network_as_it_is(runs: tuple[RunFolder, RunFolder], drawn: Dataset) -> None:
    from fer_edge.train.aware import aware_network, plain_network
    from fer_edge.train.models import load_network

    faces = np.asarray(drawn.faces[:20])[..., None]
    model = load_network(runs[0].network())
    folded = plain_network(aware_network(runs[0]), runs[0])
    assert not [layer for layer in folded.layers if "batch_normalization" in layer.name]
    assert np.allclose(folded.predict(faces, verbose=0), model.predict(faces, verbose=0), atol=1e-4)


@pytest.mark.parametrize("engine", FILES)
def test_every_format_has_the_weights_and_ranges_that_were_trained_with(
    engine: str, files: Path, runs: tuple[RunFolder, RunFolder], rounded: Any
) -> None:
    from fer_edge.train.aware_layers import rounded_kernel

    scheme: Scheme = READERS[engine](files / FILES[engine])
    ranges = runs[1].learned_ranges()
    assert ranges is not None
    assert list(scheme.layers) == [name for name in ranges if not name.startswith("mean")]
    for name, layer in scheme.layers.items():
        kernel = np.asarray(rounded.get_layer(name).kernel)
        steps = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1))) / 127
        trained = np.rint(np.asarray(rounded_kernel(kernel)) / steps)
        trained = trained.transpose(3, 2, 0, 1) if trained.ndim == 4 else trained.T
        assert layer.steps is not None
        held = np.rint(layer.values / layer.steps.reshape(-1, *[1] * (trained.ndim - 1)))
        # Rescaling may have been put into the first layer's weights; a weight between two levels may take either.
        assert np.allclose(layer.steps, steps, rtol=1e-3) or np.allclose(layer.steps, steps / 255, rtol=1e-3), name
        assert np.abs(held - trained).max() <= 1
        assert (held == trained).mean() > 0.998, name
    # OpenVINO gives its last layer's results in float.
    assert set(ranges) - set(scheme.grids) == ({"dense1"} if engine == "openvino" else set())
    for name, grid in scheme.grids.items():
        if name in ranges:
            low, high = ranges[name]
            step = (high - low) / 255
            assert float(grid.step) == pytest.approx(step, rel=1e-3), name
            assert float(grid.low) == pytest.approx(low, abs=0.51 * step), name


@pytest.mark.parametrize("engine", FILES)
def test_every_format_says_what_the_network_said_in_training(
    engine: str, files: Path, rounded: Any, drawn: Dataset
) -> None:
    """Engines sum in integers and may round a tie the other way: a step or two of the logits' grid."""
    faces = np.asarray(drawn.faces[:64])
    wanted = rounded.predict(faces[..., None], verbose=0)
    running = start(engine, files / FILES[engine], Precision.INT8)
    try:
        said = infer_all(running, faces)
    finally:
        running.close()
    step = (wanted.max() - wanted.min()) / 255
    assert np.abs(said - wanted).mean() < 2 * step
    sure = np.sort(wanted, axis=1)[:, -1] - np.sort(wanted, axis=1)[:, -2] > 4 * step
    assert sure.sum() > 20
    assert (said.argmax(1) == wanted.argmax(1))[sure].mean() > 0.95


def test_a_resumed_fine_tuning_is_the_same(runs: tuple[RunFolder, RunFolder], drawn: Dataset, tmp_path: Path) -> None:
    from fer_edge.train.fit import train

    class KilledError(Exception):
        pass

    def kill(row: dict[str, float]) -> None:
        if row["epoch"] == 1:
            raise KilledError

    recipe = aware_recipe(runs[0].recipe(), str(runs[0].path), epochs=2)
    with pytest.raises(KilledError):
        train(drawn, recipe, tmp_path / "run", on_epoch=kill)
    again = train(drawn, recipe, tmp_path / "run", resume=True)
    assert again[-1]["val_loss"] == pytest.approx(runs[1].history()[-1]["val_loss"], rel=1e-5)
    found, wanted = RunFolder(tmp_path / "run").learned_ranges(), runs[1].learned_ranges()
    assert found is not None
    assert wanted is not None
    assert list(found) == list(wanted)
    assert np.allclose(list(found.values()), list(wanted.values()), rtol=1e-5)


def test_what_cannot_be_had_is_one_sentence(runs: tuple[RunFolder, RunFolder], drawn: Dataset, tmp_path: Path) -> None:
    from fer_edge.train.aware import aware_network
    from fer_edge.train.fit import train

    base, aware = runs
    with pytest.raises(RunError, match="is quantization-aware already; give the float run"):
        aware_recipe(aware.recipe(), str(aware.path))
    with pytest.raises(RunError, match="is built already; leave out dropout"):
        aware_recipe(base.recipe(), str(base.path), dropout=0.1)
    with pytest.raises(RunError, match="leave out --start"):
        aware_recipe(base.recipe(), str(base.path), start="x")
    with pytest.raises(RunError, match="batch norm is folded; start from the float run"):
        train(drawn, replace(base.recipe(), start=str(aware.path)), tmp_path / "on")
    with pytest.raises(RunError, match="is a logreg; quantization-aware training takes networks"):
        aware_recipe(recipe_for("logreg"), "x")
    with pytest.raises(RunError, match="keeps other faces for validation"):
        train(drawn, aware_recipe(base.recipe(), str(base.path), val_fraction=0.3), tmp_path / "run")
    with pytest.raises(ConversionError, match="leave out --equalize"):
        QuantizationRecipe(ranges="learned", equalize=True)
    train(drawn, recipe_for("mini-xception", epochs=1, train_fraction=0.05), tmp_path / "other")
    with pytest.raises(RunError, match="takes chains of convolutions"):
        aware_network(RunFolder(tmp_path / "other"))


def test_a_float_run_has_no_ranges_to_convert_with(runs: tuple[RunFolder, RunFolder], tmp_path: Path) -> None:
    order = Order(("onnx/int8",), target=Target.ARM, recipe=QuantizationRecipe(ranges="learned"))
    with pytest.raises(ConversionError, match="the run has learned no ranges"):
        write_models(load_frozen(runs[0].network()), [], order, Target.ARM, tmp_path, lambda _: None, None)  # type: ignore[arg-type]
