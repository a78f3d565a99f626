"""A recipe in words, short for a table and in full for one model. Loads neither Keras nor scikit-learn."""

import dataclasses
from typing import Any

from fer_edge.train.recipe import AnyRecipe, ClassicalRecipe, EnsembleRecipe

_AUGMENTATION = ("rotation_deg", "shift", "zoom", "shear", "flip", "contrast", "erase", "blur", "noise")


def in_short(recipe: AnyRecipe | None) -> str:
    """What decides most, in at most 36 characters; an ensemble's recipe (None) is its members."""
    if recipe is None or isinstance(recipe, EnsembleRecipe):
        return "averages --members"
    if isinstance(recipe, ClassicalRecipe):
        return f"lbfgs, PCA {recipe.components}" if recipe.model == "logreg" else f"{recipe.trees} trees"
    augmented = any(getattr(recipe, name) for name in _AUGMENTATION)
    words = f"{recipe.optimizer} {recipe.learning_rate:g}, {recipe.batch_size}×{recipe.epochs}"
    return words + (", augmented" if augmented else "")


def in_full(recipe: AnyRecipe) -> list[tuple[str, Any, str]]:
    """Name, value and line of help of every value, in the recipe's order; `model` left out."""
    return [
        (field.name, getattr(recipe, field.name), field.metadata["help"])
        for field in dataclasses.fields(recipe)
        if field.name != "model"
    ]


def differing(recipe: AnyRecipe, default: AnyRecipe) -> dict[str, Any]:
    """The values in which a recipe departs from another of its kind, by name."""
    return {
        name: value
        for name, value, _ in in_full(recipe)
        if type(recipe) is not type(default) or value != getattr(default, name)
    }


def as_text(value: Any) -> str:
    """A value as `--set` takes it."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
