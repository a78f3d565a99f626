"""Steps that go down the gradient of a worse place nearby: the arithmetic, and a training that is killed."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from fer_edge.devices.errors import RunError
from fer_edge.train.recipe import Recipe
from fer_edge.train.recipes import recipe_for
from fer_edge.train.synth import synthetic_dataset

SHORT = {
    "epochs": 2, "small_epochs": 1, "warmup_epochs": 0, "fall_epochs": 1, "batch_size": 64, "sharpness": 0.1,
    "average": 0.9,
}  # fmt: skip


def network(**values: object) -> Recipe:
    made = recipe_for("tiny", **{**SHORT, **values})
    assert isinstance(made, Recipe)
    return made


def test_a_step_takes_the_gradient_of_the_worse_place_from_where_it_was() -> None:
    """By hand, two steps of f(w) = sum of c w²: with momentum, decay and the average of the weights."""
    import keras

    from fer_edge.train.quietly import keras_quietly
    from fer_edge.train.sharpness import SharpnessAwareSGD

    keras_quietly(1)
    c, start = np.array([1.0, 3.0]), np.array([2.0, -1.0])
    rate, radius, decay, momentum, average = 0.1, 0.5, 0.01, 0.9, 0.5
    variable = keras.Variable(start.astype(np.float32), name="kernel")
    optimizer = SharpnessAwareSGD(
        radius, learning_rate=rate, momentum=momentum, nesterov=True, weight_decay=decay, use_ema=True,
        ema_momentum=average,
    )  # fmt: skip
    optimizer.build([variable])
    w, velocity, mean = start.copy(), np.zeros(2), None
    for _ in range(2):
        gradient = 2 * c * w
        worse = w + radius * gradient / np.linalg.norm(gradient)
        optimizer.apply([keras.ops.convert_to_tensor(gradient.astype(np.float32))], [variable])
        assert np.asarray(variable) == pytest.approx(worse, rel=1e-5)
        gradient = 2 * c * worse
        optimizer.apply([keras.ops.convert_to_tensor(gradient.astype(np.float32))], [variable])
        w = w * (1 - rate * decay)
        velocity = momentum * velocity - rate * gradient
        w = w + momentum * velocity - rate * gradient
        mean = w.copy() if mean is None else average * mean + (1 - average) * w
        assert np.asarray(variable) == pytest.approx(w, rel=1e-5)
    optimizer.finalize_variable_values([variable])
    assert np.asarray(variable) == pytest.approx(mean, rel=1e-5)
    assert int(optimizer.iterations) == 2


def test_each_batch_comes_twice_and_is_made_once() -> None:
    import keras

    from fer_edge.train.sharpness import Twice

    class Counted(keras.utils.PyDataset):
        asked: ClassVar[list[int]] = []

        def __len__(self) -> int:
            return 3

        def __getitem__(self, at: int) -> int:
            self.asked.append(at)
            return 10 * at

    batches = Counted()
    assert [Twice(batches)[at] for at in range(2)] == [0, 0]
    twice = Twice(batches)
    batches.asked.clear()
    assert [twice[at] for at in range(len(twice))] == [0, 0, 10, 10, 20, 20]
    assert batches.asked == [0, 1, 2]


def test_a_killed_training_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    from fer_edge.train.fit import train

    class KilledError(Exception):
        pass

    def kill(row: dict[str, float]) -> None:
        if row["epoch"] == 1:
            raise KilledError

    drawn = synthetic_dataset(140, 1)
    whole = train(drawn, network(), tmp_path / "whole")
    with pytest.raises(KilledError):
        train(drawn, network(), tmp_path / "cut", on_epoch=kill)
    again = train(drawn, network(), tmp_path / "cut", resume=True)
    plain = train(drawn, network(sharpness=0.0), tmp_path / "plain")
    keys = ("loss", "val_loss", "val_accuracy")
    for one, other in zip(whole, again, strict=True):
        assert [one[key] for key in keys] == pytest.approx([other[key] for key in keys], rel=1e-5)
    assert whole[-1]["val_loss"] != pytest.approx(plain[-1]["val_loss"], rel=1e-4)


def test_it_goes_with_sgd_alone() -> None:
    with pytest.raises(RunError, match=r"sharpness 0\.1 goes with optimizer sgd, not adam"):
        network(optimizer="adam")
