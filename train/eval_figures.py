"""Draws the pictures of an evaluation's page as SVG, each from evaluation.json alone; where it needs matplotlib."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter

from fer_edge.edge_runtime import figure_style as fs

MOST_MARKED = 12
"""Changes of the learning rate that are marked; a rate that changes with each epoch is drawn and not marked."""
MOST_TICKS = 4
Made = dict[str, Any]


def percent(value: float | None, digits: int = 1) -> str | None:
    """A share as text; None stays None."""
    return None if value is None else f"{value:.{digits}%}"


def span(interval: list[float], digits: int = 1) -> str:
    """An interval of shares."""
    return f"{interval[0]:.{digits}%} to {interval[1]:.{digits}%}"


def recalls(made: Made) -> str:
    """Recall of each class with its interval."""
    rows = {name: row for name, row in made["by_class"].items() if row["support"]}
    labels = [(f"{name}, {row['support']:,} images", f"{row['recall']:.1%}") for name, row in rows.items()]
    with fs.style():
        figure, (axes,) = fs.canvas(52 + 38 * len(rows))
        for height, row in zip(fs.rows_of(axes, labels), rows.values(), strict=True):
            fs.interval(axes, row["recall"], row["recall_interval"], height, fs.BLUE)
        _shares(axes, "recall, with 95% intervals")
        return fs.svg(figure)


def confusion(made: Made) -> str:
    """Images by true and named class, shaded by share of the row; what is right in blue, what is wrong in orange."""
    shades = [
        [(fs.BLUE if x == y else fs.ORANGE, n / max(1, sum(line)) * 0.75) for x, n in enumerate(line)]
        for y, line in enumerate(made["confusion"])
    ]
    return fs.matrix(shades, [[f"{n:,}" for n in line] for line in made["confusion"]], made["classes"])


def reliability(made: Made) -> str:
    """Accuracy over confidence with intervals, and how many images are where."""
    bins = made["confidence"]["reliability"]
    seen = [b for b in bins if b["images"]]
    with fs.style():
        figure, (upper, lower) = fs.canvas(380, 2, sharex=True, ratios=[3, 1])
        upper.plot([0, 1], [0, 1], color=fs.GREY, linewidth=1.2, dashes=(4, 3))
        x = [b["confidence"] for b in seen]
        upper.vlines(x, *zip(*(b["accuracy_interval"] for b in seen), strict=True), color=fs.BLUE, alpha=0.45)
        upper.plot(x, [b["accuracy"] for b in seen], "o", color=fs.BLUE, markersize=5)
        upper.set_ylim(0, 1)
        upper.yaxis.set_major_formatter(PercentFormatter(1))
        upper.set_ylabel("named rightly")
        lower.stairs([b["images"] for b in bins], [0.0, *(b["high"] for b in bins)], color=fs.BLUE)
        lower.set_ylabel("images")
        _shares(lower, "confidence")
        return fs.svg(figure)


def robustness(made: Made) -> str:
    """Accuracy under each condition, and as a dashed line that of the faces as they are."""
    rows = made["robustness"]
    labels = [(row["what"], f"{row['accuracy']:.1%}") for row in rows]
    with fs.style():
        figure, (axes,) = fs.canvas(52 + 38 * len(rows))
        axes.axvline(made["accuracy"], color=fs.GREY, linewidth=1.2, dashes=(4, 3))
        for height, row in zip(fs.rows_of(axes, labels), rows, strict=True):
            fs.interval(axes, row["accuracy"], row["accuracy_interval"], height, fs.BLUE)
        _shares(axes, "accuracy; dashed: the faces as they are")
        return fs.svg(figure)


def curves(training: Made) -> str:
    """Loss, accuracy and learning rate by epoch; the kept epoch and each change of the rate are marked."""
    history, phases = training["history"], training["phases"]
    keys = [key for key in ("loss", "accuracy") if f"val_{key}" in history[0]]
    with fs.style():
        figure, axes = fs.canvas(180 * len(keys) + 120, len(keys) + 1, sharex=True, ratios=[*[3] * len(keys), 1.6])
        for panel, key in zip(axes, keys, strict=False):
            for name, label, colour in ((key, "fitting", fs.GREY), (f"val_{key}", "validation", fs.BLUE)):
                if name in history[0]:
                    panel.plot(*_points(history, name), color=colour, label=label, marker="o", markersize=3)
            panel.set_ylabel(key)
            if key == "accuracy":
                panel.yaxis.set_major_formatter(PercentFormatter(1))
        _rates(axes[-1], history, sorted({phase["learning_rate"] for phase in phases}))
        axes[-1].set_ylabel("rate")
        axes[-1].set_xlabel("epoch")
        axes[-1].xaxis.set_major_locator(MaxNLocator(8, integer=True))
        for panel in axes:
            for phase in phases[1:] if len(phases) <= MOST_MARKED + 1 else []:
                panel.axvline(phase["first"] - 0.5, color=fs.PURPLE, linewidth=1, dashes=(2, 2))
            panel.axvline(training["best_epoch"], color=fs.ORANGE, linewidth=1.2, label="kept")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
        return fs.svg(figure)


def importance(values: list[list[float]]) -> str:
    """A forest's importance of each pixel."""
    with fs.style():
        figure, (axes,) = fs.canvas(400)
        drawn = axes.imshow(values, cmap="inferno", interpolation="nearest")
        axes.grid(visible=False)
        axes.set_xticks([])
        axes.set_yticks([])
        bar = figure.colorbar(drawn, ax=axes, shrink=0.8, format=lambda value, _: f"{value * 1000:.2g}")
        bar.set_label("importance, thousandths of the whole")
        bar.outline.set_visible(False)
        return fs.svg(figure)


def _rates(axes: Axes, history: list[Made], rates: list[float]) -> None:
    """The learning rate by epoch; where it has few values, they are the ticks."""
    axes.plot(*_points(history, "learning_rate"), color=fs.PURPLE, drawstyle="steps-mid")
    if len(rates) > 1:
        axes.set_yscale("log")
    if len(rates) <= MOST_TICKS:
        axes.set_yticks(rates, [f"{rate:.3g}" for rate in rates])
        axes.set_ylim(rates[0] / 1.5, rates[-1] * 1.5)
    else:
        fs.spread(axes, "y", rates[0], rates[-1])
    axes.yaxis.set_minor_formatter(NullFormatter())


def _points(history: list[Made], key: str) -> tuple[list[float], list[float]]:
    return [row["epoch"] for row in history], [row[key] for row in history]


def _shares(axes: Axes, what: str) -> None:
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel(what)
