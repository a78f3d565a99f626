"""Which faces a network is fitted to and which ones validate it. Imports no framework.

Owns the ways of drawing validation; every command that looks at validation faces asks here, with the run's recipe.
"""

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import DataError, RunError
from fer_edge.train.balance import stratified
from fer_edge.train.dataset import Dataset
from fer_edge.train.recipe import AnyRecipe

Rows = NDArray[np.int64]
_CLEAN_SEED = 7


def rows_of(data: Dataset, recipe: AnyRecipe) -> tuple[Rows, Rows]:
    """Rows to fit on and rows to validate on, as the recipe's `validation` asks; `train_fraction` is not applied."""
    if recipe.validation != "stratified":
        return clean_rows(data, recipe.val_fraction, known=recipe.validation == "apart")
    return fit_and_val_rows(data, recipe.val_fraction, recipe.seed)


def split_of(recipe: AnyRecipe) -> str:
    """What decides which faces validate, in words; the same words, the same faces of the same data."""
    if recipe.validation != "stratified":
        return f"clean, val_fraction {recipe.val_fraction:g}"
    return f"val_fraction {recipe.val_fraction:g} and seed {recipe.seed}"


def check_unseen(who: str, data_sha256: str, theirs: AnyRecipe, data: Dataset, recipe: AnyRecipe) -> None:
    """Whether a finished run was fitted to none of the faces that validate a new one, nor to what that leaves out.

    Raises:
        RunError: it may have been; the message begins with `who`.
    """
    if data_sha256 != data.sha256:
        raise RunError(f"{who} was trained on other data; it may know the faces that validate")
    if recipe.validation == "clean" and theirs.validation == "apart":
        raise RunError(f"{who} was fitted to copies of test images; give --set validation=apart here, too")
    if len(data.rows("val")):
        if recipe.validation != "stratified" and theirs.validation == "stratified":
            raise RunError(
                f"{who} may have been fitted to near copies of the faces that validate; train it with "
                "--set validation=clean, too"
            )
    elif split_of(theirs) != split_of(recipe):
        raise RunError(
            f"{who} keeps other faces for validation ({split_of(theirs)}, here {split_of(recipe)}), "
            "so it may have been fitted to those that validate here; train both with the same"
        )


def fit_and_val_rows(data: Dataset, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Rows to fit on and rows to validate on: the `val` split where there is one, else a stratified part of `train`.

    FER-2013 repeats images; a copy of a validation image is left out of the rows to fit on.
    """
    train, val = data.rows("train"), data.rows("val")
    if len(val) == 0:
        val = stratified(data, train, fraction, np.random.default_rng([seed, 1]))
    seen = {data.faces[row].tobytes() for row in val}
    fit = np.array([row for row in train if data.faces[row].tobytes() not in seen], np.int64)
    return fit, val


def clean_rows(data: Dataset, fraction: float, known: bool = False) -> tuple[Rows, Rows]:
    """Rows to fit on and to validate on, of which no photo lies in the other, nor in the test images.

    With `known`, copies of test images are fitted on, as published figures were; the validation faces stay the same.

    Duplicates are `duplicates.py`'s, exact and near, over all splits: whatever shares a group with a face that judges
    is not fitted on. The validation faces are a stratified part of those of `train` that have no duplicate at all. They
    are the same for every seed, so that runs of several seeds can be compared and averaged.

    Raises:
        DataError: all images of `train` have a duplicate.
    """
    from fer_edge.train.duplicates import find_duplicates  # some seconds of hashing are for those who ask

    group = find_duplicates(data.faces).group
    train, val = data.rows("train"), data.rows("val")
    if len(val) == 0:
        val = stratified(data, train[group[train] < 0], fraction, np.random.default_rng([_CLEAN_SEED, 1]))
    if len(val) == 0:
        raise DataError(
            "every image of train has a duplicate, exact or near, so none can validate cleanly; "
            "give --set validation=stratified, or a split val"
        )
    judges = val if known else np.concatenate([val, data.rows("test"), data.rows("private")])
    shared = np.isin(group[train], group[judges][group[judges] >= 0])
    return np.setdiff1d(train[~shared], val), val


def fit_part(data: Dataset, fit: Rows, fraction: float, seed: int) -> Rows:
    """The part of the rows to fit on that a recipe's `train_fraction` takes."""
    return fit if fraction == 1 else stratified(data, fit, fraction, np.random.default_rng([seed, 4]))
