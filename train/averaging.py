"""Weights averaged over the steps of the training: what is judged and kept, while the raw ones train on.

The average lies in the optimizer (`use_ema` of Keras), hence in every checkpoint. It has no batch norm statistics of
its own: those of the raw weights do not fit it, so they are taken anew from the epoch's batches (Izmailov et al. 2018).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
from numpy.typing import NDArray

from fer_edge.train.batches import TrainingBatches

STATISTICS_FACES = 4096
"""So many faces give each channel's mean and variance."""


class RawWeights(keras.callbacks.Callback):
    """Holds the weights that an epoch ended with: Keras puts the average in their place at the end of every fit."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[NDArray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keep them."""
        self.held = self.model.get_weights()


@contextmanager
def averaged(model: keras.Model, batches: TrainingBatches, raw: RawWeights | None = None) -> Iterator[None]:
    """While it is open the network has its averaged weights; afterwards those of `raw`, where given."""
    model.optimizer.finalize_variable_values(model.trainable_variables)
    _take_statistics(model, batches)
    yield
    if raw is not None:
        model.set_weights(raw.held)


def _take_statistics(model: keras.Model, batches: TrainingBatches) -> None:
    """Set every batch norm's mean and variance to those of some batches, each batch counting the same."""
    norms = [x for x in model._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]
    usual = [norm.momentum for norm in norms]
    wanted = -(-STATISTICS_FACES // batches.batch_size)
    try:
        for number in range(min(wanted, max(1, len(batches) - 1))):  # the last batch may be a few faces only
            for norm in norms:
                norm.momentum = number / (number + 1)
            model(batches.views(number), training=True)
    finally:
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum
