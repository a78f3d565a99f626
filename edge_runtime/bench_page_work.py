"""The sections of the bench page that say what the time is spent on: int8, operators, roofline, stages, estimates."""

from collections.abc import Callable, Sequence

from fer_edge.edge_runtime import bench_claims as claims
from fer_edge.edge_runtime import bench_figures, bench_figures_work
from fer_edge.edge_runtime import bench_words as words
from fer_edge.edge_runtime import html_page as page
from fer_edge.edge_runtime.bench_page_time import percentile, ratio_cell
from fer_edge.edge_runtime.bench_words import Row, ms, percent
from fer_edge.edge_runtime.html_page import Raw, Section

_VERDICT_KIND: dict[str, page.Kind] = {"int8": "good", "partly int8": "warn", "not int8": "bad"}
_PERCENTILES = ("p50", "p90", "p99")


def sections(report: Row) -> list[Section]:
    """Those for which the report has something."""
    builders: Sequence[Callable[[Row], Section | None]] = (_stages, _pipeline, _int8, _operators, _roofline, _estimates)
    return [section for build in builders if (section := build(report)) is not None]


def _int8(report: Row) -> Section | None:
    rows = [row for row in report["variants"] if row["int8"] is not None]
    if not rows:
        return None
    shown = claims.one_each(rows)
    columns = ["variant", "verdict", "operators in int8", "in float", "share of MACs", "instructions", "pays here"]
    cells = [
        [
            row["id"], _verdict_badge(row), f"{row['int8']['operators_int8']}", f"{row['int8']['operators_float']}",
            percent(row["int8"]["mac_share_int8"]), ", ".join(row["int8"]["instructions"]) or "none", _pays(row),
        ]
        for row in shown
    ]  # fmt: skip
    claiming = [row for row in shown if claims.claims_int8(row)]
    left = [(row["id"], ", ".join(row["int8"]["left_in_float"])) for row in claiming if row["int8"]["left_in_float"]]
    return page.section(
        "Is it really int8?",
        page.table(columns, cells, "What runs in int8, as the engine ran it", align="llrrrll"),
        page.bullets(
            page.join(page.element("strong", row["id"]), ": ", words.sentence(row["int8"]["why"])) for row in claiming
        ),
        page.details("Operators left in float", page.facts(left)) if left else "",
        anchor="int8",
    )


def _verdict_badge(row: Row) -> Raw:
    verdict = row["int8"]["verdict"]
    expects_int8 = row["precision"] == "int8"
    return page.badge(verdict, _VERDICT_KIND.get(verdict, "unknown") if expects_int8 else "unknown")


def _pays(row: Row) -> object:
    if row["int8"]["pays"] is None:
        return Raw('<span class="none">–</span>')
    return page.badge("yes", "good") if row["int8"]["pays"] else page.badge("no", "warn")


def _operators(report: Row) -> Section | None:
    rows = [row for row in claims.one_each(report["variants"]) if row["operators"] is not None or row["operators_note"]]
    if not rows:
        return None
    drawn, tables, notes = [], [], []
    for row in rows:
        if row["operators_note"]:
            notes.append(f"{row['id']}: {words.sentence(row['operators_note'])}")
        timed = [one for one in row["operators"] or () if one["time_us"] is not None]
        if timed:
            drawn.append(_operators_figure(row, timed, _longest_us(rows, row["engine"])))
        if row["operators"]:
            tables.append(_operators_table(row))
    all_of_them = page.details("Every operator, in order of execution", *tables, is_raw=True) if tables else ""
    return page.section(
        "Where the time goes" if drawn else "Operators",
        page.figures(*drawn) if drawn else page.paragraph("How long each takes was not measured."),
        page.bullets(notes),
        all_of_them,
        anchor="operators",
    )


def _longest_us(rows: Sequence[Row], engine: str) -> float:
    return max(one["time_us"] or 0 for row in rows if row["engine"] == engine for one in row["operators"] or ())


