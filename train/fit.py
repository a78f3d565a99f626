"""Trains a model by its recipe. A network is fitted one epoch at a time, so that a kill loses at most one epoch.

What the next epoch does is a function of the history so far (`schedule.py`): a resumed run needs no state beside
history.json and the last checkpoint, which holds weights, optimizer and dropout seeds.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import FerEdgeError, RunError
from fer_edge.devices.files import replacing_file
from fer_edge.devices.machine import describe_machine, versions
from fer_edge.train.averaging import RawWeights, averaged
from fer_edge.train.aware import check_base, learned_ranges, plain_network
from fer_edge.train.batches import TrainingBatches, side_of, smaller
from fer_edge.train.curves import draw_curves
from fer_edge.train.dataset import Dataset
from fer_edge.train.feed import ArrayBatches, untuned
from fer_edge.train.models import load_network, of_recipe, penalized
from fer_edge.train.objective import compiled, decaying_kernels
from fer_edge.train.recipe import AnyRecipe, EnsembleRecipe, Recipe
from fer_edge.train.run_folder import Epoch, RunFolder
from fer_edge.train.schedule import best_epoch, next_rate, with_other_end
from fer_edge.train.sharpness import Twice
from fer_edge.train.split import fit_part, rows_of
from fer_edge.train.stopping import ctrl_c_between_batches
from fer_edge.train.targets import targets, truth
from fer_edge.train.teacher import Teacher
from fer_edge.train.team import Alone, Team
from fer_edge.train.warm_start import begun_with, check_start
from fer_edge.train.zoo import MODELS

OnBatch = Callable[[int, int, int, dict[str, float]], None]
"""Called after each batch with 1-based epoch, batches done, batches in all, and the running figures."""
OnEpoch = Callable[[Epoch], None]
Keep = Callable[[keras.Model, list[Epoch]], None]
"""Called after each epoch with the network, which may be saved, and the history so far."""
Pairs = tuple[NDArray, NDArray]
ALONE = Alone()


def train(
    data: Dataset,
    recipe: AnyRecipe | None,
    folder: Path,
    *,
    resume: bool = False,
    changes: dict[str, int] | None = None,
    on_batch: OnBatch | None = None,
    on_epoch: OnEpoch | None = None,
    team: Team = ALONE,
) -> list[Epoch]:
    """Train to the end of the recipe and write the finished model; returns the history.

    Args:
        data: the cache; only `train` (and `val`, where it has one) is looked at.
        recipe: ignored in favour of the stored one when resuming, and may be None then.
        folder: the run's folder, new unless `resume`.
        resume: continue after the last finished epoch; a finished run is returned as it is.
        changes: with `resume`, other values of `schedule.CHANGEABLE`, kept in the run's recipe.
        on_batch: progress.
        on_epoch: each finished epoch's figures. A model without epochs has one.
        team: the workers that share a network's batches, of which this process is the first.

    Raises:
        RunError: the folder holds a run (without `resume`), or none (with it), or one on other data; or `changes` come
            too late.
        DataError: the recipe asks for FER+ votes and the data has none.
    """
    run = RunFolder(folder)
    if resume:
        recipe = _check_same_data(run, data)
        if changes:
            recipe = _changed(run, recipe, changes)
    else:
        assert recipe is not None
        environment = describe_machine()
        environment["versions"] = versions("fer-edge", "keras", keras.backend.backend(), "numpy", "scikit-learn")
        about: dict[str, Any] = {"data_sha256": data.sha256, "data_source": data.source}
        about |= {"data_path": str(data.folder)} if data.folder else {}
        run.create(recipe, about | begun_with(recipe), environment)
    with run.alone(), ctrl_c_between_batches() as check_stop:

        def batch_done(epoch: int, done: int, total: int, logs: dict[str, float]) -> None:
            check_stop()
            if on_batch is not None:
                on_batch(epoch, done, total, logs)

        if run.is_finished() and run.history():
            return run.history()
        try:
            if isinstance(recipe, Recipe):
                return _fit_network(data, recipe, run, batch_done, on_epoch, team)
            return _fit_at_once(data, recipe, run, on_epoch)
        except FerEdgeError:
            if not run.history():  # it never began: the same --out is free for the order that is put right
                run.discard()
            raise


def _fit_at_once(data: Dataset, recipe: AnyRecipe, run: RunFolder, on_epoch: OnEpoch | None) -> list[Epoch]:
    """What has no epochs: a run of one."""
    if isinstance(recipe, EnsembleRecipe):
        from fer_edge.train.ensemble import average_members as fit
    else:
        from fer_edge.train.classical import fit_classical as fit  # type: ignore[assignment]
    history = [fit(data, recipe, run)]  # type: ignore[arg-type]
    run.record(history, set())
    if on_epoch is not None:
        on_epoch(history[0])
    return history


def _fit_network(
    data: Dataset, recipe: Recipe, run: RunFolder, on_batch: OnBatch, on_epoch: OnEpoch | None, team: Team
) -> list[Epoch]:
    def keep(model: keras.Model, history: list[Epoch]) -> None:
        _save(model, run.checkpoint(len(history)))
        run.record(history, {len(history), best_epoch(history, recipe.choose)})
        if on_epoch is not None:
            on_epoch(history[-1])

    if recipe.quantization_aware is not None:
        check_base(recipe, data)
    history = run.history()
    if recipe.start is not None and not history:
        check_start(recipe, data)
    checkpoint = run.checkpoint(len(history)) if history else None
    team.begin(recipe, history, checkpoint)
    history = fit_epochs(data, recipe, history, checkpoint, on_batch, keep, team)
    best = best_epoch(history, recipe.choose)
    draw_curves(history, best, run.path / "curves.png")
    trained = _trained(data, recipe, run.checkpoint(best), best)
    if recipe.quantization_aware is not None:
        run.write_ranges(learned_ranges(trained))
    _save(_final(recipe, trained, run.checkpoint(best)), run.model)
    return history


def fit_epochs(
    data: Dataset,
    recipe: Recipe,
    history: list[Epoch],
    checkpoint: Path | None,
    on_batch: OnBatch,
    keep: Keep,
    team: Team,
) -> list[Epoch]:
    """Train from where `history` and its `checkpoint` are to the end; returns the whole history.

    Every worker of a team goes through here at the same pace; `keep` is what differs between them.

    Raises:
        RunError: the loss is no number, the checkpoint is damaged, or the workers' weights differ.
    """
    history = list(history)
    keras.utils.set_random_seed(recipe.seed)
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if recipe.mixed_precision else "float32")
    try:
        batches, val = batches_of(data, recipe, team.shard)
        with team.sharing():
            model = compiled(recipe, batches.first_views) if checkpoint is None else restored(checkpoint, recipe)
            while (rate := next_rate(recipe, history)) is not None:
                batches.set_epoch(len(history))
                _seed_dropout(model, recipe.seed, len(history))
                history.append(_one_epoch(model, batches, val, rate, recipe, on_batch))
                with team.apart(model, len(history)):
                    keep(model, history)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    return history


def batches_of(data: Dataset, recipe: Recipe, shard: tuple[int, int] = (0, 1)) -> tuple[TrainingBatches, Pairs]:
    """The batches to fit on, and faces (N, 48, 48, 1) uint8 with their targets to validate on."""
    fit_rows, val_rows = rows_of(data, recipe)
    fit_rows = fit_part(data, fit_rows, recipe.train_fraction, recipe.seed)
    if MODELS[recipe.model].kind == "autoencoder":
        if recipe.teachers:
            raise RunError("an autoencoder names nothing, so no network can teach it; leave out --teacher")
        faces = np.asarray(data.faces[val_rows])[..., None]
        return TrainingBatches(data, fit_rows, None, recipe, shard), (faces, faces.astype(np.float32) / 255)
    teacher = Teacher(data, recipe) if recipe.teachers else None
    said = teacher.of_faces(np.asarray(data.faces[fit_rows])) if teacher and not recipe.asks_of_views else None
    fit_rows, wanted = targets(data, fit_rows, recipe, said)
    val_rows, labels = truth(data, val_rows, recipe)
    val = np.asarray(data.faces[val_rows])[..., None], keras.utils.to_categorical(labels, recipe.class_count)
    return TrainingBatches(data, fit_rows, wanted, recipe, shard, teacher if recipe.asks_of_views else None), val


def _check_same_data(run: RunFolder, data: Dataset) -> AnyRecipe:
    stored = run.about()["data_sha256"]
    if stored != data.sha256:
        raise RunError(f"{run.path} was trained on data {stored[:12]}, not {data.sha256[:12]}; give the same --data")
    return run.recipe()


def _changed(run: RunFolder, recipe: AnyRecipe, changes: dict[str, int]) -> AnyRecipe:
    if not isinstance(recipe, Recipe):
        raise RunError(f"{recipe.model} has no epochs; leave out {', '.join(changes)}")
    if run.is_finished():
        raise RunError(f"{run.path} is finished, and its epochs stay as they are; start another in a new --out")
    recipe = with_other_end(recipe, run.history(), changes)
    with run.alone():  # not under the hands of another process
        run.rewrite(recipe)
    return recipe


def _seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Make dropout, too, a function of (seed, epoch, layer): a checkpoint does not hold its generators' state."""
    for index, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.Dropout):
            layer.seed_generator.state.assign([(1000 * seed + index) % 2**32, epoch])


