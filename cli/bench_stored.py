"""`fer-edge bench markdown` and `bench page`: out of a stored report, such as one brought home from a board."""

from pathlib import Path
from typing import Annotated

import typer

_REPORT = Annotated[Path, typer.Argument(help="Report of `fer-edge bench --json`.")]


def markdown(report: _REPORT) -> None:
    """Print a stored report as Markdown, for a README."""
    from fer_edge.edge_runtime.bench_markdown import as_markdown
    from fer_edge.edge_runtime.bench_report import read_report

    print(as_markdown(read_report(report)), end="")


def page(report: _REPORT, html: Annotated[Path, typer.Argument(metavar="PAGE", help="The .html to write.")]) -> None:
    """Make the page of a stored report."""
    from fer_edge.edge_runtime.bench_page import write_page
    from fer_edge.edge_runtime.bench_report import read_report

    write_page(read_report(report), html)
    print(f"written: {html}")
