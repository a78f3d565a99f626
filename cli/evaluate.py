"""`fer-edge evaluate`: everything worth knowing about one model, as JSON and as a page."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fer_edge.train.eval_subject import Subject


def evaluate(
    run: Annotated[
        Path | None, typer.Argument(help="Run folder, bundle folder or .ferpack; flagship (by default) and tiny ship.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Data cache; by default the run's own, for a bundle data/fer2013.")
    ] = None,
    split: Annotated[str, typer.Option(help="Held-out images: val, test or private.")] = "test",
    out: Annotated[
        Path | None, typer.Option(help="Folder of evaluation.json and .html; by default the run, or evaluation/NAME.")
    ] = None,
    variant: Annotated[str | None, typer.Option(help="Of a bundle, as tflite/int8.")] = None,
    robustness: Annotated[
        bool, typer.Option("--robustness/--no-robustness", help="Judge under noise, blur, light, occlusion, JPEG, too.")
    ] = True,
    robustness_images: Annotated[
        int | None, typer.Option(min=1, help="Images judged under each condition, at random; by default all.")
    ] = None,
    views: Annotated[
        bool, typer.Option("--views/--no-views", help="Ask of mirrored faces and of ten crops, too.")
    ] = True,
    latency: Annotated[bool, typer.Option("--latency/--no-latency", help="Time one face and a batch of 256.")] = True,
    threads: Annotated[int, typer.Option(min=0, help="Cores to use; 0: what the library takes.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of noise, of what is covered, and of the random images.")] = 0,
    explanation: Annotated[
        bool, typer.Option("--explanation/--no-explanation", help="Find out where the model looks.")
    ] = True,
    images: Annotated[bool, typer.Option("--images/--no-images", help="Show faces of the data in the page.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the evaluation as JSON and nothing else.")] = False,
) -> None:
    """Judge one model on held-out images: a training run, or one variant of a bundle."""
    from fer_edge.cli.screen import progress
    from fer_edge.devices.files import write_json
    from fer_edge.train.eval_images import data_of
    from fer_edge.train.eval_page import write_page
    from fer_edge.train.eval_subject import opened
    from fer_edge.train.evaluate import Plan
    from fer_edge.train.evaluate import evaluate as measure

    plan = Plan(split, robustness_images if robustness else 0, views, latency, explanation, seed)
    dataset = data_of(run, data)
    with progress("starting") as (bar, task), opened(run, variant, threads) as subject:

        def step(what: str) -> None:
            bar.update(task, description=what, advance=1)

        made = measure(dataset, subject, plan, step)
    made["made_at"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    made["command"] = ["fer-edge", *sys.argv[1:]]
    folder = out or _home(run, subject)
    write_json(folder / "evaluation.json", made, indent=None)
    write_page(folder / "evaluation.html", made, dataset.faces if images else None)
    if as_json:
        print(json.dumps(made, indent=2, allow_nan=False))
        return
    _print(made)
    for name in ("evaluation.json", "evaluation.html"):
        print(f"written: {folder / name}")
    if images:
        print("the page shows faces of the data; to pass it on, make it with --no-images")


def _home(run: Path | None, subject: "Subject") -> Path:
    """A run keeps its own evaluation; nothing is ever put into a bundle."""
    if subject.variant is None and run is not None:
        return run
    return Path("evaluation") / f"{subject.name}-{subject.variant}".replace("/", "-")


def _print(made: dict[str, Any]) -> None:
    from fer_edge.cli.screen import table

    what, about = made["what"], made["data"]
    name = what["variant"] or what["model"]
    low, high = made["accuracy_interval"]
    print(
        f"{what['name']}, {name}: {made['accuracy']:.2%} ({low:.2%} to {high:.2%}) of {about['images']:,} "
        f"{about['split']} images of {about['source']}"
    )
    print(
        f"macro F1 {made['macro']['f1']:.4f}, weighted F1 {made['weighted']['f1']:.4f}, "
        f"calibration error {made['confidence']['ece']:.4f}"
    )
    if about["left_out"]:
        print(f"{about['left_out']:,} images without a true emotion are left out")
    columns = ["emotion", "images", "precision", "recall", "95% interval", "F1"]
    table("by emotion", columns, [_by_class(emotion, row) for emotion, row in made["by_class"].items()])
    if made["robustness"] is not None:
        rows = [[r["what"], f"{r['accuracy']:.2%}", _span(r["accuracy_interval"])] for r in made["robustness"]]
        table(
            f"under bad conditions, {made['robustness'][0]['images']:,} images",
            ["condition", "accuracy", "95% interval"],
            rows,
        )
    if (found := made["more_than_half"]) is not None and found["images"]:
        share = f"{found['accuracy']:.2%} ({_span(found['accuracy_interval'])})"
        print(f"{found['images']:,} images with over half of the votes for one emotion, as published figures: {share}")
    if (found := made["duplicates"]) is not None and found["known"]["images"]:
        for kind, says in (("known", "of which Training has a duplicate"), ("new", "of which it has none")):
            row = found[kind]
            share = "-" if row["accuracy"] is None else f"{row['accuracy']:.2%} ({_span(row['accuracy_interval'])})"
            print(f"{row['images']:,} images {says}: {share}")
    for row in made["views"] or []:
        share = f"{row['accuracy']:.2%} ({_span(row['accuracy_interval'])})"
        print(f"asked of {row['what']}, {row['passes']} passes: {share}")
    if (took := made["latency_ms"]) is not None:
        print(
            f"one face {took['batch1']['median']:.3g} ms, in a batch of 256 {took['batch256_per_sample']:.3g} ms each "
            f"({what['library']})"
        )


def _by_class(emotion: str, row: dict[str, Any]) -> list[str]:
    figures = ["-" if row[key] is None else f"{row[key]:.1%}" for key in ("precision", "recall")]
    interval = "-" if row["recall_interval"] is None else _span(row["recall_interval"])
    return [emotion, f"{row['support']:,}", *figures, interval, "-" if row["f1"] is None else f"{row['f1']:.4f}"]


def _span(interval: list[float]) -> str:
    return f"{interval[0]:.1%} to {interval[1]:.1%}"
