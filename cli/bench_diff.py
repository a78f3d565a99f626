"""`fer-edge bench diff`: what became faster or slower between two reports, with an exit code for CI."""

from pathlib import Path
from typing import Annotated, Any

import typer

SLOWER = 3


def diff(
    base: Annotated[Path, typer.Argument(help="Report of `fer-edge bench --json`: before.")],
    new: Annotated[Path, typer.Argument(help="The other: after.")],
    more_base: Annotated[
        list[Path] | None, typer.Option("--base", help="A further run of the first; may be repeated.")
    ] = None,
    more_new: Annotated[
        list[Path] | None, typer.Option("--new", help="A further run of the second; may be repeated.")
    ] = None,
    threshold: Annotated[float, typer.Option(min=0, help="Percent that counts as a change.")] = 5.0,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Say of each variant whether it became faster or slower. Exit 0: nothing is slower; 3: something is."""
    import json

    from fer_edge.edge_runtime.bench_diff import compare_reports
    from fer_edge.edge_runtime.bench_report import read_report

    sides = [
        [read_report(path) for path in (first, *(more or ()))] for first, more in ((base, more_base), (new, more_new))
    ]
    made = compare_reports(sides[0], sides[1], threshold)
    if json_output:
        print(json.dumps(made, indent=2, allow_nan=False))
    else:
        print_diff(made)
    if any(row["verdict"] == "slower" for row in made["variants"]):
        raise typer.Exit(SLOWER)


def print_diff(made: dict[str, Any]) -> None:
    """A line a variant, then what else differs."""
    from fer_edge.cli.screen import table
    from fer_edge.edge_runtime.bench_words import ms, short

    limit = f"{made['threshold_percent']:g}%"
    cells = []
    for row in made["variants"]:
        verdict = row["verdict"] + (f" ≤{limit}" if row["within_threshold"] else "")
        times = [ms(row["base_ms"]) or "-", ms(row["new_ms"]) or "-", f"{row['time_ratio']:.3f}"]
        cells.append([short(row["variant"], 26), *times, _interval(row), verdict])
    columns = ["variant, ms", "base", "new", "ratio", "95%", "verdict"]
    table(f"median call, new over base; from {limit} on it is a change", columns, cells)
    for side in ("base", "new"):
        for name in made[f"only_{side}"]:
            print(f"{name} is in {side} alone")
    for warning in made["warnings"]:
        print(f"warning: {warning}")


def _interval(row: dict[str, Any]) -> str:
    return "-" if row["interval"] is None else f"{row['interval'][0]:.3f}–{row['interval'][1]:.3f}"
