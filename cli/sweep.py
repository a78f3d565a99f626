"""`fer-edge sweep`: many trainings and their quantizations by one file, on Ray Tune."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fer_edge.convert.sweep_spec import Sweep


def sweep(
    spec: Annotated[Path, typer.Argument(help="TOML file: what is trained, quantized and searched; docs/sweep.md.")],
    data: Annotated[Path | None, typer.Option(help="Data cache; on a cluster a path that every machine has.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the sweep: trials, sweep.json, sweep.html.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the sweep in --out, after a kill too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the trials and leave.")] = False,
) -> None:
    """Train models by many seeds and recipe values, make each int8 in many ways, and rank them."""
    from fer_edge.convert.sweep_spec import load_sweep
    from fer_edge.devices.errors import RunError

    asked = load_sweep(spec)
    print(_size(asked))
    if dry_run:
        _list(asked)
        return
    if data is None or out is None:
        raise RunError(f"a sweep needs {'--data CACHE' if data is None else '--out DIR'}; --dry-run does without")
    made = _run(asked, data, out, resume=resume)
    _print_result(made)
    print(f"written: {out / 'sweep.json'}, {out / 'sweep.html'}; each trial is a run: {out / 'trials'}")
    _say_failures(made, out)


def _size(asked: "Sweep") -> str:
    count, quantize = len(asked.trainings), asked.quantize
    words = f"{count:,} trial{'s' * (count != 1)}"
    return words if quantize is None else f"{words}, each made int8 in {len(quantize.settings)} ways"


def _list(asked: "Sweep") -> None:
    for one in asked.trainings:
        print(one.id)
    for setting in asked.quantize.settings if asked.quantize else ():
        print(f"int8: {setting.name}")


def _run(asked: "Sweep", data: Path, out: Path, *, resume: bool) -> dict[str, Any]:
    import fer_edge.convert.sweep_ray  # noqa: F401  that Ray is missing is said before the data is read
    from fer_edge.cli.screen import progress
    from fer_edge.convert.sweep_page import write_page
    from fer_edge.convert.sweep_run import run_sweep
    from fer_edge.train.dataset import load_dataset

    cache = load_dataset(data)
    about = {
        "made_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": ["fer-edge", *sys.argv[1:]],
    }
    with progress("starting Ray", total=len(asked.trainings)) as (bar, task):
        ended = set()

        def watch(trial: str, figures: dict[str, Any]) -> None:
            if "status" in figures:
                ended.add(trial)
            accuracy = figures.get("val_accuracy")
            words = f"epoch {figures.get('epoch')}" + ("" if accuracy is None else f", val accuracy {accuracy:.3f}")
            bar.update(task, completed=len(ended), description=f"{trial[:60]}: {figures.get('status', words)}")

        made = run_sweep(asked, cache, out, about, resume=resume, watch=watch)
        bar.update(task, completed=made["counts"]["finished"] + made["counts"]["stopped"] + made["counts"]["failed"])
    write_page(out / "sweep.html", made)
    return made


def _print_result(made: dict[str, Any]) -> None:
    from fer_edge.cli.screen import table
    from fer_edge.convert.sweep_words import columns, ranked_rows, sentences

    if made["ranking"]["rows"]:
        table(f"by {made['metric']}, mean over seeds", columns(made), ranked_rows(made))
    for sentence in sentences(made):
        print(sentence)


def _say_failures(made: dict[str, Any], out: Path) -> None:
    """Raises RunError where a trial failed, so that the exit code says so; after all the rest is written."""
    from fer_edge.convert.sweep_result import failures
    from fer_edge.devices.errors import RunError

    failed = failures(made)
    for sentence in failed:
        print(f"failed: {sentence}")
    if failed:
        raise RunError(
            f"{len(failed)} of the sweep's results failed, see {out / 'sweep.json'}; --resume tries them again"
        )
