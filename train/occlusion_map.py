"""Occlusion sensitivity (Zeiler and Fergus 2014): what a class loses when a place is covered. Works for any model."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.vocabulary import FACE_SIDE
from fer_edge.train.temperature import log_probabilities

PATCH_PX, STRIDE_PX = 8, 4
CELLS = FACE_SIDE // STRIDE_PX
"""Of a map, a side."""


def occlusion_maps(
    logits: Callable[[NDArray[np.uint8]], NDArray[np.float32]], faces: NDArray[np.uint8], classes: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Maps (N, 12, 12): probability of the class lost with the place covered, the mean of the patches that cover it.

    A patch is 8×8 px of the face's own mean gray and moves by 4 px. Below 0, the class gains: the place speaks against
    it.

    Args:
        logits: the model.
        faces: (N, 48, 48) uint8.
        classes: (N,) the class to explain.
    """
    at = np.arange(len(faces))

    def probability(bad: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.exp(log_probabilities(logits(bad)))[at, classes]

    whole = probability(faces)
    grays = np.rint(faces.mean(axis=(1, 2), keepdims=True)).astype(np.uint8)
    lost, times = np.zeros((len(faces), CELLS, CELLS)), np.zeros((CELLS, CELLS))
    wide = PATCH_PX // STRIDE_PX
    for row in range(CELLS - wide + 1):
        for column in range(CELLS - wide + 1):
            top, left = row * STRIDE_PX, column * STRIDE_PX
            bad = np.array(faces)
            bad[:, top : top + PATCH_PX, left : left + PATCH_PX] = grays
            lost[:, row : row + wide, column : column + wide] += (whole - probability(bad))[:, None, None]
            times[row : row + wide, column : column + wide] += 1
    return (lost / times).astype(np.float32)
