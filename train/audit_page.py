"""The audit of a data set as one HTML page; every number in it is in audit.json, and it shows faces."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.gray_png import gray_png
from fer_edge.edge_runtime.html_page import (
    Raw,
    bullets,
    code,
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
from fer_edge.train.audit import contradicting, crossing
from fer_edge.train.dataset import SPLITS, Dataset
from fer_edge.train.duplicates import Duplicates, Rows
from fer_edge.train.explore_page import how_section

MOST_SHOWN = 24
"""Groups of each kind."""


def audit_page(made: dict[str, Any], data: Dataset, found: Duplicates) -> str:
    """The page of what `fer-edge data audit` found in this data."""
    about = made["data"]
    lead = (
        f"{about['images']:,} images, each compared with all others, its label with its copies' and with FER+'s votes"
    )
    sections: list[object] = [
        verdict(sentences(made)[0], "good" if is_sound(made) else "warn", bullets(sentences(made)[1:])),
        _duplicates(made),
        _across(made, data, found),
        _labels(made, data, found),
        _blank(made, data),
        _fer_plus(made),
        how_section(made, [("rule", _rule(made["rule"]))]),
    ]
    return page(f"{about['source']}: what is wrong with it?", lead, sections, f"fer-edge data audit, {made['made_at']}")


def is_sound(made: dict[str, Any]) -> bool:
    """No leak, no contradiction, nothing blank."""
    repeated = made["duplicates"]
    return not (
        repeated["across_splits"]["groups"] or repeated["labels_disagree"]["groups"] or made["blank"]["blank_images"]
    )


def sentences(made: dict[str, Any]) -> list[str]:
    """The findings for people, the weightiest first."""
    repeated = made["duplicates"]
    across, torn, blank = repeated["across_splits"], repeated["labels_disagree"], made["blank"]
    held_out = sum(across["held_out_images"].values())
    train = made["data"]["splits"].get("train", 0)
    said = [
        f"{across['train_images']:,} images of Training ({across['train_images'] / max(1, train):.1%}) are the same "
        f"photo as one of {held_out:,} held-out images; {across['train_images_exact']:,} are exact copies"
        if across["groups"]
        else "No held-out image has a duplicate in Training",
        f"{repeated['images']:,} images are in {repeated['groups']:,} groups of duplicates; "
        f"{repeated['extra_images']:,} of them would go if one of each were kept."
        if repeated["groups"]
        else "No image is repeated.",
        f"{torn['groups']:,} groups ({torn['images']:,} images) contradict themselves: the same photo with different "
        f"labels, among exact copies in {torn['groups_exact']:,} cases."
        if torn["groups"]
        else "Labels of duplicates agree.",
        f"{blank['blank_images']:,} images are blank, {blank['constant_images']:,} of them one single gray."
        if blank["blank_images"]
        else "No image is blank.",
    ]
    votes = made["fer_plus"]
    if votes is not None and votes["judged"]:
        said.append(
            f"FER+'s majority agrees with {votes['agree'] / votes['judged']:.1%} of the labels "
            f"({votes['judged']:,} images have a majority)."
        )
    return said


def _rule(rule: dict[str, Any]) -> str:
    return (
        f"perceptual hashes at most {rule['most_bits']} bits of 64 apart, and correlation of detail "
        f"{rule['least_likeness']:g} or more at a shift of up to {rule['most_shift_px']} pixels"
    )


def _duplicates(made: dict[str, Any]) -> object:
    repeated = made["duplicates"]
    kinds = {
        "all": repeated,
        "with Training and a held-out split": repeated["across_splits"],
        "with different labels": repeated["labels_disagree"],
    }
    rows = [[name, *(f"{own[k]:,}" for k in ("groups", "images", "extra_images"))] for name, own in kinds.items()]
    drawn = []
    if repeated["groups"]:
        drawn = [figure(draw.sizes(repeated["group_sizes"]), "Groups by their number of images.", "Sizes of groups")]
    return section(
        "Duplicates",
        table(["kind", "groups", "images", "beyond the first"], rows),
        figures(*drawn),
        details("All pairs that the hashes gave", _tried(repeated["tried_by_bits_and_tenth_of_likeness"])),
        note(
            f"A group is what pairs link: {repeated['exact_pairs']:,} of exact copies, {repeated['near_pairs']:,} of "
            f"near ones ({_rule(made['rule'])}). Copies that show different crops, light or watermarks are near ones."
        ),
        anchor="duplicates",
    )


def _tried(tried: dict[str, list[int]]) -> Raw:
    tenths = [f"from 0.{tenth}" if tenth else "below 0.1" for tenth in range(10)]
    rows = [[f"{bits} bits", *(f"{count:,}" for count in counts)] for bits, counts in tried.items()]
    caption = "Pairs by bits in which their hashes differ, and by likeness of their detail"
    return table(["hashes apart", *tenths], rows, caption=caption)


def _across(made: dict[str, Any], data: Dataset, found: Duplicates) -> object:
    across = made["duplicates"]["across_splits"]
    if not across["groups"]:
        return section("Across splits", paragraph("None."), anchor="across")
    rows = [[name, f"{count:,}"] for name, count in across["train_images_by_emotion"].items()]
    pairs = (_apart(group, data.splits == SPLITS.index("train")) for group in crossing(data, found))
    return section(
        "Across splits",
        paragraph(
            "What a model saw in training it need not recognize. ",
            code("fer-edge data clean CACHE --out CLEANED --across-splits"),
            " takes these images out of Training.",
        ),
        details("Images of Training by label", table(["label", "images"], rows)),
        _shown(pairs, data, across["groups"]),
        anchor="across",
    )


def _labels(made: dict[str, Any], data: Dataset, found: Duplicates) -> object:
    torn = made["duplicates"]["labels_disagree"]
    if not torn["groups"]:
        return section("Labels that disagree", paragraph("None."), anchor="labels")
    pairs = [[name, f"{count:,}"] for name, count in torn["groups_by_pair_of_labels"].items()]
    shown = (_apart(group, data.labels == data.labels[group[0]]) for group in contradicting(data, found))
    return section(
        "Labels that disagree",
        paragraph(
            f"{torn['minority_images']:,} of these {torn['images']:,} images are not labelled as most of their group: "
            "labels that are wrong, or faces that show both emotions."
        ),
        details("Groups by pair of labels", table(["labels", "groups"], pairs)),
        _shown(shown, data, torn["groups"]),
        anchor="labels",
    )


def _blank(made: dict[str, Any], data: Dataset) -> object:
    blank = made["blank"]
    pictures = [
        (gray_png(np.asarray(data.faces[row])), _about(row, data), f"Image number {row}")
        for row in blank["rows"][:MOST_SHOWN]
    ]
    return section(
        "Blank images",
        paragraph(
            f"{blank['blank_images']:,} images have a deviation below {made['rule']['blank_deviation']:g} gray levels; "
            f"{blank['constant_images']:,} are one single gray."
        ),
        gallery(pictures) if pictures else "",
        anchor="blank",
    )


def _fer_plus(made: dict[str, Any]) -> object:
    votes = made["fer_plus"]
    if votes is None:
        return section("Agreement with FER+", paragraph("This data has no FER+ votes."), anchor="ferplus")
    by_label = votes["by_label"]
    agree = {name: own["agree"] / own["judged"] for name, own in by_label.items() if own["judged"]}
    splits = [
        f"{split} {own['agree'] / own['judged']:.1%} of {own['judged']:,}"
        for split, own in votes["by_split"].items()
        if own["judged"]
    ]
    return section(
        "Agreement with FER+",
        paragraph(f"By split: {', '.join(splits)}." if splits else "No image has a majority."),
        figures(
            figure(
                draw.bars({"agreement": agree}, "labels that FER+'s majority confirms", is_share=True),
                "Of the images with that label that have a majority.",
                "Agreement of labels with FER+ by label",
            )
        )
        if agree
        else "",
        subheading("What FER+'s majority sees"),
        table(
            ["label", "images", "no majority", *EMOTIONS],
            [
                [name, f"{own['images']:,}", f"{own['images'] - own['judged']:,}"]
                + [f"{own['majority'][seen]:,}" for seen in EMOTIONS]
                for name, own in by_label.items()
            ],
        ),
        note(
            "Ten people voted on each image. Single votes are dropped; an image where unknown, not a face or contempt "
            "comes first or ties with the first emotion, or where two emotions tie, has no majority."
        ),
        anchor="ferplus",
    )


def _apart(group: Rows, is_one_kind: NDArray[np.bool_]) -> tuple[int, int, int]:
    """An image of either kind, and how many the group has."""
    one = is_one_kind[group]
    return int(group[one][0]), int(group[~one][0]), len(group)


def _shown(pairs: Iterable[tuple[int, int, int]], data: Dataset, count: int) -> Raw:
    """Pairs one above the other; `count` is how many there are."""
    pictures: list[tuple[bytes, str, str]] = []
    for upper, lower, size in pairs:
        if len(pictures) == MOST_SHOWN:
            break
        more = f"; {size} in all" if size > 2 else ""
        pictures.append(
            (
                draw.tiled([data.faces[upper], data.faces[lower]], 1),
                f"{_about(upper, data)}; {_about(lower, data)}{more}",
                f"Images number {upper} and {lower}",
            )
        )
    less = note(f"The first {MOST_SHOWN} of {count:,} groups.") if count > MOST_SHOWN else ""
    return Raw(gallery(pictures) + less)


def _about(row: int, data: Dataset) -> str:
    return f"{SPLITS[data.splits[row]]} {EMOTIONS[data.labels[row]]}"
