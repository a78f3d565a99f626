"""Sharpness-aware minimization (Foret et al. 2021): each step goes down the gradient of a worse place nearby.

A network that learns wrong labels by heart sits in a narrow minimum; where every place within `radius` is good, it has
not. Written as an optimizer that sees each batch twice, since Keras has no gradients of its own for every backend: the
first time it climbs to the worse place, the second time it goes back and takes the step with the gradient from there.
"""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("fer_edge")
class SharpnessAwareSGD(keras.optimizers.SGD):
    """SGD that climbs at every even call and steps at every odd one; a step is two calls with the same batch.

    Args:
        radius: length of the climb, over all weights together (rho).
        kwargs: of `keras.optimizers.SGD`.
    """

    def __init__(self, radius: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.radius = radius

    def build(self, variables: list[Any]) -> None:
        """Make room for the climb of each variable."""
        if self.built:
            return
        super().build(variables)
        self.climbs = self.add_optimizer_variables(variables, "climb")
        self.calls = self.add_variable((), dtype="int32", name="calls")  # `iterations` counts the steps alone

    def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
        """Climb, or go back and step."""
        if not self.built:
            self.build(trainable_variables or [])
        below = ops.equal(self.calls % 2, 0)
        self.assign_add(self.calls, 1)
        ops.cond(below, lambda: self._climb(grads), lambda: self._step(grads))

    def _climb(self, grads: list[Any]) -> None:
        scale = self.radius / (ops.sqrt(sum(ops.sum(ops.square(grad)) for grad in grads)) + 1e-12)
        for grad, variable, climb in zip(grads, self._trainable_variables, self.climbs, strict=True):
            self.assign(climb, grad * scale)
            self.assign_add(variable, grad * scale)

    def _step(self, grads: list[Any]) -> None:
        for variable, climb in zip(self._trainable_variables, self.climbs, strict=True):
            self.assign_sub(variable, climb)
        super().apply(grads)

    def get_config(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {**super().get_config(), "radius": self.radius}


class Twice(keras.utils.PyDataset):
    """Each batch of another data set two times in a row, made once."""

    def __init__(self, batches: keras.utils.PyDataset) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self._batches = batches
        self._held: tuple[int, Any] = (-1, None)

    def __len__(self) -> int:
        return 2 * len(self._batches)

    def __getitem__(self, at: int) -> Any:
        if self._held[0] != at // 2:
            self._held = (at // 2, self._batches[at // 2])
        return self._held[1]
