"""The exploration of a data set as one HTML page; every number in it is in explore.json, and it shows faces."""

from typing import Any

from fer_edge.edge_runtime.gray_png import gray_png
from fer_edge.edge_runtime.html_page import (
    Raw,
    bullets,
    code,
    facts,
    figure,
    figures,
    gallery,
    note,
    page,
    section,
    table,
    verdict,
)
from fer_edge.train import data_figures as draw
from fer_edge.train.dataset import Dataset
from fer_edge.train.explore import GRID, mean_faces, sample


def explore_page(made: dict[str, Any], data: Dataset) -> str:
    """The page of what `fer-edge data explore` found in this data."""
    about = made["data"]
    splits = ", ".join(f"{count:,} {split}" for split, count in about["splits"].items())
    lead = f"{about['images']:,} faces of 48×48 gray pixels: {splits}"
    sections: list[object] = [
        _headline(made),
        _counts(made),
        _weights(made),
        _means(data),
        _faces(data, made["seed"]),
        _grays(made),
        _missing(made),
        how_section(made, []),
    ]
    return page(f"{about['source']}: what is in it?", lead, sections, f"fer-edge data explore, {made['made_at']}")


def how_section(made: dict[str, Any], more: list[tuple[str, object]]) -> object:
    """What made a page of the data: command, data, processor."""
    return section(
        "How it was made",
        facts(
            [
                ("command", code(" ".join(made["command"]))),
                ("data", f"{made['data']['source']}, content {made['data']['sha256'][:12]}"),
                *more,
                ("took", f"{made['seconds']:,.0f} s"),
                ("processor", made["machine"]["cpu"]),
            ]
        ),
        anchor="how",
    )


def _headline(made: dict[str, Any]) -> Raw:
    train, missing = made["counts"]["train"], made["missing"]
    most, least = max(train, key=train.__getitem__), min(train, key=train.__getitem__)
    absent = [f"{split} has no {name}" for split, names in missing["absent_emotions"].items() for name in names]
    constant = missing["constant_images"]
    words = [
        f"Training has {train[most]:,} images of {most} and {train[least]:,} of {least}.",
        f"{constant:,} images are one single gray, {_part(missing['black_images'], constant)} of them black."
        if constant
        else "No image is one single gray.",
    ]
    if absent:
        return verdict("; ".join(absent), "bad", bullets(words))
    ratio = train[most] / train[least]
    return verdict(
        f"{most} is {ratio:.1f} times as frequent as {least}", "warn" if ratio > 3 else "good", bullets(words)
    )


def _part(some: int, all_: int) -> str:
    return "all" if some == all_ else "none" if some == 0 else f"{some:,}"


def _counts(made: dict[str, Any]) -> object:
    counts = made["counts"]
    shares = {split: {n: k / max(1, sum(own.values())) for n, k in own.items()} for split, own in counts.items()}
    rows = [[name, *(f"{own[name]:,}" for own in counts.values())] for name in counts["train"]]
    rows.append(["all", *(f"{sum(own.values()):,}" for own in counts.values())])
    return section(
        "Images by emotion and split",
        figures(
            figure(
                draw.bars(shares, "share of the split", is_share=True),
                "Shares, so that splits can be compared: where they are alike, bars are.",
                "Share of each emotion by split",
            )
        ),
        table(["emotion", *counts], rows),
        anchor="counts",
    )


def _weights(made: dict[str, Any]) -> object:
    weighed = made["class_weights"]
    train, fit = weighed["train"], weighed["fit"]
    return section(
        "Balanced class weights",
        table(
            ["emotion", "images of Training", "weight", "images to fit on", "weight"],
            [
                [
                    name,
                    *(cell for p in (train, fit) for cell in (f"{p['counts'][name]:,}", f"{p['weights'][name]:.4f}")),
                ]
                for name in train["counts"]
            ],
        ),
        note(
            "A class weighs images ÷ (7 × its images), so that all classes have the same say in the loss. Fitted on is "
            f"what a stratified validation part of {weighed['val_fraction']:.0%} leaves: {fit['images']:,} images."
        ),
        anchor="weights",
    )


def _means(data: Dataset) -> object:
    pictures = [(gray_png(face), name, f"Mean face of {name}") for name, face in mean_faces(data).items()]
    return section(
        "Mean faces",
        gallery(pictures),
        note("The mean of all images of an emotion in Training: what the faces have in common, and how they are cut."),
        anchor="means",
    )


def _faces(data: Dataset, seed: int) -> object:
    drawn = []
    for name in data.counts()["train"]:
        rows = sample(data, name, seed)
        if len(rows):
            faces = draw.tiled([data.faces[row] for row in rows], GRID)
            drawn.append(figure(faces, name, f"{len(rows)} faces of Training labelled {name}"))
    return section(
        "Faces by label",
        figures(*drawn),
        note(f"{GRID}×{GRID} of each, drawn at random from Training with seed {seed}."),
        anchor="faces",
    )


def _grays(made: dict[str, Any]) -> object:
    grays = made["grays"]
    by_emotion = {name: own for name, own in grays["by_emotion_in_train"].items() if own["images"]}
    train, width = grays["by_split"]["train"], grays["grays_a_bin"]
    named = [(f"split {split}", own) for split, own in grays["by_split"].items()]
    rows = [
        [name, f"{own['images']:,}", f"{own['mean']:.1f}", f"{own['deviation']:.1f}"]
        for name, own in [*named, *by_emotion.items()]
    ]
    return section(
        "Gray levels",
        figures(
            figure(
                draw.gray_lines(grays["by_split"], width),
                f"Share of the pixels in each {width} gray levels, by split.",
                "Histogram of gray levels by split",
            ),
            figure(
                draw.gray_rows(by_emotion, train, width),
                "Each emotion in Training; the line is all of Training.",
                "Histogram of gray levels by emotion",
            ),
            flow=True,
        ),
        table(["of the pixels", "images", "mean", "deviation"], rows),
        anchor="grays",
    )


def _missing(made: dict[str, Any]) -> object:
    missing = made["missing"]
    splits = made["counts"]
    rows = [
        [split, ", ".join(missing["absent_emotions"][split]) or "none", f"{missing['constant_by_split'][split]:,}"]
        for split in splits
    ]
    by_emotion = [f"{count} {name}" for name, count in missing["constant_by_emotion"].items() if count]
    return section(
        "Missing and constant images",
        table(["split", "emotions without images", "images of one gray"], rows, align="llr"),
        bullets([f"Labels of those of one gray: {', '.join(by_emotion)}."] if by_emotion else []),
        note(
            "Every image in a cache has 48×48 pixels, so a picture that was missing shows as one of a single gray. "
            "fer-edge data audit finds those that are nearly so."
        ),
        anchor="missing",
    )
