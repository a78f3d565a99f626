"""How int8 is made otherwise: ranges, weights by tensor, layers in float, equalization; the same in every format."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from keras import Input, Model, layers, utils

from fer_edge.calibration.ranges import METHODS
from fer_edge.convert import equalize as equalizing
from fer_edge.convert import onnx_ranges
from fer_edge.convert.activations import activation_ranges, input_ranges
from fer_edge.convert.bundle_writer import golden_faces
from fer_edge.convert.equalize import equalized, pairs_of
from fer_edge.convert.frozen import FrozenModel, freeze
from fer_edge.convert.inspection import inspect
from fer_edge.convert.layers import keras_layers, onnx_layers, openvino_layers
from fer_edge.convert.onnx import quantize_onnx, write_onnx
from fer_edge.convert.onnx_ranges import prepared, quantized
from fer_edge.convert.order import Order
from fer_edge.convert.quantization_recipe import PLAIN, QuantizationRecipe
from fer_edge.convert.scheme import Scheme
from fer_edge.convert.scheme_onnx import read_onnx
from fer_edge.convert.scheme_openvino import read_openvino
from fer_edge.convert.scheme_tflite import read_tflite
from fer_edge.convert.target import Target, this_target
from fer_edge.convert.tflite import write_tflite
from fer_edge.convert.write_models import write_models
from fer_edge.devices.errors import BundleError, ConversionError
from fer_edge.edge_runtime.bundle import BUNDLED, Bundle
from fer_edge.edge_runtime.engines import infer_all, start
from fer_edge.edge_runtime.vocabulary import Precision
from fer_edge.train.recipes import recipe_for
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.synth import synthetic_dataset

LAYERS = ["conv1", "dwconv1", "conv2", "conv3", "dense1", "dense2"]
READERS: dict[str, Callable[[Path], Scheme]] = {"tflite": read_tflite, "onnx": read_onnx, "openvino": read_openvino}
FILES = {"tflite": "int8.tflite", "onnx": "int8.onnx", "openvino": "int8.xml"}
Recipe = QuantizationRecipe
FACES = golden_faces()


def network() -> Model:
    """Untrained, with a depthwise layer, a residual addition, and channels of very different reach."""
    utils.set_random_seed(3)
    pixels = Input((48, 48, 1), name="pixels")
    x = layers.Rescaling(1 / 255)(pixels)
    x = layers.MaxPooling2D()(block(x, layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="stem")))
    x = block(x, layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="spatial"))
    x = block(x, layers.Conv2D(12, 1, use_bias=False, name="pointwise"))
    y = layers.BatchNormalization()(layers.Conv2D(12, 3, padding="same", use_bias=False)(x))
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.Add()([x, y])))
    x = layers.Dense(16, activation="relu", name="hidden")(x)
    model = Model(pixels, layers.Dense(7, name="logits")(x))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if any(word in weight.path for word in ("variance", "gamma")):
            weight.assign(np.exp(rng.normal(0, 0.7, weight.shape)))
        elif any(word in weight.path for word in ("beta", "mean", "bias")):
            weight.assign(rng.normal(0, 0.1, weight.shape))
    return model


def block(x: Any, layer: Any) -> Any:
    return layers.ReLU()(layers.BatchNormalization()(layer(x)))


@pytest.fixture(scope="module")
def model() -> FrozenModel:
    return freeze(network())


@pytest.fixture(scope="module")
def float_onnx(model: FrozenModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("float") / "float32.onnx"
    write_onnx(model, path)
    return path


def made(model: FrozenModel, recipe: Recipe, folder: Path) -> dict[str, dict[str, Any]]:
    """The int8 files of all formats, and what the manifest would say of each."""
    order = Order(("tflite/int8", "onnx/int8", "openvino/int8"), recipe=recipe)
    entries = write_models(model, FACES, order, this_target(), folder, lambda what: None)  # type: ignore[arg-type]
    assert sorted(path.name for path in folder.iterdir()) == ["int8.bin", "int8.onnx", "int8.tflite", "int8.xml"]
    return {entry["engine"]: entry for entry in entries}


def schemes(folder: Path) -> dict[str, Scheme]:
    return {engine: read(folder / FILES[engine]) for engine, read in READERS.items()}


# Names


def test_layers_have_the_same_names_in_every_format(model: FrozenModel, float_onnx: Path, tmp_path: Path) -> None:
    import openvino

    assert list(keras_layers(model.keras_model)) == LAYERS
    assert list(onnx_layers(onnx.load(str(float_onnx)))) == LAYERS
    assert list(onnx_layers(prepared(float_onnx))) == LAYERS
    found = openvino_layers(openvino.Core().read_model(str(float_onnx)))
    assert list(found) == LAYERS
    write_tflite(model, tmp_path / "float32.tflite", Precision.FLOAT32, None)
    assert list(read_tflite(tmp_path / "float32.tflite").layers) == LAYERS


def test_numbers_follow_the_kind(float_onnx: Path) -> None:
    shapes = {name: layer.kernel.shape for name, layer in keras_layers(network()).items()}
    assert [shapes[name][-2:] for name in LAYERS] == [(1, 8), (8, 1), (8, 12), (12, 12), (12, 16), (16, 7)]
    nodes = onnx_layers(onnx.load(str(float_onnx)))
    assert [node.op_type for node in nodes.values()] == ["Conv"] * 4 + ["MatMul"] * 2


# The recipe


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"ranges": "kmeans"}, "unknown --ranges 'kmeans'; choose one of minmax, percentile, entropy, mse"),
        ({"ranges": "percentile", "percentile": 50.0}, "--percentile 50 is not over 50 and at most 100"),
        ({"ranges": "percentile", "percentile": float("nan")}, "--percentile nan is not over 50"),
        ({"float_layers": ("conv1", "conv1")}, "--float-layers names a layer twice"),
        ({"float_layers": ("conv1", "")}, "--float-layers names a layer twice, or none"),
    ],
)
def test_a_recipe_is_checked_when_built(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConversionError, match=sentence):
        Recipe(**values)


def recipe_of(ranges: str = "minmax", percentile: float | None = None, float_layers: str = "") -> Recipe:
    return Recipe.of(ranges, percentile, per_tensor=False, float_layers=float_layers, equalize=False)


def test_the_words_of_the_command_line() -> None:
    assert recipe_of() == PLAIN
    assert recipe_of(float_layers="conv1, dense2").float_layers == ("conv1", "dense2")
    assert recipe_of("percentile", 99.9).percentile == 99.9
    with pytest.raises(ConversionError, match="--percentile goes with --ranges percentile, not with --ranges mse"):
        recipe_of("mse", 99.9)


def test_what_the_manifest_and_people_are_told() -> None:
    assert PLAIN.as_dict() == {
        "ranges": "minmax", "percentile": None, "per_tensor": False, "float_layers": [], "equalized": False,
    }  # fmt: skip
    full = Recipe("percentile", 99.9, True, ("conv1", "dense2"), True)
    assert full.as_dict() == {
        "ranges": "percentile", "percentile": 99.9, "per_tensor": True, "float_layers": ["conv1", "dense2"],
        "equalized": True,
    }  # fmt: skip
    assert str(PLAIN) == "ranges by minmax"
    assert str(full) == "ranges by percentile 99.9, one weight scale a tensor, conv1, dense2 in float, equalized"


def test_options_of_int8_without_int8_are_refused() -> None:
    with pytest.raises(ConversionError, match="ranges by mse is about int8, and no int8 was asked for"):
        Order(("tflite",), (Precision.FLOAT32,), recipe=Recipe("mse"))
    assert Order(("tflite",), (Precision.FLOAT32,)).recipe == PLAIN


# The files


@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_the_ranges_are_ours_in_every_format(
    model: FrozenModel, float_onnx: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For minmax, too, where the converters' own are not asked."""
    monkeypatch.setattr(Recipe, "own_ranges", True)
    recipe = Recipe(method, percentile=99.0)
    made(model, recipe, tmp_path)
    ranges = activation_ranges(prepared(float_onnx), FACES, recipe)
    assert list(ranges) == ["input", "conv1", "dwconv1", "conv2", "conv3", "add1", "mean1", "dense1", "dense2"]
    for engine, scheme in schemes(tmp_path).items():
        assert set(ranges) - set(scheme.grids) == ({"dense2"} if engine == "openvino" else set())
        for name, grid in scheme.grids.items():
            if name != "input":
                step = (ranges[name].high - ranges[name].low) / 255
                ends = (float(grid.low.min()), float(grid.high.max()))
                assert ends == pytest.approx((ranges[name].low, ranges[name].high), abs=0.51 * step), (engine, name)
        top = 255 if engine == "tflite" else 1
        assert float(scheme.grids["input"].high) == pytest.approx(top, rel=1e-6)


