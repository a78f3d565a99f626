"""The networks, built by name. Raw pixels 0..255 in, logits out; rescaling is inside the graph."""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import keras
from keras import layers

from fer_edge.devices.errors import RunError
from fer_edge.edge_runtime.vocabulary import FACE_SIDE
from fer_edge.train.net_layers import NetOptions
from fer_edge.train.recipe import Recipe
from fer_edge.train.zoo import MODELS

ANY_SIDE = ("cnn-edge", "flagship", "tiny", "vgg10", "resnet12")
WITH_WEIGHTS = ("resnet50", "dlib-resnet")
"""Networks that others have trained before, whose weights a recipe names."""
LOGITS = 2
"""The last arrays of a network's weights: kernel and bias of its logits."""
Body = Callable[[keras.KerasTensor, NetOptions], keras.KerasTensor]


def build_model(
    name: str,
    options: NetOptions | None = None,
    *,
    standardize: bool = False,
    l2: float = 0.0,
    side: int | None = FACE_SIDE,
) -> keras.Model:
    """A new network: (N, 48, 48, 1) pixels 0..255 to (N, classes) logits, under the current dtype policy.

    The autoencoder gives (N, 48, 48, 1) grays 0..1 in their place. With a `side` of None it takes faces of any side.

    Raises:
        RunError: the name is unknown or is no network's, its weights cannot be had, or it does not take any side.
    """
    if side is None and name not in ANY_SIDE:
        raise RunError(
            f"small_epochs is for networks that take faces of any side, {', '.join(ANY_SIDE)}; {name} is none"
        )
    pixels = keras.Input((side, side, 1), name="pixels")
    x = layers.Rescaling(1.0 / 255, name="rescale")(pixels)
    if standardize:
        # Nothing is learned here: mean 0 and deviation 1 by the face's own pixels, in float32.
        x = layers.LayerNormalization(
            axis=(1, 2, 3), center=False, scale=False, epsilon=1e-6, dtype="float32", name="standardize"
        )(x)
    model = keras.Model(pixels, _body(name)(x, options or NetOptions()), name=name.replace("-", "_"))
    return penalized(model, l2)


def of_recipe(recipe: Recipe, *, pretrained: bool = True, side: int | None = FACE_SIDE) -> keras.Model:
    """The network of a recipe; without `pretrained` its weights are random, to be set by the caller.

    Raises:
        RunError: the recipe asks for weights that this network does not take, or that cannot be had.
    """
    if recipe.weights not in (None, "none") and recipe.model not in WITH_WEIGHTS:
        raise RunError(f"{recipe.model} takes no weights of another's; leave out --weights {recipe.weights}")
    weights = recipe.weights if pretrained and recipe.weights not in (None, "none") else None
    options = NetOptions(recipe.class_count, recipe.dropout, recipe.image_side, weights, _trainable(recipe))
    return build_model(recipe.model, options, standardize=recipe.standardize, l2=recipe.l2, side=side)


@contextmanager
def computing_in(policy: str) -> Iterator[None]:
    """Networks that are built while it is open compute in this dtype policy of Keras."""
    usual = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(usual)


def penalized(model: keras.Model, l2: float) -> keras.Model:
    """The same network with a penalty on its kernels in its loss; a network read from a file has lost it."""
    if l2:
        for variable in model.trainable_variables:
            if variable.name.endswith("kernel"):
                variable.regularizer = keras.regularizers.L2(l2)
    return model


def load_network(path: Path, *, with_optimizer: bool = False) -> keras.Model:
    """Read a network that `fer-edge train` wrote.

    Raises:
        RunError: the file is damaged or is no Keras model.
    """
    for module in ("net_sequence", "distill", "aware_layers"):  # they register what Keras does not have
        import_module(f"fer_edge.train.{module}")
    try:
        return keras.models.load_model(path, compile=with_optimizer)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} cannot be read as a Keras model ({str(error).splitlines()[0][:200]})") from error


def _trainable(recipe: Recipe) -> float | None:
    from fer_edge.train.net_resnet import TRAINABLE

    if recipe.trainable is not None:
        return recipe.trainable
    return 1.0 if recipe.weights in (None, "none") else TRAINABLE


def _body(name: str) -> Body:
    if name not in MODELS or MODELS[name].kind not in ("keras", "autoencoder"):
        known = [entry.name for entry in MODELS.values() if entry.kind in ("keras", "autoencoder")]
        raise RunError(f"unknown model {name!r}; choose one of {', '.join(known)}")
    return getattr(import_module(f"fer_edge.train.{MODELS[name].module}"), name.replace("-", "_"))
