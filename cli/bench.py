"""`fer-edge bench`: how fast each variant is on this machine."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="How fast each variant is on this machine.", invoke_without_command=True)


@app.callback()
def bench(
    context: typer.Context,
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle folder or .ferpack; by default the one that ships.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Clip: measure the stages from capture to label on it, too.")
    ] = None,
    detector_model: Annotated[Path | None, typer.Option(help="YuNet's .onnx for --source.")] = None,
    only: Annotated[str | None, typer.Option(help="Engine, precision or engine/precision to measure alone.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=64, help="By default up to 4.")] = None,
    min_seconds: Annotated[float, typer.Option(min=0, help="At least so long for each variant.")] = 3.0,
    min_samples: Annotated[int, typer.Option(min=1, help="At least so many; p99 needs 662.")] = 700,
    max_frames: Annotated[int, typer.Option(min=1, help="Of --source.")] = 1000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write samples, machine and versions.")] = None,
) -> None:
    """Measure every variant that the bundle has and this machine can run, side by side in one run."""
    if context.invoked_subcommand is not None:
        return
    from fer_edge.cli.screen import progress
    from fer_edge.devices.errors import EngineError
    from fer_edge.devices.files import write_json
    from fer_edge.devices.frame import redacted
    from fer_edge.edge_runtime import bench as measurement
    from fer_edge.edge_runtime.bundle import Bundle

    opened = Bundle.open(bundle)
    plan = measurement.Plan(min_seconds, min_samples, threads=threads)
    with progress("starting") as (bar, task):
        made = measurement.bench(opened, plan, lambda what: bar.update(task, description=what, advance=1), only)
        if not made["variants"]:
            why = "; ".join(made["skipped"].values()) or f"no variant is called {only!r}"
            raise EngineError(f"nothing to measure: {why}")
        made["pipeline"] = []
        if source is not None:
            bar.update(task, description=f"running {source}")
            first = made["variants"][0]["engine"]
            chosen = [(r["engine"], r["precision"]) for r in made["variants"] if r["engine"] == first]
            made["pipeline"] = measurement.bench_source(source, opened, chosen, plan, detector_model, max_frames)
    made["command"] = ["fer-edge", *(redacted(word) for word in sys.argv[1:])]
    if json_file is not None:
        write_json(json_file, made)
    print_bench(made)
    if json_file is not None:
        print(f"samples and machine: {json_file}")


def print_bench(made: dict[str, Any]) -> None:
    """The tables of a bench report; `-` is what was not measured or has too few samples."""
    from fer_edge.cli.screen import table

    machine = made["machine"]
    count = made["variants"][0]["steady"]["count"]
    threads = f"{made['threads']} thread{'s' if made['threads'] > 1 else ''}"
    table(
        f"{made['bundle']['name']}: one face at a time, {threads}, {count:,} samples each",
        ["variant, ms", "p50", "p90", "p95", "p99", "mean", "faces/s"],
        [_steady(row) for row in made["variants"]],
    )
    table(
        "start, in a process of its own",
        ["variant", "file MB", "import ms", "load ms", "first ms", "peak MB"],
        [_start(row) for row in made["variants"]],
    )
    features = ", ".join(machine["int8_features"]) or "none"
    temperature = "no sensor" if machine["temp_c"] is None else f"{machine['temp_c']:.0f} °C"
    print(
        f"on {machine['board'] or machine['machine']}: {machine['cpu']}; int8 instructions: {features}; {temperature}"
    )
    for ratio in made["ratios"]:
        low, high = ratio["interval"]
        print(f"{ratio['variant']} takes {ratio['time_ratio']:.2f} ({low:.2f} to {high:.2f}) of {ratio['over']}'s time")
    for name, why in made["skipped"].items():
        print(f"{name} not measured: {why}")
    for run in made["pipeline"]:
        stages = [
            [stage, *(_ms(row[k]) for k in ("mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms"))]
            for stage, row in run["stages"].items()
        ]
        rate = run["frames_per_second"]
        table(
            f"{run['source']} with {run['variant']} and {run['detector']}: {run['frames']:,} frames, "
            f"{run['faces']:,} faces, {rate:.0f} frames a second",
            ["stage, ms", "mean", "p50", "p90", "p95", "p99"],
            stages,
        )


def _steady(row: dict[str, Any]) -> list[str]:
    times = [_ms(row["steady"][key]) for key in ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "mean_ms")]
    return [row["name"], *times, f"{row['inferences_per_second']:,.0f}"]


def _start(row: dict[str, Any]) -> list[str]:
    times = [f"{row[key]:.0f}" for key in ("import_ms", "load_ms", "first_ms")]
    memory = row["peak_memory_bytes"]
    return [row["name"], f"{row['file_bytes'] / 1e6:.2f}", *times, "-" if memory is None else f"{memory / 1e6:.0f}"]


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
