"""The bench report on a terminal of 80 columns: tables first, what it all says last, where the eye is."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from fer_edge.cli.screen import table
from fer_edge.edge_runtime import bench_claims as claims
from fer_edge.edge_runtime import bench_words as words
from fer_edge.edge_runtime.bench_words import Row, ms, percent

_WIDTH = 80
_TOP = 3
"""Operators shown of a variant; the page and the JSON have them all."""
_BOARDS = 4
"""Boards beside one another."""


def print_bench(report: Mapping[str, Any]) -> None:
    """The report's tables, then machine and conditions, then who is fastest and whether int8 is int8 and pays.

    `-` is what was not measured or has too few samples.
    """
    _invalid(report)
    _say(f"{words.subject(report)}: {words.how_line(report)}")
    if report["variants"]:
        _latency(report)
        _start(report)
    _steady(report)
    _stages(report)
    _pipeline(report["pipeline"])
    _operators(report)
    _roofline(report)
    _estimates(report["estimates"] or [])
    for row in report.get("instructions") or ():
        _say(
            f"instructions, counted under emulation: {row['variant']} takes {row['ratio']:.2f} of {row['over']}'s on "
            f"{row['core']} ({', '.join(row['boards'])})"
        )
    for name, why in report["skipped"].items():
        _say(f"{name} not measured: {why}")
    _say(f"on {words.machine_line(report)}")
    _say(words.conditions_line(report))
    if busy := words.busy_sentence(report):
        _say(busy)
    _verdict(report)
    _invalid(report)


def _invalid(report: Row) -> None:
    if not report["valid"]:
        _say(f"INVALID: {'; '.join(report['invalid_because'])}")


def _latency(report: Row) -> None:
    columns = ["variant, ms", "p50", "95% interval", "p90", "p99", "faces/s", "over float"]
    cells, ratios = [], claims.float_ratios(report)
    for row in report["variants"]:
        figures, over = row["latency"], ratios.get(row["id"])
        times = [_ms(figures["p50"]), _interval(figures["p50"]), _ms(figures["p90"]), _ms(figures["p99"])]
        ratio = "-" if over is None else words.ratio_span(over, "–")
        cells.append([row["id"], *times, f"{row['faces_per_second']:,.0f}", ratio])
    without = () if ratios else ("over float",)
    _table("time of one call", columns, cells, "p90", "faces/s", without=without)


def _start(report: Row) -> None:
    cells = []
    for row in claims.one_each([row for row in report["variants"] if row["start"] is not None]):
        start = row["start"]
        times = ["-" if start[key] is None else f"{start[key]:,.1f}" for key in ("import_ms", "load_ms", "first_ms")]
        memory = words.megabytes(start["peak_memory_bytes"])
        cells.append([row["id"], words.megabytes(row["file_bytes"]) or "-", *times, memory or "-"])
    columns = ["variant", "file MB", "import ms", "load ms", "first ms", "peak MB"]
    _table("start, in a process of its own", columns, cells, "import ms")


def _steady(report: Row) -> None:
    soak = report["steady"]
    if soak is None:
        return
    cells = [
        [row["id"], *(_ms(row[when][p]) for p in ("p50", "p99") for when in ("cold", "latency"))]
        for row in report["variants"]
        if row["cold"] is not None
    ]
    _table("cold and steady", ["variant, ms", "p50 cold", "p50 steady", "p99 cold", "p99 steady"], cells)
    _say(words.steady_sentence(soak))


def _stages(report: Row) -> None:
    rows = [row for row in report["variants"] if row["stages"]]
    names = list(dict.fromkeys(name for row in rows for name in row["stages"]))
    cells = [[row["id"], *(_ms((row["stages"].get(name) or {}).get("p50")) for name in names)] for row in rows]
    _table("from face to label", ["p50, ms", *names], cells)


def _pipeline(runs: Sequence[Row]) -> None:
    if not runs:
        return
    first, named = runs[0], [(claims.run_name(runs, run), run) for run in runs]
    names = [name for name in first["closed"]["stages"] if name != "total"]
    title = f"camera to label: {first['source']}, faces: {first['detector']}, {first['closed']['frames']:,} frames"
    cells = [[name, *(_ms(run["closed"]["stages"][stage]["p50"]) for stage in names)] for name, run in named]
    _table(title, ["p50, ms", *names], cells)
    cells = [
        [name, *_times(run["closed"]["stages"]["total"]), ms(run["closed"]["frames_per_second"]) or "-"]
        for name, run in named
    ]
    _table("each frame as soon as the last is done", ["ms", "p50", "95% interval", "p99", "frames/s"], cells)
    opened = [(name, run["open"]) for name, run in named if run["open"] is not None]
    cells = [[name, *_times(own["age"]), f"{own['dropped']:,}", f"{own['late']:,}"] for name, own in opened]
    rate = f"{opened[0][1]['frames']:,} frames at {opened[0][1]['fps']:g} a second" if opened else ""
    _table(f"{rate}: age of the label", ["ms", "p50", "95% interval", "p99", "dropped", "late"], cells)
    for run in runs:
        if ratio := claims.run_ratio(runs, run):
            _say(f"camera to label: {claims.ratio_sentence(ratio)}")


def _times(figures: Row) -> list[str]:
    return [_ms(figures["p50"]), _interval(figures["p50"]), _ms(figures["p99"])]


def _operators(report: Row) -> None:
    """Of the fastest variant of each engine, the operators that take longest."""
    best: dict[str, Row] = {}
    for row in sorted(claims.one_each(report["variants"]), key=claims.pace):
        if row["operators"]:
            best.setdefault(row["engine"], row)
    cells = []
    for row in best.values():
        timed = [one for one in row["operators"] if one["time_us"] is not None]
        for one in sorted(timed, key=lambda one: -one["time_us"])[:_TOP]:
            name = f"{row['id']} {words.short(one['name'], 24)}"
            share = percent(one["share"]) or "-"
            cells.append([name, words.short(one["type"], 16), ms(one["time_us"]) or "-", share, one["precision"]])
    _table("operators that take longest", ["operator", "type", "µs", "share", "runs in"], cells, "type")


def _roofline(report: Row) -> None:
    placed = [
        (row["id"], row["attained"]) for row in claims.one_each(report["variants"]) if row["attained"] is not None
    ]
    cells = [
        [name, ms(own["gops"]) or "-", ms(own["attainable_gops"]) or "-", percent(own["share"]) or "-", own["bound"]]
        for name, own in placed
    ]
    _table("how far from the hardware", ["variant", "Gop/s", "of allowed", "share", "bound by"], cells)
    if said := claims.roof_sentence(claims.one_each(report["variants"])):
        _say(said)


def _estimates(rows: Sequence[Row]) -> None:
    """A row a variant and a column a board, as many as fit; then what could not be estimated, and why."""
    boards = list(dict.fromkeys((row["board"], row["threads"]) for row in rows))
    found = {(row["variant"], row["board"]): row for row in rows}
    for some in (boards[at : at + _BOARDS] for at in range(0, len(boards), _BOARDS)):
        cells = [
            [variant, *(_estimate(found.get((variant, board))) for board, _ in some)]
            for variant in dict.fromkeys(row["variant"] for row in rows)
        ]
        columns = ["ms of one face", *(f"{board} t{threads}" for board, threads in some)]
        _table("ESTIMATE with its band, not measured; t: threads", columns, cells)
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row["ms"] is None:
            reasons.setdefault(f"{row['variant']}: {row['basis']}", []).append(row["board"])
    for why, where in reasons.items():
        _say(f"{why} ({', '.join(where)})")


def _estimate(row: Row | None) -> str:
    return "-" if row is None or row["ms"] is None else f"{words.rough(row['ms'])} ({words.rough_span(row, '–')})"


def _verdict(report: Row) -> None:
    """What the tables say: the fastest, whether int8 is int8, and whether it pays."""
    said = [claims.fastest_sentence(report) if report["variants"] else claims.pipeline_sentence(report)]
    ratios = {row["variant"]: row for row in claims.headline_ratios(report)}
    for row in claims.one_each(report["variants"]):
        if row["int8"] is not None and claims.claims_int8(row):
            said.append(f"{row['id']}: {row['int8']['verdict']}; {words.sentence(row['int8']['why'])}")
        elif row["id"] in ratios:
            said.append(claims.ratio_sentence(ratios[row["id"]]))
    if any(said):
        print()
    for sentence in filter(None, said):
        _say(sentence)


def _say(sentence: str) -> None:
    print(textwrap.fill(sentence, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False))


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *droppable: str, without: Sequence[str] = ()
) -> None:
    """A table within the width, if it takes leaving columns out; nothing without rows."""
    from rich.cells import cell_len
    from rich.markup import escape

    if not rows:
        return
    kept = [at for at, name in enumerate(columns) if name not in without]
    for name in (None, *droppable):
        kept = [at for at in kept if columns[at] != name]
        if sum(1 + max(cell_len(line[at]) for line in (columns, *rows)) for at in kept) < _WIDTH:
            break
    table(escape(title), [columns[at] for at in kept], [[escape(row[at]) for at in kept] for row in rows])


def _ms(figures: Row | None) -> str:
    return "-" if figures is None else ms(figures["ms"]) or "-"


def _interval(figures: Row | None) -> str:
    return "-" if figures is None else words.span(figures["low_ms"], figures["high_ms"], "–")
