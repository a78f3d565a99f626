"""The published recipe of every model, and named ones for any CNN; every value can be overridden.

Where a publication says nothing, the value is `Recipe`'s default, or one that is marked as ours.
"""

import dataclasses
from typing import Any

from fer_edge.devices.errors import RunError
from fer_edge.train.recipe import AnyRecipe, ClassicalRecipe, EnsembleRecipe, Recipe

_PLAIN: dict[str, Any] = {"rotation_deg": 0.0, "shift": 0.0, "zoom": 0.0, "flip": False}
# A fixed number of epochs, the last one kept: then validation decides nothing and may be small.
_FIXED: dict[str, Any] = {"schedule": "constant", "stop_patience": 0, "choose": "last", "val_fraction": 0.05}

# Long and with much augmentation, with averaged weights. Faces are small at first, which costs less than half as much.
_FLAGSHIP: dict[str, Any] = {
    "epochs": 56, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "weight_decay": 5e-3,
    "schedule": "hold", "fall_epochs": 22, "warmup_epochs": 2, "stop_patience": 0, "choose": "last", "average": 0.999,
    "label_smoothing": 0.1, "rotation_deg": 15.0, "shift": 0.12, "zoom": 0.15, "contrast": 0.2, "erase": 0.4,
    "small_epochs": 36, "small_side": 32, "validation": "clean", "val_fraction": 0.1,
}  # fmt: skip

RECIPES: dict[str, AnyRecipe] = {
    "logreg": ClassicalRecipe("logreg", train_fraction=0.2, val_fraction=0.05, seed=42),
    "random-forest": ClassicalRecipe("random-forest", val_fraction=0.05, seed=42),
    "mlp": Recipe("mlp", epochs=20, batch_size=64, **_FIXED, **_PLAIN),
    "lstm": Recipe("lstm", epochs=20, batch_size=64, **_FIXED, **_PLAIN),
    "cnn-basic": Recipe("cnn-basic", epochs=20, batch_size=64, **_FIXED, **_PLAIN),
    # The CNN of the published FER-2013 comparisons.
    "cnn": Recipe("cnn"),
    "cnn-small": Recipe("cnn-small", epochs=14, **_FIXED, **_PLAIN),
    "cnn-double": Recipe(
        "cnn-double", epochs=100, batch_size=64, class_weights=True, schedule="constant", stop_patience=0,
        choose="val_accuracy",
    ),
    "cnn-wide": Recipe(
        "cnn-wide", epochs=128, stop_patience=32, schedule="constant", choose="val_accuracy", shear=0.1,
    ),
    "unet": Recipe(
        "unet", epochs=50, batch_size=64, l2=1e-4, plateau_patience=5, stop_patience=10, choose="val_accuracy",
    ),
    "unet-se": Recipe(
        "unet-se", epochs=80, batch_size=64, learning_rate=2e-4, warmup_epochs=5, schedule="cosine",
        class_weights=True, stop_patience=10, choose="val_accuracy",
    ),
    "vit": Recipe("vit", epochs=20, learning_rate=1e-4, **_FIXED, **_PLAIN),
    "resnet50": Recipe(
        "resnet50", epochs=20, batch_size=64, optimizer="adamw", learning_rate=1e-4, weight_decay=4e-3,
        label_smoothing=0.1, schedule="constant", stop_patience=0, choose="val_accuracy", weights="imagenet",
    ),
    "mini-xception": Recipe(
        "mini-xception", epochs=110, rotation_deg=10.0, plateau_factor=0.1, plateau_patience=12, stop_patience=50,
        val_fraction=0.2,
    ),
    # Pairs of convolutions, trained longer and with more regularization.
    "cnn-edge": Recipe(
        "cnn-edge", epochs=45, batch_size=64, optimizer="sgd", learning_rate=0.03, weight_decay=5e-3,
        schedule="cosine", warmup_epochs=2, stop_patience=0, choose="val_accuracy", label_smoothing=0.1,
        mixed_precision=True, contrast=0.2, erase=0.3, val_fraction=0.05,
    ),
    "flagship": Recipe("flagship", **_FLAGSHIP),
    # An eighth of the weights: less decay, less erased, and a longer fall.
    "tiny": Recipe(
        "tiny", **_FLAGSHIP | {
            "epochs": 70, "fall_epochs": 40, "small_epochs": 30, "weight_decay": 2e-3, "erase": 0.2,
        },
    ),
    # To teach with: as many epochs as it had when it taught what ships.
    "vgg10": Recipe("vgg10", **_FLAGSHIP | {"epochs": 24, "fall_epochs": 10, "small_epochs": 15}),
    "resnet12": Recipe("resnet12", **_FLAGSHIP),
    # It has seen faces before, so it needs few epochs.
    "dlib-resnet": Recipe(
        "dlib-resnet", **_FLAGSHIP | {
            "epochs": 14, "learning_rate": 0.02, "schedule": "cosine", "warmup_epochs": 1, "small_epochs": 0,
            "noise": 0.05, "weights": "dlib", "image_side": 112,
        },
    ),
    "autoencoder": Recipe("autoencoder", epochs=10, batch_size=64, schedule="constant", stop_patience=3, **_PLAIN),
}  # fmt: skip

