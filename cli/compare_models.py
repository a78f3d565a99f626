"""`fer-edge compare-models`: evaluated models in one table and on one page."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fer_edge.train.ranking_read import Evaluated


def compare_models(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Evaluated runs, or their evaluation.json.", show_default=False),
    ],
    leaders: Annotated[
        int, typer.Option(min=2, help="So many of the most accurate are tested against one another, in all pairs.")
    ] = 5,
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Time all models against one another now, in turns.")
    ] = False,
    threads: Annotated[int, typer.Option(min=0, help="Cores for --side-by-side; 0: all.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for compare-models.json and compare-models.html.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is in --out.")] = False,
) -> None:
    """Set evaluated models side by side: accuracy, cost, and tests between the most accurate."""
    from fer_edge.cli.ranking_screen import print_ranking
    from fer_edge.devices.files import refuse_occupied, replacing_folder, write_json
    from fer_edge.devices.machine import versions
    from fer_edge.train.ranking import ranking
    from fer_edge.train.ranking_read import read_all

    if out is not None:
        from fer_edge.train.ranking_page import ranking_page  # what it lacks is said before the work, not after it

        refuse_occupied(out, _JSON, force=force)
    evaluated = read_all(runs)
    made = ranking(evaluated, leaders)
    if side_by_side:
        made["side_by_side"] = _timed(evaluated, threads)
    made["made_at"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    made["command"] = ["fer-edge", *sys.argv[1:]]
    made["versions"] = versions("fer-edge", "scipy", "numpy")
    print_ranking(made)
    if out is not None:
        with replacing_folder(out, _JSON, force=force) as folder:
            write_json(folder / _JSON, made)
            (folder / _HTML).write_text(ranking_page(made), encoding="utf-8")
        print(f"written: {out / _JSON}\nwritten: {out / _HTML}")


_JSON, _HTML = "compare-models.json", "compare-models.html"


def _timed(evaluated: "list[Evaluated]", threads: int) -> dict[str, Any]:
    from fer_edge.cli.screen import progress
    from fer_edge.train.quietly import keras_quietly
    from fer_edge.train.ranking_time import check_run, side_by_side

    for one in evaluated:
        check_run(one)
    keras_quietly(threads)
    with progress("starting") as (bar, task):
        return side_by_side(evaluated, threads, lambda what: bar.update(task, description=what, advance=1))
