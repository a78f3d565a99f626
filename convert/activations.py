"""Runs the float network and collects what its activations are, by point, for `calibration` to make ranges of.

Points are the places that int8 rounds anew, by name: input, conv1, mean1, dense1 (see `convert/scheme.py`). A layer's
values are those after its bias and activation. Must not know a method or a quantizer.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from fer_edge.calibration.histogram import Histogram
from fer_edge.calibration.ranges import Range, minmax, range_of
from fer_edge.convert.emulate import start_session
from fer_edge.convert.float_graph import FloatGraph
from fer_edge.convert.quantization_recipe import QuantizationRecipe
from fer_edge.convert.scheme import INPUT, owners
from fer_edge.devices.errors import ConversionError

CHUNK = 16
"""Faces at a time: 5 MB of a first layer of 32 channels."""
FULL_RANGE = np.stack([np.zeros((48, 48), np.uint8), np.full((48, 48), 255, np.uint8)])
"""A black and a white frame: no pixel lies beyond them, so the input's range needs no other faces."""

Values = dict[str, NDArray[np.float32]]
"""Arrays (N, …) by name, for N faces."""


def tensor_points(model: onnx.ModelProto) -> dict[str, str]:
    """By tensor of a float ONNX model the point whose values it holds."""
    graph = FloatGraph(model, "the float model")
    return {str(tensor): name for tensor, name in owners(graph.operators, model.graph.input[0].name).items()}


def point_values(model: onnx.ModelProto, faces: Iterable[NDArray[np.uint8]]) -> Iterator[Values]:
    """Values of every point but the input, some faces (48, 48) uint8 at a time; by this the memory stays bounded."""
    taps = {name: tensor for name, tensor in FloatGraph(model, "the float model").taps.items() if name != INPUT}
    tapped = _Tapped(model, list(taps.values()))
    left = iter(faces)
    while chunk := list(islice(left, CHUNK)):
        yield dict(zip(taps, tapped.run(np.stack(chunk)), strict=True))


def input_ranges(model: onnx.ModelProto) -> dict[str, Range]:
    """Ranges of the float tensors before the first layer: all that pixels can be, whatever the method."""
    names = [
        tensor
        for tensor, point in tensor_points(model).items()
        if point == INPUT and tensor != model.graph.input[0].name
    ]
    values = _Tapped(model, names).run(FULL_RANGE)
    return {name: minmax(Histogram.of(held)) for name, held in zip(names, values, strict=True)}


def point_histogram(name: str, values: NDArray[np.float32]) -> Histogram:
    """The histogram of a point's values.

    Raises:
        ConversionError: a value is not a finite number.
    """
    try:
        return Histogram.of(values)
    except ValueError as error:
        raise ConversionError(f"the activations of {name} cannot be calibrated: {error}") from error


def activation_ranges(
    model: onnx.ModelProto, faces: Iterable[NDArray[np.uint8]], recipe: QuantizationRecipe
) -> dict[str, Range]:
    """The range of every point, by the recipe's method, from all faces together.

    Raises:
        ConversionError: an activation is not a finite number.
    """
    found: dict[str, Histogram] = {}
    for values in point_values(model, faces):
        for name, held in values.items():
            histogram = point_histogram(name, held)
            found[name] = found[name] + histogram if name in found else histogram
    ranges = {name: range_of(histogram, recipe.ranges, recipe.percentile) for name, histogram in found.items()}
    return {INPUT: input_ranges(model)[FloatGraph(model, "the float model").taps[INPUT]]} | ranges


class _Tapped:
    """A started copy of the model that hands out tensors by name."""

    def __init__(self, model: onnx.ModelProto, tensors: list[str]) -> None:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        have = {output.name for output in copy.graph.output}
        copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in have)
        self._session: Any = start_session(copy)
        self._tensors = tensors

    def run(self, faces_u8: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        entry = self._session.get_inputs()[0].name
        held: list[NDArray[np.float32]] = self._session.run(self._tensors, {entry: faces_u8[..., None]})
        return held
