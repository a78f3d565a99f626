"""The bench report for a README: a table, the machine and the conditions, the command.

Reads the report's JSON (schema 2) alone.
"""

import html
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from fer_edge.edge_runtime import bench_words as words
from fer_edge.edge_runtime.bench_claims import float_ratios, run_name
from fer_edge.edge_runtime.bench_words import Row, ms

_NONE = "–"


def as_markdown(report: Mapping[str, Any]) -> str:
    """The report as GitHub Markdown, ending in a line break; what was not measured is a dash."""
    parts = [
        *([] if report["valid"] else [f"**INVALID:** {_text('; '.join(report['invalid_because']))}."]),
        *([_variants(report)] if report["variants"] else []),
        *([_pipeline(report["pipeline"])] if report["pipeline"] else []),
        _text(f"{words.machine_line(report)}; {words.conditions_line(report)}."),
        _code(shlex.join(report["command"])),
    ]
    if any(f"| {_NONE} |" in part for part in parts):
        parts.insert(-2, f"{_NONE}: not measured, or too few samples for the percentile.")
    return "\n\n".join(parts) + "\n"


def _variants(report: Row) -> str:
    rows = report["variants"]
    swept = [key for key in ("threads", "batch") if len({row[key] for row in rows}) > 1]
    columns = [
        "variant",
        *swept,
        "p50, ms (95%)",
        "p90, ms",
        "p99, ms",
        "time / float (95%)",
        "faces/s",
        "file, MB",
        "int8",
    ]
    cells, ratios = [], float_ratios(report)
    for row in rows:
        figures, over = row["latency"], ratios.get(row["id"])
        cells.append(
            [
                row["variant"],
                *(str(row[key]) for key in swept),
                _with_interval(figures["p50"]),
                *(None if figures[p] is None else ms(figures[p]["ms"]) for p in ("p90", "p99")),
                None if over is None else f"{words.ratio(over['time_ratio'])} ({words.ratio_span(over, '–')})",
                f"{row['faces_per_second']:,.0f}",
                words.megabytes(row["file_bytes"]),
                None if row["int8"] is None else row["int8"]["verdict"],
            ]
        )
    return _table(columns, cells)


def _pipeline(runs: Sequence[Row]) -> str:
    columns = ["camera to label", "frame p50, ms (95%)", "p99, ms", "frames/s", "age p50, ms (95%)", "dropped"]
    cells = []
    for run in runs:
        total, opened, rate = run["closed"]["stages"]["total"], run["open"], run["closed"]["frames_per_second"]
        cells.append(
            [
                run_name(runs, run),
                _with_interval(total["p50"]),
                None if total["p99"] is None else ms(total["p99"]["ms"]),
                ms(rate),
                None if opened is None else _with_interval(opened["age"]["p50"]),
                None if opened is None else f"{opened['dropped']:,} of {opened['frames']:,} at {opened['fps']:g}/s",
            ]
        )
    return _table(columns, cells)


def _with_interval(figures: Row | None) -> str | None:
    return (
        None if figures is None else f"{ms(figures['ms'])} ({words.span(figures['low_ms'], figures['high_ms'], '–')})"
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str | None]]) -> str:
    lines = [columns, [":--", *["--:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(_NONE if cell is None else _text(cell) for cell in line)} |" for line in lines)


def _code(value: str) -> str:
    """A code span; its fence is longer than any row of backticks in it."""
    longest = max(map(len, re.findall("`+", value)), default=0)
    return f"`{value}`" if not longest else f"{'`' * (longest + 1)} {value} {'`' * (longest + 1)}"


def _text(value: str) -> str:
    """Text that neither ends a cell nor becomes HTML."""
    return html.escape(" ".join(value.split()), quote=False).replace("|", "\\|")
