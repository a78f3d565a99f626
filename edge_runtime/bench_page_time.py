"""The sections of the bench page that say how long a call takes: the table, sweeps, the spread, cold and steady."""

from collections.abc import Sequence

from fer_edge.edge_runtime import bench_claims as claims
from fer_edge.edge_runtime import bench_figures
from fer_edge.edge_runtime import bench_words as words
from fer_edge.edge_runtime import html_page as page
from fer_edge.edge_runtime.bench_words import PERCENTILES, Row, ms
from fer_edge.edge_runtime.html_page import Raw, Section

_TOO_FEW = Raw('<span class="none">too few samples</span>')
_MOST_ROWS, _LEAST_ROUNDS = 12, 3
_OVER_FLOAT = (
    "over float: median of the ratios within rounds to the float32 variant of the same engine, threads and batch; "
    "under 1 is faster."
)
_FOREST = (
    "Dots are medians of the ratios within rounds, bars their 95% bootstrap intervals; left of the dashed line is "
    "faster. An interval that crosses the line is no evidence of a difference."
)


def sections(report: Row) -> list[Section]:
    """Those for which the report has something."""
    if not report["variants"]:
        return []
    return [_latency(report), *_sweep(report), _spread(report), *_steady(report)]


def percentile(figures: Row | None) -> Raw:
    """A cell: a percentile in ms, its interval below."""
    if figures is None:
        return _TOO_FEW
    return page.join(ms(figures["ms"]), page.element("small", words.span(figures["low_ms"], figures["high_ms"])))


def _latency(report: Row) -> Section:
    rows = report["variants"]
    meter = next((row["energy"]["meter"] for row in rows if row["energy"]), None)
    has_batches, has_ratios = any(row["batch"] != 1 for row in rows), bool(claims.float_ratios(report))
    columns = ["variant", *PERCENTILES, "mean", "max"]
    columns += ["over float"] * has_ratios + ["faces/call"] * has_batches + ["faces/s", "calls"]
    columns += ["mJ/face"] * (meter is not None)
    over = claims.float_ratios(report)
    cells: list[list[object]] = []
    for row in rows:
        figures = row["latency"]
        own = [row["id"], *(percentile(figures[p]) for p in PERCENTILES), ms(figures["mean_ms"]), ms(figures["max_ms"])]
        own += [ratio_cell(over.get(row["id"]))] * has_ratios + [f"{row['batch']}"] * has_batches
        own += [f"{row['faces_per_second']:,.0f}", f"{figures['count']:,}"]
        cells.append(own + [ms((row["energy"] or {}).get("mj_per_face"))] * (meter is not None))
    return page.section(
        "How long a call takes",
        page.table(columns, cells, "Time of one call, ms, and its 95% interval below"),
        page.note(_OVER_FLOAT) if has_ratios else "",
        _energy(rows) if meter else page.note("Energy a face: not measured; no meter was read."),
        _skipped(report),
        *_ratios(report),
        anchor="latency",
    )


def ratio_cell(found: Row | None) -> Raw:
    """A cell: a time ratio, its interval below; a dash where the row is what others are compared with."""
    if found is None:
        return Raw('<span class="none">–</span>')
    return page.join(words.ratio(found["time_ratio"]), page.element("small", words.ratio_span(found)))


def _energy(rows: Sequence[Row]) -> Raw:
    """What the meter is, and what the idle machine takes."""
    read = dict.fromkeys((row["energy"]["meter"], row["energy"]["idle_w"]) for row in rows if row["energy"])
    said = [meter if idle is None else f"{meter}: the idle machine takes {ms(idle)} W" for meter, idle in read]
    return page.note("Energy a face: all that the meter sees, the idle machine included. ", "; ".join(said), ".")


