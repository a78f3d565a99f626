"""Fits a network by a recipe, one epoch at a time, so that a kill at any moment loses at most one epoch.

What the next epoch does (its rate, whether there is one) is a pure function of the history so far: a resumed run needs
no state beside history.json and the last checkpoint, which holds weights, optimizer and dropout seeds.
"""

import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fer_edge.devices.errors import RunError
from fer_edge.devices.files import replacing_file
from fer_edge.devices.machine import describe_machine, versions
from fer_edge.train.batches import TrainingBatches, class_weights, fit_and_val_rows
from fer_edge.train.curves import draw_curves
from fer_edge.train.dataset import Dataset
from fer_edge.train.models import build_model
from fer_edge.train.recipes import Recipe, cosine_rate
from fer_edge.train.run_folder import Epoch, RunFolder
from fer_edge.train.stopping import ctrl_c_between_batches

OnBatch = Callable[[int, int, int, dict[str, float]], None]
"""Called after each batch with 1-based epoch, batches done, batches in all, and the running figures."""
OnEpoch = Callable[[Epoch], None]


def best_epoch(history: list[Epoch], choose: str) -> int:
    """1-based number of the best epoch by validation; the earliest of equals."""
    values = [epoch[choose] if choose == "val_accuracy" else -epoch[choose] for epoch in history]
    return int(np.argmax(values)) + 1


def next_rate(recipe: Recipe, history: list[Epoch]) -> float | None:
    """Learning rate of the next epoch, or None when training is over. Depends on recipe and history alone."""
    if len(history) >= recipe.epochs:
        return None
    since_best = len(history) - best_epoch(history, recipe.choose) if history else 0
    if recipe.stop_patience and since_best >= recipe.stop_patience:
        return None
    if recipe.schedule == "cosine":
        return cosine_rate(recipe, len(history))
    rate, best, waited = recipe.learning_rate, float("inf"), 0
    for epoch in history:
        if epoch["val_loss"] < best:
            best, waited = epoch["val_loss"], 0
        else:
            waited += 1
        if waited >= recipe.plateau_patience:
            rate, waited = rate * recipe.plateau_factor, 0
    return rate


def train(
    data: Dataset,
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    on_batch: OnBatch | None = None,
    on_epoch: OnEpoch | None = None,
) -> list[Epoch]:
    """Train to the end of the recipe and write the finished model; returns the history.

    Args:
        data: the cache; only `train` (and `val`, where it has one) is looked at.
        recipe: ignored in favour of the stored one when resuming.
        folder: the run's folder, new unless `resume`.
        resume: continue after the last finished epoch; a finished run is returned as it is.
        on_batch: progress.
        on_epoch: each finished epoch's figures.

    Raises:
        RunError: the folder holds a run (without `resume`), or none (with it), or one on other data.
    """
    run = RunFolder(folder)
    if resume:
        recipe = _check_same_data(run, data)
    else:
        environment = {**describe_machine(), "versions": versions("fer-edge", "keras", "tensorflow", "numpy")}
        about = {"data_sha256": data.sha256, "data_source": data.source}
        run.create(recipe, about | ({"data_path": str(data.folder)} if data.folder else {}), environment)
    with run.alone(), ctrl_c_between_batches() as check_stop:

        def batch_done(epoch: int, done: int, total: int, logs: dict[str, float]) -> None:
            check_stop()
            if on_batch is not None:
                on_batch(epoch, done, total, logs)

        return _train(data, recipe, run, batch_done, on_epoch)


