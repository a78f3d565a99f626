"""Runs a network's float graph with any part of an int8 quantization put into it: the same emulation for every engine.

Rounded weights take the float ones' place; a grid is five float operators after its tensor. Sums are float32, where an
engine's are integers: values that fall between two points of a grid may go to the other one.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from fer_edge.convert.float_graph import FloatGraph
from fer_edge.convert.scheme import Floats, Grid, Part, Scheme
from fer_edge.edge_runtime.engines import default_threads

CHUNK = 64
"""Faces at a time; a first layer's values of 64 faces are about 20 MB."""


def emulated(graph: FloatGraph, scheme: Scheme, parts: Collection[Part], taps: Collection[str] = ()) -> onnx.ModelProto:
    """The float graph with `parts` of the scheme in int8 and all else in float.

    Args:
        graph: the float network.
        scheme: weights and grids by name.
        parts: what is rounded; `scheme.parts()` is the whole variant, `()` the float model.
        taps: points whose values come out behind the logits, in this order.
    """
    layers = {name: scheme.layers[name] for name, what in parts if what == "weights"}
    model = graph.with_weights({name: (layer.values, layer.bias) for name, layer in layers.items()})
    for name, what in parts:
        if what == "range":
            _insert(model.graph, graph.taps[name], scheme.grids[name])
    for name in taps:
        if graph.taps[name] not in [output.name for output in model.graph.output]:
            model.graph.output.append(onnx.ValueInfoProto(name=graph.taps[name]))
    return model


class Emulation:
    """A started model that takes faces (N, 48, 48) uint8."""

    def __init__(self, graph: FloatGraph, scheme: Scheme, parts: Collection[Part], taps: Sequence[str] = ()) -> None:
        self._session = start_session(emulated(graph, scheme, parts, taps))
        self._outputs = [graph.model.graph.output[0].name, *(graph.taps[name] for name in taps)]
        self._entry = graph.model.graph.input[0].name

    def run(self, faces_u8: NDArray[np.uint8]) -> list[Floats]:
        """Logits (N, 7), then the values of each tap (N, …)."""
        held: list[Floats] = self._session.run(self._outputs, {self._entry: faces_u8[..., None]})
        return held

    def logits(self, faces_u8: NDArray[np.uint8]) -> Floats:
        """Logits (N, 7) of any number of faces."""
        return np.concatenate([self.run(chunk)[0] for chunk in chunks(faces_u8)])


def chunks(faces_u8: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Some faces at a time."""
    for at in range(0, len(faces_u8), CHUNK):
        yield faces_u8[at : at + CHUNK]


def start_session(model: onnx.ModelProto) -> Any:
    """ONNX Runtime on the CPU, without a word."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = default_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _insert(graph: onnx.GraphProto, tensor: str, grid: Grid) -> None:
    """Round a tensor where it is made: its name then is the rounded one's, so that all readers get that."""
    at, maker = next((at, node) for at, node in enumerate(graph.node) if tensor in node.output)
    maker.output[:] = [f"{tensor}/float" if name == tensor else name for name in maker.output]

    def constant(what: str, value: Any) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), f"{tensor}/{what}"))
        return f"{tensor}/{what}"

    low, step = constant("low", grid.low), constant("step", grid.step)
    ends = [constant("first", 0), constant("last", grid.levels - 1)]
    words = [f"{tensor}/{word}" for word in ("float", "above", "steps", "whole", "within", "scaled")]
    made = [
        helper.make_node("Sub", [words[0], low], [words[1]]),
        helper.make_node("Div", [words[1], step], [words[2]]),
        helper.make_node("Round", [words[2]], [words[3]]),
        helper.make_node("Clip", [words[3], *ends], [words[4]]),
        helper.make_node("Mul", [words[4], step], [words[5]]),
        helper.make_node("Add", [words[5], low], [tensor]),
    ]
    for offset, node in enumerate(made, start=1):
        graph.node.insert(at + offset, node)
