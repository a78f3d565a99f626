"""The loss of a network that is taught: by the labels, and by what its teachers say of the same view.

Targets (N, 2 C) hold the labels' C columns and the teachers' C logits; validation's have the labels alone.
"""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("fer_edge")
class DistillationLoss(keras.losses.Loss):
    """(1 - share) of the labels' loss, and share of the teachers' (Hinton et al. 2015).

    The teachers' part is the divergence of the pupil's distribution from theirs, both softened by `temperature`, times
    its square, so that its gradients do not shrink with it.
    """

    def __init__(
        self, labels: Any, share: float, temperature: float, name: str = "distillation", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.labels = keras.losses.get(labels)
        self.share, self.temperature = share, temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each image, (N,)."""
        classes = y_pred.shape[-1]
        by_labels = self.labels.call(y_true[:, :classes], y_pred)
        if y_true.shape[-1] == classes:
            return by_labels
        theirs = ops.log_softmax(y_true[:, classes:] / self.temperature)
        ours = ops.log_softmax(y_pred / self.temperature)
        by_teachers = ops.sum(ops.exp(theirs) * (theirs - ours), axis=-1) * self.temperature**2
        return (1 - self.share) * by_labels + self.share * by_teachers

    def get_config(self) -> dict[str, Any]:
        """For the checkpoint."""
        own = {"share": self.share, "temperature": self.temperature}
        return {**super().get_config(), **own, "labels": keras.losses.serialize(self.labels)}


@keras.saving.register_keras_serializable("fer_edge")
class LabelAccuracy(keras.metrics.CategoricalAccuracy):
    """Accuracy by the labels' columns of the targets."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Count a batch."""
        return super().update_state(y_true[:, : y_pred.shape[-1]], y_pred, sample_weight)
