"""Begins the training of `dlib-resnet` with the weights of dlib's file, into which batch norm is folded."""

from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from fer_edge.devices.errors import RunError, needs_extra
from fer_edge.train.bundle_start import unfold
from fer_edge.train.dlib_weights import FlatConv, read_dlib
from fer_edge.train.models import LOGITS, computing_in, of_recipe
from fer_edge.train.recipe import Recipe

INSTALLED = "dlib"
"""What `weights` says for the file that the package face_recognition_models brings (CC0)."""
FILE = "dlib_face_recognition_resnet_model_v1.dat"
MEANS = np.array((122.782, 117.001, 104.298), np.float32) / 256
"""What dlib takes from red, green and blue before it divides by 256."""


def weights_file(weights: str) -> Path:
    """The file that a recipe's `weights` names.

    Raises:
        RunError: it is the one of a package that is not installed.
    """
    if weights != INSTALLED:
        return Path(weights)
    package = find_spec("face_recognition_models")
    if package is None or not package.submodule_search_locations:
        missing = needs_extra("face_recognition_models, which brings dlib's weights,", "faces")
        raise RunError(f"{missing}; or give --weights FILE, or --weights none")
    return Path(package.submodule_search_locations[0]) / "models" / FILE


def begin_with_dlib(model: keras.Model, recipe: Recipe, path: Path, faces: NDArray[np.uint8]) -> None:
    """Give a new `dlib-resnet` the weights of dlib's face recognition ResNet, all but those of its logits.

    Batch norm gets the mean and variance that its layer has on `faces` (N, 48, 48, 1), which are to be as the
    training's are: then it says of a batch nearly what the folded weights say.

    Raises:
        RunError: the file cannot be read, or it is another network's.
    """
    read = read_dlib(path)
    with computing_in("float32"):
        exact = of_recipe(recipe, pretrained=False)
    convs = [layer for layer in exact.layers if isinstance(layer, layers.Conv2D)]
    norms = [layer for layer in exact.layers if isinstance(layer, layers.BatchNormalization)]
    if len(read) != len(convs):
        raise RunError(f"{path} has {len(read)} convolutions where dlib's face recognition ResNet has {len(convs)}")
    for number, (conv, norm, flat) in enumerate(zip(convs, norms, read, strict=True), 1):
        if flat.kernel.size != (3 if number == 1 else 1) * np.prod(conv.kernel.shape):
            raise RunError(f"convolution {number} of {path} is not that of dlib's face recognition ResNet")
        kernel, bias = _of_gray(flat) if number == 1 else flat.folded(3)
        conv.set_weights([kernel])
        results = keras.Model(exact.inputs[0], conv.output)(faces, training=False)
        unfold(norm, bias, keras.ops.convert_to_numpy(results))
    model.set_weights(exact.get_weights()[:-LOGITS] + model.get_weights()[-LOGITS:])


def _of_gray(stem: FlatConv) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The stem for a gray 0..1 that stands for red, green and blue: their kernels' sum, their means in the bias."""
    kernel, bias = stem.folded(7)
    return kernel.sum(axis=2, keepdims=True) * np.float32(255 / 256), bias - np.einsum("hwco,c->o", kernel, MEANS)
