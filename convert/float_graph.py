"""A network's float ONNX graph, and where in it a quantization takes hold: layers, points, and who reads whom.

Must not know how anything is quantized.
"""

import contextlib
import copy
import io
import logging
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fer_edge.convert.scheme import INPUT, LAYER_KINDS, PASS, Floats, Operator, named, owners
from fer_edge.convert.scheme_onnx import by_output, constants, onnx_operators
from fer_edge.devices.errors import ConversionError
from fer_edge.devices.native_log import without_banners
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.vocabulary import Precision

_ELEMENTWISE = {"Add", "Clip", "LeakyRelu", "Mul", "PRelu", "Relu", "Sub"}
"""What belongs to the operator before it: its bias and its activation."""


@dataclass(frozen=True, eq=False)
class FloatGraph:
    """A float ONNX model, (N, 48, 48, 1) uint8 to (N, 7) for any N, and its points by name, in order of execution."""

    model: onnx.ModelProto
    name: str

    @cached_property
    def values(self) -> dict[str, NDArray[Any]]:
        """The model's constants."""
        return constants(self.model)

    @cached_property
    def operators(self) -> list[Operator]:
        """What touches data, in order."""
        return list(onnx_operators(self.model))

    @cached_property
    def _owner(self) -> dict[Any, str]:
        return owners(self.operators, self.model.graph.input[0].name)

    @cached_property
    def points(self) -> list[str]:
        """All names, the input first."""
        return list(dict.fromkeys(self._owner.values()))

    @cached_property
    def layers(self) -> dict[str, onnx.NodeProto]:
        """The nodes with weights, by name."""
        nodes = {node.output[0]: node for node in self.model.graph.node}
        return {name: nodes[str(op.result)] for name, op in named(self.operators).items() if op.kind in LAYER_KINDS}

    @cached_property
    def taps(self) -> dict[str, str]:
        """By point the tensor that is rounded: after bias and activation, before pooling; the input as it is read."""
        reads = Counter(name for node in self.model.graph.node for name in node.input)
        nodes = {node.output[0]: node for node in self.model.graph.node}
        found = {name: str(op.result) for name, op in named(self.operators).items()}
        for op in self.operators:
            name, kind = self._owner[op.result], nodes[str(op.result)].op_type
            if op.kind != PASS:
                continue
            if name == INPUT:
                found[INPUT] = str(op.result)
            elif found[name] == op.source and reads[str(op.source)] == 1 and kind in _ELEMENTWISE:
                found[name] = str(op.result)
        found.setdefault(INPUT, self.model.graph.input[0].name)
        return {name: found[name] for name in self.points}

    @cached_property
    def readers(self) -> dict[str, list[str]]:
        """By point those that read its values."""
        made = {op.result: name for name, op in named(self.operators).items()}
        nodes = {node.output[0]: node for node in self.model.graph.node}
        found: dict[str, list[str]] = {name: [] for name in self.points}
        for result, name in made.items():
            for source in nodes[str(result)].input:
                if source in self._owner and self._owner[source] != name:
                    found[self._owner[source]].append(name)
        return found

    def passes(self, name: str) -> list[str]:
        """Types of the operators that a point's values pass through on the way to its readers, in order."""
        nodes = {node.output[0]: node.op_type for node in self.model.graph.node}
        return [nodes[str(op.result)] for op in self.operators if op.kind == PASS and self._owner[op.result] == name]

    def weights(self, name: str) -> Floats:
        """A layer's weights, (O, I, H, W) or (O, I)."""
        node = self.layers[name]
        return by_output(node, self.values[node.input[1]]).astype(np.float32)

    def bias(self, name: str) -> Floats | None:
        """A layer's bias (O,), None where it has none."""
        at = self._bias_tensor(name)
        return None if at is None else self.values[at].astype(np.float32).reshape(-1)

    def with_weights(self, changed: dict[str, tuple[Floats, Floats | None]]) -> onnx.ModelProto:
        """A copy of the model with other weights and biases for some layers; a bias of None leaves it as it is."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for name, (weights, bias) in changed.items():
            node = self.layers[name]
            _put(model, node.input[1], by_output(node, weights))
            if bias is not None:
                self._put_bias(model, name, bias)
        return model

    def _bias_tensor(self, name: str) -> str | None:
        node = self.layers[name]
        if len(node.input) > 2 and node.input[2]:
            return str(node.input[2])
        after = [n for n in self.model.graph.node if node.output[0] in n.input]
        if len(after) == 1 and after[0].op_type == "Add":
            return next((str(i) for i in after[0].input if i in self.values), None)
        return None

    def _put_bias(self, model: onnx.ModelProto, name: str, bias: Floats) -> None:
        at = self._bias_tensor(name)
        if at is not None:
            _put(model, at, bias.reshape(self.values[at].shape))
        elif bias.any():
            node = next(n for n in model.graph.node if n.output[0] == self.layers[name].output[0])
            if node.op_type == "MatMul":
                raise ConversionError(f"{name} has a bias in the int8 file and none in {self.name}")
            node.input.append(f"{name}/bias")
            model.graph.initializer.append(numpy_helper.from_array(bias, f"{name}/bias"))


def _put(model: onnx.ModelProto, name: str, values: NDArray[Any]) -> None:
    """Give a constant another value, wherever it came from."""
    held = numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name)
    for initializer in model.graph.initializer:
        if initializer.name == name:
            initializer.CopyFrom(held)
            return
    for node in model.graph.node:
        if name in node.output:
            model.graph.node.remove(node)
            break
    model.graph.initializer.append(held)


def load_float_graph(bundle: Bundle, engine: str) -> FloatGraph:
    """The bundle's float network: float32.onnx, or float32.tflite turned into ONNX; of both the variant's own kin.

    Raises:
        ConversionError: the bundle has neither.
    """
    order = ("tflite", "onnx") if engine == "tflite" else ("onnx", "tflite")
    have = {v.engine: v for v in bundle.variants if v.precision == Precision.FLOAT32}
    for kin in order:
        if kin in have:
            path = bundle.file(have[kin])
            model = onnx.load(str(path)) if kin == "onnx" else _from_tflite(path)
            return FloatGraph(_folded(_any_batch(model)), path.name)
    raise ConversionError(
        f"bundle {bundle.name!r} has neither float32.onnx nor float32.tflite to find the layer with; "
        f"convert again with --to {engine},onnx/float32"
    )


def _from_tflite(path: Path) -> onnx.ModelProto:
    with without_banners(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        import tf2onnx

        logging.getLogger("tf2onnx").setLevel(logging.ERROR)
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        model, _ = tf2onnx.convert.from_tflite(str(path), opset=17)
    _take_bytes(model.graph)
    return model


def _take_bytes(graph: onnx.GraphProto) -> None:
    """Put the cast from uint8 inside the graph, where float32.onnx has it."""
    entry = graph.input[0]
    for node in graph.node:
        node.input[:] = [f"{entry.name}/float32" if name == entry.name else name for name in node.input]
    graph.node.insert(0, helper.make_node("Cast", [entry.name], [f"{entry.name}/float32"], to=TensorProto.FLOAT))
    entry.type.tensor_type.elem_type = TensorProto.UINT8


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same with factors and biases inside the layers that they follow, where every quantizer has them.

    ONNX Runtime's basic optimizations do that in standard operators.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "folded.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(str(path))


def _any_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same for any number of faces: TFLite's fixed one stands in the ends' shapes and in reshapes."""
    model = copy.deepcopy(model)
    del model.graph.value_info[:]
    for end in (*model.graph.input, *model.graph.output):
        end.type.tensor_type.shape.dim[0].dim_param = "batch"
    shapes = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    for initializer in model.graph.initializer:
        values = numpy_helper.to_array(initializer)
        if initializer.name in shapes and initializer.data_type == TensorProto.INT64 and values[:1] == 1:
            values = np.concatenate([np.zeros(1, np.int64), values[1:]])  # 0 keeps the dimension as it comes
            initializer.CopyFrom(numpy_helper.from_array(values, initializer.name))
    return model
