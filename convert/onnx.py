"""Frozen graph to ONNX, float32 and int8 (static QDQ), both taking raw uint8 pixels.

Weights are int8 per channel. Activations are what the target's kernels want: signed on ARM, unsigned on x86, and on x86
without VNNI one bit less, because its int8 multiply-add saturates there.
"""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from fer_edge.calibration.ranges import Range
from fer_edge.convert.frozen import FrozenModel
from fer_edge.convert.onnx_ranges import excluded, keep_float, prepared, quantized, quantizer_types
from fer_edge.convert.quantization_recipe import PLAIN, QuantizationRecipe
from fer_edge.convert.target import Target

OPSET = 17


def write_onnx(model: FrozenModel, path: Path) -> None:
    """Write the float32 model: `pixels` (N, 48, 48, 1) uint8 to `logits` (N, 7) float32."""
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    entry, result = model.batch.inputs[0].name, model.batch.outputs[0].name
    proto, _ = tf2onnx.convert.from_graph_def(
        model.batch.graph.as_graph_def(), input_names=[entry], output_names=[result], opset=OPSET
    )
    _take_raw_pixels(proto, entry, result)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, str(path))


def _take_raw_pixels(proto: Any, entry: str, result: str) -> None:
    """Rename the ends and put the cast from uint8 inside the graph, so that no engine converts pixels itself."""
    graph = proto.graph
    for node in graph.node:
        node.input[:] = ["pixels_f32" if name == entry else name for name in node.input]
        node.output[:] = ["logits" if name == result else name for name in node.output]
        node.input[:] = ["logits" if name == result else name for name in node.input]
    cast = helper.make_node("Cast", ["pixels"], ["pixels_f32"], name="pixels_cast", to=TensorProto.FLOAT)
    graph.node.insert(0, cast)
    del graph.input[:], graph.output[:]
    graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", 48, 48, 1]))
    graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 7]))


def quantize_onnx(
    float_model: Path,
    path: Path,
    faces: Iterable[NDArray[np.uint8]],
    target: Target,
    recipe: QuantizationRecipe = PLAIN,
    ranges: dict[str, Range] | None = None,
) -> None:
    """Write the int8 model from the float one.

    Args:
        float_model: what `write_onnx` wrote.
        path: file to write.
        faces: calibration images (48, 48) uint8 that can be gone through again; ONNX Runtime finds the ranges in them.
        target: decides the activations' type and range.
        recipe: how weights are scaled, and what stays in float.
        ranges: by point, those of our own; None leaves minimum and maximum to ONNX Runtime.

    Raises:
        ConversionError: the recipe names a layer that the network does not have.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, quantize_static

    logging.getLogger().setLevel(logging.ERROR)
    model = prepared(float_model)
    if ranges is not None:
        onnx.save(quantized(model, ranges, target, recipe), str(path))
        return
    quantize_static(
        model,
        str(path),
        FaceReader(faces),
        quant_format=QuantFormat.QDQ,
        nodes_to_exclude=excluded(model, recipe),
        calibrate_method=CalibrationMethod.MinMax,
        **quantizer_types(target, recipe),
    )
    if recipe.float_layers:
        made = onnx.load(str(path))
        keep_float(made, excluded(model, recipe))
        onnx.save(made, str(path))


class FaceReader:
    """ONNX Runtime's CalibrationDataReader: `get_next` until None, `rewind` to start again."""

    def __init__(self, faces: Iterable[NDArray[np.uint8]]) -> None:
        self._faces = faces
        self.rewind()

    def rewind(self) -> None:
        self._left: Iterator = iter(self._faces)

    def get_next(self) -> dict[str, np.ndarray] | None:
        face = next(self._left, None)
        return None if face is None else {"pixels": face[None, :, :, None]}
