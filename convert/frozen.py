"""The trained Keras network as a frozen TensorFlow graph, the one thing that all converters start from.

Variables become constants and batch norm can then be folded: without it the TFLite converter writes READ_VARIABLE
operators, which cannot be calibrated.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fer_edge.devices.errors import RunError
from fer_edge.edge_runtime.vocabulary import EMOTIONS, FACE_SIDE
from fer_edge.train.feed import predicted
from fer_edge.train.models import load_network


@dataclass(frozen=True, eq=False)
class FrozenModel:
    """A network, and its frozen graph for a fixed batch of one (TFLite) and for any batch (ONNX)."""

    keras_model: Any
    one: Any
    batch: Any

    def logits(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The float reference: logits (N, 7) of faces (N, 48, 48) uint8, by Keras itself."""
        return predicted(self.keras_model, faces_u8[..., None])


def load_frozen(path: Path) -> FrozenModel:
    """Load and freeze a finished run's model.

    Raises:
        RunError: the file is damaged, or is not a network from (48, 48, 1) to 7 logits.
    """
    model = load_network(path)
    shapes = (model.input_shape, model.output_shape)
    if shapes != ((None, FACE_SIDE, FACE_SIDE, 1), (None, len(EMOTIONS))):
        raise RunError(f"{path}: expected (None, 48, 48, 1) to (None, 7), got {shapes[0]} to {shapes[1]}")
    return freeze(model)


def freeze(model: Any) -> FrozenModel:
    """Freeze a Keras network from (N, 48, 48, 1) to logits."""
    return FrozenModel(model, _freeze(model, 1), _freeze(model, None))


def _freeze(model: Any, batch: int | None) -> Any:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    pixels = tf.TensorSpec((batch, FACE_SIDE, FACE_SIDE, 1), tf.float32, name="pixels")
    function = tf.function(lambda pixels: model(pixels, training=False))
    return convert_variables_to_constants_v2(function.get_concrete_function(pixels))


def as_float_batches(faces: Iterator[NDArray[np.uint8]] | Any) -> Iterator[NDArray[np.float32]]:
    """Faces (48, 48) uint8 as (1, 48, 48, 1) float32, which is what TensorFlow's calibrator takes."""
    for face in faces:
        yield face[None, :, :, None].astype(np.float32)
