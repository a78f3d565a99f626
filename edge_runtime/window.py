"""A window with the annotated stream, where OpenCV was built with one."""

import cv2

from fer_edge.devices.errors import OutputError
from fer_edge.devices.frame import Frame
from fer_edge.edge_runtime.annotate import annotated
from fer_edge.edge_runtime.vocabulary import Observation

_NAME = "fer-edge"
_ESCAPE = 27


class Window:
    """Closed with q or Escape.

    Raises:
        OutputError: this OpenCV is headless, or there is no screen.
    """

    def __init__(self) -> None:
        try:
            cv2.namedWindow(_NAME, cv2.WINDOW_NORMAL)
        except cv2.error:
            raise OutputError(
                "this OpenCV is headless and has no windows; use --save, or install opencv-python instead"
            ) from None

    def put(self, frame: Frame, observation: Observation) -> bool:
        """Show one frame; False when the user closes the window."""
        cv2.imshow(_NAME, annotated(frame, observation))
        return cv2.waitKey(1) not in (_ESCAPE, ord("q"))