def restored(checkpoint: Path, recipe: Recipe) -> keras.Model:
    """The network and its optimizer as they were after an epoch.

    Raises:
        RunError: the checkpoint is damaged.
    """
    try:
        model = penalized(load_network(checkpoint, with_optimizer=True), recipe.l2)
    except RunError as error:
        raise RunError(f"checkpoint {error}; start again in another --out") from error
    decaying_kernels(model.optimizer)
    return model


def _one_epoch(
    model: keras.Model, batches: TrainingBatches, val: Pairs, rate: float, recipe: Recipe, on_batch: OnBatch
) -> Epoch:
    model.optimizer.learning_rate = rate
    done = batches.epoch
    fed = Twice(batches) if recipe.sharpness else batches
    total = len(fed)
    before_last: dict[str, float] = {}

    def batch_done(batch: int, logs: dict[str, float]) -> None:
        if batch == total - 2:
            before_last.update({name: float(value) for name, value in logs.items()})
        on_batch(done + 1, batch + 1, total, logs)

    progress = keras.callbacks.LambdaCallback(on_train_batch_end=batch_done)
    start = time.perf_counter()
    # Keras shuffles a PyDataset's batches unless told not to; ours are shuffled already, by (seed, epoch).
    raw = RawWeights()
    logs = model.fit(untuned(fed), epochs=1, shuffle=False, callbacks=[progress, raw], verbose=0).history
    with averaged(model, batches, raw) if recipe.average else nullcontext():
        judging = ArrayBatches((smaller(val[0], side_of(recipe, done)), val[1]))
        judged = model.evaluate(untuned(judging), verbose=0, return_dict=True)
    figures = {
        name: batches.counted_once(before_last.get(name, 0.0), float(values[0])) for name, values in logs.items()
    }
    figures |= {f"val_{name}": float(value) for name, value in judged.items()}
    if not np.isfinite([figures["loss"], figures["val_loss"]]).all():
        raise RunError(f"the loss of epoch {done + 1} is not a number: training diverged; lower --learning-rate")
    return {"epoch": done + 1, "learning_rate": rate, "seconds": round(time.perf_counter() - start, 1), **figures}


def _save(model: keras.Model, path: Path) -> None:
    with replacing_file(path) as temporary:
        model.save(temporary)


def _trained(data: Dataset, recipe: Recipe, checkpoint: Path, best: int) -> keras.Model:
    """The network of the best epoch, with the weights that were judged."""
    model = restored(checkpoint, recipe)
    if recipe.average:
        batches, _ = batches_of(data, recipe)
        batches.set_epoch(best - 1)
        with averaged(model, batches):
            return model
    return model


def _final(recipe: Recipe, trained: keras.Model, checkpoint: Path) -> keras.Model:
    """Its weights in a float32 network: mixed precision and rounding are for training, not for what is converted."""
    keras.mixed_precision.set_global_policy("float32")
    if recipe.quantization_aware is not None:
        return plain_network(trained, RunFolder(Path(recipe.quantization_aware)))
    model, weights = of_recipe(recipe, pretrained=False), trained.get_weights()
    if [w.shape for w in weights] != [w.shape for w in model.get_weights()]:
        raise RunError(f"checkpoint {checkpoint} does not hold the network {recipe.model!r}")
    model.set_weights(weights)
    return model
