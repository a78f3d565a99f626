"""Following faces between scans, with a detector whose answers are certain: bright squares on black."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fer_edge.edge_runtime.detect import iou
from fer_edge.edge_runtime.follow import FaceFollower
from fer_edge.edge_runtime.vocabulary import Face

Box = tuple[int, int, int, int]


class BrightSquares:
    """Finds what is brighter than 127; counts its calls and the pixels that it was shown."""

    name = "bright squares"

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def find(self, gray: NDArray[np.uint8], min_side: int) -> list[Face]:
        self.shapes.append(gray.shape)
        _, _, stats, _ = cv2.connectedComponentsWithStats((gray > 127).astype(np.uint8))
        boxes = [(int(x), int(y), int(x + w), int(y + h)) for x, y, w, h, _ in stats[1:]]
        return [Face(box, 1.0) for box in boxes if box[2] - box[0] >= min_side]


def frame(*boxes: Box, size: tuple[int, int] = (640, 480)) -> NDArray[np.uint8]:
    gray = np.zeros(size[::-1], np.uint8)
    for x0, y0, x1, y1 in boxes:
        gray[max(y0, 0) : y1, max(x0, 0) : x1] = 255
    return gray


def moved(box: Box, dx: int, dy: int = 0) -> Box:
    return box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy


def ids(faces: list[Face]) -> list[int | None]:
    return [face.track_id for face in faces]


LEFT, RIGHT, BELOW = (100, 100, 180, 180), (400, 200, 480, 280), (100, 380, 180, 460)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 50 / 150),
        ((0, 0, 10, 10), (0, 0, 20, 20), 0.25),
        ((0, 0, 20, 20), (5, 5, 10, 10), 25 / 400),
        ((0, 0, 10, 10), (9, 9, 19, 19), 1 / 199),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),  # they touch
        ((0, 0, 10, 10), (0, 30, 10, 40), 0.0),
        ((0, 0, 10, 10), (30, 30, 40, 40), 0.0),  # apart both ways: two negative sides are no area
        ((-10, -10, 0, 0), (-5, -10, 5, 0), 50 / 150),
    ],
)
def test_iou(a: Box, b: Box, expected: float) -> None:
    assert iou(a, b) == expected
    assert iou(b, a) == expected


def test_the_first_frame_is_scanned_and_ids_count_from_1() -> None:
    found = FaceFollower(BrightSquares()).find(frame(LEFT, RIGHT))
    assert [(face.box_xyxy, face.track_id, face.score) for face in found] == [(LEFT, 1, 1.0), (RIGHT, 2, 1.0)]


@pytest.mark.parametrize(
    ("frames", "scan_every", "scans"),
    [(1, 15, 1), (15, 15, 1), (16, 15, 2), (31, 15, 3), (100, 15, 7), (10, 2, 5), (10, 1, 10)],
)
@pytest.mark.parametrize("boxes", [(), (LEFT,), (LEFT, RIGHT)], ids=["nobody", "one", "two"])
def test_full_scans_over_n_frames(frames: int, scan_every: int, scans: int, boxes: tuple[Box, ...]) -> None:
    detector = BrightSquares()
    follower = FaceFollower(detector, scan_every=scan_every)
    for _ in range(frames):
        assert len(follower.find(frame(*boxes))) == len(boxes)
    assert follower.full_scans == scans
    assert detector.shapes.count((240, 320)) == scans  # 640 x 480 shrunk to a width of 320
    assert detector.shapes.count((80, 80)) == (frames - scans) * len(boxes)  # one look around each face


def test_ids_are_kept_across_scans_while_faces_move() -> None:
    follower = FaceFollower(BrightSquares(), scan_every=5)
    for step in range(61):
        found = follower.find(frame(moved(LEFT, 4 * step), moved(RIGHT, -4 * step)))
        assert ids(found) == [1, 2]
    assert follower.full_scans == 13
    assert found[0].box_xyxy == pytest.approx(moved(LEFT, 240), abs=2)
    assert found[1].box_xyxy == pytest.approx(moved(RIGHT, -240), abs=2)


def test_a_new_face_gets_a_new_id_at_the_next_scan() -> None:
    follower = FaceFollower(BrightSquares(), scan_every=5)
    seen = [ids(follower.find(frame(LEFT)))]
    seen += [ids(follower.find(frame(LEFT, BELOW))) for _ in range(6)]
    assert seen == [[1], [1], [1], [1], [1], [1, 2], [1, 2]]


def test_an_id_is_never_given_twice() -> None:
    follower = FaceFollower(BrightSquares(), scan_every=2, max_misses=0, recall_frames=0)
    assert ids(follower.find(frame(LEFT))) == [1]
    for _ in range(2):
        assert follower.find(frame()) == []
    follower.find(frame(LEFT))
    assert ids(follower.find(frame(LEFT))) == [2]


@pytest.mark.parametrize(
    ("away", "max_misses", "same"),
    [(1, 8, True), (8, 8, True), (9, 8, False), (0, 0, True), (1, 0, False), (2, 2, True), (3, 2, False)],
)
@pytest.mark.parametrize("scan_every", [3, 15])
def test_a_face_out_of_sight_is_dropped_after_max_misses(
    away: int, max_misses: int, same: bool, scan_every: int
) -> None:
    follower = FaceFollower(BrightSquares(), scan_every=scan_every, max_misses=max_misses, recall_frames=0)
    assert ids(follower.find(frame(LEFT))) == [1]
    for _ in range(away):
        assert follower.find(frame()) == []
    back = [ids(follower.find(frame(LEFT))) for _ in range(scan_every)]
    assert back[-1] == [1 if same else 2]
    assert back[0] == ([1] if same else back[0])  # a track that lives on is seen again at once
    assert all(seen in ([], back[-1]) for seen in back)


def test_a_lost_face_is_scanned_for_before_its_time() -> None:
    follower = FaceFollower(BrightSquares(), scan_every=16)
    follower.find(frame(LEFT))
    seen = [ids(follower.find(frame(RIGHT))) for _ in range(5)]  # it jumps where no look around LEFT can find it
    assert seen == [[], [], [], [2], [2]]  # 16 // 4 frames after the first scan
    assert follower.full_scans == 2


def test_one_lost_face_does_not_take_the_other_with_it() -> None:
    follower = FaceFollower(BrightSquares(), scan_every=15, max_misses=3, recall_frames=0)
    assert ids(follower.find(frame(LEFT, RIGHT))) == [1, 2]
    assert [ids(follower.find(frame(RIGHT))) for _ in range(20)] == [[2]] * 20
    assert [ids(follower.find(frame(LEFT, RIGHT))) for _ in range(15)][-1] == [2, 3]


def test_a_face_that_leaves_over_the_border_ends() -> None:
    follower = FaceFollower(BrightSquares(), scan_every=1000, max_misses=2)
    start = (540, 100, 620, 180)
    seen = [ids(follower.find(frame(moved(start, 8 * step)))) for step in range(30)]
    assert seen[0] == [1]
    assert seen[-1] == []
    assert {tuple(each) for each in seen} == {(1,), ()}


def test_a_track_that_lies_outside_a_smaller_frame_ends() -> None:
    follower = FaceFollower(BrightSquares(), scan_every=1000, max_misses=2)
    assert ids(follower.find(frame(RIGHT))) == [1]
    assert [follower.find(frame(size=(80, 60))) for _ in range(4)] == [[]] * 4
    assert follower.find(frame(RIGHT)) == []  # the next scan is far away, and nobody is followed any more


def test_an_id_goes_to_the_face_that_overlaps_most() -> None:
    follower = FaceFollower(BrightSquares(), scan_every=2, min_face=8)
    assert ids(follower.find(frame(LEFT))) == [1]
    follower.find(frame(LEFT))
    less, most = (100, 100, 132, 180), (134, 100, 180, 180)  # 0.4 and 0.575 of LEFT
    found = follower.find(frame(less, most))
    assert [(face.box_xyxy, face.track_id) for face in found] == [(most, 1), (less, 2)]


def test_a_face_that_walks_over_the_place_of_a_lost_one_stays_in_sight() -> None:
    follower = FaceFollower(BrightSquares(), scan_every=2)
    assert ids(follower.find(frame(LEFT, moved(LEFT, 100)))) == [1, 2]
    for right in (82, 82):
        assert ids(follower.find(frame(LEFT, moved(LEFT, right)))) == [1, 2]
    for right in (64, 54, 46, 26, 20, 10):  # 1 is gone; 2 comes to stand where it was
        assert ids(follower.find(frame(moved(LEFT, right)))) == [2]


def test_in_photos_nothing_is_followed() -> None:
    follower = FaceFollower(BrightSquares(), still=True)
    for boxes in ([LEFT, RIGHT], [], [BELOW]):
        found = follower.find(frame(*boxes))
        assert [(face.box_xyxy, face.track_id) for face in found] == [(box, None) for box in boxes]
    assert follower.full_scans == 3


def test_a_stream_whose_every_frame_is_scanned_has_ids_all_the_same() -> None:
    follower = FaceFollower(BrightSquares(), scan_every=1)
    for step in range(5):
        assert ids(follower.find(frame(moved(LEFT, 4 * step), moved(RIGHT, -4 * step)))) == [1, 2]
    assert (follower.full_scans, follower.looks) == (5, 0)


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((320, 240), (41, 53, 97, 109)),  # no wider than scan_width: scanned as it is
        ((200, 200), (41, 53, 97, 109)),
        ((640, 480), (202, 124, 302, 224)),
        ((960, 540), (303, 99, 453, 249)),
        ((1000, 750), (411, 333, 538, 460)),
        ((1920, 1080), (900, 600, 1260, 960)),
        ((333, 251), (100, 80, 170, 150)),
    ],
)
def test_boxes_come_back_in_the_pixels_of_the_frame(size: tuple[int, int], box: Box) -> None:
    follower = FaceFollower(BrightSquares(), scan_every=10)
    pixel = max(1, size[0] / 320, 2 * (box[2] - box[0]) / 80)  # of the coarser of the pictures that are looked at
    for number in range(25):
        (face,) = follower.find(frame(box, size=size))
        assert face.box_xyxy == pytest.approx(box, abs=pixel if number else max(1, size[0] / 320))
        assert face.track_id == 1
    if size[0] <= 320:
        assert FaceFollower(BrightSquares()).find(frame(box, size=size)) == [Face(box, 1.0, 1)]


@pytest.mark.parametrize(("min_face", "found"), [(40, 1), (41, 0)])
def test_min_face_counts_pixels_of_the_shrunk_frame(min_face: int, found: int) -> None:
    assert len(FaceFollower(BrightSquares(), min_face=min_face).find(frame(LEFT))) == found  # 80 pixels shrunk by 2


def test_scan_width_sets_what_a_scan_sees() -> None:
    detector = BrightSquares()
    FaceFollower(detector, scan_width=160).find(frame(LEFT))
    assert detector.shapes == [(120, 160)]


class ShortSighted(BrightSquares):
    """Sees no face under 50 pixels in the small pictures around a last place."""

    def find(self, gray: NDArray[np.uint8], min_side: int) -> list[Face]:
        return super().find(gray, 50 if gray.shape[0] <= 128 else min_side)


def test_where_the_first_look_finds_nothing_a_closer_one_does() -> None:
    detector = ShortSighted()
    follower = FaceFollower(detector, scan_every=1000, max_misses=2)
    seen = [ids(follower.find(frame(moved(LEFT, 4 * step)))) for step in range(20)]
    assert seen == [[1]] * 20
    assert follower.full_scans == 1
    assert follower.looks == 2 * 19
    assert detector.shapes[1:3] == [(80, 80), (128, 128)]


def test_a_face_that_is_out_of_sight_for_a_while_keeps_its_id() -> None:
    follower = FaceFollower(BrightSquares(), scan_every=5, max_misses=2, recall_frames=30)
    assert ids(follower.find(frame(LEFT, RIGHT))) == [1, 2]
    for _ in range(20):
        assert ids(follower.find(frame(RIGHT))) == [2]
    back = [ids(follower.find(frame(moved(LEFT, 30, 20), RIGHT))) for _ in range(6)]
    assert sorted(back[-1]) == [1, 2]
    for _ in range(60):
        follower.find(frame(RIGHT))
    late = [ids(follower.find(frame(LEFT, RIGHT))) for _ in range(6)]
    assert sorted(late[-1]) == [2, 3]  # after so long it is somebody else


def test_somebody_far_from_where_a_face_was_lost_is_somebody_else() -> None:
    follower = FaceFollower(BrightSquares(), scan_every=5, max_misses=2, recall_frames=100)
    assert ids(follower.find(frame(LEFT))) == [1]
    for _ in range(10):
        follower.find(frame())
    for _ in range(6):
        found = follower.find(frame(BELOW))
    assert ids(found) == [2]


class Phantom(BrightSquares):
    """Sees a second face in one full scan, and nowhere else."""

    def find(self, gray: NDArray[np.uint8], min_side: int) -> list[Face]:
        found = super().find(gray, min_side)
        scans = sum(shape[1] > 128 for shape in self.shapes)
        return [*found, Face((250, 10, 290, 50), 1.0)] if gray.shape[1] > 128 and scans == 2 else found


def test_a_face_that_is_seen_once_does_not_count() -> None:
    follower = FaceFollower(Phantom(), scan_every=5, confirm=2)
    seen = [ids(follower.find(frame(moved(LEFT, step)))) for step in range(30)]
    assert seen == [[1]] * 30


def test_a_face_that_comes_counts_from_its_second_frame_and_those_of_the_first_scan_at_once() -> None:
    follower = FaceFollower(BrightSquares(), scan_every=5, confirm=2)
    assert ids(follower.find(frame(LEFT))) == [1]
    seen = [ids(follower.find(frame(LEFT, BELOW))) for _ in range(7)]
    assert seen == [[1]] * 5 + [[1, 2]] * 2