def _operators_figure(row: Row, timed: Sequence[Row], longest_us: float) -> Raw:
    most = bench_figures_work.MOST_OPERATORS
    some = f"the {most} slowest of {len(timed)}" if len(timed) > most else words.count(len(timed), "operator")
    return page.figure(
        bench_figures_work.operators(timed, longest_us),
        page.join(page.element("strong", row["id"]), f": {some}; the colour is the precision."),
        f"Time of the operators of {row['id']}",
    )


def _operators_table(row: Row) -> Raw:
    cells = [
        [
            one["name"], one["type"], f"{one['count']}", ms(one["time_us"]), percent(one["share"]),
            None if one["macs"] is None else f"{one['macs']:,}",
            None if one["bytes"] is None else f"{one['bytes']:,}", one["precision"],
        ]
        for one in row["operators"]
    ]  # fmt: skip
    columns = ["operator", "type", "times", "time, µs", "share", "MACs", "bytes", "runs in"]
    return page.table(columns, cells, row["id"], align="llrrrrrl")


def _roofline(report: Row) -> Section | None:
    if report["roofline"] is None or not report["roofline"]["peaks"]:
        return None
    peaks = report["roofline"]["peaks"]
    shown = claims.one_each(report["variants"])
    placed = [row for row in report["variants"] if row["attained"] is not None]
    over = claims.roof_sentence(placed)
    return page.section(
        "How far from the hardware",
        page.paragraph(
            "The roof is what large matrix products reach here through the same engine; the slopes are what memory "
            "(solid) and the last cache (dotted) deliver. A dot is a variant, the dash above it what its operators "
            "one by one allow it, and the percentage its share of that."
        ),
        page.figures(
            *(
                page.figure(drawn, "", f"Roofline of {engine}: attained against attainable operations a second")
                for engine, drawn in bench_figures_work.rooflines(peaks, shown).items()
            )
        ),
        page.table(
            ["variant", "Gop/s", "operations a byte", "attainable Gop/s", "share", "bound by", "bytes from"],
            [
                [
                    row["id"], ms(row["attained"]["gops"]), ms(row["attained"]["intensity"]),
                    ms(row["attained"]["attainable_gops"]), percent(row["attained"]["share"]), row["attained"]["bound"],
                    row["attained"]["bytes_from"],
                ]
                for row in placed
            ],
            "Attained (a multiply-add counts as two operations)",
            align="lrrrrll",
        )
        if placed
        else page.paragraph("No variant was placed under the roof: its operators were not measured."),
        *([page.paragraph(over)] if over else []),
        page.details("Peaks", _peaks(peaks)),
        anchor="roofline",
    )  # fmt: skip


def _peaks(peaks: Sequence[Row]) -> Raw:
    cells = [
        [
            f"{peak['engine']}, {peak['precision']}", f"{peak['threads']}", ms(peak["peak_gops"]),
            ms(peak["bandwidth_gb_s"]), ms(peak["cache_bandwidth_gb_s"]), peak["matrix"], peak["note"] or "",
        ]
        for peak in peaks
    ]  # fmt: skip
    columns = ["engine", "threads", "peak, Gop/s", "memory, GB/s", "last cache, GB/s", "matrix", "note"]
    return page.table(columns, cells, "Measured on this machine", align="lrrrrll")


def _stages(report: Row) -> Section | None:
    rows = [row for row in report["variants"] if row["stages"]]
    if not rows:
        return None
    names = list(dict.fromkeys(name for row in rows for name in row["stages"]))
    cells = [[row["id"], *(percentile((row["stages"].get(name) or {}).get("p50")) for name in names)] for row in rows]
    return page.section(
        "From face to label", page.table(["variant", *names], cells, "Median of each stage, ms"), anchor="stages"
    )


