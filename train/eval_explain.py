"""Where a model looks: Grad-CAM for a network with a feature map, occlusion for all others, a forest's own importance.

Owns which method explains which model, and which images.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.vocabulary import FACE_SIDE
from fer_edge.train.eval_subject import Subject
from fer_edge.train.occlusion_map import occlusion_maps

DIGITS = 3


def chosen_images(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], confidence: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Of each class the image of which the model is surest, once rightly and once wrongly; positions, by class."""
    found = []
    for label in np.unique(labels):
        for right in (True, False):
            own = np.flatnonzero((labels == label) & ((predicted == labels) == right))
            if len(own):
                found.append(own[confidence[own].argmax()])
    return np.array(found, np.int64)


def explain(subject: Subject, faces: NDArray[np.uint8], classes: NDArray[np.int64]) -> dict[str, Any]:
    """`method`, the `layer` it reads, a map a face, and a forest's `importance`; what is not there is None.

    `maps` (N, h, w) of Grad-CAM run from 0 to 1, by the face's own greatest; of occlusion they are probability lost.

    Args:
        subject: the model.
        faces: (N, 48, 48) uint8.
        classes: (N,) the classes that it names, which are explained.
    """
    layer = _feature_layer(subject)
    if layer is not None:
        from fer_edge.train.grad_cam import grad_cam

        maps = grad_cam(subject.keras_model, layer, faces, classes)
    else:
        maps = occlusion_maps(subject.logits, faces, classes)
    return {
        "method": "occlusion" if layer is None else "grad-cam",
        "layer": None if layer is None else layer.name,
        "maps": maps.round(DIGITS).tolist(),
        "importance": _importance(subject),
    }


def _feature_layer(subject: Subject) -> Any:
    if subject.keras_model is None:
        return None
    from fer_edge.train.grad_cam import feature_layer

    return feature_layer(subject.keras_model)


def _importance(subject: Subject) -> list[list[float]] | None:
    """How much impurity each pixel (48, 48) takes from a forest's trees, of 1 in all (Breiman 2001)."""
    if subject.sklearn_model is None or not hasattr(subject.sklearn_model[-1], "feature_importances_"):
        return None
    own = subject.sklearn_model[-1].feature_importances_
    return own.reshape(FACE_SIDE, FACE_SIDE).round(9).tolist()
