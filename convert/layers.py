"""The names of a network's layers, by position in order of execution: conv1, dwconv1, dense1; the same in every format.

Owns what counts as a layer (a convolution, or a product with constant weights) and its number. Must not know what is
asked of the layer.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from fer_edge.devices.errors import ConversionError

if TYPE_CHECKING:
    import keras
    import onnx
    import openvino

_T = TypeVar("_T")
_ONNX_WEIGHT_INPUT = {
    **dict.fromkeys(("Conv", "FusedConv", "ConvInteger"), 1),
    **dict.fromkeys(("Gemm", "FusedGemm", "MatMul", "FusedMatMul", "MatMulInteger"), 1),
    **dict.fromkeys(("QLinearConv", "QGemm", "QLinearMatMul"), 3),
}
"""Which input of a node holds the weights."""


def numbered(found: Iterable[tuple[str, _T]]) -> dict[str, _T]:
    """Names from kinds: [("conv", a), ("dense", b), ("conv", c)] is {"conv1": a, "dense1": b, "conv2": c}."""
    counts: Counter[str] = Counter()
    names = {}
    for kind, thing in found:
        counts[kind] += 1
        names[f"{kind}{counts[kind]}"] = thing
    return names


def check_layers(wanted: Iterable[str], have: Iterable[str]) -> None:
    """Raises ConversionError unless the network has every layer that is asked for."""
    have = list(have)
    unknown = [name for name in wanted if name not in have]
    if unknown:
        raise ConversionError(f"the network has no layer {', '.join(unknown)}; it has {', '.join(have)}")


def keras_layers(model: "keras.Model") -> dict[str, "keras.layers.Layer"]:
    """Layers of a Keras network by name; a separable convolution goes by both of its names."""
    return numbered(_of_keras(model))


def _of_keras(model: "keras.Model") -> Iterator[tuple[str, "keras.layers.Layer"]]:
    from keras import Model, layers

    for layer in model.layers:
        if isinstance(layer, Model):
            yield from _of_keras(layer)
        elif isinstance(layer, layers.SeparableConv2D):
            yield from (("dwconv", layer), ("conv", layer))
        elif isinstance(layer, layers.DepthwiseConv2D):
            yield "dwconv", layer
        elif isinstance(layer, layers.Conv2D):
            yield "conv", layer
        elif isinstance(layer, layers.Dense):
            yield "dense", layer


def onnx_layers(model: "onnx.ModelProto") -> dict[str, "onnx.NodeProto"]:
    """Nodes of an ONNX model by name: a float one, one with QDQ pairs, or one that ONNX Runtime has optimized."""
    weights = onnx_weights(model)
    return numbered((_onnx_kind(node, weights), node) for node in model.graph.node if _weight_name(node) in weights)


def onnx_weights(model: "onnx.ModelProto") -> dict[str, tuple[int, ...]]:
    """Shapes of an ONNX model's constants by tensor name; what DequantizeLinear makes of a constant is one too."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]]
    return shapes


def _weight_name(node: "onnx.NodeProto") -> str | None:
    at = _ONNX_WEIGHT_INPUT.get(node.op_type)
    return None if at is None else node.input[at]


def _onnx_kind(node: "onnx.NodeProto", weights: dict[str, tuple[int, ...]]) -> str:
    if "Conv" not in node.op_type:
        return "dense"
    group = next((a.i for a in node.attribute if a.name == "group"), 1)
    return "dwconv" if group > 1 and weights[str(_weight_name(node))][1] == 1 else "conv"


def openvino_layers(model: "openvino.Model") -> dict[str, "openvino.Node"]:
    """Nodes of an OpenVINO model by name, float or with FakeQuantize."""
    kinds = {"Convolution": "conv", "GroupConvolution": "dwconv", "MatMul": "dense"}
    return numbered(
        (_grouped(node) or kinds[node.get_type_name()], node)
        for node in model.get_ordered_ops()
        if node.get_type_name() in kinds and _is_constant(node.input_value(1).get_node())
    )


def _grouped(node: "openvino.Node") -> str | None:
    """A grouped convolution (G, O/G, I/G, H, W) is depthwise only with one input channel a group."""
    return "conv" if node.get_type_name() == "GroupConvolution" and node.input_value(1).shape[2] > 1 else None


def _is_constant(node: "openvino.Node") -> bool:
    """Whether weights come from a Constant, by way of what NNCF writes between it and the layer."""
    passing = ("Convert", "Multiply", "Subtract", "Reshape", "Transpose", "FakeQuantize")
    while node.get_type_name() in passing:
        node = node.input_value(0).get_node()
    return node.get_type_name() == "Constant"
