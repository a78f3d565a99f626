"""`fer-edge data clean`: a new cache without outliers, leaking duplicates or blank images, and with less noise."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_edge.cli.data_reports import Cache, Distance, Force, Likeness, rule_of, search, stamped

if TYPE_CHECKING:
    from fer_edge.train.clean import Removal
    from fer_edge.train.dataset import Dataset
    from fer_edge.train.run_folder import RunFolder

PAGE, REMOVED = "clean.html", "removed.csv"


def clean(
    cache: Cache,
    out: Annotated[Path, typer.Option(metavar="CACHE2", help="Folder of the new cache.")],
    autoencoder: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Remove what this autoencoder reproduces worst.")
    ] = None,
    percentile: Annotated[
        float, typer.Option(help="With --autoencoder, of Training's errors; outliers have more.")
    ] = 98.0,
    across_splits: Annotated[
        bool, typer.Option("--across-splits", help="Remove from Training what a held-out split has, too.")
    ] = False,
    blank: Annotated[bool, typer.Option("--blank", help="Remove images that show nothing.")] = False,
    denoise: Annotated[bool, typer.Option("--denoise", help="Non-local means on all images of all splits.")] = False,
    strength: Annotated[float, typer.Option(min=0.1, max=100, help="Of --denoise, in gray levels.")] = 5.0,
    distance: Distance = 12,
    likeness: Likeness = 0.7,
    force: Force = False,
) -> None:
    """Make a cleaned cache. Only Training loses images; the new cache and its page say which and why."""
    from fer_edge.cli.screen import progress
    from fer_edge.devices.errors import DataError
    from fer_edge.devices.files import refuse_occupied
    from fer_edge.train import clean as steps
    from fer_edge.train.clean_page import clean_page
    from fer_edge.train.dataset import MANIFEST, load_dataset, save_dataset
    from fer_edge.train.run_folder import RunFolder

    if not (autoencoder or across_splits or blank or denoise):
        raise DataError("nothing to clean; ask for --autoencoder RUN, --across-splits, --blank or --denoise")
    refuse_occupied(out, MANIFEST, force=force)
    run = None if autoencoder is None else RunFolder(autoencoder)
    if run is not None:
        steps.check_autoencoder(run, percentile)
    rule = rule_of(distance, likeness)
    data, start = load_dataset(cache), time.perf_counter()
    found = search(data, rule) if across_splits else None
    removals = [steps.leaking(data, found)] if found is not None else []
    if run is not None:
        removals.append(_outliers(data, run, percentile))
    if blank:
        removals.append(steps.blank(data))
    with progress("denoising" if denoise else "writing", total=len(data.faces) if denoise else None) as (bar, task):
        after = steps.cleaned(
            data,
            removals,
            denoise=strength if denoise else None,
            tick=lambda done: bar.update(task, completed=done, total=len(data.faces)),
        )
        page = clean_page(
            stamped({"data": {"source": data.source, "sha256": data.sha256}}, start), data, after, removals, found
        )
        save_dataset(after, out, force=force, beside={PAGE: page, REMOVED: _rows_csv(data, removals)})
    _print(out, after)


def _outliers(data: "Dataset", run: "RunFolder", percentile: float) -> "Removal":
    from fer_edge.cli.screen import progress
    from fer_edge.train.clean import outliers
    from fer_edge.train.quietly import keras_quietly

    with progress("reproducing faces", total=1) as (bar, task):
        keras_quietly()
        from fer_edge.train.reconstruct import reconstruction_errors

        errors = reconstruction_errors(run, data.faces)
        bar.update(task, completed=1)
    return outliers(data, errors, percentile, run)


def _print(out: Path, after: "Dataset") -> None:
    record = after.cleaned[-1]
    for step in record["steps"]:
        if "removed" in step:
            by_emotion = ", ".join(f"{count} {name}" for name, count in step["removed_by_emotion"].items() if count)
            print(
                f"{step['step']}: {step['removed']:,} images of Training" + (f" ({by_emotion})" if by_emotion else "")
            )
        else:
            print(f"{step['step']}: all images of {', '.join(step['splits'])}, strength {step['strength']:g}")
    print(f"{out}: {len(after.faces):,} faces of {record['images_before']:,}, content {after.sha256[:12]}")
    print(f"written: {out / PAGE}, which shows faces of the data, and {out / REMOVED}")


def _rows_csv(data: "Dataset", removals: "list[Removal]") -> str:
    """Every removed image: step, row in the old cache, label, and the step's score where it has one."""
    from fer_edge.edge_runtime.vocabulary import EMOTIONS

    lines = ["step,row,label,score"]
    for removal in removals:
        for row in removal.rows.tolist():
            score = "" if removal.scores is None else f"{removal.scores[row]:.6f}"
            lines.append(f"{removal.step},{row},{EMOTIONS[data.labels[row]]},{score}")
    return "\n".join(lines) + "\n"
