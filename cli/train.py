"""`fer-edge train`: fit a model by its recipe."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fer_edge.train.fit import OnBatch, OnEpoch
    from fer_edge.train.recipe import AnyRecipe
    from fer_edge.train.run_folder import Epoch

_OWN = ("flagship",)
"""Named recipes of a network of that name: --recipe alone trains it."""
_Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any value that `fer-edge models show` lists."),
]


def train(
    data: Annotated[Path, typer.Option(help="Data cache.")],
    model: Annotated[
        str | None, typer.Option(help="One of `fer-edge models`; cnn by default, flagship with --recipe flagship.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A named recipe put over the model's own: plateau or flagship, for any network.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/MODEL by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out after its last epoch.")] = False,
    epochs: Annotated[int | None, typer.Option(help="At most this many epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Learning rate at the start.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam, adamw or sgd.")] = None,
    schedule: Annotated[str | None, typer.Option(help="plateau, cosine, constant or hold.")] = None,
    stop_patience: Annotated[
        int | None, typer.Option(help="Epochs without a better one before stopping; 0: never.")
    ] = None,
    loss: Annotated[str | None, typer.Option(help="cross-entropy or focal.")] = None,
    label_smoothing: Annotated[float | None, typer.Option(help="0 to 0.9.")] = None,
    mixup: Annotated[float | None, typer.Option(help="Alpha of MixUp; 0: none.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="fer2013, expected, or FER+ votes: votes (seven classes), votes-8.")
    ] = None,
    class_weights: Annotated[bool | None, typer.Option(help="Weigh rare emotions more.")] = None,
    oversample: Annotated[bool | None, typer.Option(help="Repeat rare emotions until all are as many.")] = None,
    standardize: Annotated[bool | None, typer.Option(help="Each face to mean 0 and deviation 1.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="Of resnet50 (imagenet) or dlib-resnet (dlib): that, none, or a file.")
    ] = None,
    image_side: Annotated[
        int | None, typer.Option(help="Side in pixels inside resnet50, dlib-resnet or mini-xception.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Fit on all of Training where the recipe takes a part.")] = False,
    members: Annotated[str | None, typer.Option(help="With --model ensemble: run folders, comma-separated.")] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Finished runs that say what each view of a face is, comma-separated.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|BUNDLE",
            help="Begin with the weights of a finished run, the mean of several by commas, or a bundle, as flagship.",
        ),
    ] = None,
    quantization_aware: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Train a finished run on under the rounding of int8; by its own recipe."),
    ] = None,
    val_fraction: Annotated[float | None, typer.Option(help="Part of Training kept for validation.")] = None,
    mixed_precision: Annotated[bool | None, typer.Option(help="Compute in bfloat16, keep weights in float32.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, validation split, augmentation and dropout.")] = None,
    values: _Set = None,
    threads: Annotated[int, typer.Option(min=0, help="Cores to use, of each worker; 0: all, shared.")] = 0,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="N|HOST:PORT,HOST,...",
            help="Share each batch among so many processes here, or one on each of several hosts; uses JAX.",
        ),
    ] = None,
    worker_index: Annotated[int | None, typer.Option(help="Which of the hosts this is; 0 keeps the run.")] = None,
) -> None:
    """Train a model on a data cache; every epoch is checkpointed, and --resume continues after a kill."""
    from fer_edge.devices.errors import RunError
    from fer_edge.train.dataset import load_dataset

    overrides: dict[str, Any] = {
        "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "optimizer": optimizer,
        "schedule": schedule, "stop_patience": stop_patience, "loss": loss, "label_smoothing": label_smoothing,
        "mixup": mixup, "labels": labels, "class_weights": class_weights, "oversample": oversample,
        "standardize": standardize, "weights": weights, "image_side": image_side, "val_fraction": val_fraction,
        "mixed_precision": mixed_precision, "seed": seed, "start": start,
    }  # fmt: skip
    given = {
        "model": model, "recipe": recipe, **overrides, "full": full or None, "members": members, "teacher": teacher,
        "quantization_aware": quantization_aware, "set": values,
    }  # fmt: skip
    changes = _changes(given) if resume else {}
    if quantization_aware is not None and (model or recipe):
        raise RunError("--quantization-aware takes the run's own network and recipe; leave out --model and --recipe")
    model = model or (recipe if recipe in _OWN else "cnn")
    folder = out or Path("runs") / (f"{quantization_aware.resolve().name}-aware" if quantization_aware else model)
    if full:
        overrides["train_fraction"] = 1.0
    if members is not None:
        overrides["members"] = tuple(filter(None, members.split(",")))
    if teacher is not None:
        overrides["teachers"] = tuple(filter(None, teacher.split(",")))
    asked = None if resume else _recipe(model, recipe, overrides, values or [], quantization_aware)
    dataset = load_dataset(data)
    if workers is not None:
        if changes:
            raise RunError(
                f"workers take the stored recipe; leave out {', '.join(changes)}, or resume without --workers"
            )
        if not _fit_shared(data, asked, folder, workers, worker_index, threads):
            return
    elif worker_index is not None:
        raise RunError("--worker-index goes with --workers HOST:PORT,HOST,...; leave it out to train alone")
    else:
        _fit(dataset, asked, folder, resume=resume, changes=changes, threads=threads)
    _print_outcome(folder)


def _recipe(
    model: str, named: str | None, overrides: dict[str, Any], values: list[str], aware: Path | None
) -> "AnyRecipe":
    """The recipe that the command line asks for; `--set` comes last."""
    from fer_edge.devices.errors import RunError
    from fer_edge.train.recipe import parse_value
    from fer_edge.train.recipes import aware_recipe, kind_of, recipe_for
    from fer_edge.train.run_folder import RunFolder

    base = None if aware is None else RunFolder(aware)
    kind = kind_of(model) if base is None else type(base.recipe())
    for text in values:
        name, equals, value = text.partition("=")
        if not equals:
            raise RunError(f"--set {text!r} is not NAME=VALUE")
        field = name.strip().replace("-", "_")
        overrides[field] = parse_value(kind, field, value.strip())
    if base is not None:
        return aware_recipe(base.recipe(), str(aware), **overrides)
    return recipe_for(model, named, **overrides)


def _changes(given: dict[str, Any]) -> dict[str, int]:
    """What --resume is given of the numbers that it takes; all others are the stored recipe's."""
    from fer_edge.devices.errors import RunError
    from fer_edge.train.recipe import Recipe, parse_value
    from fer_edge.train.schedule import CHANGEABLE

    pairs = dict(text.partition("=")[::2] for text in given["set"] or [])
    strange = [name for name in pairs if name not in CHANGEABLE]
    others = [name for name, value in given.items() if value is not None and name not in ("epochs", "set")]
    if names := others + (["set"] if strange else []):
        words = ", ".join(f"--{name.replace('_', '-')}" for name in names)
        raise RunError(
            f"--resume takes the stored recipe; leave out {words} (--epochs and --set {'=, '.join(CHANGEABLE)}= may "
            "be changed before they count)"
        )
    changes = {name: parse_value(Recipe, name, value) for name, value in pairs.items()}
    return changes | ({} if given["epochs"] is None else {"epochs": given["epochs"]})