def _pipeline(report: Row) -> Section | None:
    runs = report["pipeline"]
    if not runs:
        return None
    first = runs[0]
    width, height = first["frame_size"]
    opened = [run for run in runs if run["open"] is not None]
    scans = ""
    if first["scan_every"] is not None:
        scans = (
            f", a full scan every {words.count(first['scan_every'], 'frame')} at {first['detect_width']} pixels wide"
        )
    return page.section(
        "From camera to label",
        page.paragraph(f"{first['source']}, {width} × {height} pixels; faces: {first['detector']}{scans}."),
        _closed(runs),
        _open(opened) if opened else page.note("Open loop: not measured."),
        page.figures(
            page.figure(
                bench_figures_work.stages(runs), "Mean time of each stage, closed loop.", "Stages from capture to label"
            ),
            page.figure(
                bench_figures_work.ages(runs),
                "Service time of a frame, and age of its label from the moment that the frame was due. Every frame is "
                "in it; the axis widens towards the slowest.",
                "Cumulative distributions of service time and label age",
            ),
        ),
        anchor="pipeline",
    )


def _closed(runs: Sequence[Row]) -> Raw:
    cells = []
    for run in runs:
        closed = run["closed"]
        total = [percentile(closed["stages"]["total"][p]) for p in _PERCENTILES]
        counts = [f"{closed['frames']:,}", f"{closed['faces']:,}"]
        name, ratio = claims.run_name(runs, run), ratio_cell(closed["over"])
        cells.append([name, *total, ratio, ms(closed["frames_per_second"]), *counts])
    columns = ["variant", *_PERCENTILES, "over float", "frames/s", "frames", "faces"]
    return page.table(columns, cells, "Closed loop: each frame as soon as the last is done; time of a frame, ms")


def _open(runs: Sequence[Row]) -> Raw:
    cells = []
    for run in runs:
        loop = run["open"]
        numbers = [f"{loop[key]:,}" for key in ("frames", "labelled", "dropped", "late")]
        ages = [percentile(loop["age"][p]) for p in _PERCENTILES]
        cells.append([claims.run_name(runs, run), f"{loop['fps']:g}", *numbers, *ages, percent(loop["utilisation"])])
    columns = ["variant", "frames/s", "arrived", "labelled", "dropped", "late", *_PERCENTILES, "busy"]
    return page.table(columns, cells, "Open loop: frames arrive at their own rate; age of a label, ms")


def _estimates(report: Row) -> Section | None:
    rows = report["estimates"]
    if not rows:
        return None
    known = [row for row in rows if row["ms"] is not None]
    boards = list(dict.fromkeys((row["board"], row["threads"]) for row in rows))
    found = {(row["variant"], row["board"]): row for row in rows}
    cells = [
        [variant, *(_estimate(found.get((variant, board))) for board, _ in boards)]
        for variant in dict.fromkeys(row["variant"] for row in rows)
    ]
    columns = ["variant", *(f"{board}, {words.count(threads, 'thread')}" for board, threads in boards)]
    caption = page.join(page.badge("ESTIMATE", "warn"), " of one face's time, ms, and its band below")
    drawn = bench_figures.estimates(known) if known else {}
    basis = [[row["board"], row["variant"], row["basis"]] for row in rows]
    return page.section(
        "Boards that are not here",
        page.paragraph("Nothing here was measured: a cost model gives these times, with the band that it is sure of."),
        page.table(columns, cells, caption),
        _instructions(report.get("instructions") or ()),
        page.figures(*(page.figure(made, "", f"Estimated times on {board}") for board, made in drawn.items())),
        page.details("What each estimate rests on", page.table(["board", "variant", "rests on"], basis, align="lll")),
        anchor="estimates",
    )


def _instructions(rows: Sequence[Row]) -> Raw:
    """The second view, where the very files were counted: instructions of the Arm build, free of noise."""
    cells = [
        [
            row["core"],
            ", ".join(row["boards"]),
            row["variant"],
            words.ratio(row["ratio"]),
            ms(row["instructions_a_mac"]),
        ]
        for row in rows
    ]
    if not cells:
        return Raw("")
    columns = ["core", "boards", "variant", "over float32", "instructions a multiply-add"]
    return page.table(columns, cells, "Instructions counted in an emulated core, no times", align="lllrr")


def _estimate(row: Row | None) -> Raw:
    if row is None or row["ms"] is None:
        return Raw('<span class="none">no estimate</span>')
    return page.join(words.rough(row["ms"]), page.element("small", words.rough_span(row)))
