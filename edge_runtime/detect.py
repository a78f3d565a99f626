"""Face detectors behind one Protocol, and the table from name to module.

Every detector answers with squares in the manner of FER-2013's own crops, brow to chin, so that the bundle's one
`face_margin` fits whichever is chosen.
"""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.vocabulary import Face


class Detector(Protocol):
    """Finds faces in one gray picture, without memory of the one before."""

    name: str

    def find(self, gray: NDArray[np.uint8], min_side: int) -> list[Face]:
        """Faces of at least `min_side` pixels in (H, W) uint8; scores are on the detector's own scale."""
        ...


def open_detector(model: Path | None = None) -> Detector:
    """Haar's frontal cascade out of OpenCV, or YuNet when its model file is given.

    Raises:
        EngineError: the model file is missing or not YuNet's, or this OpenCV has no cascades.
    """
    if model is None:
        from fer_edge.edge_runtime.detect_haar import HaarDetector

        return HaarDetector()
    from fer_edge.edge_runtime.detect_yunet import YunetDetector

    return YunetDetector(model)


def iou(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1)."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
