"""What a bench report claims: who is fastest, what is told apart, which setting of a sweep speaks for a variant.

Reads the report's JSON (schema 2) alone: says what its intervals say, and computes none.
"""

from collections.abc import Sequence

from fer_edge.edge_runtime.bench_words import Row, ms, ratio, ratio_span, span

OVER_FLOAT = "over float32 of the same engine"
OVER_FASTEST = "over the fastest int8"
OVER_THREADS = "over the fewest threads"
OVER_FILE = "over the first file"
_OVER_ROOF = 1.1
"""A share of the roof up to here is padding that was skipped, or noise."""
_RELATIONS = (OVER_FLOAT, OVER_FASTEST, OVER_THREADS, OVER_FILE)


def fastest(report: Row) -> Row | None:
    """The variant with the lowest median of one call at the smallest batch; None where no median is supported."""
    smallest = min((row["batch"] for row in report["variants"]), default=1)
    rows = [row for row in report["variants"] if row["batch"] == smallest and row["latency"]["p50"] is not None]
    return min(rows, key=lambda row: row["latency"]["p50"]["ms"], default=None)


def fastest_sentence(report: Row) -> str | None:
    """Who is fastest, with interval, and who cannot be told apart from it."""
    first = fastest(report)
    if first is None:
        return None
    middle, rows = first["latency"]["p50"], report["variants"]
    near = [row["id"] for row in rows if row["batch"] == first["batch"] and _is_near(report, row, first)]
    said = (
        f"{first['id']} {'takes' if len(rows) == 1 else 'is the fastest:'} {ms(middle['ms'])} ms a call "
        f"(median, 95% interval {span(middle['low_ms'], middle['high_ms'])})"
    )
    return f"{said}; {' and '.join(near)} cannot be told apart from it." if near else f"{said}."


def _is_near(report: Row, row: Row, first: Row) -> bool:
    """Whether the fastest is not shown to be faster: by their ratio within rounds, else by the medians' intervals."""
    if row is first or row["latency"]["p50"] is None:
        return False
    pair = {row["id"], first["id"]}
    for found in report["ratios"]:
        if {found["variant"], found["over"]} == pair and found["interval"] is not None:
            low, high = found["interval"]
            return bool(low <= 1 <= high)
    return bool(row["latency"]["p50"]["low_ms"] <= first["latency"]["p50"]["high_ms"])


def roof_sentence(rows: Sequence[Row]) -> str | None:
    """Which variants are faster than the roof that was measured for them, so that it is none; None where none is."""
    over = [
        f"{row['id']} ({row['attained']['share']:.0%})"
        for row in rows
        if row["attained"] is not None and row["attained"]["share"] > _OVER_ROOF
    ]
    if not over:
        return None
    return (
        f"{' and '.join(over)}: faster than the roof. There the engine multiplies large matrices more slowly than it "
        "computes this network, so that this roof is no limit."
    )


def ratio_groups(report: Row) -> dict[str, list[Row]]:
    """The report's ratios by what they are taken over; those over float first."""
    by_id = {row["id"]: row for row in report["variants"]}
    groups: dict[str, list[Row]] = {relation: [] for relation in _RELATIONS}
    for row in report["ratios"]:
        groups[_relation(by_id[row["variant"]], by_id[row["over"]])].append(row)
    return {relation: rows for relation, rows in groups.items() if rows}


def _relation(mine: Row, base: Row) -> str:
    if mine["engine"] != base["engine"]:
        return OVER_FASTEST
    if mine["threads"] != base["threads"]:
        return OVER_THREADS
    return OVER_FLOAT if mine["precision"] != base["precision"] else OVER_FILE


def float_ratios(report: Row) -> dict[str, Row]:
    """By variant's id, the ratio of its time to that of its engine's float32 with the same threads and batch."""
    return {row["variant"]: row for row in ratio_groups(report).get(OVER_FLOAT, ())}


def headline_ratios(report: Row) -> list[Row]:
    """int8 over float32, of each engine the setting that is fastest: what the first lines say."""
    best = {row["id"] for row in one_each(report["variants"]) if row["precision"] == "int8"}
    return [row for name, row in float_ratios(report).items() if name in best]


def ratio_sentence(row: Row) -> str:
    """`tflite/int8 takes 0.47 (0.46 to 0.48) of tflite/float32's time: faster.`"""
    if row["interval"] is None:
        shown, word = ratio(row["time_ratio"]), "too few rounds for an interval"
    else:
        low, high = row["interval"]
        shown = f"{ratio(row['time_ratio'])} ({ratio_span(row)})"
        word = "faster" if high < 1 else "slower" if low > 1 else "no evidence of a difference"
    return f"{row['variant']} takes {shown} of {row['over']}'s time: {word}."


def claims_int8(row: Row) -> bool:
    """Whether there is more to say of its int8 than that a float model is float."""
    return row["precision"] not in ("float32", "float16") or row["int8"]["verdict"] != "not int8"


def one_each(rows: Sequence[Row]) -> list[Row]:
    """Of a sweep, one setting a variant: the smallest batch, and the lowest median there."""
    best: dict[tuple[str, str], Row] = {}
    for row in rows:
        kept = best.get(name_of(row))
        if kept is None or pace(row) < pace(kept):
            best[name_of(row)] = row
    return list(best.values())


def name_of(row: Row) -> tuple[str, str]:
    """What the settings of a sweep have in common."""
    return row["variant"], row["file"]


def pace(row: Row) -> tuple[int, float]:
    """Orders the settings of a variant: the smaller batch, then the lower median, or mean where there is none."""
    figures = row["latency"]
    return row["batch"], (figures["p50"] or {"ms": figures["mean_ms"]})["ms"]


def pipeline_sentence(report: Row) -> str:
    """Who is fastest from capture to label, for a report that ranks no engines."""
    runs = [run for run in report["pipeline"] if run["closed"]["stages"]["total"]["p50"] is not None]
    if not runs:
        return "Too few samples to rank the variants."
    first = min(runs, key=lambda run: run["closed"]["stages"]["total"]["p50"]["ms"])
    middle = first["closed"]["stages"]["total"]["p50"]
    near = [
        run_name(runs, run)
        for run in runs
        if run is not first and run["closed"]["stages"]["total"]["p50"]["low_ms"] <= middle["high_ms"]
    ]
    said = (
        f"{run_name(runs, first)} takes {ms(middle['ms'])} ms from capture to label (median, 95% interval "
        f"{span(middle['low_ms'], middle['high_ms'])})"
    )
    return f"{said}; {' and '.join(near)} cannot be told apart from it." if near else f"{said}."


def run_name(runs: Sequence[Row], run: Row) -> str:
    """A run of the pipeline by its variant, and by its threads where they differ."""
    return str(run["variant"]) + (f" t{run['threads']}" if len({one["threads"] for one in runs}) > 1 else "")


def run_ratio(runs: Sequence[Row], run: Row) -> Row | None:
    """A run's ratio to its float32 as `ratio_sentence` takes it."""
    over = run["closed"]["over"]
    if over is None:
        return None
    base = run_name(runs, {**run, "variant": over["variant"]})
    return {**over, "variant": run_name(runs, run), "over": base}
