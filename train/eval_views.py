"""What asking several times of one face would give: mirrored, and in ten crops, as publications report it.

Beside the one pass that a board has time for, never in its place.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.vocabulary import FACE_SIDE, softmax
from fer_edge.train.eval_scores import share
from fer_edge.train.eval_subject import Infer

CROP = 44
"""Pixels of a crop's side, in the corners and in the middle, enlarged to the whole again."""

Faces = NDArray[np.uint8]


def under_views(
    faces: Faces, labels: NDArray[np.int64], once: NDArray[np.float32], logits: Infer, step: Callable[[str], None]
) -> list[dict[str, Any]]:
    """A row a way of asking: `what`, `passes`, `accuracy`, `accuracy_interval`; named is by the mean probability.

    Args:
        faces: (N, 48, 48) uint8.
        labels: (N,) their classes.
        once: (N, K) logits of the faces as they are.
        logits: the model.
        step: called with what is being done.
    """
    step("asking of mirrored faces")
    mirrored = mirror(faces)
    both = [softmax(once), softmax(logits(mirrored))]
    step("asking of ten crops")
    ten = [softmax(logits(crop)) for view in (faces, mirrored) for crop in crops(view)]
    rows = (("the face and its mirror image", both), ("ten crops", ten))
    return [
        {"what": what, "passes": len(said), **share(np.mean(said, axis=0).argmax(axis=1) == labels)}
        for what, said in rows
    ]


def mirror(faces: Faces) -> Faces:
    """Left to right."""
    return np.ascontiguousarray(faces[:, :, ::-1])


def crops(faces: Faces) -> list[Faces]:
    """The five crops of CROP pixels, corners and middle, each (N, 48, 48) again."""
    far, middle = FACE_SIDE - CROP, (FACE_SIDE - CROP) // 2
    places = ((0, 0), (0, far), (far, 0), (far, far), (middle, middle))
    return [np.stack([_enlarged(face[y : y + CROP, x : x + CROP]) for face in faces]) for y, x in places]


def _enlarged(face: Faces) -> Faces:
    return np.asarray(cv2.resize(face, (FACE_SIDE, FACE_SIDE), interpolation=cv2.INTER_LINEAR), np.uint8)
