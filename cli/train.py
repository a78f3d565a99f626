"""`fer-edge train`: fit a network by its recipe."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    data: Annotated[Path, typer.Option(help="Data cache.")],
    model: Annotated[
        str | None,
        typer.Option(help="cnn (of the published comparison; the default) or cnn-edge (the one that ships)."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/MODEL by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out after its last epoch.")] = False,
    epochs: Annotated[int | None, typer.Option(help="At most this many epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Learning rate at the start.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam or sgd.")] = None,
    schedule: Annotated[str | None, typer.Option(help="plateau or cosine.")] = None,
    stop_patience: Annotated[
        int | None, typer.Option(help="Epochs without a better one before stopping; 0: never.")
    ] = None,
    label_smoothing: Annotated[float | None, typer.Option(help="0 to 0.9.")] = None,
    val_fraction: Annotated[float | None, typer.Option(help="Part of Training kept for validation.")] = None,
    class_weights: Annotated[bool | None, typer.Option(help="Weigh rare emotions more.")] = None,
    mixed_precision: Annotated[bool | None, typer.Option(help="Compute in bfloat16, keep weights in float32.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, validation split, augmentation and dropout.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="Cores to use; 0: all.")] = 0,
) -> None:
    """Train a network on a data cache; every epoch is checkpointed, and --resume continues after a kill."""
    from fer_edge.cli.screen import progress
    from fer_edge.devices.errors import RunError
    from fer_edge.train.dataset import load_dataset
    from fer_edge.train.recipes import recipe_for

    overrides = {
        "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "optimizer": optimizer,
        "schedule": schedule, "stop_patience": stop_patience, "label_smoothing": label_smoothing,
        "val_fraction": val_fraction, "class_weights": class_weights, "mixed_precision": mixed_precision, "seed": seed,
    }  # fmt: skip
    given = {"model": model, **overrides}
    if resume and (changed := [f"--{k.replace('_', '-')}" for k, v in given.items() if v is not None]):
        raise RunError(f"--resume takes the stored recipe; leave out {', '.join(changed)}")
    model = model or "cnn"
    folder = out or Path("runs") / model
    recipe = recipe_for(model, **overrides)
    dataset = load_dataset(data)

    from fer_edge.train.quietly import keras_quietly

    keras_quietly(threads)
    from fer_edge.train.fit import best_epoch
    from fer_edge.train.fit import train as fit
    from fer_edge.train.run_folder import RunFolder

    with progress("starting") as (bar, task):

        def on_batch(epoch: int, done: int, total: int, logs: dict[str, float]) -> None:
            figures = f"loss {logs.get('loss', float('nan')):.3f}, accuracy {logs.get('accuracy', 0):.3f}"
            bar.update(task, completed=done, total=total, description=f"epoch {epoch}: {figures}")

        def on_epoch(row: dict[str, float]) -> None:
            bar.console.print(
                f"epoch {row['epoch']:3.0f}  rate {row['learning_rate']:.2e}  loss {row['loss']:.4f}  "
                f"accuracy {row['accuracy']:.4f}  val_loss {row['val_loss']:.4f}  "
                f"val_accuracy {row['val_accuracy']:.4f}  {row['seconds']:.0f} s"
            )

        history = fit(dataset, recipe, folder, resume=resume, on_batch=on_batch, on_epoch=on_epoch)
    chosen = best_epoch(history, RunFolder(folder).recipe().choose)
    accuracy = history[chosen - 1]["val_accuracy"]
    print(f"{folder}: {len(history)} epochs, the best is {chosen} with validation accuracy {accuracy:.2%}")
    print(f"next: fer-edge convert {folder} --int8")
