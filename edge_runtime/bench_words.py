"""A bench report's figures, rounded, and its machine and conditions in words: for its page, its Markdown, the terminal.

Reads the report's JSON (schema 2, docs/bench.md) alone and derives no figure of its own; a ratio or a share may become
a percentage, nanoseconds milliseconds. None stays None: each reader shows "not measured" in its own way.
"""

from collections.abc import Mapping, Sequence
from math import floor, log10
from typing import Any

Row = Mapping[str, Any]
PERCENTILES = ("p50", "p90", "p95", "p99")


def ms(value: float | None) -> str | None:
    """Milliseconds (or any figure of many magnitudes) with about four digits."""
    if value is None:
        return None
    places = 1 if value >= 100 else 2 if value >= 10 else 3 if value >= 0.1 else 4
    return f"{value:,.{places}f}"


def span(low: float, high: float, to: str = " to ") -> str:
    """An interval of milliseconds."""
    return f"{ms(low)}{to}{ms(high)}"


def rough(value: float | None) -> str | None:
    """An estimate: two digits, as more would claim too much."""
    if value is None:
        return None
    two = float(f"{value:.1e}")
    return f"{two:,.{max(0, 1 - floor(log10(two))) if two > 0 else 0}f}"


def rough_span(row: Row, to: str = " to ") -> str | None:
    """The band of an estimate; None where there is no estimate."""
    low, high = row["low_ms"], row["high_ms"]
    return None if low is None else f"{rough(low)}{to}{rough(high)}"


def ratio(value: float) -> str:
    """A time ratio: two places, three below 0.1."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def ratio_span(row: Row, to: str = " to ") -> str:
    """The interval of a time ratio; says so where there were too few rounds for one."""
    if row["interval"] is None:
        return "no interval"
    low, high = row["interval"]
    return f"{ratio(low)}{to}{ratio(high)}"


def percent(fraction: float | None) -> str | None:
    """A fraction as a percentage; never rounded up to 100 or down to 0."""
    if fraction is None:
        return None
    places = next((p for p in (0, 1, 2) if 0 < round(100 * fraction, p) < 100), 0)
    return f"{100 * fraction:.{places}f}%"


def megabytes(value: float | None) -> str | None:
    """Bytes as MB (10^6), with two places below 10."""
    return None if value is None else f"{value / 1e6:,.{2 if value < 1e7 else 0}f}"


def short(name: str, most: int = 30) -> str:
    """A name that is too long for a figure, by its end: what tells operators apart stands there."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


def sentence(text: str) -> str:
    """With a full stop."""
    return text if text.endswith(".") else f"{text}."


