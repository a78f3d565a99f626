"""Makes a short clip out of the sample photo: a camera that moves over it while the light changes.

So the demo runs on a stream that may be passed on freely and weighs nothing. The photo shows the astronaut Eileen
Collins; it is NASA's and in the public domain.
"""

import math
from pathlib import Path

import cv2

from fer_edge.devices.errors import OutputError
from fer_edge.devices.files import replacing_file

SAMPLE_PHOTO = Path(__file__).parent / "sample" / "astronaut.jpg"
_SIZE = (480, 360)
_FPS = 25


def write_sample_clip(path: Path, frames: int = 150) -> None:
    """Write an .mp4 of 480x360 at 25 frames a second.

    Raises:
        OutputError: it cannot be written.
    """
    photo = cv2.imread(str(SAMPLE_PHOTO))
    if photo is None:
        raise OutputError(f"{SAMPLE_PHOTO} is missing; reinstall fer-edge")
    height, width = photo.shape[:2]
    with replacing_file(path) as temporary:
        writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), _FPS, _SIZE)
        if not writer.isOpened():
            raise OutputError(f"cannot write {path}; is the folder writable?")
        for at in range(frames):
            turn = 2 * math.pi * at / frames
            zoom = 1.15 - 0.15 * math.cos(2 * turn)
            centre = (width * (0.46 + 0.06 * math.sin(turn)), height * (0.36 + 0.04 * math.sin(2 * turn)))
            matrix = cv2.getRotationMatrix2D(centre, 4 * math.sin(turn), zoom)
            matrix[:, 2] += (_SIZE[0] / 2 - centre[0], _SIZE[1] / 2 - centre[1])
            view = cv2.warpAffine(photo, matrix, _SIZE, borderMode=cv2.BORDER_REPLICATE)
            writer.write(cv2.convertScaleAbs(view, alpha=0.85 + 0.3 * math.sin(turn) ** 2, beta=0))
        writer.release()