def _train(data: Dataset, recipe: Recipe, run: RunFolder, on_batch: OnBatch, on_epoch: OnEpoch | None) -> list[Epoch]:
    history = run.history()
    if run.model.is_file():
        return history
    keras.utils.set_random_seed(recipe.seed)
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if recipe.mixed_precision else "float32")
    try:
        fit_rows, val_rows = fit_and_val_rows(data, recipe.val_fraction, recipe.seed)
        batches = TrainingBatches(data, fit_rows, recipe)
        val = _pairs(data, val_rows)
        model = _compiled(recipe) if not history else _restored(run.checkpoint(len(history)))
        weights = class_weights(data.labels[fit_rows]) if recipe.class_weights else None
        while (rate := next_rate(recipe, history)) is not None:
            batches.set_epoch(len(history))
            _seed_dropout(model, recipe.seed, len(history))
            history.append(_one_epoch(model, batches, val, rate, len(history), weights, on_batch))
            _save(model, run.checkpoint(len(history)))
            run.record(history, {len(history), best_epoch(history, recipe.choose)})
            if on_epoch is not None:
                on_epoch(history[-1])
        best = best_epoch(history, recipe.choose)
        draw_curves(history, best, run.path / "curves.png")
        _save_final(recipe, run.checkpoint(best), run.model)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    return history


def _check_same_data(run: RunFolder, data: Dataset) -> Recipe:
    stored = run.about()["data_sha256"]
    if stored != data.sha256:
        raise RunError(f"{run.path} was trained on data {stored[:12]}, not {data.sha256[:12]}; give the same --data")
    return run.recipe()


def _compiled(recipe: Recipe) -> keras.Model:
    model = build_model(recipe.model)
    optimizer: Any
    if recipe.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(
            recipe.learning_rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay or None
        )
    else:
        optimizer = keras.optimizers.Adam(recipe.learning_rate, weight_decay=recipe.weight_decay or None)
    if recipe.weight_decay:
        # Decay is for the kernels; on a bias or a batch norm's scale it only shifts what the data asks for.
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
    model.compile(optimizer, loss, metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")])
    return model


def _seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Make dropout, too, a function of (seed, epoch, layer): a checkpoint does not hold its generators' state."""
    for index, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.Dropout):
            layer.seed_generator.state.assign([(1000 * seed + index) % 2**32, epoch])


def _restored(checkpoint: Path) -> keras.Model:
    try:
        return keras.models.load_model(checkpoint)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RunError(f"checkpoint {checkpoint} cannot be read ({error}); start again in another --out") from error


def _pairs(data: Dataset, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(data.faces[rows])[..., None], keras.utils.to_categorical(data.labels[rows], 7)


def _one_epoch(
    model: keras.Model,
    batches: TrainingBatches,
    val: tuple[np.ndarray, np.ndarray],
    rate: float,
    done: int,
    weights: dict[int, float] | None,
    on_batch: OnBatch,
) -> Epoch:
    model.optimizer.learning_rate = rate
    total = len(batches)
    progress = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: on_batch(done + 1, batch + 1, total, logs or {})
    )
    start = time.perf_counter()
    # Keras shuffles a PyDataset's batches unless told not to; ours are shuffled already, by (seed, epoch).
    logs = model.fit(batches, epochs=1, shuffle=False, class_weight=weights, callbacks=[progress], verbose=0).history
    val_loss, val_accuracy = model.evaluate(*val, batch_size=256, verbose=0)
    if not np.isfinite([logs["loss"][0], val_loss]).all():
        raise RunError(f"the loss of epoch {done + 1} is not a number: training diverged; lower --learning-rate")
    return {
        "epoch": done + 1,
        "learning_rate": rate,
        "seconds": round(time.perf_counter() - start, 1),
        "loss": float(logs["loss"][0]),
        "accuracy": float(logs["accuracy"][0]),
        "val_loss": float(val_loss),
        "val_accuracy": float(val_accuracy),
    }


def _save(model: keras.Model, path: Path) -> None:
    with replacing_file(path) as temporary:
        model.save(temporary)


def _save_final(recipe: Recipe, checkpoint: Path, path: Path) -> None:
    """The best epoch's weights in a float32 network: mixed precision is for training, not for what is converted."""
    weights = _restored(checkpoint).get_weights()
    keras.mixed_precision.set_global_policy("float32")
    model = build_model(recipe.model)
    trained = [w.shape for w in model.get_weights()]
    if [w.shape for w in weights] != trained:
        raise RunError(f"checkpoint {checkpoint} does not hold the network {recipe.model!r}")
    model.set_weights(weights)
    _save(model, path)
