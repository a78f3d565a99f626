"""Pictures of a sweep: seeds of each setting, validation by epoch, int8 by setting. SVG out."""

from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

from fer_edge.convert.sweep_words import row_name, short, shown, unit
from fer_edge.edge_runtime import figure_style as fs

COLOURS = (fs.BLUE, fs.ORANGE, fs.GREEN, fs.PURPLE)
_STYLES = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
MOST = 12
"""Settings that a picture can show; the tables have all."""
_LONGEST = 54


def ranked(made: dict[str, Any]) -> str:
    """The best settings from above: each seed a ring, the mean a dot on its 95% interval."""
    metric, rows = made["metric"], made["ranking"]["rows"][:MOST]
    times = 1 if metric == "val_loss" else 100
    with fs.style():
        figure, (axes,) = fs.canvas(40 + 40 * len(rows))
        labels = [(_cut(row_name(made, row)), shown(metric, row["mean"])) for row in rows]
        for at, (height, row) in enumerate(zip(fs.rows_of(axes, labels), rows, strict=True)):
            colour = fs.BLUE if at == 0 else fs.GREY
            if row["interval"] is not None:
                axes.plot(
                    [end * times for end in row["interval"]], [height, height],
                    color=colour, linewidth=3.2, solid_capstyle="butt", alpha=0.45,
                )  # fmt: skip
            axes.plot(
                [v * times for v in row["values"]], [height] * len(row["values"]), "o", mfc="none", color=colour, ms=8
            )
            axes.plot([row["mean"] * times], [height], "o", color=colour, markersize=5)
        axes.set_xlabel(unit(metric))
        return fs.svg(figure)


def by_epoch(made: dict[str, Any], trials: Sequence[dict[str, Any]], key: str) -> str:
    """A line a trial over epochs, a colour a setting, in pictures of a few settings."""
    times = 1 if key == "val_loss" else 100
    settings = list(dict.fromkeys(trial["setting"] for trial in trials))
    with fs.style():
        figure, (axes,) = fs.canvas(230 + 19 * len(settings))
        for trial in trials:
            at = settings.index(trial["setting"])
            values = [value * times for value in trial["by_epoch"][key]]
            axes.plot(
                range(1, len(values) + 1), values,
                color=COLOURS[at % 4], linestyle=_STYLES[at // 4 % 3], linewidth=1.4, alpha=0.85,
                marker="o", markersize=3.5, label=_cut(short(made, trial["setting"])),
            )  # fmt: skip
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_title(unit(key))
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        figure.legend(handles.values(), handles.keys(), loc="outside lower left", handlelength=1.6)
        return fs.svg(figure)


def quantized(rows: Sequence[dict[str, Any]]) -> str:
    """Points of accuracy that each quantization setting loses: a ring a run, the mean a dot. 0 is float."""
    with fs.style():
        figure, (axes,) = fs.canvas(40 + 40 * len(rows))
        labels = [(_cut(row["name"]), f"{row['mean']:+.2f}") for row in rows]
        axes.axvline(0, color=fs.GREY, linewidth=1.2, dashes=(4, 3))
        for height, row in zip(fs.rows_of(axes, labels), rows, strict=True):
            axes.plot(
                row["drops"], [height] * len(row["drops"]), "o", mfc="none", color=fs.BLUE, markersize=7, alpha=0.7
            )
            axes.plot([row["mean"]], [height], "o", color=fs.BLUE, markersize=5)
        axes.set_xlabel("accuracy lost, percentage points")
        return fs.svg(figure)


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
