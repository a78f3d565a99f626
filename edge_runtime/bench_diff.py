"""Two bench reports against each other: faster, slower or no evidence, by an interval and a threshold.

Two runs are two runs: memory lies elsewhere, the room is warmer, the governor in another mood. What differs from one
start to the next cannot be seen in one run, so a change counts only when its whole interval is beyond a threshold; with
several runs a side their own spread is in the interval. Reads reports alone and prints nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from fer_edge.edge_runtime.bench_stats import runs_ratio, unpaired_ratio
from fer_edge.edge_runtime.bench_subject import BenchError

SCHEMA = 1
Report = dict[str, Any]
Verdict = Literal["faster", "slower", "no evidence"]
_ALIKE = 1.05
"""When all variants changed by the same factor to within this, it is likely the machine."""


def compare_reports(base: Sequence[Report], new: Sequence[Report], threshold_percent: float, seed: int = 0) -> Report:
    """Compare what both sides measured.

    Args:
        base, new: reports of schema 2; one a side, or several a side of the same thing.
        threshold_percent: what counts as a change, such as 5.
        seed: of the resampling.

    Returns:
        `{"schema", "threshold_percent", "variants": [{"variant", "verdict", "base_ms", "new_ms", "time_ratio",
        "interval", "rounds", "within_threshold"}], "only_base", "only_new", "warnings"}`. The ratio is new over base,
        so over 1 is slower. It is "slower" when the whole interval is above 1 + threshold, "faster" when it is below
        1 / (1 + threshold), else "no evidence"; `within_threshold` says that the interval excludes so large a change.

    Raises:
        BenchError: several reports on one side alone, different scopes, or nothing that is on both sides.
    """
    if (len(base) > 1) != (len(new) > 1):
        raise BenchError(
            "give several reports for both sides or for none: the spread of one side says nothing of the other"
        )
    scopes = {report["plan"]["scope"] for report in (*base, *new)}
    if len(scopes) > 1:
        raise BenchError(f"the reports measure different things: --scope {' and '.join(sorted(scopes))}")
    sides = [[_timed(report) for report in side] for side in (base, new)]
    names = [[name for name in side[0] if all(name in run for run in side)] for side in sides]
    both = [name for name in names[0] if name in names[1]]
    if not both:
        raise BenchError(
            f"no variant is in both: {', '.join(names[0]) or 'none'} against {', '.join(names[1]) or 'none'}"
        )
    rows = [_row(name, [[run[name] for run in side] for side in sides], threshold_percent, seed) for name in both]
    return {
        "schema": SCHEMA,
        "threshold_percent": threshold_percent,
        "variants": rows,
        "only_base": [name for name in names[0] if name not in both],
        "only_new": [name for name in names[1] if name not in both],
        "warnings": [*_warnings(base, new, both), *_all_alike(rows)],
    }


def _timed(report: Report) -> dict[str, Any]:
    """Median calls by round of all that a report timed, by name."""
    found = {row["id"]: row["round_medians_ns"] for row in report["variants"]}
    for row in report["pipeline"]:
        name = f"{row['source']} {row['detector']} t{row['threads']} {row['variant']}"
        found[name] = row["closed"]["round_medians_ns"]
    return {name: medians for name, medians in found.items() if medians}


def _row(name: str, sides: list[list[Sequence[float]]], threshold_percent: float, seed: int) -> dict[str, Any]:
    base, new = sides
    found = unpaired_ratio(new[0], base[0], seed) if len(base) == 1 else runs_ratio(new, base, seed)
    limit = 1 + threshold_percent / 100
    verdict: Verdict = "no evidence"
    within = False
    if found["interval"] is not None:
        low, high = found["interval"]
        verdict = "slower" if low > limit else "faster" if high < 1 / limit else "no evidence"
        within = 1 / limit < low and high < limit
    base_ms, new_ms = (float(np.median([np.median(run) for run in side])) / 1e6 for side in sides)
    return {
        "variant": name,
        "verdict": verdict,
        "base_ms": base_ms,
        "new_ms": new_ms,
        **found,
        "within_threshold": within,
    }


def _warnings(base: Sequence[Report], new: Sequence[Report], both: Sequence[str]) -> Iterator[str]:
    """What else differs between the first reports of the two sides, and runs that do not hold."""
    first, second = base[0], new[0]
    for name in ("board", "cpu", "machine", "system", "usable_cores", "python"):
        was, now = first["machine"].get(name), second["machine"].get(name)
        if was != now:
            yield f"{name.replace('_', ' ')} differs: {was} and {now}"
    for label, was, now in (
        ("governor", *(r["conditions"]["before"]["governor"] for r in (first, second))),
        ("power mode", *((r["conditions"]["before"].get("jetson") or {}).get("power_mode") for r in (first, second))),
        ("cores that it ran on", *(r["plan"]["cores"] for r in (first, second))),
        ("bundle", *((r["bundle"] or {}).get("sha256", "none")[:12] for r in (first, second))),
    ):
        if was != now:
            yield f"{label} differs: {was} and {now}"
    for library in sorted({*first["versions"], *second["versions"]}):
        was, now = first["versions"].get(library), second["versions"].get(library)
        if was != now:
            yield f"{library} differs: {was} and {now}"
    yield from _of_variants(first, second, both)
    for side, reports in (("base", base), ("new", new)):
        for report in reports:
            if not report["valid"]:
                yield f"{side} is INVALID: {'; '.join(report['invalid_because'])}"


def _of_variants(first: Report, second: Report, both: Sequence[str]) -> Iterator[str]:
    known = {row["id"]: row for row in second["variants"]}
    for row in first["variants"]:
        for key in ("threads", "batch", "sha256") if row["id"] in both else ():
            was, now = row[key], known[row["id"]][key]
            if was != now:
                shown = (was, now) if key != "sha256" else (was[:12], now[:12])
                yield f"{key} of {row['id']} differs: {shown[0]} and {shown[1]}"


def _all_alike(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    ratios = [row["time_ratio"] for row in rows]
    if len(rows) > 2 and len({row["verdict"] for row in rows}) == 1 and rows[0]["verdict"] != "no evidence":
        low, high = min(ratios), max(ratios)
        if high < _ALIKE * low:
            yield f"all variants changed by about the same ({low:.2f} to {high:.2f}): the machine may be what changed"
