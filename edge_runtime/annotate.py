"""Draws what was seen onto a frame: a box and its label for each face, in one colour for each emotion."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.frame import Frame
from fer_edge.edge_runtime.vocabulary import UNCERTAIN, Observation, Prediction

_BGR = {
    "angry": (60, 60, 220), "disgust": (80, 150, 60), "fear": (190, 80, 150), "happy": (40, 190, 250),
    "neutral": (190, 180, 170), "sad": (220, 140, 60), "surprise": (200, 200, 60), UNCERTAIN: (150, 150, 150),
}  # fmt: skip
_FONT = cv2.FONT_HERSHEY_DUPLEX


def annotated(frame: Frame, observation: Observation) -> NDArray[np.uint8]:
    """A (H, W, 3) uint8 BGR copy of the frame with its faces drawn in."""
    canvas = frame.bgr.copy() if frame.bgr is not None else cv2.cvtColor(frame.gray, cv2.COLOR_GRAY2BGR)
    for prediction in observation.predictions:
        _draw(canvas, prediction)  # type: ignore[arg-type]
    return canvas  # type: ignore[return-value]


def _draw(canvas: NDArray[np.uint8], prediction: Prediction) -> None:
    x0, y0, x1, y1 = prediction.face.box_xyxy
    colour = _BGR[prediction.label]
    smallest = 0.38 * max(1.0, canvas.shape[1] / 900)  # readable when a large photo is shown shrunk
    size = min(1.2, max(smallest, (x1 - x0) / 260))
    thick = max(1, round(size * 2))
    cv2.rectangle(canvas, (x0, y0), (x1, y1), colour, thick, cv2.LINE_AA)
    what = f": {prediction.reason}" if prediction.reason else f" {prediction.confidence:.0%}"
    text = prediction.label + what
    (width, height), below = cv2.getTextSize(text, _FONT, size, 1)
    tab_height = height + below + 4
    left = min(max(0, x0), max(0, canvas.shape[1] - width - 8))
    top = y0 - tab_height if y0 >= tab_height else min(y1, canvas.shape[0] - tab_height)
    cv2.rectangle(canvas, (left, top), (left + width + 8, top + tab_height), colour, cv2.FILLED)
    cv2.putText(canvas, text, (left + 4, top + height + 2), _FONT, size, (20, 20, 20), 1, cv2.LINE_AA)