def _fit(
    dataset: Any, recipe: "AnyRecipe | None", folder: Path, *, resume: bool, changes: dict[str, int], threads: int
) -> None:
    from fer_edge.train.quietly import keras_quietly

    keras_quietly(threads)
    from fer_edge.train.fit import train as fit

    with _shown() as (on_batch, on_epoch):
        fit(dataset, recipe, folder, resume=resume, changes=changes, on_batch=on_batch, on_epoch=on_epoch)


def _fit_shared(
    data: Path, recipe: "AnyRecipe | None", folder: Path, workers: str, index: int | None, threads: int
) -> bool:
    """Train in several processes; a recipe of None resumes. Whether the run folder is on this machine."""
    from fer_edge.train.run_folder import RunFolder
    from fer_edge.train.worker import Job
    from fer_edge.train.workers import check_recipe, parse_workers, run_workers

    crew = parse_workers(workers, index)
    if 0 in crew.here and recipe is None and RunFolder(folder).is_finished():
        return True
    if 0 in crew.here and recipe is not None:
        RunFolder(folder).refuse_occupied()
    if 0 in crew.here or recipe is not None:
        check_recipe(recipe or RunFolder(folder).recipe(), crew.count)
    wanted = None if recipe is None else recipe.to_json()
    jobs = [Job(i, crew.count, crew.coordinator, str(data), str(folder), wanted) for i in crew.here]
    go_on = ["fer-edge", "train", "--data", str(data), "--out", str(folder), "--resume", "--workers", workers]
    if index is not None:
        go_on += ["--worker-index", str(index)]
    with _shown() as (on_batch, on_epoch):
        run_workers(jobs, threads=threads, go_on=go_on, on_batch=on_batch, on_epoch=on_epoch)
    if 0 not in crew.here:
        print(f"worker {index} of {crew.count} is done; the run is where worker 0 was started, in its --out")
    return 0 in crew.here


@contextmanager
def _shown() -> "Iterator[tuple[OnBatch, OnEpoch]]":
    """A progress bar, and a line for each epoch."""
    from fer_edge.cli.screen import progress

    with progress("starting") as (bar, task):

        def on_batch(epoch: int, done: int, total: int, logs: dict[str, float]) -> None:
            figures = f"loss {logs.get('loss', float('nan')):.3f}"
            if "accuracy" in logs:
                figures += f", accuracy {logs['accuracy']:.3f}"
            bar.update(task, completed=done, total=total, description=f"epoch {epoch}: {figures}")

        def on_epoch(row: "Epoch") -> None:
            figures = "".join(
                f"  {name} {row[name]:.4f}" for name in ("loss", "accuracy", "val_loss", "val_accuracy") if name in row
            )
            rate = f"  rate {row['learning_rate']:.2e}" if "learning_rate" in row else ""
            bar.console.print(f"epoch {row['epoch']:3.0f}{rate}{figures}  {row['seconds']:.0f} s")

        yield on_batch, on_epoch


def _print_outcome(folder: Path) -> None:
    from fer_edge.train.run_folder import RunFolder
    from fer_edge.train.schedule import best_epoch
    from fer_edge.train.zoo import MODELS

    recipe, history = RunFolder(folder).recipe(), RunFolder(folder).history()
    chosen = best_epoch(history, recipe.choose)
    name, value = next((n, history[chosen - 1][n]) for n in ("val_accuracy", "val_loss") if n in history[chosen - 1])
    figure = f"validation accuracy {value:.2%}" if name == "val_accuracy" else f"validation loss {value:.4f}"
    epochs = "1 epoch" if len(history) == 1 else f"{len(history)} epochs"
    print(f"{folder}: {epochs}, kept is {chosen} with {figure}")
    if MODELS[recipe.model].kind == "autoencoder":
        print(f"next: fer-edge data clean CACHE --out CLEANED --autoencoder {folder}")
    else:
        convertible = MODELS[recipe.model].kind != "sklearn"
        print(f"next: fer-edge evaluate {folder}" + (f", fer-edge convert {folder} --int8" if convertible else ""))
