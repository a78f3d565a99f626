"""How far two ways of finding faces in the same frames agree: boxes that overlap by half."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fer_edge.edge_runtime.detect import iou
from fer_edge.edge_runtime.vocabulary import Face

SAME_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Agreement:
    """Counts over all frames: `found` of the `wanted` faces, `right` of those that were `shown`, and track ids."""

    wanted: int
    found: int
    shown: int
    right: int
    ids: int

    @property
    def recall(self) -> float | None:
        """Part of the wanted faces that were found; None where there were none."""
        return self.found / self.wanted if self.wanted else None

    @property
    def precision(self) -> float | None:
        """Part of what was shown that was wanted; None where nothing was shown."""
        return self.right / self.shown if self.shown else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"faces": self.wanted, "recall": self.recall, "precision": self.precision, "ids": self.ids}


def agreement(wanted: Sequence[Sequence[Face]], shown: Sequence[Sequence[Face]]) -> Agreement:
    """Faces by frame against faces by frame.

    Args:
        wanted: what should be found, as a full scan of every frame finds it.
        shown: what was found, in as many frames.
    """
    pairs = list(zip(wanted, shown, strict=True))
    return Agreement(
        sum(map(len, wanted)),
        sum(_is_among(face, others) for faces, others in pairs for face in faces),
        sum(map(len, shown)),
        sum(_is_among(face, faces) for faces, others in pairs for face in others),
        len({face.track_id for faces in shown for face in faces}),
    )


def _is_among(face: Face, others: Sequence[Face]) -> bool:
    return any(iou(face.box_xyxy, other.box_xyxy) >= SAME_IOU for other in others)
