"""Pictures of how long a variant takes: distributions, tails, rounds, ratios, estimates. SVG text out.

Draws what the report holds and computes nothing from it but the order of the samples. Every sample is inside every
axis: no tail is cut off.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from fer_edge.edge_runtime import figure_style as fs
from fer_edge.edge_runtime.bench_words import Row, ms, ratio, ratio_span, rough, rough_span

_DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
_FAR = 3.0
"""Samples further than so many interquartile ranges from the middle half are far out (Tukey): a mark each. Of the
logarithms: times spread by factors, and the axis shows them so."""
_BINS = 28
_LEAST = 64
_LINE = 42
"""Characters of a name that leave room for its figures."""


def distributions(rows: Sequence[Row]) -> str:
    """A histogram a variant on one common axis, its median, and a mark for every sample that is far out."""
    figure, (axes,) = fs.canvas(36 + 42 * len(rows))
    taken = [_milliseconds(row["samples_ns"]) for row in rows]
    low, high = min(s[0] for s in taken), max(s[-1] for s in taken)
    fs.spread(axes, "x", low, high)
    heights = fs.rows_of(axes, [(row["id"], _middle(row)) for row in rows])
    for row, samples, height in zip(rows, taken, heights, strict=True):
        _histogram(axes, samples, height - 0.28, colour_of(row))
        if row["latency"]["p50"] is not None:
            at = row["latency"]["p50"]["ms"]
            axes.plot([at, at], [height - 0.3, height + 0.32], color=fs.INK, linewidth=1.3)
    axes.set_xlabel("time of one call, ms")
    return fs.svg(figure)


def _middle(row: Row) -> str:
    middle, most = row["latency"]["p50"], ms(row["latency"]["max_ms"])
    return f"max {most} ms" if middle is None else f"p50 {ms(middle['ms'])}, max {most} ms"


def _histogram(axes: Axes, samples: NDArray[np.float64], floor: float, colour: str) -> None:
    tail = samples
    if len(samples) >= _LEAST:
        logs = np.log(samples)
        first, third = np.percentile(logs, (25, 75))
        reach = _FAR * max(third - first, 1e-3)
        is_body = (logs >= first - reach) & (logs <= third + reach)
        tail, body = samples[~is_body], samples[is_body]
        counts, edges = np.histogram(body, bins=np.geomspace(body[0], body[-1], _BINS + 1) if body[0] < body[-1] else 1)
        axes.stairs(floor + 0.58 * counts / counts.max(), edges, baseline=floor, fill=True, color=colour, alpha=0.75)
    axes.plot(tail, np.full(len(tail), floor + 0.09), "|", color=colour, markersize=7, markeredgewidth=1.1)


def tails(rows: Sequence[Row]) -> str:
    """Cumulative distributions, a panel an engine; the axis widens towards the slowest calls."""
    series = [(row["id"], row["engine"], _milliseconds(row["samples_ns"]), colour_of(row)) for row in rows]
    return cumulative(series, "time of one call, ms", "share of calls that were faster")


def cumulative(series: Sequence[tuple[str, str, NDArray[np.float64], str]], what: str, share: str) -> str:
    """Cumulative distributions of (name, panel, sorted samples, colour) on a -log10(1 - share) axis."""
    panels = list(dict.fromkeys(panel for _, panel, _, _ in series))
    figure, drawn = fs.canvas(40 + 155 * len(panels), len(panels), sharex=True)
    most = max(len(samples) for _, _, samples, _ in series)
    low, high = min(s[0] for _, _, s, _ in series), max(s[-1] for _, _, s, _ in series)
    for panel, axes in zip(panels, drawn, strict=True):
        fs.spread(axes, "x", low, high)
        own = [one for one in series if one[1] == panel]
        for (name, _, samples, colour), dash in zip(own, _dashes([one[3] for one in own]), strict=True):
            at = _levels(len(samples))
            slower = -np.log10(1 - at / len(samples))
            axes.step(samples[at], slower, where="post", color=colour, linestyle=dash, label=name)
        shares = [0.0, 0.5, *(1 - 10.0**-nines for nines in range(1, int(np.log10(most)) + 1))]
        axes.set_yticks([-np.log10(1 - share) for share in shares], [f"{100 * share:.6g}%" for share in shares])
        axes.set_ylim(0, np.log10(most) * 1.04)
        axes.legend(loc="lower right", borderpad=0.2, handlelength=1.6)
        axes.set_title(panel)
    drawn[len(drawn) // 2].set_ylabel(share)
    drawn[-1].set_xlabel(what)
    return fs.svg(figure)


def _levels(count: int) -> NDArray[np.intp]:
    """Indices into sorted samples that draw the curve: close in the body, each one of the slowest fifty."""
    body = count * (1 - 10 ** -np.linspace(0, np.log10(count), 300))
    return np.unique(np.concatenate([body.astype(np.intp), np.arange(max(0, count - 50), count)]))


def rounds(rows: Sequence[Row]) -> str:
    """The median of each round over the course of the run, a panel an engine."""
    panels = list(dict.fromkeys(row["engine"] for row in rows))
    figure, drawn = fs.canvas(40 + 130 * len(panels), len(panels), sharex=True)
    for panel, axes in zip(panels, drawn, strict=True):
        own = [row for row in rows if row["engine"] == panel]
        medians = [np.asarray(row["round_medians_ns"]) / 1e6 for row in own]
        fs.spread(axes, "y", min(m.min() for m in medians), max(m.max() for m in medians))
        for row, median, dash in zip(own, medians, _dashes([colour_of(row) for row in own]), strict=True):
            numbers = np.arange(1, len(median) + 1)
            marker = "o" if len(median) < 3 else None
            axes.plot(
                numbers, median, color=colour_of(row), linestyle=dash, linewidth=1.2, label=row["id"], marker=marker
            )
        axes.tick_params(axis="y", labelcolor=fs.SOFT)
        _legend_above(axes)
    drawn[len(drawn) // 2].set_ylabel("median of the round, ms")
    drawn[-1].set_xlabel("round")
    drawn[-1].xaxis.set_major_locator(MaxNLocator(7, integer=True))
    return fs.svg(figure)


def sweep(rows: Sequence[Row], over: Literal["threads", "batch"]) -> str:
    """Medians with intervals over thread counts, or faces a second over batches; a panel an engine."""
    panels = list(dict.fromkeys(row["engine"] for row in rows))
    figure, drawn = fs.canvas(40 + 140 * len(panels), len(panels), sharex=True)
    steps = sorted({row[over] for row in rows})
    for panel, axes in zip(panels, drawn, strict=True):
        own = [row for row in rows if row["engine"] == panel]
        lines = list(dict.fromkeys((row["variant"], row["file"], colour_of(row)) for row in own))
        for (name, file, colour), dash in zip(lines, _dashes([colour for *_, colour in lines]), strict=True):
            same = sorted(
                (row for row in own if (row["variant"], row["file"]) == (name, file)), key=lambda row: row[over]
            )
            points = np.array([_point(row, over) for row in same])
            reach = np.abs(points[:, 1:] - points[:, :1]).T
            at = [steps.index(row[over]) for row in same]
            axes.errorbar(
                at, points[:, 0], yerr=reach, color=colour, linestyle=dash, marker="o", markersize=5, label=name
            )
        axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
        axes.set_xticks(range(len(steps)), [str(step) for step in steps])
        axes.tick_params(axis="y", labelcolor=fs.SOFT)
        _legend_above(axes)
    drawn[len(drawn) // 2].set_ylabel("median, ms" if over == "threads" else "faces a second")
    drawn[-1].set_xlabel("threads" if over == "threads" else "faces a call")
    return fs.svg(figure)


def _point(row: Row, over: str) -> tuple[float, float, float]:
    if over == "batch":
        return (row["faces_per_second"],) * 3
    middle = row["latency"]["p50"]
    return middle["ms"], middle["low_ms"], middle["high_ms"]


def ratios(rows: Sequence[Row], colours: Sequence[str]) -> str:
    """Times over others' times, with intervals; all of them have one."""
    pairs = [f"{row['variant']} over {row['over']}" for row in rows]
    is_long = max(map(len, pairs)) > _LINE
    return fs.intervals(
        [
            (row["variant"] if is_long else pair, f"{ratio(row['time_ratio'])} ({ratio_span(row)})")
            for row, pair in zip(rows, pairs, strict=True)
        ],
        [(row["interval"][0], row["time_ratio"], row["interval"][1]) for row in rows],
        colours,
        "ratio of times",
        reference=1.0,
    )