def count(number: int, thing: str) -> str:
    """`1 thread`, `2 threads`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def subject(report: Row) -> str:
    """The bundle's name, or the model files'."""
    if report["bundle"] is not None:
        return str(report["bundle"]["name"])
    files = list(dict.fromkeys(str(v["file"]) for v in report["variants"]))
    return ", ".join(files) if files else "no model"


def machine_name(report: Row) -> str:
    """Board, else processor, else kind of machine."""
    machine = report["machine"]
    return str(machine["board"] or machine["cpu"] or machine["machine"] or "an unnamed machine")


def machine_line(report: Row) -> str:
    """Processor, cores, int8 instructions and system in one line."""
    machine = report["machine"]
    features = ", ".join(machine["int8_features"] or []) or "none"
    named = [machine["board"], machine["cpu"], machine["machine"]]
    cores = None if machine["usable_cores"] is None else count(machine["usable_cores"], "core")
    parts = [*dict.fromkeys(part for part in named if part), cores, f"int8 instructions: {features}", machine["system"]]
    return "; ".join(part for part in parts if part)


def conditions_line(report: Row) -> str:
    """Temperature, throttling, clock, governor and load while it was measured; says what the machine does not tell."""
    before, after, during = (report["conditions"][when] for when in ("before", "after", "during"))
    return "; ".join(
        (
            _temperature(before, after, during),
            _throttling(before, after, during),
            _clock(before, during),
            f"governor {before['governor']}" if before["governor"] else "governor unknown",
            f"load {before['load_average'][0]:.2f}" if before["load_average"] else "load unknown",
            *_jetson(before),
        )
    )


def _jetson(before: Row) -> list[str]:
    """Power mode and GPU clock, on a Jetson alone."""
    told = before.get("jetson")
    if told is None:
        return []
    clock = "GPU clock unknown" if told["gpu_clock_mhz"] is None else f"GPU at {told['gpu_clock_mhz']:,.0f} MHz"
    return [f"power mode {told['power_mode'] or 'unknown'}", clock + (", pinned" if told["clocks_pinned"] else "")]


def busy_sentence(report: Row) -> str | None:
    """A caution where other work kept half of the cores or more busy before anything was measured."""
    load, cores = report["conditions"]["before"]["load_average"], report["machine"]["usable_cores"]
    if not load or not cores or load[0] < cores / 2:
        return None
    return (
        f"The machine was busy: load {load[0]:.2f} on {count(cores, 'core')} before the run. Times are longer and "
        "spread wider than on an idle one."
    )


def _temperature(before: Row, after: Row, during: Row) -> str:
    if before["temp_c"] is None or after["temp_c"] is None:
        return "no temperature sensor"
    most = during["temp_c"]
    peak = "" if most is None else f", at most {most['max']:.0f}"
    return f"{before['temp_c']:.0f} °C before, {after['temp_c']:.0f} after{peak}"


def _throttling(before: Row, after: Row, during: Row) -> str:
    known = [row["throttled"] for row in (before, after, during) if row["throttled"] is not None]
    if not known:
        return "throttling unknown"
    names = sorted({name for row in known for name in row})
    return f"throttled: {', '.join(names)}" if names else "not throttled"


def _clock(before: Row, during: Row) -> str:
    if during["clock_mhz"] is not None:
        low, high = during["clock_mhz"]["min"], during["clock_mhz"]["max"]
        return f"clock {low:,.0f} MHz" if f"{low:.0f}" == f"{high:.0f}" else f"clock {low:,.0f} to {high:,.0f} MHz"
    return "clock unknown" if before["clock_mhz"] is None else f"clock {before['clock_mhz']:,.0f} MHz"


def how_line(report: Row) -> str:
    """Scope, threads, batches, samples and rounds."""
    plan, rows = report["plan"], report["variants"]
    parts = [f"scope {plan['scope']}"]
    if rows:
        threads = sorted({row["threads"] for row in rows})
        batches = sorted({row["batch"] for row in rows})
        least = min(row["latency"]["count"] for row in rows)
        parts.append(f"{_listed(threads)} {'thread' if threads == [1] else 'threads'}")
        parts.append("one face a call" if batches == [1] else f"{_listed(batches)} faces a call")
        parts.append(
            f"{'' if {row['latency']['count'] for row in rows} == {least} else 'at least '}{least:,} calls each"
        )
        parts.append(f"{count(report['rounds'], 'shuffled round')}")
    if report["pipeline"]:
        closed = report["pipeline"][0]["closed"]
        parts.append(f"{count(closed['frames'], 'frame')} in {count(closed['rounds'], 'round')} from camera to label")
    if plan["cores"]:
        parts.append(f"pinned to core{'' if len(plan['cores']) == 1 else 's'} {_listed(plan['cores'])}")
    return "; ".join(parts)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def steady_sentence(soak: Row) -> str:
    """How the soak before the steady measurement went."""
    slope, temps = soak["slope_c_per_minute"], soak["temp_c"]
    heat = "no temperature sensor" if temps is None else f"from {temps[0]:.0f} to {temps[1]:.0f} °C"
    end = "slope unknown" if slope is None else f"{slope:.1f} °C a minute at its end"
    reached = "steady" if soak["reached"] else "whether it is steady is unknown" if slope is None else "not steady yet"
    return f"Soaked for {soak['soak_seconds']:,.0f} s: {heat}, {end}; {reached}."


def conditions_rows(report: Row) -> list[list[str | None]]:
    """A line each for temperature, throttling, clock, governor and load: name, before, during, after."""
    before, after, during = (report["conditions"][when] for when in ("before", "after", "during"))

    def names(value: Sequence[str] | None) -> str | None:
        return None if value is None else ", ".join(value) or "no"

    def number(value: float | None, places: int) -> str | None:
        return None if value is None else f"{value:,.{places}f}"

    def both(value: Row | None, places: int) -> str | None:
        return None if value is None else f"{value['min']:,.{places}f} to {value['max']:,.{places}f}"

    def loads(value: Sequence[float] | None) -> str | None:
        return None if value is None else ", ".join(f"{load:.2f}" for load in value)

    return [
        ["temperature, °C", number(before["temp_c"], 1), both(during["temp_c"], 1), number(after["temp_c"], 1)],
        ["throttled", names(before["throttled"]), names(during["throttled"]), names(after["throttled"])],
        ["throttled since boot", names(before["throttled_since_boot"]), "", names(after["throttled_since_boot"])],
        ["clock, MHz", number(before["clock_mhz"], 0), both(during["clock_mhz"], 0), number(after["clock_mhz"], 0)],
        ["governor", before["governor"], "", after["governor"]],
        ["load, 1, 5 and 15 minutes", loads(before["load_average"]), "", loads(after["load_average"])],
    ]


def not_measured(report: Row) -> list[str]:
    """The parts of a report that this one does not have."""
    rows = report["variants"]
    parts = {
        "start-up": any(row["start"] for row in rows),
        "int8 verdicts": any(row["int8"] for row in rows),
        "times of operators": any(one["time_us"] is not None for row in rows for one in row["operators"] or ()),
        "roofline": report["roofline"],
        "thermal steady state": report["steady"],
        "energy": any(row["energy"] for row in rows),
        "camera to label": report["pipeline"],
        "estimates for other boards": report["estimates"],
    }
    return [name for name, there in parts.items() if not there]
