"""YuNet (Wu et al. 2023) through OpenCV's FaceDetectorYN: small, finds turned faces too; needs its model file."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import EngineError
from fer_edge.edge_runtime.vocabulary import Face

_TO_HAAR_SIDE = 0.92
"""Haar's side over YuNet's longer side: 0.91 in the median on two clips and 0.92 on FER-2013, where Haar's squares are
0.97 of the whole crop. So either detector gives the model what it was trained on."""
_STRIDE = 32
_KEPT_SIZES = 4


class YunetDetector:
    """Scores are 0 to 1."""

    name = "yunet"
    looks = True

    def __init__(self, model: Path, score_threshold: float = 0.6) -> None:
        if not model.is_file():
            raise EngineError(f"{model} does not exist; --detector-model wants YuNet's .onnx file")
        try:
            self._net = cv2.FaceDetectorYN.create(
                str(model), "", (_STRIDE, _STRIDE), score_threshold, nms_threshold=0.3, top_k=200
            )
            self._size = (0, 0)
            self._buffers: dict[tuple[int, int], NDArray[np.uint8]] = {}
            self.find(np.zeros((64, 64), np.uint8), 8)
        except cv2.error as error:
            raise EngineError(
                f"{model} is not a YuNet model that OpenCV {cv2.__version__} can run ({error.err.splitlines()[0]})"
            ) from error

    def find(self, gray: NDArray[np.uint8], min_side: int) -> list[Face]:
        """Faces of at least `min_side` pixels in (H, W) uint8."""
        height, width = gray.shape
        bgr = self._fitting(width, height)
        bgr[:height, :width] = gray[:, :, None]
        _, rows = self._net.detect(bgr)
        faces = [] if rows is None else [_face(row) for row in rows]
        return [f for f in faces if f.box_xyxy[2] - f.box_xyxy[0] >= min_side]

    def _fitting(self, width: int, height: int) -> NDArray[np.uint8]:
        """A buffer whose sides are multiples of the network's stride; what the picture does not fill stays black.

        Scans and looks around a face alternate between two sizes, so the buffers of both are kept.
        """
        padded = (-(-width // _STRIDE) * _STRIDE, -(-height // _STRIDE) * _STRIDE)
        key = (width, height)
        if key not in self._buffers:
            if len(self._buffers) >= _KEPT_SIZES:
                self._buffers.clear()
            self._buffers[key] = np.zeros((padded[1], padded[0], 3), np.uint8)
        if padded != self._size:
            self._size = padded
            self._net.setInputSize(padded)
        return self._buffers[key]


def _face(row: np.ndarray) -> Face:
    """A square about the box's centre with the side that Haar gives the same face."""
    x, y, w, h = (float(v) for v in row[:4])
    side = max(4, round(max(w, h) * _TO_HAAR_SIDE))
    left, top = round(x + w / 2 - side / 2), round(y + h / 2 - side / 2)
    return Face((left, top, left + side, top + side), float(row[14]))
