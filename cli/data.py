"""`fer-edge data`: `import` and `synth` make the cache that every later command takes; the others look and clean."""

from pathlib import Path
from typing import Annotated

import typer

from fer_edge.cli.data_clean import clean
from fer_edge.cli.data_reports import audit, explore

app = typer.Typer(
    help="Make a data cache: import FER-2013, or draw synthetic faces; look at it, and clean it.", no_args_is_help=True
)
Force = Annotated[bool, typer.Option("--force", help="Replace DIR if it exists.")]


@app.command("import")
def import_(
    path: Annotated[
        Path, typer.Argument(help="fer2013.csv (plain, .gz, in a tar or zip), or a folder or zip of images.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the cache.")] = Path("data/fer2013"),
    votes: Annotated[
        Path | None, typer.Option(help="FER+ votes; by default fer2013new.csv beside the CSV, if there.")
    ] = None,
    force: Force = False,
) -> None:
    """Read FER-2013 in any of its forms into one compact, checked cache."""
    from fer_edge.cli.screen import progress
    from fer_edge.devices.files import refuse_occupied
    from fer_edge.train.dataset import MANIFEST, save_dataset
    from fer_edge.train.importer import import_data

    refuse_occupied(out, MANIFEST, force=force)
    with progress("reading faces") as (bar, task):
        dataset = import_data(path, votes, lambda done: bar.update(task, completed=done))
    save_dataset(dataset, out, force=force)
    _print_counts(dataset, out)


@app.command()
def synth(
    out: Annotated[Path, typer.Option(help="Folder of the cache.")] = Path("data/synth"),
    count: Annotated[int, typer.Option(min=21, max=200_000, help="Faces in all; a fifth is the test split.")] = 3500,
    seed: Annotated[int, typer.Option(help="The same seed draws the same faces.")] = 0,
    force: Force = False,
) -> None:
    """Draw faces with the seven emotions, so that the whole chain runs where FER-2013 is not."""
    from fer_edge.cli.screen import progress
    from fer_edge.devices.files import refuse_occupied
    from fer_edge.train.dataset import MANIFEST, save_dataset
    from fer_edge.train.synth import synthetic_dataset

    refuse_occupied(out, MANIFEST, force=force)
    with progress("drawing faces", total=count) as (bar, task):
        dataset = synthetic_dataset(count, seed, lambda done: bar.update(task, completed=done))
    save_dataset(dataset, out, force=force)
    _print_counts(dataset, out)


app.command()(explore)
app.command()(audit)
app.command()(clean)


def _print_counts(dataset, out: Path) -> None:  # type: ignore[no-untyped-def]
    from fer_edge.cli.screen import table

    counts = dataset.counts()
    emotions = list(next(iter(counts.values())))
    rows = [[split, *(f"{c[e]:,}" for e in emotions), f"{sum(c.values()):,}"] for split, c in counts.items()]
    table(f"{out}: {len(dataset.faces):,} faces", ["split", *emotions, "all"], rows)
    votes = "with FER+ votes" if dataset.votes is not None else "without votes"
    print(f"{dataset.source}, {votes}, content {dataset.sha256[:12]}")