def _ratios(report: Row) -> list[Raw]:
    """A forest plot a kind of comparison, of the ratios that have an interval."""
    by_id = {row["id"]: row for row in report["variants"]}
    drawn = []
    for relation, rows in claims.ratio_groups(report).items():
        sure = [row for row in rows if row["interval"] is not None]
        if sure:
            made = bench_figures.ratios(sure, [bench_figures.colour_of(by_id[row["variant"]]) for row in sure])
            drawn.append(page.figure(made, f"Time {relation}.", f"Ratio of times {relation}, with intervals"))
    if not drawn:
        return []
    return [page.figures(*drawn), page.note(_FOREST)]


def _sweep(report: Row) -> list[Section]:
    """How time depends on threads at the smallest batch, and throughput on the batch at each variant's best."""
    rows = report["variants"]
    smallest = min(row["batch"] for row in rows)
    best = {claims.name_of(row): row["threads"] for row in claims.one_each(rows)}
    by_threads = [row for row in rows if row["batch"] == smallest and row["latency"]["p50"] is not None]
    by_batch = [row for row in rows if best[claims.name_of(row)] == row["threads"]]
    drawn = []
    if len({row["threads"] for row in by_threads}) > 1:
        caption = "Median time of a call and its 95% interval, by threads."
        drawn.append(page.figure(bench_figures.sweep(by_threads, "threads"), caption, "Median time by thread count"))
    if len({row["batch"] for row in by_batch}) > 1:
        caption = "Faces a second by faces a call, with the threads that are fastest for the variant."
        drawn.append(page.figure(bench_figures.sweep(by_batch, "batch"), caption, "Faces a second by batch"))
    return [page.section("Threads and batches", page.figures(*drawn), anchor="sweep")] if drawn else []


def _skipped(report: Row) -> Raw:
    skipped = "; ".join(f"{name} ({why})" for name, why in report["skipped"].items())
    return page.note("Not measured: ", skipped, ".") if skipped else Raw("")


def _spread(report: Row) -> Section:
    rows = report["variants"]
    shown = claims.one_each(rows)
    which = "" if len(shown) == len(rows) else " Of a sweep, the fastest setting of each variant."
    in_rows = rows if len(rows) <= _MOST_ROWS else shown
    return page.section(
        "How it is spread",
        page.figures(
            page.figure(
                bench_figures.distributions(in_rows),
                "Histograms of all calls. The line is the median; each mark is one call far out, more than three "
                "interquartile ranges from the middle half. No call is left out: the axis ends at the slowest."
                f"{which if in_rows is not rows else ''}",
                "Distribution of the time of one call by variant",
            ),
            *_rounds(report, shown, which),
            page.figure(
                bench_figures.tails(shown),
                f"How many calls were done after how long. The axis widens towards the slowest calls.{which}",
                "Cumulative distribution of the time of one call by engine and variant",
            ),
            flow=True,
        ),
        anchor="spread",
    )


def _rounds(report: Row, shown: Sequence[Row], which: str) -> list[Raw]:
    if report["rounds"] < _LEAST_ROUNDS:
        return []
    caption = (
        f"Medians of the {report['rounds']:,} rounds, in order. Variants take turns in each: lines that move together "
        f"are the machine, not the variant.{which} Conditions: {words.conditions_line(report)}."
    )
    return [page.figure(bench_figures.rounds(shown), caption, "Median time by round")]


def _steady(report: Row) -> list[Section]:
    soak = report["steady"]
    if soak is None:
        return []
    rows = [row for row in report["variants"] if row["cold"] is not None]
    columns = ["variant", *(f"{p} {when}" for p in ("p50", "p90", "p99") for when in ("cold", "steady"))]
    cells = [
        [row["id"], *(percentile(row[when][p]) for p in ("p50", "p90", "p99") for when in ("cold", "latency"))]
        for row in rows
    ]
    table = page.table(columns, cells, "Time of one call, ms, before the soak and after it") if rows else ""
    return [page.section("Cold and steady", page.paragraph(words.steady_sentence(soak)), table, anchor="steady")]
