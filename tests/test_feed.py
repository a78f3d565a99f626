"""Networks are fed without TensorFlow's tuning, whose thread an epoch's end would wait for."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from fer_edge.train.feed import ArrayBatches, predicted, untuned
from fer_edge.train.models import build_model
from fer_edge.train.recipe import Recipe
from fer_edge.train.recipes import recipe_for
from fer_edge.train.synth import synthetic_dataset


@pytest.mark.parametrize("sharpness", [0.0, 0.1])
def test_nothing_that_is_fitted_or_judged_is_tuned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sharpness: float
) -> None:
    """Before, an epoch's end waited for the thread that tunes, up to a minute."""
    from fer_edge.train.fit import train
    from fer_edge.train.quietly import keras_quietly

    keras_quietly(1)
    fed = []
    for name in ("fit", "evaluate", "predict"):
        usual = getattr(keras.Model, name)

        def noting(model: keras.Model, x: Any, *args: Any, _usual: Any = usual, **kwargs: Any) -> Any:
            fed.append(x)
            return _usual(model, x, *args, **kwargs)

        monkeypatch.setattr(keras.Model, name, noting)
    recipe = recipe_for("tiny", epochs=1, small_epochs=0, batch_size=32, optimizer="sgd", sharpness=sharpness)
    assert isinstance(recipe, Recipe)
    train(synthetic_dataset(140, 1), recipe, tmp_path / "run")
    assert len(fed) == 2
    assert [x.options().autotune.enabled for x in fed] == [False, False]


def test_batches_come_whole_and_in_their_order() -> None:
    arrays = np.arange(10, dtype=np.uint8)[:, None], np.arange(10, dtype=np.float32)[:, None]
    fed = untuned(ArrayBatches(arrays, 4))
    got = [tuple(np.asarray(part) for part in batch) for batch in fed]
    assert len(fed) == len(got) == 3
    assert [len(x) for x, _ in got] == [4, 4, 2]
    for part in (0, 1):
        assert np.array_equal(np.concatenate([batch[part] for batch in got]), arrays[part])
        assert got[0][part].dtype == arrays[part].dtype


def test_what_a_network_says_is_what_keras_predicts() -> None:
    model, faces = build_model("tiny"), np.random.default_rng(0).integers(0, 256, (10, 48, 48, 1), np.uint8)
    assert predicted(model, faces, 4) == pytest.approx(model.predict(faces, verbose=0), abs=1e-5)
