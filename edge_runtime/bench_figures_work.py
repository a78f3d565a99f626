"""Pictures of what the time is spent on: operators, stages of the pipeline, and the roofline. SVG text out."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from fer_edge.edge_runtime import figure_style as fs
from fer_edge.edge_runtime.bench_claims import run_name
from fer_edge.edge_runtime.bench_figures import colour_of, cumulative
from fer_edge.edge_runtime.bench_words import Row, ms, percent, short

MOST_OPERATORS = 12
_LINE = 58
"""Characters that fit beside one another above a bar."""
_STAGES = {"capture": fs.GREY, "detect": fs.GREEN, "preprocess": fs.PURPLE, "infer": fs.BLUE, "label": fs.ORANGE}


def operators(rows: Sequence[Row], longest_us: float) -> str:
    """Those of a variant's operators that take longest, coloured by the precision that they run in.

    `longest_us` ends the axis, so that the figures of an engine can be compared.
    """
    slowest = sorted(rows, key=lambda row: -row["time_us"])[:MOST_OPERATORS]
    figure, (axes,) = fs.canvas(36 + 38 * len(slowest))
    labels = [_label(row) for row in slowest]
    for height, row in zip(fs.rows_of(axes, labels), slowest, strict=True):
        axes.barh(height, row["time_us"], height=0.36, color=colour_of(row))
    axes.set_xlim(0, longest_us * 1.03)
    axes.set_xlabel("time, µs")
    return fs.svg(figure)


def _label(row: Row) -> tuple[str, str]:
    """Name and type, and figures; the name as long as the rest leaves room for."""
    parts = (row["precision"], f"{ms(row['time_us'])} µs", percent(row["share"]))
    figures = " · ".join(part for part in parts if part)
    room = max(10, _LINE - len(figures) - len(row["type"]))
    return f"{short(row['name'], room)} · {row['type']}", figures


def rooflines(peaks: Sequence[Row], variants: Sequence[Row]) -> dict[str, str]:
    """By engine: what the machine can do at each intensity, and what each variant does; all on the same axes."""
    placed = [row for row in variants if row["attained"] is not None]
    ridges = [peak["peak_gops"] / peak["bandwidth_gb_s"] for peak in peaks]
    intensities = [*ridges, *(row["attained"]["intensity"] for row in placed)]
    low, high = min(intensities) / 4, max(intensities) * 4
    rates = [*(row["attained"]["gops"] for row in placed), *(peak["peak_gops"] for peak in peaks)]
    rates += [row["attained"]["attainable_gops"] for row in placed]
    rates += [low * peak["bandwidth_gb_s"] for peak in peaks]
    made = {}
    for engine in dict.fromkeys(peak["engine"] for peak in peaks):
        figure, (axes,) = fs.canvas(270)
        fs.spread(axes, "x", low, high)
        fs.spread(axes, "y", min(rates), max(rates))
        axes.set(xlim=(low, high), ylim=(min(rates) / 2, max(rates) * 1.6), title=_peaks_title(engine, peaks))
        axes.set(xlabel="intensity, operations a byte", ylabel="Gop/s")
        axes.tick_params(axis="y", labelcolor=fs.SOFT)
        for peak in peaks:
            if peak["engine"] == engine:
                _roof(axes, peak, low, high)
        for row in placed:
            if row["engine"] == engine:
                _point(axes, row)
        made[engine] = fs.svg(figure)
    return made


def _peaks_title(engine: str, peaks: Sequence[Row]) -> str:
    own = [peak for peak in peaks if peak["engine"] == engine]
    return f"{engine}: " + ", ".join(f"{peak['precision']} {peak['peak_gops']:,.0f}" for peak in own) + " Gop/s"


def _roof(axes: Axes, peak: Row, low: float, high: float) -> None:
    roof, colour = peak["peak_gops"], colour_of(peak)
    for slope, dash in ((peak["bandwidth_gb_s"], "solid"), (peak["cache_bandwidth_gb_s"], "dotted")):
        if slope is not None:
            ridge = max(low, roof / slope)
            axes.plot(
                [low, ridge, high], [min(roof, low * slope), roof, roof], color=colour, linewidth=1.6, linestyle=dash
            )
    axes.annotate(
        peak["precision"], (high, roof), (-2, 4), textcoords="offset points",
        ha="right", fontsize=11.5, color=colour,
    )  # fmt: skip


def _point(axes: Axes, row: Row) -> None:
    there = row["attained"]["intensity"], row["attained"]["gops"]
    ceiling = row["attained"]["attainable_gops"]
    axes.plot([there[0]] * 2, [there[1], ceiling], color=colour_of(row), linewidth=1.0)
    axes.plot(there[0], ceiling, "_", color=colour_of(row), markersize=13, markeredgewidth=2)
    axes.plot(*there, "o", color=colour_of(row), markersize=8)
    axes.annotate(
        f"{row['id'].partition('/')[2] or row['id']}: {percent(row['attained']['share'])}", there, (0, -9),
        textcoords="offset points", ha="center", va="top", fontsize=11.5, color=fs.INK,
    )  # fmt: skip


def stages(runs: Sequence[Row]) -> str:
    """The mean time of each stage from capture to label, one bar a variant."""
    figure, (axes,) = fs.canvas(64 + 40 * len(runs))
    labels = [(run_name(runs, run), f"{ms(run['closed']['stages']['total']['mean_ms'])} ms a frame") for run in runs]
    for height, run in zip(fs.rows_of(axes, labels), runs, strict=True):
        left = 0.0
        for stage, colour in _STAGES.items():
            width = run["closed"]["stages"][stage]["mean_ms"]
            axes.barh(height, width, left=left, height=0.4, color=colour, label=stage if run is runs[0] else None)
            left += width
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=5, handlelength=0.9, columnspacing=1.0, borderpad=0.2
    )
    axes.set_xlim(0, None)
    axes.set_xlabel("mean time, ms")
    return fs.svg(figure)


def ages(runs: Sequence[Row]) -> str:
    """How long a frame takes (closed loop) and how old its label is (open loop), a panel a variant."""
    series = []
    for run in runs:
        for name, samples, colour in (
            ("closed loop: service time", run["closed"]["samples_ns"], fs.GREY),
            ("open loop: age of the label", (run["open"] or {}).get("age_samples_ns", ()), colour_of(run)),
        ):
            if samples:
                series.append((name, run_name(runs, run), np.sort(np.asarray(samples, dtype=float)) / 1e6, colour))
    return cumulative(series, "time, ms", "share of frames that were faster")
