"""What `data clean` took out and what it kept, as one HTML page with faces."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.gray_png import gray_png
from fer_edge.edge_runtime.html_page import (
    Raw,
    details,
    figure,
    figures,
    gallery,
    note,
    page,
    paragraph,
    section,
    subheading,
    table,
    verdict,
)
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train import data_figures as draw
from fer_edge.train.clean import Removal
from fer_edge.train.dataset import SPLITS, Dataset
from fer_edge.train.duplicates import Duplicates, Rows
from fer_edge.train.explore_page import how_section

MOST_SHOWN = 24
"""Images of each kind."""


def clean_page(
    made: dict[str, Any], before: Dataset, after: Dataset, removals: list[Removal], found: Duplicates | None
) -> str:
    """The page of a cleaning: kept and removed images of each step.

    Args:
        made: the command, time and machine.
        before: the data as it was.
        after: the data as it is now.
        removals: what was taken out of Training.
        found: the duplicates, where a step went by them.
    """
    record = after.cleaned[-1]
    train = len(before.rows("train"))
    said = f"{record['removed']:,} of {train:,} images of Training removed" if removals else "No image removed"
    steps = [
        {"outliers": _outliers, "across-splits": _across, "blank": _blank}[removal.step](before, removal, found)
        for removal in removals
    ]
    if any(step["step"] == "denoise" for step in record["steps"]):
        steps.append(_denoised(before, after, removals))
    sections: list[object] = [
        verdict(said, "good", paragraph("Held-out splits keep all their images.")),
        _counts(before, record),
        *steps,
        how_section(made, [("new content", after.sha256[:12])]),
    ]
    lead = f"{len(before.faces):,} images before, {len(after.faces):,} after"
    return page(f"{before.source}: cleaned", lead, sections, f"fer-edge data clean, {made['made_at']}")


def _counts(before: Dataset, record: dict[str, Any]) -> object:
    train = before.counts()["train"]
    steps = [step for step in record["steps"] if "removed" in step]
    rows = [[name, f"{train[name]:,}", *(f"{s['removed_by_emotion'][name]:,}" for s in steps)] for name in EMOTIONS]
    rows.append(["all", f"{sum(train.values()):,}", *(f"{s['removed']:,}" for s in steps)])
    several = note("An image that two steps remove counts in both.") if len(steps) > 1 else ""
    return section(
        "What was removed", table(["label", "Training", *(s["step"] for s in steps)], rows), several, anchor="removed"
    )


def _outliers(data: Dataset, removal: Removal, found: Duplicates | None) -> object:
    assert removal.scores is not None
    train, scores = data.rows("train"), removal.scores
    threshold = removal.about["threshold_mse"]
    order = train[np.argsort(-scores[train], kind="stable")]
    gone, kept = order[: len(removal.rows)], order[len(removal.rows) :]
    median = np.argsort(np.abs(scores[kept] - np.median(scores[kept])), kind="stable")
    return section(
        "Outliers by reconstruction error",
        paragraph(
            f"Removed are images that the autoencoder reproduces with an error above {threshold:.5f}, the "
            f"{removal.about['percentile']:g}th percentile of Training."
        ),
        figures(
            figure(draw.errors(scores[train], threshold), "Errors of Training.", "Histogram of reconstruction errors")
        ),
        subheading("Removed, the worst first"),
        _scored(data, gone[:MOST_SHOWN], scores),
        details("Removed, the closest to the threshold", _scored(data, gone[::-1][:MOST_SHOWN], scores)),
        subheading("Kept, the closest to the threshold"),
        _scored(data, kept[:MOST_SHOWN], scores),
        details("Kept, about the median", _scored(data, kept[median[:MOST_SHOWN]], scores)),
        anchor="outliers",
    )


def _across(data: Dataset, removal: Removal, found: Duplicates | None) -> object:
    assert found is not None
    held_out = data.splits != SPLITS.index("train")
    pictures = []
    for row in removal.rows[:MOST_SHOWN].tolist():
        same = np.flatnonzero((found.group == found.group[row]) & held_out)[0]
        pictures.append(
            (
                draw.tiled([data.faces[row], data.faces[same]], 1),
                f"{_about(data, row)}; kept: {_about(data, same)}",
                f"Images number {row} and {same}",
            )
        )
    return section(
        "Duplicates across splits",
        paragraph("Above, removed from Training; below, the held-out image that is the same photo."),
        gallery(pictures) if pictures else paragraph("None."),
        anchor="across",
    )


def _blank(data: Dataset, removal: Removal, found: Duplicates | None) -> object:
    pictures = [(gray_png(np.asarray(data.faces[r])), _about(data, r), f"Image number {r}") for r in removal.rows]
    return section("Blank images", gallery(pictures[:MOST_SHOWN]) if pictures else paragraph("None."), anchor="blank")


def _denoised(before: Dataset, after: Dataset, removals: list[Removal]) -> object:
    gone = np.concatenate([np.empty(0, np.int64), *(removal.rows for removal in removals)])
    kept = np.setdiff1d(np.arange(len(before.faces)), gone)
    shown = np.sort(np.random.default_rng(0).permutation(len(kept))[:MOST_SHOWN])
    pictures = [
        (
            draw.tiled([before.faces[kept[at]], after.faces[at]], 1),
            _about(before, kept[at]),
            f"Image number {kept[at]} before and after denoising",
        )
        for at in shown
    ]
    return section(
        "Denoised",
        paragraph("Above before, below after. Every image of every split is denoised alike."),
        gallery(pictures),
        anchor="denoised",
    )


def _scored(data: Dataset, rows: Rows, scores: NDArray[np.float64]) -> Raw:
    return gallery(
        (
            gray_png(np.asarray(data.faces[row])),
            f"{EMOTIONS[data.labels[row]]}, {scores[row]:.4f}",
            f"Image number {row}",
        )
        for row in rows
    )


def _about(data: Dataset, row: int | np.integer) -> str:
    return f"{SPLITS[data.splits[row]]} {EMOTIONS[data.labels[row]]}"
