"""`fer-edge calibrate`: choose the images that calibrate int8, once, for every converter; `study` says how many."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fer_edge.convert.study_plan import StudyPlan
    from fer_edge.train.dataset import Dataset
    from fer_edge.train.run_folder import RunFolder

app = typer.Typer(
    help="Choose the images that calibrate int8, and see how many are enough.", invoke_without_command=True
)


@app.callback()
def calibrate(
    context: typer.Context,
    data: Annotated[Path, typer.Option(help="Data cache.")] = Path("data/fer2013"),
    count: Annotated[int, typer.Option(help="Images to choose.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="The same seed chooses the same images.")] = 0,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("calibration.json"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Choose calibration images: stratified, seeded, from Training only."""
    if context.invoked_subcommand is not None:
        return
    from fer_edge.calibration.calibration_set import draw, save
    from fer_edge.cli.screen import refuse_existing, table
    from fer_edge.train.dataset import load_dataset

    refuse_existing(out, force=force)
    chosen = draw(load_dataset(data), count, seed)
    save(chosen, out)
    counts, light = chosen.covers["counts"], chosen.covers["brightness"]
    table(f"{out}: {chosen.id}", [*counts, "all"], [[*(str(k) for k in counts.values()), str(len(chosen.rows))]])
    low, high = chosen.covers["pixel_range"]
    print(f"pixels {low} to {high}; mean brightness p5 {light['p5']}, p50 {light['p50']}, p95 {light['p95']}")


@app.command()
def study(
    run: Annotated[Path, typer.Argument(help="Run folder of fer-edge train.")],
    data: Annotated[
        Path | None, typer.Option(help="Data cache; by default the one that the run was trained on.")
    ] = None,
    counts: Annotated[str, typer.Option(help="Numbers of images.")] = "8,16,32,64,128,256,512,1024",
    seeds: Annotated[int, typer.Option(help="Sets drawn of each count.")] = 5,
    methods: Annotated[str, typer.Option(help="Ranges by these.")] = "minmax,percentile,entropy,mse",
    balances: Annotated[str, typer.Option(help="Class balances, by the first method.")] = "stratified,equal,alone",
    percentile: Annotated[float, typer.Option(help="Of the method percentile.")] = 99.99,
    images: Annotated[int | None, typer.Option(help="Judge on so many validation images; by default all.")] = None,
    target: Annotated[
        str | None, typer.Option(help="Processor meant: arm, x86-vnni or x86; by default this machine's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the study as JSON and nothing else.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the study as JSON to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the study as a page that stands alone.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Write the curves as one PNG.")] = None,
) -> None:
    """See how int8 depends on the number of images, the draw, the method and the classes, and what is enough."""
    from fer_edge.cli.convert import dataset_of
    from fer_edge.convert.study_plan import StudyPlan
    from fer_edge.devices.files import write_json
    from fer_edge.train.run_folder import RunFolder

    if html is not None or picture is not None:  # what they lack is said before the work, not after it
        from fer_edge.convert.study_figures import write_overview
        from fer_edge.convert.study_page import write_page
    plan = StudyPlan.of(
        counts=counts, methods=methods, balances=balances, seeds=seeds, percentile=percentile, images=images,
        target=target,
    )  # fmt: skip
    folder = RunFolder(run)
    folder.network()
    made = _run(folder, dataset_of(folder, data), plan)
    if out is not None:
        write_json(out, made)
    if html is not None:
        write_page(html, made)
    if picture is not None:
        write_overview(picture, made)
    if as_json:
        print(json.dumps(made, indent=2, allow_nan=False))
        return
    _print_study(made)
    for file in filter(None, (out, html, picture)):
        print(f"written: {file}")


def _run(run: "RunFolder", data: "Dataset", plan: "StudyPlan") -> dict[str, Any]:
    from fer_edge.cli.screen import progress
    from fer_edge.train.quietly import keras_quietly

    with progress("starting TensorFlow") as (bar, task):
        keras_quietly()
        from fer_edge.convert.study import run_study

        made = run_study(run, data, plan, lambda what: bar.update(task, description=what, advance=1))
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"made_at": now, "command": ["fer-edge", *sys.argv[1:]], **made}


def _print_study(made: dict[str, Any]) -> None:
    from fer_edge.cli.screen import table
    from fer_edge.convert.study_words import FIGURES, balances_compared, cells, methods_compared, sentences

    about, plan = made["data"], made["plan"]
    print(
        f"{made['run']['model']}, int8 by ONNX Runtime for {plan['target']}, on {about['validation_images']:,} "
        f"validation images of {about['source']};"
    )
    print(f"float accuracy {made['float_accuracy']:.2%}; mean of {plan['seeds']} seeds ± their standard deviation")
    for compared in filter(None, (methods_compared(made), balances_compared(made))):
        for figure, (title, _, _) in FIGURES.items():
            table(title, ["images", *(name for name, _ in compared)], cells(compared, figure))
    for sentence in sentences(made):
        print(sentence)