def estimates(rows: Sequence[Row]) -> dict[str, str]:
    """By board that is not here: the estimated times and their bands, on a common axis; all of them have one."""
    bounds = min(row["low_ms"] for row in rows), max(row["high_ms"] for row in rows)
    made = {}
    for board in dict.fromkeys(row["board"] for row in rows):
        own = [row for row in rows if row["board"] == board]
        made[board] = fs.intervals(
            [(row["variant"], f"{rough(row['ms'])} ms ({rough_span(row)})") for row in own],
            [(row["low_ms"], row["ms"], row["high_ms"]) for row in own],
            [colour_of(row) for row in own],
            "ESTIMATE of one face's time, ms",
            title=board,
            bounds=bounds,
        )
    return made


def colour_of(row: Row) -> str:
    """The colour of its precision."""
    return fs.PRECISION_COLOURS.get(row["precision"], fs.GREY)


def _milliseconds(samples_ns: Sequence[int]) -> NDArray[np.float64]:
    return np.sort(np.asarray(samples_ns, dtype=np.float64)) / 1e6


def _dashes(colours: Sequence[str]) -> list[Any]:
    """A line style for each: solid, and another one where a colour comes again."""
    return [_DASHES[list(colours[:at]).count(colour) % len(_DASHES)] for at, colour in enumerate(colours)]


def _legend_above(axes: Axes) -> None:
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.01, 0.98), ncols=3, borderpad=0.2, handlelength=1.5, columnspacing=1.2
    )
