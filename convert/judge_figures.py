"""Draws the pictures of the judgement's page as SVG, each from the report alone; where the page needs matplotlib."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, PercentFormatter

from fer_edge.edge_runtime import figure_style as fs
from fer_edge.edge_runtime.vocabulary import EMOTIONS

MARKERS = "os^Dv<>P"
DASHES = ((1, 0), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2))
SMALLEST = 1e-9
"""Of a distribution on a logarithmic axis: what is less is rounding."""
Row = dict[str, Any]


def colour(name: str) -> str:
    """The colour of a variant, by its precision."""
    return fs.PRECISION_COLOURS.get(name.rpartition("/")[2], fs.GREY)


def signed(value: float) -> str:
    """A difference with its sign and two decimals."""
    return f"{value:+.2f}".replace("-", "−")


def span(interval: list[float]) -> str:
    """An interval of differences."""
    return f"{signed(interval[0])} to {signed(interval[1])}"


def drops(rows: dict[str, Row], margin_pp: float) -> str:
    """Forest plot of the accuracy lost: a row a variant, its 95% interval, the margin and what lies beyond it."""
    ends = [end for row in rows.values() for end in row["drop_score_interval_pp"]]
    low, high = min([*ends, 0.0]), max([*ends, margin_pp])
    with fs.style():
        figure, (axes,) = fs.canvas(48 + 36 * len(rows))
        pad = (high - low) * 0.06
        axes.set_xlim(low - pad, high + pad)
        axes.axvspan(margin_pp, high + pad, color=fs.ORANGE, alpha=0.1, linewidth=0)
        axes.axvline(0, color=fs.GREY, linewidth=1.2)
        axes.axvline(margin_pp, color=fs.ORANGE, linewidth=1.5, dashes=(4, 3))
        labels = [
            (name, f"{signed(row['drop_pp'])}, {span(row['drop_score_interval_pp'])}") for name, row in rows.items()
        ]
        for height, (name, row) in zip(fs.rows_of(axes, labels), rows.items(), strict=True):
            fs.interval(axes, row["drop_pp"], row["drop_score_interval_pp"], height, colour(name))
        axes.set_xlabel(f"accuracy lost, percentage points; dashed: the margin of {margin_pp:g}")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        return fs.svg(figure)


def recalls(name: str, row: Row, reference: Row) -> str:
    """Recall of each emotion, float above the variant, with 95% intervals."""
    known = [e for e in EMOTIONS if row["classes"][e]["images"]]
    with fs.style():
        figure, (axes,) = fs.canvas(52 + 38 * len(known))
        labels = [
            (
                f"{e}, {row['classes'][e]['images']:,} images",
                f"{reference['classes'][e]['recall']:.1%} → {row['classes'][e]['recall']:.1%}",
            )
            for e in known
        ]
        for height, e in zip(fs.rows_of(axes, labels), known, strict=True):
            for of, shift, hue in ((reference, 0.1, fs.ORANGE), (row, -0.1, colour(name))):
                fs.interval(axes, of["classes"][e]["recall"], of["classes"][e]["recall_interval"], height + shift, hue)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel(f"recall; above {reference['name']}, below {name}")
        return fs.svg(figure)


def recall_drops(name: str, row: Row) -> str:
    """Forest plot of the recall lost by emotion."""
    known = [e for e in EMOTIONS if row["classes"][e]["images"]]
    cells = [row["classes"][e] for e in known]
    with fs.style():
        figure, (axes,) = fs.canvas(52 + 38 * len(known))
        axes.axvline(0, color=fs.GREY, linewidth=1.2)
        labels = [
            (e, f"{signed(cell['recall_drop_pp'])}, {span(cell['recall_drop_interval_pp'])}")
            for e, cell in zip(known, cells, strict=True)
        ]
        for height, cell in zip(fs.rows_of(axes, labels), cells, strict=True):
            fs.interval(axes, cell["recall_drop_pp"], cell["recall_drop_interval_pp"], height, colour(name))
        axes.set_xlabel("recall lost, percentage points")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        return fs.svg(figure)


def confusion(row: Row) -> str:
    """The confusion of one model: images by true emotion (rows) and named emotion (columns), shaded by share of row."""
    counts = row["confusion"]
    shades = [[(fs.ORANGE, n / max(1, sum(line)) * 0.75) for n in line] for line in counts]
    return fs.matrix(shades, [[f"{n:,}" for n in line] for line in counts], EMOTIONS)


def confusion_change(row: Row, reference: Row) -> str:
    """The variant's confusion less the float's: more images in a cell in blue, fewer in orange."""
    pairs = list(zip(row["confusion"], reference["confusion"], strict=True))
    change = [[a - b for a, b in zip(mine, theirs, strict=True)] for mine, theirs in pairs]
    most = max(1, *(abs(n) for line in change for n in line))
    shades = [[(fs.BLUE if n > 0 else fs.ORANGE, abs(n) / most * 0.75) for n in line] for line in change]
    return fs.matrix(shades, [[f"{n:+d}".replace("-", "−") if n else "" for n in line] for line in change], EMOTIONS)


def changes(rows: dict[str, Row]) -> str:
    """Labels that changed, a row a variant: to right on the left, to wrong on the right, from wrong to wrong beyond."""
    with fs.style():
        figure, (axes,) = fs.canvas(48 + 36 * len(rows))
        labels = [
            (
                name,
                f"{row['flips_wrong_to_right']} to right, {row['flips_right_to_wrong']} to wrong, "
                f"{row['flips_wrong_to_wrong']} wrong to wrong",
            )
            for name, row in rows.items()
        ]
        kinds = (
            ("flips_wrong_to_right", fs.BLUE),
            ("flips_right_to_wrong", fs.ORANGE),
            ("flips_wrong_to_wrong", fs.GREY),
        )
        for height, row in zip(fs.rows_of(axes, labels), rows.values(), strict=True):
            won, lost, other = (row[kind] for kind, _ in kinds)
            for width, start, (_, hue) in zip((won, lost, other), (-won, 0, lost), kinds, strict=True):
                axes.barh(height, width, left=start, height=0.34, color=hue, alpha=0.8)
        most = max(1, *(row["flips_right_to_wrong"] + row["flips_wrong_to_wrong"] for row in rows.values()))
        axes.set_xlim(-max(1, *(row["flips_wrong_to_right"] for row in rows.values())) * 1.06, most * 1.06)
        axes.axvline(0, color=fs.GREY, linewidth=1.2)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):,.0f}"))
        axes.set_xlabel("images: wrong to right | right to wrong, then wrong to wrong")
        return fs.svg(figure)


def outputs(rows: dict[str, Row], key: str, what: str) -> str:
    """Share of the images whose `kl`, or whose `logit_difference`, is at or under a value."""
    with fs.style():
        figure, (axes,) = fs.canvas(250)
        for at, (name, row) in enumerate(rows.items()):
            spread = row["distribution"]
            values = [max(value, SMALLEST) for value in spread[key]]
            axes.plot(values, spread["shares"], color=colour(name), dashes=DASHES[at % len(DASHES)], label=name)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(what)
        axes.set_ylabel("share of images")
        axes.set_ylim(0, 1.01)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.legend(loc="upper left")
        return fs.svg(figure)


def reliability(name: str, own: Row, reference_name: str, reference: Row) -> str:
    """Accuracy over confidence before and after the temperature, with intervals, and how many images are where."""
    parts = [part for part in ("before", "after") if own[part] is not None and reference[part] is not None]
    with fs.style():
        figure = Figure(figsize=(fs.WIDTH_PT / 72, 330 / 72), layout="constrained")
        grid = figure.subplots(2, len(parts), squeeze=False, sharex=True, sharey="row", height_ratios=[3, 1])
        for at, part in enumerate(parts):
            upper, lower = grid[0, at], grid[1, at]
            upper.plot([0, 1], [0, 1], color=fs.GREY, linewidth=1.2, dashes=(4, 3))
            for of, hue, shift, mark in ((reference, fs.ORANGE, -0.006, "s"), (own, colour(name), 0.006, "o")):
                bins = [b for b in of[part]["reliability"] if b["images"]]
                x = [b["confidence"] + shift for b in bins]
                upper.vlines(x, *zip(*(b["accuracy_interval"] for b in bins), strict=True), color=hue, alpha=0.45)
                upper.plot(x, [b["accuracy"] for b in bins], mark, color=hue, markersize=4.5)
                lower.step(
                    [0.0, *(b["high"] for b in of[part]["reliability"])],
                    [of[part]["reliability"][0]["images"], *(b["images"] for b in of[part]["reliability"])],
                    color=hue,
                )
            t = own["temperature"]
            upper.set_title("as the model gives it" if part == "before" else f"temperature {t:.3f}")
            upper.set_ylim(0, 1)
            lower.set_xlim(0, 1)
            lower.set_xlabel("confidence")
        grid[0, 0].set_ylabel("share named rightly")
        grid[1, 0].set_ylabel("images")
        return fs.svg(figure)


KINDS = (("noise", "noise, sd of range"), ("blur", "blur, sigma px"), ("dark", "share of light"))


def degraded_accuracy(made: Row, reference: str) -> str:
    """Accuracy of all models as the faces get noisier, more blurred and darker."""
    with fs.style():
        figure, panels = _panels(made)
        for axes, at in panels:
            for k, (name, rows) in enumerate(made["models"].items()):
                values = [rows[i]["accuracy"] for i in at]
                if name == reference:
                    axes.plot(values, color=colour(name), label=name, linewidth=4, alpha=0.5)
                else:
                    mark = MARKERS[(k - 1) % len(MARKERS)]
                    axes.plot(values, color=colour(name), label=name, linewidth=1, marker=mark, markersize=4.5)
            axes.set_ylim(0, 1)
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        panels[0][0].set_ylabel("accuracy")
        figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
        return fs.svg(figure)


def degraded_drops(made: Row, reference: str) -> str:
    """What each variant loses against float on the same degraded pixels, with 95% intervals."""
    others = [name for name in made["models"] if name != reference]
    with fs.style():
        figure, panels = _panels(made)
        for axes, at in panels:
            axes.axhline(0, color=fs.GREY, linewidth=1.2)
            for k, name in enumerate(others):
                x = [i + (k - (len(others) - 1) / 2) * 0.6 / len(others) for i in range(len(at))]
                rows = [made["models"][name][i] for i in at]
                lows, highs = zip(*(row["drop_score_interval_pp"] for row in rows), strict=True)
                axes.vlines(x, lows, highs, color=colour(name), linewidth=2, alpha=0.55)
                mark = MARKERS[k % len(MARKERS)]
                axes.plot(x, [row["drop_pp"] for row in rows], mark, color=colour(name), markersize=4.5, label=name)
        panels[0][0].set_ylabel("lost against float, pp")
        figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
        return fs.svg(figure)


def _panels(made: Row) -> tuple[Figure, list[tuple[Axes, list[int]]]]:
    """Three panels side by side, one a kind of harm, each with the numbers of its conditions: unharmed first."""
    figure = Figure(figsize=(fs.WIDTH_PT / 72, 280 / 72), layout="constrained")
    panels = []
    for axes, (kind, what) in zip(figure.subplots(1, len(KINDS), sharey=True), KINDS, strict=True):
        at = [i for i, c in enumerate(made["conditions"]) if c["kind"] in ("none", kind)]
        levels = [f"{made['conditions'][i]['level']:g}" for i in at[1:]]
        axes.set_xticks(range(len(at)), ["1" if kind == "dark" else "0", *levels])
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(what)
        panels.append((axes, at))
    return figure, panels
