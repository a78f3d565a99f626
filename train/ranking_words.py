"""What the comparison of models says in words and numbers, the same on the screen and on the page."""

from typing import Any

from fer_edge.train.ranking import COSTS

Row = dict[str, Any]
COST_NAMES = dict(zip(COSTS, ("MACs", "size"), strict=True))
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def short(value: float) -> str:
    """A count with three digits and a letter for thousands, as 1.23M."""
    for unit, letter in _UNITS:
        if value >= 0.9995 * unit:
            scaled = value / unit
            return f"{scaled:,.0f}{letter}" if scaled >= 99.95 else f"{scaled:#.3g}{letter}"
    return f"{value:.3g}"


def count(value: float | None) -> str | None:
    """As `short`; None stays None."""
    return None if value is None else short(value)


def percent(value: float | None, digits: int = 2) -> str | None:
    """A share as a percentage."""
    return None if value is None else f"{value:.{digits}%}"


def interval(ends: list[float]) -> str:
    """An interval of shares, in %."""
    return f"{ends[0] * 100:.2f}..{ends[1] * 100:.2f}"


def signed_interval(ends: list[float]) -> str:
    """An interval of differences."""
    return f"{ends[0]:+.2f}..{ends[1]:+.2f}"


def milliseconds(row: Row) -> str | None:
    """The median for one face."""
    of = (row["latency_ms"] or {}).get("batch1") or {}
    return _three(of.get("median"))


def batched(row: Row) -> str | None:
    """Milliseconds for a face where 256 go in together."""
    return _three((row["latency_ms"] or {}).get("batch256_per_sample"))


def duration(seconds: float | None) -> str | None:
    """Seconds, minutes or hours."""
    if seconds is None:
        return None
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.{int(seconds < 600)}f} min"
    return f"{seconds / 3600:.1f} h"


def worst(row: Row) -> str | None:
    """The class that is recognised least, and how often it is."""
    of = row["worst_class"]
    return None if of["recall"] is None else f"{of['name']} {of['recall']:.1%}"


def fronts(row: Row) -> str:
    """On which fronts the model is."""
    return ", ".join(COST_NAMES[cost] for cost in COSTS if row["on_front"][cost])


def p_value(value: float) -> str:
    """Three decimals, and no 0."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def headline(made: Row) -> str:
    """Who leads, and over whom that is shown."""
    best = made["models"][0]
    mine = [pair for pair in made["pairs"] if pair["better"] == best["name"]]
    open_ = [pair["other"] for pair in mine if not pair["differ"]]
    said = f"{best['name']} is the most accurate of {len(made['models'])}, {best['accuracy']:.2%}"
    if not open_:
        others = "the next" if len(mine) == 1 else f"each of the next {len(mine)}"
        return f"{said}; it is shown to be better than {others}"
    return f"{said}; it is not shown to be better than {listed(open_)}"


def latency_note(made: Row) -> str:
    """Under which conditions the latencies of the table were measured."""
    machines = {
        f"{row['machine']['cpu'] or 'a processor without a name'}, {row['machine']['usable_cores']} cores"
        for row in made["models"]
        if row["latency_ms"] is not None
    }
    if not machines:
        return "No latency was measured."
    where = (
        f"on {len(machines)} machines ({'; '.join(sorted(machines))})" if len(machines) > 1 else f"on {min(machines)}"
    )
    said = f"The latencies were measured on separate occasions, one an evaluation, {where}: their ratios are rough"
    if made["side_by_side"] is None:
        return f"{said}; --side-by-side measures them in turns, in one process."
    return f"{said}. Those measured side by side are fair."


def listed(names: list[str]) -> str:
    """Names as a phrase."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def common_conditions(models: list[Row]) -> tuple[list[Row], dict[str, list[float]], list[str]]:
    """Robustness of those models that were judged under the conditions of the first that was judged at all.

    Returns:
        The conditions (`condition`, `level`, `what`), unharmed first; accuracy under each by model; who is left out.
    """
    judged = [row for row in models if row["robustness"]]
    if not judged:
        return [], {}, [row["name"] for row in models]
    conditions = _conditions(judged[0])
    accuracies = {
        row["name"]: [row["accuracy"], *(harmed["accuracy"] for harmed in row["robustness"])]
        for row in judged
        if _conditions(row) == conditions
    }
    of_all = conditions[0]["images"] == sum(of["support"] for of in judged[0]["by_class"].values())
    unharmed = {"condition": "none", "level": 0.0, "what": "as they are" if of_all else "as they are, all images"}
    return [unharmed, *conditions], accuracies, [row["name"] for row in models if row["name"] not in accuracies]


def _conditions(row: Row) -> list[Row]:
    keys = ("condition", "level", "what", "images")
    return [{key: harmed[key] for key in keys} | {"seed": row["seed"]} for harmed in row["robustness"]]


def _three(value: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def times_note(made: Row) -> str:
    """How the latencies side by side were measured."""
    threads = made["threads"]
    with_ = "the cores that each library takes" if threads is None else f"{threads} core{'' if threads == 1 else 's'}"
    return (
        f"Measured in one process, in turns, in a new order in each of {made['rounds']} rounds, with {with_}, on "
        f"{made['machine']['cpu'] or 'a processor without a name'}. A ratio is the median of those within rounds."
    )


def times_rows(made: Row) -> list[tuple[str, str | None, str | None, str | None]]:
    """Name, median in ms, ratio to the fastest and its interval, the fastest first."""
    rows: list[tuple[str, str | None, str | None, str | None]] = []
    for name, of in sorted(made["models"].items(), key=lambda item: _median(item[1]) or 0.0):
        over = of["over_fastest"]
        ratio = "1" if over is None else f"{over['time_ratio']:.2f}"
        ends = None if over is None or over["interval"] is None else "{:.2f}..{:.2f}".format(*over["interval"])
        rows.append((name, _three(_median(of)), ratio, "the fastest" if over is None else ends))
    return rows


def _median(of: Row) -> float | None:
    middle: float | None = (of["latency"]["p50"] or {}).get("ms")
    return middle
