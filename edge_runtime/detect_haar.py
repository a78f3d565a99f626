"""OpenCV's frontal-face Haar cascade (Viola and Jones 2001): needs no model file beside OpenCV's own."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import EngineError
from fer_edge.edge_runtime.vocabulary import Face

_CASCADE = "haarcascade_frontalface_default.xml"
# In pip's OpenCV, and in Debian's, which a Jetson uses for its CSI cameras.
_FOLDERS = (Path(cv2.__file__).parent / "data", Path("/usr/share/opencv4/haarcascades"))


class HaarDetector:
    """Scores are the number of neighbouring windows that agreed."""

    name = "haar"
    looks = True

    def __init__(self, neighbours: int = 6) -> None:
        if not hasattr(cv2, "CascadeClassifier"):
            raise EngineError(
                f"OpenCV {cv2.__version__} has no Haar cascades; run: pip install 'opencv-python-headless<5'"
            )
        path = next((folder / _CASCADE for folder in _FOLDERS if (folder / _CASCADE).is_file()), None)
        self._cascade = cv2.CascadeClassifier(str(path)) if path else cv2.CascadeClassifier()
        if self._cascade.empty():
            raise EngineError(f"OpenCV's {_CASCADE} is missing; reinstall opencv-python-headless 4")
        self._neighbours = neighbours

    def find(self, gray: NDArray[np.uint8], min_side: int) -> list[Face]:
        """Faces of at least `min_side` pixels in (H, W) uint8."""
        boxes, counts = self._cascade.detectMultiScale2(
            gray, scaleFactor=1.1, minNeighbors=self._neighbours, minSize=(min_side, min_side)
        )
        return [
            Face((int(x), int(y), int(x + w), int(y + h)), float(count))
            for (x, y, w, h), count in zip(boxes, np.ravel(counts), strict=True)
        ]
