"""Begins a training with a bundle's weights, where its run is not at hand: what ships learns one's own faces.

Owns the way back from a float32 TFLite file, whose batch norm is folded into the weights, to a network that has it.
"""

from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from fer_edge.devices.errors import BundleError, RunError
from fer_edge.edge_runtime.bundle import MANIFEST, Bundle, bundle_path
from fer_edge.edge_runtime.golden import compare
from fer_edge.edge_runtime.vocabulary import Precision
from fer_edge.train.dataset import Dataset
from fer_edge.train.feed import predicted
from fer_edge.train.recipe import Recipe
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.split import check_unseen

Weights = tuple[NDArray[np.float32], NDArray[np.float32]]
"""A layer's kernel, in Keras's order, and its bias."""
GRAYS = 255
"""The converter folds the network's rescaling of pixels into its first kernel."""
_OUT_LAST = {"CONV_2D": (1, 2, 3, 0), "FULLY_CONNECTED": (1, 0)}
"""TFLite's kernels begin with the outputs, Keras's end with them."""


def trained_on(run: RunFolder) -> dict[str, Any] | None:
    """What a bundle has to say of its run for `check_bundle`; None where it is no network's."""
    recipe = run.recipe()
    if not isinstance(recipe, Recipe):
        return None
    return {
        "data_sha256": run.about()["data_sha256"],
        "recipe": {name: getattr(recipe, name) for name in ("model", "validation", "val_fraction", "seed")},
    }


def bundle_of(start: str | None) -> Bundle | None:
    """The bundle that `--start` names, by its path or by the name of one that ships; None where it names runs.

    Raises:
        BundleError: it is a bundle, and cannot be read.
    """
    path = bundle_path(start or "")
    return Bundle.open(path) if start and (path.is_file() or (path / MANIFEST).is_file()) else None


def check_bundle(bundle: Bundle, recipe: Recipe, data: Dataset) -> None:
    """Whether the bundle has not been fitted to the faces that validate here.

    Raises:
        RunError: it may have been: it comes from this very data, and kept other faces or does not say which.
        BundleError: it has no float32 variant for TFLite.
    """
    who, trained = f"--start {bundle.name}", bundle.manifest.get("trained")
    bundle.find("tflite", Precision.FLOAT32)
    if trained is None:
        raise RunError(
            f"{who}: the bundle does not say what it was trained on; start from its run, or convert that again"
        )
    try:
        theirs, known = Recipe(**trained["recipe"]), str(trained["data_sha256"])
    except (TypeError, KeyError, RunError) as error:
        raise BundleError(f"{bundle.path / MANIFEST}: `trained` cannot be read ({error})") from error
    if theirs.model != recipe.model:
        raise RunError(f"{who} is a {theirs.model}, not a {recipe.model}; start from a bundle of the same network")
    if known == data.sha256:  # of other data nothing is known, and one's own faces are such
        check_unseen(who, known, theirs, data, recipe)


def begin_with_bundle(model: keras.Model, bundle: Bundle, faces: NDArray[np.uint8]) -> None:
    """Give a new network the weights of a bundle; its logits begin anew where the classes are others.

    A folded batch norm comes back with the mean and variance that its layer has on `faces` (N, side, side, 1), which
    are to be as the training's are: then it says on a batch nearly what the folded weights say.

    Raises:
        RunError: the network is no chain, or the bundle's is another one.
        BundleError: its file cannot be read.
    """
    theirs, own = _weights(bundle), _places(model)
    if len(theirs) != len(own) or any(
        kernel.shape[: None if norm else -1] != np.shape(layer.kernel)[: None if norm else -1]
        for (kernel, _), (layer, norm) in zip(theirs, own, strict=True)
    ):
        raise RunError(f"--start {bundle.name} is of other shapes than a {model.name}; start from the same network")
    for (kernel, bias), (layer, norm) in zip(theirs, own, strict=True):
        if norm is not None:
            layer.set_weights([kernel])
            _unfold(norm, bias, predicted(keras.Model(model.inputs, layer.output), faces))
        elif kernel.shape == layer.kernel.shape:
            layer.set_weights([kernel, bias])
    if theirs[-1][0].shape == own[-1][0].kernel.shape:
        _check_same(model, bundle)


def _check_same(model: keras.Model, bundle: Bundle) -> None:
    """Whether the network says of the golden faces what the bundle says."""
    golden = bundle.golden()
    wanted = golden.logits["tflite/float32"]
    got = predicted(model, golden.faces[..., None])
    found = compare(bundle.find("tflite", Precision.FLOAT32), wanted, got)
    if not found.holds:
        raise RunError(
            f"--start {bundle.name}: with its weights a {model.name} says something else of the golden faces (by "
            f"{found.max_difference:.2g} in logits), so it is another network; start from its run"
        )


def _unfold(norm: Any, bias: NDArray[np.float32], results: NDArray[np.float32]) -> None:
    """Make the batch norm after a layer say that layer's `results` (N, H, W, C) plus `bias`."""
    mean, variance = results.mean((0, 1, 2)), results.var((0, 1, 2))
    norm.set_weights([np.sqrt(variance + norm.epsilon), mean + bias, mean, variance])


def _places(model: keras.Model) -> list[tuple[Any, Any]]:
    """The layers with weights in the order of the network, each with the batch norm behind it or None."""
    places: list[tuple[Any, Any]] = []
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            before = places[-1] if places else None
            if before is None or layer.input is not before[0].output:
                break
            places[-1] = (before[0], layer)
        elif isinstance(layer, layers.Conv2D | layers.Dense):
            places.append((layer, None))
        elif layer.weights:
            break
    else:
        if all((norm is None) == layer.use_bias for layer, norm in places):
            return places
    raise RunError(f"a {model.name} cannot begin with a bundle: its batch norm does not come back; start from a run")


def _weights(bundle: Bundle) -> list[Weights]:
    """Kernels and biases of the float32 TFLite variant, in the order in which it runs them."""
    from fer_edge.edge_runtime.operators_tflite import open_content  # loads the engine

    path = bundle.file(bundle.find("tflite", Precision.FLOAT32))
    lite = open_content(path.read_bytes(), str(path), threads=1)
    found: list[Weights] = []
    operators = lite._get_ops_details()
    if operators[0]["op_name"] not in _OUT_LAST:
        raise BundleError(f"{path} begins with {operators[0]['op_name']}, not with its weights; start from its run")
    for op in operators:
        if (order := _OUT_LAST.get(op["op_name"])) is not None:
            kernel, bias = (lite.get_tensor(at) for at in op["inputs"][1:])
            found.append((kernel.transpose(order) * (1 if found else GRAYS), bias))
        elif op["op_name"] in ("DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "BATCH_MATMUL"):
            raise BundleError(f"{path} has a {op['op_name']}, whose weights do not come back; start from its run")
    return found
