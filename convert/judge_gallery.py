"""The faces whose label flipped, as small PNG pictures with what was said of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.gray_png import gray_png

MOST_SHOWN = 24
"""Of each kind of flip of a variant."""


def pictures(flips: list[dict[str, Any]], faces: NDArray[np.uint8]) -> list[tuple[bytes, str, str]]:
    """PNG, caption and alternative text of the first `MOST_SHOWN` flips.

    Args:
        flips: of one kind, as `convert.compare.flipped` gives them.
        faces: (N, 48, 48) uint8, all of the data.
    """
    return [
        (
            gray_png(np.asarray(faces[flip["row"]])),
            f"{flip['reference']} {flip['reference_confidence']:.0%} → {flip['variant']} "
            f"{flip['variant_confidence']:.0%}; is {flip['label']}",
            f"Face number {flip['row']} of the data, labelled {flip['label']}",
        )
        for flip in flips[:MOST_SHOWN]
    ]
