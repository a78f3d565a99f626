"""Feeds a network without TensorFlow's tuning of its pipeline, which makes it wait for nothing.

Where Keras is given arrays or its own data sets it lets TensorFlow tune them while they run (`AUTOTUNE`). The thread
that does so sleeps 10 ms at first, twice as long each time, at most a minute; at the end of an epoch TensorFlow 2.21
waits until it wakes by itself. So an epoch took 152 s in place of 91, or twice the time at worst.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray


class ArrayBatches(keras.utils.PyDataset):
    """Arrays of the same length, in their order, a batch after the other."""

    def __init__(self, arrays: tuple[NDArray, ...], batch_size: int = 256) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self._arrays, self._size = arrays, batch_size

    def __len__(self) -> int:
        return -(-len(self._arrays[0]) // self._size)

    def __getitem__(self, batch: int) -> tuple[NDArray, ...]:
        return tuple(np.asarray(array[batch * self._size :][: self._size]) for array in self._arrays)


def untuned(batches: keras.utils.PyDataset) -> Any:
    """What to give to `fit` or `evaluate` for these batches: they come in their order, two of them made ahead."""
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    def each() -> Iterator[tuple[NDArray, ...]]:
        for batch in range(len(batches)):
            yield batches[batch]

    shapes = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in batches[0])
    options = tf.data.Options()
    options.autotune.enabled = False
    pipeline = tf.data.Dataset.from_generator(each, output_signature=shapes)
    pipeline = pipeline.apply(tf.data.experimental.assert_cardinality(len(batches)))
    return pipeline.prefetch(2).with_options(options)


def predicted(model: keras.Model, faces: NDArray, batch_size: int = 256) -> NDArray[np.float32]:
    """What a network says of faces (N, side, side, 1), as (N, ...) float32."""
    parts = ArrayBatches((faces,), batch_size)
    return np.concatenate([np.asarray(model.predict_on_batch(parts[i][0]), np.float32) for i in range(len(parts))])
