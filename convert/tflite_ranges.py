"""A calibrated float TFLite file to an int8 one, with ranges of our own and with layers left in float.

TensorFlow's converter calibrates by minimum and maximum alone, writes them into the float file, and quantizes what it
reads there: in between, other ranges can take their place. Must not know where the ranges come from.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
import tensorflow as tf

from fer_edge.calibration.ranges import Range
from fer_edge.convert.layers import check_layers
from fer_edge.convert.quantization_recipe import QuantizationRecipe
from fer_edge.convert.scheme import INPUT, LAYER_KINDS, named, owners
from fer_edge.convert.scheme_tflite import tflite_operators
from fer_edge.devices.errors import ConversionError


def quantize_calibrated(content: bytes, recipe: QuantizationRecipe, ranges: dict[str, Range] | None) -> bytes:
    """The int8 file, int8 in and out.

    Args:
        content: what the converter gives with `_experimental_calibrate_only`.
        recipe: whether weights have one scale a tensor, and what stays in float.
        ranges: by point; None leaves those that are in `content`. The input keeps its own in any case.

    Raises:
        ConversionError: the recipe names a layer that the network does not have, or a tensor belongs to no point.
    """
    from tensorflow.lite.python.convert import mlir_quantize
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    tensors = model.subgraphs[0].tensors
    operators = list(tflite_operators(content))
    outputs = {name: op.result for name, op in named(operators).items() if op.kind in LAYER_KINDS}
    check_layers(recipe.float_layers, outputs)
    if ranges is not None:
        _put(tensors, owners(operators, int(model.subgraphs[0].inputs[0])), ranges)
        content = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    quantized: bytes = mlir_quantize(
        content,
        disable_per_channel=recipe.per_tensor,
        disable_per_channel_for_dense_layers=recipe.per_tensor,
        input_data_type=tf.int8,
        output_data_type=tf.int8,
        denylisted_nodes=_names(tensors, [outputs[name] for name in recipe.float_layers]),
    )
    return quantized


def _put(tensors: list[Any], owner: dict[Any, str], ranges: dict[str, Range]) -> None:
    for at, tensor in enumerate(tensors):
        found = tensor.quantization
        if found is None or found.min is None or owner.get(at) == INPUT:
            continue
        if owner.get(at) not in ranges:
            raise ConversionError(f"TFLite int8: the tensor {tensor.name.decode()} has no range of ours")
        own = ranges[owner[at]]
        found.min, found.max = np.array([own.low], np.float32), np.array([own.high], np.float32)


def _names(tensors: list[Any], places: Collection[Any]) -> list[str] | None:
    """The converter knows operators by their results' names."""
    return [tensors[at].name.decode() for at in places] or None