def test_methods_differ(float_onnx: Path) -> None:
    model = prepared(float_onnx)
    tops = {method: activation_ranges(model, FACES, Recipe(method, 99.0))["conv2"].high for method in METHODS}
    assert len(set(tops.values())) == 4
    assert max(tops, key=lambda method: tops[method]) == "minmax"


def test_the_input_keeps_all_pixels_whatever_the_faces_show(float_onnx: Path) -> None:
    ranges = activation_ranges(prepared(float_onnx), FACES[:2] // 4 + 60, Recipe("percentile", 90))
    assert (ranges["input"].low, ranges["input"].high) == (0, 1)
    found = input_ranges(prepared(float_onnx))
    assert {(held.low, held.high) for held in found.values()} == {(0, 255), (0, 1)}


def test_our_int8_is_the_one_of_quantize_static(float_onnx: Path, tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs.onnx", tmp_path / "ours.onnx"
    quantize_onnx(float_onnx, theirs, FACES, Target.X86_VNNI)
    graph = prepared(float_onnx)
    onnx.save(quantized(graph, activation_ranges(graph, FACES, PLAIN), Target.X86_VNNI, PLAIN), str(ours))
    onnx.checker.check_model(onnx.load(str(ours)), full_check=True)
    a, b = read_onnx(theirs), read_onnx(ours)
    for name in a.grids:
        assert float(b.grids[name].step) == pytest.approx(float(a.grids[name].step), rel=1e-5), name
    for name in LAYERS:
        np.testing.assert_array_equal(a.layers[name].values, b.layers[name].values)
    assert inspect("onnx", theirs, Precision.INT8) == inspect("onnx", ours, Precision.INT8)
    step = float(a.grids["dense2"].step)
    assert np.abs(logits("onnx", theirs) - logits("onnx", ours)).max() <= 2.01 * step


def logits(engine: str, path: Path) -> np.ndarray:
    started = start(engine, path, Precision.INT8, threads=1)
    try:
        return infer_all(started, FACES)
    finally:
        started.close()


def test_weights_by_tensor_have_one_scale(model: FrozenModel, tmp_path: Path) -> None:
    made(model, Recipe(per_tensor=True), tmp_path)
    for engine, scheme in schemes(tmp_path).items():
        assert {name: len(held.steps) for name, held in scheme.layers.items()} == dict.fromkeys(LAYERS, 1), engine


@pytest.mark.parametrize(
    ("ranges", "left"), [("minmax", ("conv1",)), ("mse", ("dwconv1", "dense2")), ("minmax", ("conv3", "dense1"))]
)
def test_layers_in_float_are_those_and_no_others(
    model: FrozenModel, tmp_path: Path, left: tuple[str, ...], ranges: str
) -> None:
    entries = made(model, Recipe(ranges, float_layers=left), tmp_path)
    reference = model.logits(FACES)
    for engine, scheme in schemes(tmp_path).items():
        assert {name for name, held in scheme.layers.items() if held.steps is None} == set(left), engine
        assert entries[engine]["float_layers"] == list(left)
        path = tmp_path / FILES[engine]
        inspect(engine, path, Precision.INT8, left, LAYERS)  # what its engine runs, not what the file says
        for wrong in ((), (*left[:1], "conv2"), ("conv2",), (*left, "conv2")):
            with pytest.raises(ConversionError, match=r"was to be int8"):
                inspect(engine, path, Precision.INT8, wrong, LAYERS)
        assert np.abs(logits(engine, path) - reference).max() < np.ptp(reference) / 20


def test_onnx_runtime_quantizes_a_layer_behind_our_back_and_is_found_out(
    model: FrozenModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It rounds float weights between DQ and Q by itself: what `keep_float` is for."""
    monkeypatch.setattr(onnx_ranges, "keep_float", lambda model, names: None)
    order = Order(("onnx/int8",), recipe=Recipe("mse", float_layers=("conv1",)))
    with pytest.raises(ConversionError, match=r"int8\.onnx was to be int8 but for conv1, and its engine runs nothing"):
        write_models(model, FACES, order, this_target(), tmp_path, lambda what: None)  # type: ignore[arg-type]


def test_a_layer_that_is_not_there_is_named(model: FrozenModel, tmp_path: Path) -> None:
    order = Order(("tflite/int8",), recipe=Recipe(float_layers=("conv9", "conv1")))
    with pytest.raises(ConversionError, match="has no layer conv9; it has conv1, dwconv1, conv2, conv3, dense1"):
        write_models(model, FACES, order, this_target(), tmp_path, lambda what: None)  # type: ignore[arg-type]


# Equalization


def test_equalization_leaves_the_function_and_evens_the_channels(model: FrozenModel) -> None:
    before = model.keras_model
    after = equalized(before, FACES)
    assert after is not before
    np.testing.assert_allclose(after.predict(FACES[..., None], verbose=0), model.logits(FACES), atol=1e-4)
    pairs = [(pair.first.name, pair.second.name) for pair in pairs_of(before)]
    # The fork and the addition end what could go on from there.
    assert pairs == [("stem", "spatial"), ("spatial", "pointwise"), ("hidden", "logits")]
    for pair in pairs_of(after):
        assert equalizing._equalize(pair) == pytest.approx(1, abs=0.01)  # both sides reach alike: nothing is left to do


def test_equalization_undoes_what_weights_by_tensor_cannot_bear(tmp_path: Path) -> None:
    """Channels of the first layer between 1 and 1/1000, made up for in the second: planted, so float sees nothing."""
    good = chained(layers.ReLU())
    first, second = good.get_layer("first"), good.get_layer("second")
    factors = np.array([1, 0.1, 0.01, 0.001], np.float32)
    planted = chained(layers.ReLU())
    planted.get_layer("first").set_weights([first.get_weights()[0] * factors, first.get_weights()[1] * factors])
    places = second.get_weights()[0].reshape(-1, 4, 7) / factors[None, :, None]
    planted.get_layer("second").set_weights([places.reshape(-1, 7), second.get_weights()[1]])
    errors = {}
    for name, network in {"good": good, "planted": planted, "mended": equalized(planted, FACES)}.items():
        frozen = freeze(network)
        path = tmp_path / f"{name}.tflite"
        write_tflite(frozen, path, Precision.INT8, FACES[:16], Recipe(per_tensor=True))  # type: ignore[arg-type]
        errors[name] = float(np.abs(logits("tflite", path) - frozen.logits(FACES)).mean())
    assert errors["planted"] > 5 * errors["good"], errors
    assert errors["mended"] < 2 * errors["good"], errors


def chained(*between: Any) -> Model:
    utils.set_random_seed(1)
    pixels = Input((48, 48, 1))
    x = layers.Conv2D(4, 3, name="first")(pixels)
    for layer in between:
        x = layer(x)
    return Model(pixels, layers.Dense(7, name="second")(layers.Flatten()(x)))


@pytest.mark.parametrize(
    ("between", "is_pair"),
    [
        ((), True),
        ((layers.ReLU(), layers.MaxPooling2D(), layers.Dropout(0.2)), True),
        ((layers.BatchNormalization(), layers.Activation("relu"), layers.AveragePooling2D(2)), True),
        ((layers.LeakyReLU(), layers.GlobalAveragePooling2D()), True),
        ((layers.ReLU(6.0),), False),
        ((layers.Activation("sigmoid"),), False),
        ((layers.ReLU(), layers.BatchNormalization()), False),
        ((layers.BatchNormalization(scale=False), layers.ReLU()), False),
        ((layers.LayerNormalization(),), False),
    ],
)
def test_what_a_factor_passes_through(between: tuple[Any, ...], is_pair: bool) -> None:
    model = chained(*between)
    found = [(pair.first.name, pair.second.name) for pair in pairs_of(model)]
    assert found == ([("first", "second")] if is_pair else [])
    if is_pair:
        equalized(model, FACES[:4])
    else:
        with pytest.raises(ConversionError, match="--equalize finds no two layers"):
            equalized(model, FACES[:4])


def test_a_layer_that_stands_in_two_places_is_left_alone() -> None:
    twice = layers.Conv2D(4, 3, padding="same", activation="relu", name="twice")
    pixels = Input((48, 48, 1))
    x = layers.Conv2D(4, 3, name="first")(pixels)
    model = Model(pixels, layers.Dense(7)(layers.Flatten()(twice(twice(x)))))
    assert pairs_of(model) == []


def test_an_equalization_that_changes_the_network_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equalizing, "_set_kernel", lambda layer, values: layer.kernel.assign(layer.kernel * 1.01))
    with pytest.raises(ConversionError, match="--equalize changed the network: logits differ by"):
        equalized(chained(layers.ReLU()), FACES[:4])


# The bundle


def with_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    copy = folder / "bundle"
    shutil.copytree(BUNDLED, copy)
    manifest = json.loads((copy / "bundle.json").read_text())
    change(manifest)
    (copy / "bundle.json").write_text(json.dumps(manifest))
    return copy


def test_the_reader_knows_the_layers_in_float_and_bundles_that_say_nothing_of_them(tmp_path: Path) -> None:
    def leave(manifest: dict[str, Any]) -> None:
        for variant in manifest["variants"]:
            variant.pop("float_layers", None)
            if variant["precision"] == "int8":
                variant["float_layers"] = ["conv1", "dense2"]

    bundle = Bundle.open(with_manifest(tmp_path, leave))
    assert bundle.find("tflite", Precision.INT8).float_layers == ("conv1", "dense2")
    assert bundle.find("tflite", Precision.FLOAT32).float_layers == ()


@pytest.mark.parametrize("wrong", ["conv1", [1], None, {}])
def test_a_wrong_list_of_layers_is_one_sentence(tmp_path: Path, wrong: object) -> None:
    def spoil(manifest: dict[str, Any]) -> None:
        manifest["variants"][0]["float_layers"] = wrong

    with pytest.raises(BundleError, match=r"is not a valid manifest .*float_layers"):
        Bundle.open(with_manifest(tmp_path, spoil))


# The command


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of the untrained network, and its data."""
    from fer_edge.train.dataset import save_dataset

    home = tmp_path_factory.mktemp("options")
    data = synthetic_dataset(210, 0)
    save_dataset(data, home / "data")
    folder = RunFolder(home / "run")
    about = {"data_sha256": data.sha256, "data_source": data.source, "data_path": str(home / "data")}
    folder.create(recipe_for("cnn-edge"), about, {})
    network().save(folder.model)
    return folder


def test_the_command_makes_what_it_is_asked_for(run: RunFolder, cli: Callable[..., Any], tmp_path: Path) -> None:
    options = (
        "--ranges",
        "percentile",
        "--percentile",
        "99.9",
        "--per-tensor",
        "--float-layers",
        "conv1",
        "--equalize",
    )
    done = cli("convert", run.path, "--to", "tflite/int8", *options, "--max-drop", "100", "--out", "b")
    assert done.returncode == 0, done.stderr
    bundle = Bundle.open(tmp_path / "b")
    assert bundle.manifest["quantization_recipe"] == {
        "ranges": "percentile", "percentile": 99.9, "per_tensor": True, "float_layers": ["conv1"], "equalized": True,
    }  # fmt: skip
    (variant,) = bundle.variants
    assert (variant.name, variant.float_layers) == ("tflite/int8", ("conv1",))
    assert variant.operators["float32 CONV_2D"] == 1
    told = "int8: ranges by percentile 99.9, one weight scale a tensor, conv1 in float, equalized"
    assert told in " ".join(done.stdout.split())
    assert not (tmp_path / "b" / "float32.onnx").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--ranges", "kmeans"), "unknown --ranges 'kmeans'; choose one of minmax, percentile, entropy, mse"),
        (("--percentile", "99.9"), "--percentile goes with --ranges percentile, not with --ranges minmax"),
        (("--no-int8", "--per-tensor"), "is about int8, and no int8 was asked for"),
    ],
)
def test_wrong_options_are_one_sentence_before_any_work(
    run: RunFolder, cli: Callable[..., Any], tmp_path: Path, options: tuple[str, ...], sentence: str
) -> None:
    done = cli("convert", run.path, *options, "--out", "b")
    assert done.returncode == 1
    assert sentence in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []
