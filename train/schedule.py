"""What the next epoch does, as a pure function of recipe and history: a resumed run needs no other state."""

import math
from collections.abc import Sequence
from dataclasses import replace

from fer_edge.devices.errors import RunError
from fer_edge.train.recipe import Recipe
from fer_edge.train.run_folder import Epoch

COSINE_FLOOR = 0.01


def best_epoch(history: Sequence[Epoch], choose: str) -> int:
    """1-based number of the epoch that is kept: the best by validation, the earliest of equals, or the last."""
    if choose == "last":
        return len(history)
    sign = 1 if choose == "val_accuracy" else -1
    values = [sign * epoch[choose] for epoch in history]
    return values.index(max(values)) + 1


def next_rate(recipe: Recipe, history: Sequence[Epoch]) -> float | None:
    """Learning rate of the next epoch, or None when training is over."""
    done = len(history)
    if done >= recipe.epochs:
        return None
    watched = "val_loss" if recipe.choose == "last" else recipe.choose
    if recipe.stop_patience and history and done - best_epoch(history, watched) >= recipe.stop_patience:
        return None
    if done < recipe.warmup_epochs:
        return recipe.learning_rate * (done + 1) / (recipe.warmup_epochs + 1)
    if recipe.schedule == "cosine":
        return _cosine(recipe, done, recipe.warmup_epochs)
    if recipe.schedule == "hold":
        return _cosine(recipe, done, recipe.epochs - recipe.fall_epochs)
    if recipe.schedule == "constant":
        return recipe.learning_rate
    return _plateau(recipe, history[recipe.warmup_epochs :])


CHANGEABLE = ("epochs", "fall_epochs", "small_epochs")
"""What a training that goes on may be given anew."""


def with_other_end(recipe: Recipe, history: Sequence[Epoch], changes: dict[str, int]) -> Recipe:
    """The recipe with other epochs, where that would have changed nothing up to now.

    Raises:
        RunError: the epochs that were trained would have been others.
    """
    changed = replace(recipe, **changes)  # type: ignore[arg-type]
    for done in range(len(history)):
        before = history[:done]
        small = done < recipe.small_epochs, done < changed.small_epochs
        if next_rate(recipe, before) != next_rate(changed, before) or len(set(small)) > 1:
            raise RunError(
                f"with {', '.join(f'{name} {value}' for name, value in changes.items())} epoch {done + 1}, which is "
                "trained already, would have been another; choose a later end, or a new --out"
            )
    return changed


def _cosine(recipe: Recipe, done: int, start: int) -> float:
    """Half a cosine (Loshchilov and Hutter 2017) from epoch `start` on, down to COSINE_FLOOR of the rate."""
    part = max(0, done - start) / max(1, recipe.epochs - start)
    return recipe.learning_rate * (COSINE_FLOOR + (1 - COSINE_FLOOR) * 0.5 * (1 + math.cos(math.pi * part)))


def _plateau(recipe: Recipe, history: Sequence[Epoch]) -> float:
    rate, best, waited = recipe.learning_rate, float("inf"), 0
    for epoch in history:
        if epoch["val_loss"] < best:
            best, waited = epoch["val_loss"], 0
        else:
            waited += 1
        if waited >= recipe.plateau_patience:
            rate, waited = rate * recipe.plateau_factor, 0
    return rate
