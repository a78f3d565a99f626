"""`fer-edge compare`: the judgement of a bundle again, on this machine."""

import json
from pathlib import Path
from typing import Annotated

import typer


def compare(
    bundle: Annotated[Path | None, typer.Argument(help="Bundle; by default the one that ships.")] = None,
    data: Annotated[Path, typer.Option(help="Data cache.")] = Path("data/fer2013"),
    split: Annotated[str, typer.Option(help="Held-out images: val, test or private.")] = "test",
    max_drop: Annotated[float, typer.Option(help="Accuracy that may be lost, in percentage points.")] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON and nothing else.")] = False,
) -> None:
    """Judge every variant that this machine can run against the bundle's float model."""
    from fer_edge.cli.judgement import print_judgement
    from fer_edge.cli.screen import progress
    from fer_edge.convert.score import compare_bundle, failures
    from fer_edge.devices.errors import ConversionError
    from fer_edge.edge_runtime.bundle import Bundle
    from fer_edge.train.dataset import load_dataset

    opened = Bundle.open(bundle)
    dataset = load_dataset(data)
    with progress("starting") as (bar, task):
        made = compare_bundle(
            dataset, opened, split, max_drop, lambda what: bar.update(task, description=what, advance=1)
        )
    if as_json:
        print(json.dumps(made, indent=2))
    else:
        print_judgement(made)
        if made["not_installed"]:
            print(f"not judged, engine not installed: {', '.join(made['not_installed'])}")
    if failed := failures(made):
        raise ConversionError("; ".join(failed))
