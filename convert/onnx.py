"""Frozen graph to ONNX, float32 and int8 (static QDQ), both taking raw uint8 pixels.

Weights are int8 per channel. Activations are what the target's kernels want: signed on ARM, unsigned on x86, and on x86
without VNNI one bit less, because its int8 multiply-add saturates there.
"""

import logging
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from fer_edge.calibration.calibration_set import CalibrationFaces
from fer_edge.convert.frozen import FrozenModel
from fer_edge.devices.machine import cpu_info, int8_features

OPSET = 17


class Target(StrEnum):
    """The processor whose int8 kernels a quantized model is made for."""

    ARM = "arm"
    X86_VNNI = "x86-vnni"
    X86 = "x86"


def this_target() -> Target:
    """The target that this machine is."""
    _, flags = cpu_info()
    if "asimd" in flags or "neon" in flags:
        return Target.ARM
    return Target.X86_VNNI if "VNNI" in int8_features(flags) else Target.X86


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


def quantize_onnx(float_model: Path, path: Path, faces: CalibrationFaces, target: Target) -> None:
    """Write the int8 model from the float one.

    Args:
        float_model: what `write_onnx` wrote.
        path: file to write.
        faces: calibration images.
        target: decides the activations' type and range.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logging.getLogger().setLevel(logging.ERROR)
    prepared = path.with_suffix(".prepared.onnx")
    try:
        quant_pre_process(str(float_model), str(prepared), skip_symbolic_shape=False)
        quantize_static(
            str(prepared),
            str(path),
            _Reader(faces),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=target == Target.X86,
            activation_type=QuantType.QInt8 if target == Target.ARM else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    finally:
        prepared.unlink(missing_ok=True)


class _Reader:
    """ONNX Runtime's CalibrationDataReader: `get_next` until None, `rewind` to start again."""

    def __init__(self, faces: CalibrationFaces) -> None:
        self._faces = faces
        self.rewind()

    def rewind(self) -> None:
        self._left: Iterator = iter(self._faces)

    def get_next(self) -> dict[str, np.ndarray] | None:
        face = next(self._left, None)
        return None if face is None else {"pixels": face[None, :, :, None]}
