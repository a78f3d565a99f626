"""Face detectors behind one Protocol, and the table from name to module.

Every detector answers with squares in the manner of FER-2013's own crops, brow to chin, so that the bundle's one
`face_margin` fits whichever is chosen.
"""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import EngineError
from fer_edge.edge_runtime.vocabulary import Face


class Detector(Protocol):
    """Finds faces in one gray picture, without memory of the one before; `looks` is False where it only says so."""

    name: str
    looks: bool

    def find(self, gray: NDArray[np.uint8], min_side: int) -> list[Face]:
        """Faces of at least `min_side` pixels in (H, W) uint8; scores are on the detector's own scale."""
        ...


def open_detector(word: str | None = None, model: Path | None = None) -> Detector:
    """The detector that `word` names.

    Args:
        word: `haar` (OpenCV's cascade), `yunet`, `region:X0,Y0,X1,Y1` or `none` (the frame is the face); None is YuNet
            where its model file is given, else Haar.
        model: YuNet's file; None is the one that `fer-edge models fetch yunet` put into the cache.

    Raises:
        EngineError: an unknown word, the model file is missing or not YuNet's, or this OpenCV has no cascades.
    """
    word = word or ("yunet" if model is not None else "haar")
    if model is not None and word != "yunet":
        raise EngineError(f"--detector-model is YuNet's file; with --detector {word} leave it away")
    if word == "haar":
        from fer_edge.edge_runtime.detect_haar import HaarDetector

        return HaarDetector()
    if word == "yunet":
        from fer_edge.edge_runtime.detect_yunet import YunetDetector

        return YunetDetector(model or _fetched("yunet"))
    if word == "none" or word.startswith("region:"):
        from fer_edge.edge_runtime.detect_fixed import FixedDetector, parse_region

        return FixedDetector(None if word == "none" else parse_region(word.removeprefix("region:")))
    raise EngineError(f"unknown detector {word!r}; choose haar, yunet, region:X0,Y0,X1,Y1 or none")


def _fetched(name: str) -> Path:
    from fer_edge.edge_runtime.detector_models import cached_path

    path = cached_path(name)
    if not path.is_file():
        raise EngineError(
            f"{name}'s model is not here ({path}); run: fer-edge models fetch {name}, or give --detector-model"
        )
    return path


def iou(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1)."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
