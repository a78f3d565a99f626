"""Frozen graph to TFLite: float32, float16 weights, dynamic int8 weights, and full int8 with int8 in and out."""

import contextlib
import io
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fer_edge.calibration.calibration_set import CalibrationFaces
from fer_edge.calibration.ranges import Range
from fer_edge.convert.activations import FULL_RANGE
from fer_edge.convert.frozen import FrozenModel, as_float_batches
from fer_edge.convert.quantization_recipe import PLAIN, QuantizationRecipe
from fer_edge.convert.tflite_ranges import quantize_calibrated
from fer_edge.devices.errors import ConversionError
from fer_edge.devices.native_log import without_banners
from fer_edge.edge_runtime.vocabulary import Precision


def write_tflite(
    model: FrozenModel,
    path: Path,
    precision: Precision,
    faces: CalibrationFaces | None,
    recipe: QuantizationRecipe = PLAIN,
    ranges: dict[str, Range] | None = None,
) -> None:
    """Write one TFLite file.

    Args:
        model: what to convert.
        path: file to write, `.tflite`.
        precision: any of the four.
        faces: calibration images; needed for `int8` alone.
        recipe: how weights are scaled and what stays in float; for `int8` alone.
        ranges: by point, those of our own; None leaves minimum and maximum to the converter.

    Raises:
        ConversionError: int8 without calibration images, a layer that the network does not have, or the converter
            refuses.
    """
    converter = tf.lite.TFLiteConverter.from_concrete_functions([model.one])
    if precision != Precision.FLOAT32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == Precision.FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if precision == Precision.INT8:
        if faces is None:
            raise ConversionError("int8 needs calibration images")
        # Where the ranges are ours, only the input's are calibrated: a black and a white frame say all of it.
        _set_int8(converter, faces if ranges is None else FULL_RANGE)
        # What the converter does not do by itself is done between its calibration and its quantization.
        converter._experimental_calibrate_only = by_hand = bool(ranges or recipe.per_tensor or recipe.float_layers)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), without_banners():
            warnings.simplefilter("ignore")
            content = converter.convert()
            if precision == Precision.INT8 and by_hand:
                content = quantize_calibrated(content, recipe, ranges)
    except (ValueError, RuntimeError) as error:
        raise ConversionError(
            f"TFLite {precision}: the converter refused ({str(error).splitlines()[0][:300]})"
        ) from error
    path.write_bytes(content)


def _set_int8(converter: Any, faces: Iterable[NDArray[np.uint8]]) -> None:
    converter.representative_dataset = lambda: ([x] for x in as_float_batches(faces))
    # Without this the converter leaves in float, silently, whatever it cannot quantize.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
