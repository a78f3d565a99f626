"""`fer-edge bench`: how fast each variant is on this machine, and whether its int8 is int8."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_edge.cli.bench_diff import diff
from fer_edge.cli.bench_stored import markdown as print_markdown
from fer_edge.cli.bench_stored import page

if TYPE_CHECKING:
    from fer_edge.edge_runtime.bench import Plan
    from fer_edge.edge_runtime.bench_subject import Model
    from fer_edge.edge_runtime.bundle import Bundle

app = typer.Typer(help="How fast each variant is on this machine.", invoke_without_command=True)
app.command()(diff)
app.command()(page)
app.command()(print_markdown)


def _what(text: str, *names: str, **bounds: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel="What is measured", **bounds)


def _how(text: str, *names: str, **bounds: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel="How", **bounds)


def _more(text: str, *names: str, **bounds: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel="What else", **bounds)


@app.callback()
def bench(
    context: typer.Context,
    bundle: Annotated[Path | None, _what("Bundle folder or .ferpack; flagship (by default) and tiny ship.")] = None,
    model: Annotated[list[Path] | None, _what("Bare .tflite, .onnx or .xml; repeatable.", "--model", "-m")] = None,
    scope: Annotated[str, _what("engine, classify (face to label) or pipeline (camera to label).")] = "engine",
    only: Annotated[str | None, _what("Engine, precision or engine/precision to measure alone.")] = None,
    precision: Annotated[str | None, _what("Of --model, in place of what its name says.")] = None,
    source: Annotated[str | None, _what("Clip or camera: measure capture to label on it, too.")] = None,
    fps: Annotated[float | None, _what("Of --source in the open loop.", min=0.1, max=1000)] = None,
    detector: Annotated[str | None, _what("For --source: haar, yunet, … as `run` takes it.")] = None,
    detector_model: Annotated[Path | None, _what("YuNet's .onnx for --source.")] = None,
    max_frames: Annotated[int, _what("Of --source.", min=1)] = 1000,
    threads: Annotated[str | None, _how("One number or several, as 1,2,4; by default up to 4.")] = None,
    batch: Annotated[str | None, _how("Faces a call: one number or several, as 1,8.")] = None,
    cores: Annotated[str | None, _how("Run on these cores alone, as 0-1,3.")] = None,
    min_seconds: Annotated[float, _how("At least so long for each variant.", min=0)] = 3.0,
    min_samples: Annotated[int, _how("At least so many; p99 needs 662.", min=1)] = 700,
    steady: Annotated[bool, _how("Soak until the temperature stays; cold and steady apart.", "--steady")] = False,
    soak_seconds: Annotated[float, _how("Of --steady at most.", min=0)] = 600.0,
    seed: Annotated[int, _how("Of the order of turns.", min=0)] = 0,
    energy: Annotated[bool | None, _more("Energy a face, where there is a meter: the default.")] = None,
    operators: Annotated[bool, _more("Time each operator.", "--operators")] = False,
    roofline: Annotated[bool, _more("Measure what the hardware allows, and the share.", "--roofline")] = False,
    estimate: Annotated[str | None, _more("Estimate boards that are not here, as pi4,pi5.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything, samples too.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown in place of tables.")] = False,
) -> None:
    """Measure every variant that the bundle has and this machine can run, side by side in one run."""
    if context.invoked_subcommand is not None:
        return
    from fer_edge.cli import bench_order as order
    from fer_edge.edge_runtime.bench import Clip, Plan
    from fer_edge.edge_runtime.bench_steady import Soak

    scope = order.scope_of(scope)
    order.refuse_idle(
        {
            "--bundle": (bundle is not None, not model, "beside --model"),
            "--precision": (precision is not None, bool(model), "without --model"),
            "--source": (source is not None, not model, "with --model: it needs a bundle"),
            **dict.fromkeys(
                ("--fps", "--detector", "--detector-model"),
                (any((fps, detector, detector_model)), scope == "pipeline" or source is not None, "without --source"),
            ),
        }
    )
    plan = Plan(
        scope=scope,
        min_seconds=min_seconds,
        min_samples=min_samples,
        threads=order.numbers("--threads", threads, 64),
        batches=order.numbers("--batch", batch, 1024),
        cores=order.cores_of(cores),
        seed=seed,
        steady=Soak(max_seconds=soak_seconds) if steady else None,
        clip=Clip(source, detector, detector_model, fps, max_frames) if source or scope == "pipeline" else None,
        energy=energy is not False,
        operators=operators,
        roofline=roofline,
        boards=order.boards_of(estimate),
    )
    order.check_outputs(json_file, html)
    models, opened = order.models_of(bundle, model or [], precision, only)
    report = measure(models, opened, plan, say_why=bool(energy))
    order.write(report, json_file, html)
    order.show(report, markdown=markdown)
    for path in (json_file, html):
        if path is not None:
            print(f"written: {path}", file=sys.stderr if markdown else sys.stdout)


def measure(models: "list[Model]", bundle: "Bundle | None", plan: "Plan", *, say_why: bool = False) -> dict[str, Any]:
    """Measure with a progress bar; `say_why` prints why energy is not measured."""
    from fer_edge.cli.screen import progress
    from fer_edge.devices.frame import redacted
    from fer_edge.edge_runtime import bench as measurement

    reasons: list[str] = []
    command = ["fer-edge", *(redacted(word) for word in sys.argv[1:])]
    with progress("starting") as (bar, task):
        report = measurement.bench(
            models, plan, bundle=bundle, command=command, say=reasons.append,
            step=lambda what: bar.update(task, description=what, advance=1),
        )  # fmt: skip
    for reason in reasons if say_why else ():
        print(reason, file=sys.stderr)
    return report
