"""How a model is trained, as a value: loads, validates and prints without Keras.

A model's published recipe is its default; every value can be overridden from the command line.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from fer_edge.devices.errors import RunError


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run besides the data.

    Angles in degrees; `shift`, `zoom`, `contrast` and `erase` are fractions (of the side, of 1, of 1, of the side).
    `schedule` "plateau" multiplies the rate by `plateau_factor` after `plateau_patience` epochs without a lower
    validation loss; "cosine" falls from `learning_rate` to 1% of it over `epochs`, after `warmup_epochs` of rising.
    `stop_patience` 0 never stops early. `choose` says by which validation figure the best epoch is chosen.
    """

    model: str
    epochs: int = 50
    batch_size: int = 32
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: Literal["plateau", "cosine"] = "plateau"
    warmup_epochs: int = 0
    plateau_factor: float = 0.5
    plateau_patience: int = 3
    stop_patience: int = 7
    choose: Literal["val_loss", "val_accuracy"] = "val_loss"
    label_smoothing: float = 0.0
    class_weights: bool = False
    mixed_precision: bool = False
    rotation_deg: float = 15.0
    shift: float = 0.1
    zoom: float = 0.1
    flip: bool = True
    contrast: float = 0.0
    erase: float = 0.0
    val_fraction: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        _check("epochs", self.epochs, 1, 10_000)
        _check("batch_size", self.batch_size, 1, 8192)
        _check("learning_rate", self.learning_rate, 1e-9, 10)
        _check("weight_decay", self.weight_decay, 0, 1)
        _check("warmup_epochs", self.warmup_epochs, 0, self.epochs)
        _check("plateau_factor", self.plateau_factor, 0.01, 1)
        _check("plateau_patience", self.plateau_patience, 1, 10_000)
        _check("stop_patience", self.stop_patience, 0, 10_000)
        _check("label_smoothing", self.label_smoothing, 0, 0.9)
        _check("rotation_deg", self.rotation_deg, 0, 180)
        for name in ("shift", "zoom", "contrast", "erase"):
            _check(name, getattr(self, name), 0, 0.9)
        _check("val_fraction", self.val_fraction, 0.01, 0.5)
        _check("seed", self.seed, 0, 2**32 - 1)
        for name, allowed in (
            ("optimizer", ("adam", "sgd")),
            ("schedule", ("plateau", "cosine")),
            ("choose", ("val_loss", "val_accuracy")),
        ):
            if getattr(self, name) not in allowed:
                raise RunError(f"{name} {getattr(self, name)!r} is unknown; choose one of {', '.join(allowed)}")

    def to_json(self) -> dict[str, Any]:
        """A dictionary that `from_json` takes back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Recipe":
        """The recipe of a run folder.

        Raises:
            RunError: a key that this version does not know.
        """
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise RunError(f"recipe has unknown keys: {', '.join(unknown)}")
        return cls(**values)


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise RunError(f"{name} {value} is outside {low}..{high}")


def cosine_rate(recipe: Recipe, epoch: int) -> float:
    """Learning rate of a 0-based epoch: linear warm-up, then half a cosine (Loshchilov and Hutter 2017)."""
    if epoch < recipe.warmup_epochs:
        return recipe.learning_rate * (epoch + 1) / (recipe.warmup_epochs + 1)
    done = (epoch - recipe.warmup_epochs) / max(1, recipe.epochs - recipe.warmup_epochs)
    floor = 0.01
    return recipe.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))


RECIPES = {
    # The CNN of the published FER-2013 comparisons.
    "cnn": Recipe(model="cnn"),
    # The one that ships: pairs of convolutions, trained longer and with more regularization.
    "cnn-edge": Recipe(
        model="cnn-edge",
        epochs=45,
        batch_size=64,
        optimizer="sgd",
        learning_rate=0.03,
        weight_decay=5e-3,
        schedule="cosine",
        warmup_epochs=2,
        stop_patience=0,
        choose="val_accuracy",
        label_smoothing=0.1,
        mixed_precision=True,
        contrast=0.2,
        erase=0.3,
        val_fraction=0.05,
    ),
}


def recipe_for(model: str, **overrides: Any) -> Recipe:
    """The model's default recipe with the values that are not None replaced.

    Raises:
        RunError: an unknown model or a value out of range.
    """
    if model not in RECIPES:
        raise RunError(f"unknown model {model!r}; choose one of {', '.join(RECIPES)}")
    given = {k: v for k, v in overrides.items() if v is not None}
    if given.get("epochs", 0) > 0:
        given["warmup_epochs"] = min(RECIPES[model].warmup_epochs, given["epochs"] - 1)
    return dataclasses.replace(RECIPES[model], **given)
