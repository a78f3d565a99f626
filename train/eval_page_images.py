"""The parts of an evaluation's page that show images: where the model looks, what it names wrongly, fifty at random."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.html_page import Raw, details, figure, figures, gallery, paragraph, section, table
from fer_edge.train import eval_figures as draw
from fer_edge.train import eval_pictures as pictures

MOST_SHOWN = 48
"""Faces that are named wrongly; the table has more, the JSON all."""
MOST_LISTED = 200
Made = dict[str, Any]
Faces = NDArray[np.uint8]


def looks(made: Made, faces: Faces | None) -> object | None:
    """Heat over faces, and a forest's importance."""
    found = made["explanation"]
    if found is None or (faces is None and found["importance"] is None):
        return None
    if found["method"] == "grad-cam":
        how = (
            f"Grad-CAM of the layer {found['layer']}, the last feature map: the warmer, the more the place speaks for "
            "the emotion that is named, relative to the warmest place of the same face."
        )
    else:
        how = (
            "Occlusion sensitivity, since this model has no feature map with gradients to read: the warmer, the more "
            "probability the named emotion loses when the place is covered with the face's mean gray."
        )
    shown = "" if faces is None else gallery(pictures.heated(found["images"], faces))
    heat = found["importance"]
    forest = (
        figure(
            draw.importance(heat),
            "How much each pixel separates the emotions in the forest's trees (mean decrease in impurity).",
            "Importance of each pixel",
        )
        if heat is not None
        else None
    )
    return section(
        "Where it looks",
        *([paragraph(how, " Of each emotion the surest that is right and the surest that is wrong.")] if shown else []),
        shown,
        figures(forest) if forest is not None else "",
        anchor="looks",
    )


def wrong(made: Made, faces: Faces | None) -> object:
    """What is named wrongly, the surest first."""
    missed = made["misclassified"]
    return section(
        "Named wrongly",
        paragraph(f"{len(missed):,} images, those first of which the model is surest."),
        "" if faces is None else gallery(pictures.faces(missed[:MOST_SHOWN], faces)),
        details(f"The first {min(MOST_LISTED, len(missed)):,} as a table", _listed(missed[:MOST_LISTED]))
        if missed
        else "",
        anchor="wrong",
    )


def random(made: Made, faces: Faces | None) -> object:
    """Images drawn at random."""
    some = made["random_images"]
    return section(
        "At random",
        paragraph(f"{len(some)} of the images, drawn with seed {made['seed']}."),
        "" if faces is None else gallery(pictures.faces(some, faces, with_path=True)),
        details("As a table", _listed(some)),
        anchor="random",
    )


def _listed(images: Iterable[Made]) -> Raw:
    rows = [[i["path"], i["true"], i["predicted"], f"{i['confidence']:.1%}"] for i in images]
    return table(["image", "true", "named", "confidence"], rows, align="lllr")
