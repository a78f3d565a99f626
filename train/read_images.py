"""Reads the image-folder form of FER-2013: `train/<emotion>/*.jpg`, `test/…`, perhaps `val/…`, on disk or zipped."""

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import DataError
from fer_edge.devices.frame import IMAGE_SUFFIXES
from fer_edge.edge_runtime.preprocess import face_pixels
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.dataset import SPLITS

_SPLIT_FOLDERS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "publictest": "test", "privatetest": "private",
}  # fmt: skip
_ALIASES = {
    "anger": "angry", "disgusted": "disgust", "fearful": "fear", "happiness": "happy", "sadness": "sad",
    "surprised": "surprise",
}  # fmt: skip


def split_and_emotion(path: PurePosixPath) -> tuple[str, str] | None:
    """("train", "happy") for `…/train/happy/x.jpg`; None where no split folder stands two levels above the file.

    Raises:
        DataError: the folder below the split is no emotion.
    """
    if len(path.parts) < 3:
        return None
    split = _SPLIT_FOLDERS.get(path.parts[-3].lower())
    if split is None:
        return None
    name = path.parts[-2].lower()
    emotion = _ALIASES.get(name, name)
    if emotion not in EMOTIONS:
        raise DataError(f"{path}: unknown label {path.parts[-2]!r}; expected one of {', '.join(EMOTIONS)}")
    return split, emotion


def _decoded(content: bytes) -> NDArray[np.uint8] | None:
    try:
        return cv2.imdecode(np.frombuffer(content or b"\0", np.uint8), cv2.IMREAD_GRAYSCALE)  # type: ignore[return-value]
    except cv2.error:  # a header that promises more pixels than OpenCV takes
        return None


def read_images(
    files: Iterable[tuple[PurePosixPath, Callable[[], bytes]]], name: str, tick: Callable[[int], None] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Faces (N, 48, 48), labels (N,), splits (N,), all uint8, in the order of the sorted paths.

    Args:
        files: path inside the folder or archive, and a function that reads its bytes.
        name: what to call the whole in errors.
        tick: called now and then with the number of images read.

    Raises:
        DataError: an unknown label, an unreadable image, or no image in the expected folders.
    """
    faces, labels, splits = [], [], []
    for path, read in sorted(files, key=lambda pair: str(pair[0])):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("._"):  # macOS' notes beside each file
            continue
        where = split_and_emotion(path)
        if where is None:
            continue
        image = _decoded(read())
        if image is None:
            raise DataError(f"{path}: not a readable image; remove it or restore it")
        faces.append(face_pixels(image))
        labels.append(EMOTIONS.index(where[1]))
        splits.append(SPLITS.index(where[0]))
        if tick is not None and len(faces) % 64 == 0:
            tick(len(faces))
    if not faces:
        raise DataError(f"{name} has no images in train/<emotion>/ or test/<emotion>/, and no fer2013.csv")
    return np.stack(faces), np.array(labels, np.uint8), np.array(splits, np.uint8)
