"""Puts a temperature into a network, so that a probability means what it says and no runtime has to know.

Dividing the weights of the logits divides the logits (Guo et al. 2017): the float network's labels stay, no operator is
added, and int8's scale of the logits shrinks with them. It is fitted on the run's validation faces with that network.
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
from fer_edge.train.temperature import Logits, Temperature, consistent_temperature

Labels = NDArray[np.uint8]


def temperature_of(logits: Logits, labels: Labels) -> Temperature | None:
    """The temperature at which the mean confidence is what is right; None where none can be told from 1."""
    found = consistent_temperature(logits, labels)
    return None if found is None or found.low <= 1 <= found.high else found


def tempered(model: FrozenModel, temperature: float) -> FrozenModel | None:
    """The network with its logits divided, its weights changed in place; None where its end does not let that be."""
    last = deciding_layers(model.keras_model)
    if not last:
        return None
    for layer in last:
        layer.set_weights([array / temperature for array in layer.get_weights()])
    return freeze(model.keras_model)


def deciding_layers(model: Any) -> list[Any]:
    """The layers whose weights are linear in the logits, of an ensemble those of all members; none if one has none."""
    ends = list(_ends(model))
    last = [layer for end in ends if (layer := _weighted(*end)) is not None]
    return last if len(last) == len(ends) and all(x.activation is activations.linear for x in last) else []


def tempered_ranges(ranges: dict[str, Range], model: FrozenModel, temperature: float) -> dict[str, Range]:
    """Learned ranges by point, with those of the logits divided, too."""
    last = list(keras_layers(model.keras_model))[-1]
    return {
        name: Range(found.low / temperature, found.high / temperature) if name == last else found
        for name, found in ranges.items()
    }


def about(found: Temperature, fitted_on: int) -> dict[str, Any]:
    """Its part of report.json; `judged` adds what it does to the images that judge."""
    return {
        "value": found.value,
        "interval": [found.low, found.high],
        "why_not": None,
        "fitted_on": {"what": "validation faces of the run", "images": fitted_on},
        "before": None,
        "after": None,
    }


def none_put_in(why_not: str) -> dict[str, Any]:
    """The part of report.json where no temperature was put in, though one was asked for."""
    keys = ("value", "interval", "why_not", "fitted_on", "before", "after")
    return dict.fromkeys(keys) | {"why_not": why_not}


def judged(part: dict[str, Any], logits: Logits, labels: Labels) -> dict[str, Any]:
    """The part with the calibration of images that the temperature was not fitted to, before and after it.

    Args:
        part: of `about`, whose temperature the network has.
        logits: (N, 7) of the network as it is now.
        labels: (N,) what the images are.
    """
    kept = ("nll", "brier", "mean_confidence", "ece", "ece_equal_mass", "ece_if_calibrated")
    found = {}
    for when, temperature in (("before", 1 / part["value"]), ("after", 1.0)):
        figures = summary(scored(logits, labels, temperature))
        found[when] = {name: figures[name] for name in kept}
    return part | found


def _ends(model: Any) -> Iterator[tuple[Any, Any]]:
    """The layers that give the logits, with those before them; of an ensemble's mean, those of all members."""
    last = model.layers[-1]
    if isinstance(last, Model):
        yield from _ends(last)
    elif isinstance(last, layers.Average):
        for member in model.layers:
            if isinstance(member, Model):
                yield from _ends(member)
    else:
        yield last, model.layers[-2]


def _weighted(last: Any, before: Any) -> Any | None:
    """The layer whose weights decide the logits' size: the last, or a convolution of which it takes the mean."""
    if isinstance(last, layers.Dense):
        return last
    if isinstance(last, layers.GlobalAveragePooling2D) and isinstance(before, layers.Conv2D):
        return before if last.input is before.output else None
    return None