NAMED: dict[str, dict[str, Any]] = {
    "plateau": {
        "rotation_deg": 20.0, "shift": 0.0, "zoom": 0.2, "shear": 0.0, "flip": True, "val_fraction": 0.2,
        "schedule": "plateau", "plateau_factor": 0.2, "plateau_patience": 4, "stop_patience": 8, "choose": "val_loss",
        "warmup_epochs": 0, "epochs": 100,
    },
    "flagship": _FLAGSHIP,
}  # fmt: skip
"""Recipes for any network, put over its own: `fer-edge train --model cnn --recipe plateau`."""


def recipe_for(model: str, named: str | None = None, **overrides: Any) -> AnyRecipe:
    """The model's default recipe, a named one put over it, then the values that are not None.

    Raises:
        RunError: an unknown model or recipe, a value out of range, or one that this kind of model does not have.
    """
    kind, base = kind_of(model), RECIPES.get(model)
    whole = _named(named, kind, model)
    given = whole | {k: v for k, v in overrides.items() if v is not None}
    known = {field.name for field in dataclasses.fields(kind)}
    if strange := sorted(set(given) - known):
        raise RunError(f"{model} is not trained by {', '.join(strange)}; leave it out")
    if base is None:
        return EnsembleRecipe(**given)
    if isinstance(base, Recipe) and (overrides.get("epochs") or 0) > 0:
        shares = _shares(dataclasses.replace(base, **whole), overrides["epochs"])
        given |= {name: value for name, value in shares.items() if overrides.get(name) is None}
    return dataclasses.replace(base, **given)


def _shares(asked: Recipe, epochs: int) -> dict[str, Any]:
    """The epochs of the warm-up, of small faces and of the rate's fall, in another number of epochs."""
    shares: dict[str, Any] = {"warmup_epochs": min(asked.warmup_epochs, epochs - 1)}
    if asked.small_epochs:
        shares["small_epochs"] = asked.small_epochs * epochs // asked.epochs
    if asked.schedule == "hold":
        shares["fall_epochs"] = max(1, asked.fall_epochs * epochs // asked.epochs)
    return shares


def aware_recipe(base: AnyRecipe, path: str, **overrides: Any) -> Recipe:
    """The recipe that trains a finished run on under int8's rounding; values that are not None come last.

    A fiftieth of its rate, falling over 8 epochs: the weights are near their place. Its batch norm is folded, so decay
    would shrink what is not scaled again. The split stays, because the run was fitted to all but its validation faces.

    Raises:
        RunError: the run is no network's with logits, or is itself such a one.
    """
    if not isinstance(base, Recipe) or base.model == "autoencoder":
        raise RunError(f"{path} is a {base.model}; quantization-aware training takes networks with logits")
    if base.quantization_aware is not None:
        raise RunError(f"{path} is quantization-aware already; give the float run, {base.quantization_aware}")
    if overrides.get("start") is not None:
        raise RunError(f"--quantization-aware begins with the weights of {path}; leave out --start")
    built = ("dropout", "image_side", "standardize", "weights", "trainable", "labels")
    if fixed := [name for name in built if overrides.get(name) is not None]:
        raise RunError(f"the network of {path} is built already; leave out {', '.join(fixed)}")
    own: dict[str, Any] = {
        "quantization_aware": path, "epochs": 8, "learning_rate": base.learning_rate / 50, "schedule": "cosine",
        "warmup_epochs": 0, "small_epochs": 0, "weight_decay": 0.0, "l2": 0.0, "average": 0.0, "stop_patience": 0,
        "sharpness": 0.0, "choose": "last", "mixed_precision": False, "start": None,
    }  # fmt: skip
    return dataclasses.replace(base, **own | {k: v for k, v in overrides.items() if v is not None})


def kind_of(model: str) -> type:
    """The class of the model's recipe.

    Raises:
        RunError: an unknown model.
    """
    if model == "ensemble":
        return EnsembleRecipe
    if model not in RECIPES:
        raise RunError(f"unknown model {model!r}; choose one of {', '.join([*RECIPES, 'ensemble'])}")
    return type(RECIPES[model])


def _named(name: str | None, kind: type, model: str) -> dict[str, Any]:
    if name is None:
        return {}
    if name not in NAMED:
        raise RunError(f"unknown recipe {name!r}; choose one of {', '.join(NAMED)}")
    if kind is not Recipe:
        raise RunError(f"recipe {name!r} is for networks, and {model} is none")
    return dict(NAMED[name])
