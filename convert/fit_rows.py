"""Which images fit the temperature, and which others judge it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import RunError
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.dataset import Dataset
from fer_edge.train.run_folder import RunFolder

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FitRows:
    """Rows of the data that fit, those that judge, both ascending and without a row in common, and what they are."""

    fit: Rows
    fit_on: str
    judge: Rows
    judge_on: str


def choose_fit_rows(data: Dataset, bundle: Bundle, split: str, run: RunFolder | None, seed: int) -> FitRows:
    """The validation faces of `run` or the data's own, and all of `split` to judge; else a half of `split` each.

    Raises:
        RunError: the run did not make the bundle, or on other data.
    """
    judged = data.held_out(split)
    rows = None if run is None else _validation(run, data, bundle)
    if split != "val":
        if rows is not None:
            return FitRows(rows, "validation faces of the run", judged, split)
        if len(own := data.rows("val")):
            return FitRows(own, "val", judged, split)
    chosen = _half(judged, data.labels[judged], seed)
    return FitRows(
        judged[chosen], f"half of {split}, each emotion halved, seed {seed}", judged[~chosen], "the other half"
    )


def _half(rows: Rows, labels: NDArray[np.uint8], seed: int) -> NDArray[np.bool_]:
    """Of every emotion a random half of the rows; of odd numbers, the smaller."""
    rng, chosen = np.random.default_rng([seed, 10]), np.zeros(len(rows), bool)
    for label in range(len(EMOTIONS)):
        own = rng.permutation(np.flatnonzero(labels == label))
        chosen[own[: len(own) // 2]] = True
    return chosen


def _validation(run: RunFolder, data: Dataset, bundle: Bundle) -> Rows:
    if run.identity() != bundle.manifest["training_run"]:
        raise RunError(f"{run.path} is not the run that bundle {bundle.name!r} was made of; leave --run out")
    from fer_edge.train.quietly import keras_quietly  # the run's split is where Keras is

    keras_quietly()
    from fer_edge.convert.gate_run import validation_rows

    rows = validation_rows(run, data)
    if rows is None:
        raise RunError(f"{run.path} was trained on other data, so its validation faces are not known; leave --run out")
    return rows
