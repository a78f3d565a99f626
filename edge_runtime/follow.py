"""Finds faces cheaply in a stream: a full scan now and then, in between a look around where each face last was.

A full scan is made on the frame shrunk to `scan_width`. In between, a square of twice a face's side is scaled so that
the face is about `FACE_PIXELS` wide, and where nothing is found there, once more at a larger scale: either detector
then costs about a millisecond on a desktop core. Owns the track ids, which a face keeps when it is out of sight for a
moment. For photos, which have nothing to do with each other, every frame is scanned and nothing is followed.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.detect import Detector, iou
from fer_edge.edge_runtime.preprocess import Scratch, square_crop
from fer_edge.edge_runtime.vocabulary import Face

FACE_PIXELS = 40
_LOOKS = ((1.0, 2 * FACE_PIXELS), (1.0, 128))
"""Margin around the last box and side in pixels of the first look, and of the second, closer one, which is only made
where the first found nothing. It brings recall against full scans on walking_phone.mp4 from 0.68 to 0.96 (Haar) and
from 0.71 to 1.00 (YuNet)."""
_SAME_FACE_IOU = 0.3
_SAME_SIZE = 1.6
"""A face that comes back is the one that was lost if its centre is within a side and its side within this factor."""


@dataclass(slots=True)
class _Track:
    face: Face
    seen: int = 1
    misses: int = 0
    lost_at: int = 0


class FaceFollower:
    """Turns a detector into one that knows the frame before.

    Args:
        detector: what looks.
        scan_width: full scans are made on frames shrunk to this width, in pixels.
        min_face: smallest face in a full scan, in pixels of the shrunk frame.
        still: frames have nothing to do with each other: each is scanned, and nobody gets an id.
        scan_every: frames from one full scan to the next; with 1 nothing is ever looked for around its last place.
        max_misses: frames for which a face that is out of sight is looked for around its last place.
        confirm: frames in which a new face must be found before it counts; what the very first scan finds counts at
            once. A cascade sees a face for a single frame here and there where there is none.
        recall_frames: frames after that for which a face that a scan finds near there gets its old id back.

    `scan_every` may be changed between frames; `full_scans` and `looks` (around a last place) count what was done.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        still: bool = False,
        scan_width: int = 320,
        min_face: int = 24,
        scan_every: int = 15,
        max_misses: int = 8,
        confirm: int = 1,
        recall_frames: int = 30,
    ) -> None:
        self._detector, self._still = detector, still
        self._scan_width, self._min_face = scan_width, min_face
        self.scan_every, self._max_misses, self._recall_frames = scan_every, max_misses, recall_frames
        self._confirm = confirm
        self._tracks: list[_Track] = []
        self._lost: list[_Track] = []
        self._frames = 0
        self._since_scan = scan_every
        self._next_id = 1
        self._small = np.empty((0, 0), np.uint8)
        self._scratch = Scratch()
        self._near = {side: np.empty((side, side), np.uint8) for _, side in _LOOKS}
        self.full_scans = self.looks = 0

    def find(self, gray: NDArray[np.uint8]) -> list[Face]:
        """Faces in sight in this frame, with track ids (None when nothing is followed)."""
        if self._still:
            return self._scan(gray)
        self._frames += 1
        self._since_scan += 1
        lost = any(track.misses for track in self._tracks)
        if self._since_scan >= self.scan_every or (lost and self._since_scan >= max(2, self.scan_every // 4)):
            self._since_scan = 0
            self._match(self._scan(gray))
        else:
            for track in self._tracks:
                self._follow(gray, track)
        self._drop_lost_and_doubled(gray.shape[1], gray.shape[0])
        return [track.face for track in self._tracks if track.misses == 0 and track.seen >= self._confirm]

    def _drop_lost_and_doubled(self, width: int, height: int) -> None:
        """End tracks that were out of sight too long, and the younger of two that have come to follow one face."""
        kept: list[_Track] = []
        # Those in sight first: a track that lost its face must not take the place of one whose face walks by there.
        for track in sorted(self._tracks, key=lambda t: (t.misses > 0, t.face.track_id or 0)):
            x0, y0, x1, y1 = track.face.box_xyxy
            if not (0 <= x0 + x1 < 2 * width and 0 <= y0 + y1 < 2 * height):
                track.misses += 1  # its centre has left the frame; what is seen there is the repeated edge
            doubled = any(iou(track.face.box_xyxy, other.face.box_xyxy) > 0.5 for other in kept)
            if doubled:
                continue
            if track.misses <= self._max_misses:
                kept.append(track)
            else:
                track.lost_at = self._frames
                self._lost.append(track)
        self._tracks = kept
        self._lost = [t for t in self._lost if self._frames - t.lost_at <= self._recall_frames]

    def _scan(self, gray: NDArray[np.uint8]) -> list[Face]:
        self.full_scans += 1
        height, width = gray.shape
        scale = width / self._scan_width
        if scale <= 1:
            return self._detector.find(gray, self._min_face)
        size = (self._scan_width, max(1, round(height / scale)))
        if self._small.shape != size[::-1]:
            self._small = np.empty(size[::-1], np.uint8)
        cv2.resize(gray, size, dst=self._small, interpolation=cv2.INTER_AREA)
        return [_scaled(face, scale, 0, 0) for face in self._detector.find(self._small, self._min_face)]

    def _match(self, found: list[Face]) -> None:
        """Give each scanned face the id of the track it overlaps most, best pairs first; the rest are new."""
        pairs = sorted(
            (
                (iou(t.face.box_xyxy, f.box_xyxy), ti, fi)
                for ti, t in enumerate(self._tracks)
                for fi, f in enumerate(found)
            ),
            reverse=True,
        )
        taken_tracks: set[int] = set()
        taken_faces: set[int] = set()
        for overlap, ti, fi in pairs:
            if overlap < _SAME_FACE_IOU or ti in taken_tracks or fi in taken_faces:
                continue
            track = self._tracks[ti]
            track.face, track.misses = _with_id(found[fi], track.face.track_id), 0
            track.seen += 1
            taken_tracks.add(ti)
            taken_faces.add(fi)
        for ti, track in enumerate(self._tracks):
            if ti not in taken_tracks:
                track.misses += 1
        for fi, face in enumerate(found):
            if fi not in taken_faces:
                known = self._confirm if self.full_scans == 1 else 1
                self._tracks.append(_Track(_with_id(face, self._old_or_new_id(face)), known))

    def _old_or_new_id(self, face: Face) -> int:
        for lost in reversed(self._lost):
            if _may_be_the_same(lost.face, face) and lost.face.track_id is not None:
                self._lost.remove(lost)
                return lost.face.track_id
        self._next_id += 1
        return self._next_id - 1

    def _follow(self, gray: NDArray[np.uint8], track: _Track) -> None:
        for looked in _LOOKS:
            found = self._look(gray, track.face.box_xyxy, *looked)
            if found is not None:
                track.face, track.misses = _with_id(found, track.face.track_id), 0
                track.seen += 1
                return
        track.misses += 1

    def _look(self, gray: NDArray[np.uint8], box: tuple[int, int, int, int], margin: float, pixels: int) -> Face | None:
        """The face nearest to where it was, in a square around there that is scaled to `pixels`."""
        x0, y0, x1, y1 = box
        try:
            region = square_crop(gray, box, margin, self._scratch)
        except ValueError:  # the face has left the frame
            return None
        self.looks += 1
        near, scale = self._near[pixels], region.shape[0] / pixels
        method = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR_EXACT  # area: a few pixels differ by one on aarch64
        cv2.resize(region, (pixels, pixels), dst=near, interpolation=method)
        left, top = (x0 + x1 - region.shape[0]) // 2, (y0 + y1 - region.shape[0]) // 2
        faces = [_scaled(f, scale, left, top) for f in self._detector.find(near, FACE_PIXELS // 2)]
        best = max(faces, key=lambda face: iou(face.box_xyxy, box), default=None)
        if best is None or iou(best.box_xyxy, box) < _SAME_FACE_IOU:
            return None
        return best if best.box_xyxy[2] - best.box_xyxy[0] <= 2 * max(x1 - x0, y1 - y0) else None


def _may_be_the_same(a: Face, b: Face) -> bool:
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = a.box_xyxy, b.box_xyxy
    side, other = ax1 - ax0, bx1 - bx0
    apart = max(abs(ax0 + ax1 - bx0 - bx1), abs(ay0 + ay1 - by0 - by1)) / 2
    return apart < side and max(side, other) < _SAME_SIZE * min(side, other)


def _scaled(face: Face, scale: float, left: int, top: int) -> Face:
    x0, y0, x1, y1 = face.box_xyxy
    box = (round(x0 * scale) + left, round(y0 * scale) + top, round(x1 * scale) + left, round(y1 * scale) + top)
    return Face(box, face.score)


def _with_id(face: Face, track_id: int | None) -> Face:
    return Face(face.box_xyxy, face.score, track_id)
