"""Puts a balance into a network, so that rare emotions are named more often, and no runtime has to know.

Logit adjustment (Menon et al. 2021, "Long-tail learning via logit adjustment"): each logit loses `tau` times the
logarithm of how frequent its emotion was in the training. At 0 a network names what is likely where faces are as they
were in Training, at 1 where all emotions are as frequent; between them more of the rare ones is found at little cost.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.calibration.ranges import Range
from fer_edge.convert.frozen import FrozenModel, freeze
from fer_edge.convert.layers import keras_layers
from fer_edge.convert.tempered import deciding_layers
from fer_edge.devices.errors import ConversionError
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.dataset import Dataset
from fer_edge.train.eval_scores import scores
from fer_edge.train.recipe import AnyRecipe
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.split import rows_of
from fer_edge.train.temperature import Logits

Shift = NDArray[np.float32]
TAUS = tuple(step / 20 for step in range(1, 21))
"""What `--balance auto` chooses from."""


def shift_of(run: RunFolder, data: Dataset, tau: float) -> Shift:
    """What each logit (7,) gains: `tau` times how much rarer its emotion is than the geometric mean of all.

    Raises:
        ConversionError: this is not the run's data, or it learned from balanced emotions, or of one emotion nothing.
    """
    _check(run, data)
    counts = np.bincount(data.labels[rows_of(data, run.recipe())[0]], minlength=len(EMOTIONS))
    if not counts.all():
        raise ConversionError(f"--balance: the training had no face of {EMOTIONS[int(counts.argmin())]}; leave it out")
    logarithms = np.log(counts / counts.sum())
    return (tau * (logarithms.mean() - logarithms)).astype(np.float32)


def chosen_tau(logits: Logits, labels: NDArray[np.uint8], whole: Shift) -> float:
    """The largest of `TAUS` at which no fewer validation faces are named rightly than at 0; 0 where there is none.

    Args:
        logits: (N, 7) of the network as it was trained.
        labels: (N,) what the faces are.
        whole: the shift (7,) of 1.
    """
    right = [int(((logits + tau * whole).argmax(1) == labels).sum()) for tau in (0.0, *TAUS)]
    return max((tau for tau, hits in zip(TAUS, right[1:], strict=True) if hits >= right[0]), default=0.0)


def balanced(model: FrozenModel, shift: Shift) -> FrozenModel:
    """The network with its logits shifted, its biases changed in place.

    Raises:
        ConversionError: it does not end in a layer with a bias.
    """
    last = deciding_layers(model.keras_model)
    if not last or not all(layer.use_bias for layer in last):
        raise ConversionError("--balance: the network does not end in a layer whose bias can be shifted; leave it out")
    for layer in last:
        layer.bias.assign_add(shift)
    return freeze(model.keras_model)


def shifted_ranges(ranges: dict[str, Range], model: FrozenModel, shift: Shift) -> dict[str, Range]:
    """Learned ranges by point, with that of the logits wide enough for the shifted ones."""
    last = list(keras_layers(model.keras_model))[-1]
    low, high = float(shift.min()), float(shift.max())
    return {name: Range(r.low + low, r.high + high) if name == last else r for name, r in ranges.items()}


def about(tau: float, shift: Shift, chosen_on: int | None) -> dict[str, Any]:
    """Its part of report.json; `judged` adds what it does to the images that judge."""
    faces = None if chosen_on is None else {"what": "validation faces of the run", "images": chosen_on}
    return {
        "tau": tau,
        "chosen_on": faces,
        "shift": {name: float(by) for name, by in zip(EMOTIONS, shift, strict=True)},
        "before": None,
        "after": None,
    }


def judged(part: dict[str, Any], logits: Logits, labels: NDArray[np.uint8], temperature: float) -> dict[str, Any]:
    """The part with accuracy, mean and worst recall before and after.

    Args:
        part: of `about`, whose shift the network has.
        logits: (N, 7) of the network as it is now.
        labels: (N,) what the images are.
        temperature: by which the shifted logits were divided, 1 if by none.
    """
    shift = np.array([part["shift"][name] for name in EMOTIONS]) / temperature
    found = {}
    for when, own in (("before", logits - shift), ("after", logits)):
        made = scores(labels.astype(np.int64), own.argmax(1), EMOTIONS)
        found[when] = {
            "accuracy": made["accuracy"], "mean_recall": made["macro"]["recall"], "worst_class": made["worst_class"],
        }  # fmt: skip
    return part | found


def _check(run: RunFolder, data: Dataset) -> None:
    recipe: AnyRecipe = run.recipe()
    if run.about()["data_sha256"] != data.sha256:
        raise ConversionError(
            "--balance asks how frequent emotions were in the training, and this is not the run's data; give its --data"
        )
    if getattr(recipe, "class_weights", False) or getattr(recipe, "oversample", False):
        raise ConversionError(f"--balance: {run.path} learned from balanced emotions already; leave it out")
