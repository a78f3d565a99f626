"""Makes good faces bad, in known steps: smaller, darker, out of focus, moved, covered. Deterministic by seed.

What the camera loop would hand to the model is what comes out: whole grays, (48, 48), enlarged by the one
preprocessing function.
"""

import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.preprocess import face_pixels
from fer_edge.edge_runtime.vocabulary import FACE_SIDE

Faces = NDArray[np.uint8]
Step = tuple[str, Faces]
"""What was done, and the faces (N, 48, 48) uint8 after it."""

SIDES_PX = tuple(range(8, FACE_SIDE + 1, 2))
EXPOSURES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.2, 0.16, 0.13, 0.1, 0.08, 0.06, 0.04)
READ_NOISE = 2.0
"""Standard deviation in grays: light gets less in the dark, a sensor's own noise does not."""
MIDDLE_GRAY = 128
SIGMAS_PX = (0.0, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)
PATHS_PX = (3, 5, 7, 9, 11, 13)
ANGLES_DEG = (0, 45, 90, 135)


def noisy(faces: Faces, level: float, rng: np.random.Generator) -> Faces:
    """Each face with Gaussian noise of `level` times 255 grays, rounded to whole grays and cut off at 0 and 255."""
    off = rng.standard_normal(faces.shape, dtype=np.float32) * np.float32(level * 255)
    return np.clip(np.rint(faces + off), 0, 255).astype(np.uint8)


def brightened(faces: Faces, factor: float) -> Faces:
    """Each face with `factor` times its light, cut off at 255 as an overexposed sensor does."""
    return np.minimum(np.rint(faces * np.float32(factor)), 255).astype(np.uint8)


def occluded(faces: Faces, share: float, rng: np.random.Generator) -> Faces:
    """Each face with a square of middle gray, `share` of its side wide, wholly inside it, at a place of its own."""
    side = round(share * FACE_SIDE)
    covered = np.array(faces)
    for face, (top, left) in zip(covered, rng.integers(0, FACE_SIDE - side + 1, (len(faces), 2)), strict=True):
        face[top : top + side, left : left + side] = MIDDLE_GRAY
    return covered


def compressed(faces: Faces, quality: int) -> Faces:
    """Each face as it comes out of a JPEG of this quality, 1 to 100."""
    quality_flag = (cv2.IMWRITE_JPEG_QUALITY, quality)
    files = (cv2.imencode(".jpg", np.ascontiguousarray(face), quality_flag)[1] for face in faces)
    return np.stack([np.asarray(cv2.imdecode(file, cv2.IMREAD_GRAYSCALE), np.uint8) for file in files])


def shrunk(faces: Faces, side_px: int) -> Faces:
    """Each face as a camera sees it whose crop is `side_px` wide, enlarged to 48 again."""
    size = (side_px, side_px)
    return np.stack([face_pixels(cv2.resize(f, size, interpolation=cv2.INTER_AREA)) for f in faces])


def darkened(faces: Faces, exposure: float, rng: np.random.Generator) -> Faces:
    """Each face with `exposure` of its light, the sensor's noise on top, rounded to whole grays."""
    light = faces * np.float32(exposure) + rng.normal(0, READ_NOISE, faces.shape).astype(np.float32)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def defocused(faces: Faces, sigma_px: float) -> Faces:
    """Each face under a Gaussian blur of `sigma_px`; 0 is none."""
    if sigma_px == 0:
        return faces
    return np.stack([cv2.GaussianBlur(f, (0, 0), sigma_px) for f in faces])


def moved(faces: Faces, path_px: int, angle_deg: float) -> Faces:
    """Each face smeared along a straight path of about `path_px` pixels."""
    kernel = _path(path_px, math.radians(angle_deg))
    return np.stack([cv2.filter2D(f, -1, kernel) for f in faces])


def _path(path_px: int, angle: float) -> NDArray[np.float64]:
    """A blur kernel (path_px, path_px): how long the path stays on each pixel."""
    kernel = np.zeros((path_px, path_px))
    middle = path_px // 2
    at = np.linspace(-middle, middle, 8 * path_px)
    rows = np.rint(middle + at * math.sin(angle)).astype(int)
    columns = np.rint(middle + at * math.cos(angle)).astype(int)
    np.add.at(kernel, (rows, columns), 1.0)
    return kernel / kernel.sum()


def smaller(faces: Faces) -> Iterator[tuple[int, Faces]]:
    """Each crop side in `SIDES_PX` with the faces at that side."""
    for side in SIDES_PX:
        yield side, shrunk(faces, side)


def darker(faces: Faces, seed: int) -> Iterator[Step]:
    """Every exposure in `EXPOSURES`."""
    rng = np.random.default_rng([seed, 5])
    for exposure in EXPOSURES:
        yield f"{exposure:g} of the light", darkened(faces, exposure, rng)


def blurrier(faces: Faces) -> Iterator[Step]:
    """Every sigma in `SIGMAS_PX`, then every path in `PATHS_PX` along every angle in `ANGLES_DEG`."""
    for sigma in SIGMAS_PX:
        yield f"defocus, sigma {sigma:g} px", defocused(faces, sigma)
    for path in PATHS_PX:
        for angle in ANGLES_DEG:
            yield f"moved {path} px at {angle} degrees", moved(faces, path, angle)
