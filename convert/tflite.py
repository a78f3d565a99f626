"""Frozen graph to TFLite: float32, float16 weights, dynamic int8 weights, and full int8 with int8 in and out."""

import contextlib
import io
import warnings
from pathlib import Path

import tensorflow as tf

from fer_edge.calibration.calibration_set import CalibrationFaces
from fer_edge.convert.frozen import FrozenModel, as_float_batches
from fer_edge.devices.errors import ConversionError
from fer_edge.devices.native_log import without_banners
from fer_edge.edge_runtime.vocabulary import Precision


def write_tflite(model: FrozenModel, path: Path, precision: Precision, faces: CalibrationFaces | None) -> None:
    """Write one TFLite file.

    Args:
        model: what to convert.
        path: file to write, `.tflite`.
        precision: any of the four.
        faces: calibration images; needed for `int8` alone.

    Raises:
        ConversionError: int8 without calibration images, or the converter refuses.
    """
    converter = tf.lite.TFLiteConverter.from_concrete_functions([model.one])
    if precision != Precision.FLOAT32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == Precision.FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if precision == Precision.INT8:
        if faces is None:
            raise ConversionError("int8 needs calibration images")
        converter.representative_dataset = lambda: ([x] for x in as_float_batches(faces))
        # Without this the converter leaves in float, silently, whatever it cannot quantize.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), without_banners():
            warnings.simplefilter("ignore")
            content = converter.convert()
    except (ValueError, RuntimeError) as error:
        raise ConversionError(
            f"TFLite {precision}: the converter refused ({str(error).splitlines()[0][:300]})"
        ) from error
    path.write_bytes(content)
