"""The faces of an evaluation's page as small PNG pictures: what was named wrongly, fifty at random, where it looks."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.gray_png import gray_png
from fer_edge.edge_runtime.vocabulary import FACE_SIDE

Picture = tuple[bytes, str, str]
"""PNG, caption, alternative text."""
ENLARGED = 2
GAP_PX = 4
HEAT_BGR = (0, 110, 255)
MOST_HEAT = 0.75
"""How much of the face's own gray the hottest place hides."""


def faces(images: list[dict[str, Any]], of: NDArray[np.uint8], *, with_path: bool = False) -> list[Picture]:
    """Each image with what it is, what it is named, and how surely.

    Args:
        images: as `eval_images.Answers.about` gives them.
        of: (N, 48, 48) uint8, all of the data.
        with_path: say where in the data each is.
    """
    return [
        (
            gray_png(np.asarray(of[image["row"]])),
            caption(image) + (f"; {image['path']}" if with_path else ""),
            _alt(image),
        )
        for image in images
    ]


def heated(images: list[dict[str, Any]], of: NDArray[np.uint8]) -> list[Picture]:
    """Each face, and below it the same face with its `map` over it; what is below 0 is not shown."""
    return [
        (_png(np.asarray(of[image["row"]]), np.array(image["map"], np.float32)), caption(image), _alt(image))
        for image in images
    ]


def caption(image: dict[str, Any]) -> str:
    """What is said of an image."""
    said = f"{image['predicted']} {image['confidence']:.0%}"
    return f"{said}, right" if image["predicted"] == image["true"] else f"{said}; is {image['true']}"


def _alt(image: dict[str, Any]) -> str:
    return f"Face number {image['row']} of the data, labelled {image['true']}"


def _png(face: NDArray[np.uint8], heat: NDArray[np.float32]) -> bytes:
    side = FACE_SIDE * ENLARGED
    plain = cv2.cvtColor(cv2.resize(face, (side, side), interpolation=cv2.INTER_NEAREST), cv2.COLOR_GRAY2BGR)
    shown = np.maximum(heat, 0)
    shown = shown / shown.max() if shown.max() > 0 else shown
    share = cv2.resize(shown, (side, side), interpolation=cv2.INTER_LINEAR)[..., None] * MOST_HEAT
    hot = np.rint(plain * (1 - share) + np.array(HEAT_BGR) * share).astype(np.uint8)
    both = np.zeros((2 * side + GAP_PX, side, 4), np.uint8)  # the gap is transparent
    for top, picture in ((0, plain), (side + GAP_PX, hot)):
        both[top : top + side, :, :3] = picture
        both[top : top + side, :, 3] = 255
    return bytes(cv2.imencode(".png", both)[1])
