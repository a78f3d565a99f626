"""Puts a temperature into a network, so that a probability means what it says and no runtime has to know.

Dividing the weights of the logits divides the logits (Guo et al. 2017): labels stay, no operator is added, and int8's
scale of them shrinks with them. It is fitted on the run's validation faces with the float network.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import Model, activations, layers
from numpy.typing import NDArray

from fer_edge.calibration.ranges import Range
from fer_edge.convert.frozen import FrozenModel, freeze
from fer_edge.convert.layers import keras_layers
from fer_edge.train.judge_confidence import scored, summary
from fer_edge.train.temperature import Logits, Temperature, fit_temperature

Labels = NDArray[np.uint8]


def temperature_of(logits: Logits, labels: Labels) -> Temperature | None:
    """The temperature of these faces; None where there is none that can be told from 1."""
    found = fit_temperature(logits, labels)
    return None if found is None or found.low <= 1 <= found.high else found


def tempered(model: FrozenModel, temperature: float) -> FrozenModel | None:
    """The network with its logits divided, its weights changed in place; None where it does not end in dense layers."""
    last = list(_last_layers(model.keras_model))
    if not all(isinstance(layer, layers.Dense) and layer.activation is activations.linear for layer in last):
        return None
    for layer in last:
        layer.set_weights([array / temperature for array in layer.get_weights()])
    return freeze(model.keras_model)


def tempered_ranges(ranges: dict[str, Range], model: FrozenModel, temperature: float) -> dict[str, Range]:
    """Learned ranges by point, with those of the logits divided, too."""
    last = list(keras_layers(model.keras_model))[-1]
    return {
        name: Range(found.low / temperature, found.high / temperature) if name == last else found
        for name, found in ranges.items()
    }


def about(found: Temperature, fitted_on: int, logits: Logits, labels: Labels) -> dict[str, Any]:
    """Its part of report.json: the value with its interval, and the judging faces' calibration before and after it.

    Args:
        found: the temperature.
        fitted_on: how many validation faces.
        logits: (N, 7) of the judging faces, before it.
        labels: (N,) what they are.
    """
    before, after = (summary(scored(logits, labels, t)) for t in (1.0, found.value))
    kept = ("nll", "brier", "mean_confidence", "ece", "ece_equal_mass", "ece_if_calibrated")
    return {
        "value": found.value,
        "interval": [found.low, found.high],
        "fitted_on": {"what": "validation faces of the run", "images": fitted_on},
        "before": {name: before[name] for name in kept},
        "after": {name: after[name] for name in kept},
    }


def _last_layers(model: Any) -> Iterator[Any]:
    """The layers that give the logits; of an ensemble's mean, those of all members."""
    last = model.layers[-1]
    if isinstance(last, Model):
        yield from _last_layers(last)
    elif isinstance(last, layers.Average):
        for member in model.layers:
            if isinstance(member, Model):
                yield from _last_layers(member)
    else:
        yield last
