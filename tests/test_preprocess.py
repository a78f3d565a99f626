"""The one preprocessing function, held to the bit: what it gives here it has to give on every processor."""

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from fer_edge.edge_runtime.preprocess import face_pixels

GRADIENT = np.tile(np.arange(48, dtype=np.uint8), (48, 1))  # the value of a pixel is its column


def pattern(height: int, width: int) -> NDArray[np.uint8]:
    """A picture out of integer arithmetic alone, so that every machine draws the same one."""
    y, x = np.mgrid[:height, :width].astype(np.int64)
    return ((7 * y * y + 13 * x + x * y // 3 + (x // 5) * (y // 7)) % 256).astype(np.uint8)


@pytest.mark.parametrize("side", [1, 2, 7, 47, 48, 49, 95, 96, 100, 333])
@pytest.mark.parametrize("value", [0, 1, 127, 255])
def test_a_constant_picture_stays_constant(side: int, value: int) -> None:
    face = face_pixels(np.full((side, side), value, np.uint8))
    assert face.shape == (48, 48)
    assert face.dtype == np.uint8
    assert (face == value).all()


def test_48_pixels_come_through_untouched() -> None:
    np.testing.assert_array_equal(face_pixels(pattern(48, 48)), pattern(48, 48))


def test_96_pixels_are_averaged_two_by_two() -> None:
    mean = pattern(48, 48) // 2 + 20  # 20..147
    picture = np.kron(mean, np.ones((2, 2), np.uint8))
    picture[::2, ::2] -= 7
    picture[::2, 1::2] += 1
    picture[1::2, ::2] -= 9
    picture[1::2, 1::2] += 15
    np.testing.assert_array_equal(face_pixels(picture), mean)


@pytest.mark.parametrize(
    ("block", "expected"),
    [((0, 0, 0, 1), 0), ((0, 0, 1, 1), 1), ((0, 1, 1, 1), 1), ((254, 255, 255, 255), 255), ((3, 4, 7, 8), 6)],
)
def test_an_average_is_rounded_and_half_goes_up(block: tuple[int, ...], expected: int) -> None:
    picture = np.tile(np.array(block, np.uint8).reshape(2, 2), (48, 48))
    assert np.unique(face_pixels(picture)).tolist() == [expected]


def test_144_pixels_are_averaged_three_by_three() -> None:
    mean = pattern(48, 48) // 2 + 20
    picture = np.kron(mean, np.ones((3, 3), np.uint8))
    picture[1::3, 1::3] += 18
    np.testing.assert_array_equal(face_pixels(picture), mean + 2)


@pytest.mark.parametrize("down", [False, True], ids=["across", "down"])
def test_24_pixels_are_enlarged_linearly_between_pixel_centres(down: bool) -> None:
    # Pixel k of the result lies at (k + 0.5) / 2 - 0.5 = k / 2 - 0.25; for the value 4 x that is 2 k - 1.
    small = np.tile(4 * np.arange(24, dtype=np.uint8), (24, 1))
    line = np.array([0, *range(1, 92, 2), 92], np.uint8)
    expected = np.tile(line, (48, 1))
    got = face_pixels(np.ascontiguousarray(small.T)).T if down else face_pixels(small)
    np.testing.assert_array_equal(got, expected)


def test_12_pixels_are_enlarged_linearly_between_pixel_centres() -> None:
    # Pixel k of the result lies at k / 4 - 0.375; for the value 8 x that is 2 k - 3, and the ends repeat the border.
    small = np.tile(8 * np.arange(12, dtype=np.uint8), (12, 1))
    line = np.array([0, 0, *range(1, 88, 2), 88, 88], np.uint8)
    np.testing.assert_array_equal(face_pixels(small), np.tile(line, (48, 1)))


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [
        ((48, 60), slice(0, 48), slice(6, 54)),
        ((48, 61), slice(0, 48), slice(6, 54)),
        ((70, 48), slice(11, 59), slice(0, 48)),
    ],
)
def test_without_a_box_the_largest_centred_square_is_taken(shape: tuple[int, int], rows: slice, columns: slice) -> None:
    picture = pattern(*shape)
    np.testing.assert_array_equal(face_pixels(picture), picture[rows, columns])


@pytest.mark.parametrize(
    ("box", "margin", "rows", "columns"),
    [
        ((10, 20, 58, 68), 0.0, (20, 68), (10, 58)),
        ((10, 20, 58, 44), 0.0, (8, 56), (10, 58)),  # wide: the longer side is the square's, around the same centre
        ((40, 10, 64, 58), 0.0, (10, 58), (28, 76)),  # tall
        ((20, 20, 60, 60), 0.2, (16, 64), (16, 64)),  # 40 * 1.2 = 48: 4 pixels on each side
        ((20, 20, 44, 44), 1.0, (8, 56), (8, 56)),
        ((20, 20, 67, 67), 0.03, (19, 67), (19, 67)),  # 47 * 1.03 = 48.41; half a pixel goes up and left
    ],
)
def test_the_square_around_a_box(
    box: tuple[int, int, int, int], margin: float, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    picture = pattern(90, 100)
    np.testing.assert_array_equal(face_pixels(picture, box, margin), picture[slice(*rows), slice(*columns)])


@pytest.mark.parametrize(
    ("box", "columns"),
    [
        ((-24, 0, 24, 48), [0] * 24 + list(range(24))),
        ((24, 0, 72, 48), list(range(24, 48)) + [47] * 24),
        ((-47, 0, 1, 48), [0] * 48),
        ((-4, -4, 44, 44), [0] * 4 + list(range(44))),
        ((0, 30, 48, 78), list(range(48))),
    ],
)
def test_over_the_border_the_edge_is_repeated(box: tuple[int, int, int, int], columns: list[int]) -> None:
    np.testing.assert_array_equal(face_pixels(GRADIENT, box), np.tile(np.array(columns, np.uint8), (48, 1)))


def test_over_a_corner_the_corner_pixel_is_repeated() -> None:
    picture = pattern(60, 60)
    face = face_pixels(picture, (-20, -10, 28, 38))
    assert (face[:10, :20] == picture[0, 0]).all()
    np.testing.assert_array_equal(face[10:, 20:], picture[:38, :28])
    np.testing.assert_array_equal(face[:10, 20:], np.tile(picture[0, :28], (10, 1)))


@pytest.mark.parametrize("side", [30, 48, 96, 131])
def test_the_buffer_is_written_in_place_and_returned(side: int) -> None:
    batch = np.full((3, 48, 48), 9, np.uint8)
    buffer = batch[1]
    assert face_pixels(pattern(side, side), out=buffer) is buffer
    np.testing.assert_array_equal(batch[1], face_pixels(pattern(side, side)))
    assert (batch[0] == 9).all()
    assert (batch[2] == 9).all()


@pytest.mark.parametrize("buffer", [np.zeros((48, 48), np.float32), np.zeros((40, 40), np.uint8)])
def test_a_buffer_that_could_not_be_written_is_an_error(buffer: NDArray) -> None:
    with pytest.raises(ValueError, match=r"^expected a buffer \(48, 48\) uint8, got \("):
        face_pixels(pattern(60, 60), out=buffer)


def test_the_frame_is_left_as_it_was() -> None:
    picture = pattern(60, 60)
    face = face_pixels(picture, (0, 0, 48, 48))
    face[:] = 0
    np.testing.assert_array_equal(picture, pattern(60, 60))


@pytest.mark.parametrize(
    "box", [(100, 100, 110, 110), (48, 0, 58, 10), (-10, 0, 0, 10), (0, -10, 10, 0), (0, 48, 9, 57)]
)
def test_a_box_outside_the_frame_is_an_error(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"^expected a box that meets the 48x48 frame, got \("):
        face_pixels(GRADIENT, box)


@pytest.mark.parametrize(
    ("frame", "got"),
    [
        (np.zeros((48, 48), np.float32), r"\(48, 48\) float32"),
        (np.zeros((48, 48), np.int8), r"\(48, 48\) int8"),
        (np.zeros((48, 48, 3), np.uint8), r"\(48, 48, 3\) uint8"),
        (np.zeros(48, np.uint8), r"\(48,\) uint8"),
        (np.zeros((0, 5), np.uint8), r"\(0, 5\) uint8"),
    ],
)
def test_a_frame_that_is_not_gray_uint8_is_an_error(frame: NDArray, got: str) -> None:
    with pytest.raises(ValueError, match=rf"^expected a gray frame \(H, W\) uint8, got {got}$"):
        face_pixels(frame)


@pytest.mark.parametrize(
    ("side", "drawn", "sha256"),
    [
        (20, "c3ac33331bfb3300", "cd9b667b5514985bdf0a89f3fa7f6a81176da35b1f3bd768e904f47115fc57a1"),
        (31, "cc890755a2f21494", "a1a381692ce36eeee9281bfd15adc11814dd400cb6fba12599f9ed2379d4ccf9"),
        (47, "ed8faa3eb0634fe3", "9fca62e23ac7e48f55d26ebaf3850974478a459e313bd14e836e8e1780c50cad"),
        (49, "3f2c4da0307a98e2", "d2fc6c78fced92769dbc68f3e15f808e90ffe64aa170bde125820d884967e438"),
        (96, "f1fe2214fc409b58", "adcd064c79d13b8fe1bdc102c07c1fb971d4201db1b2e5deacadb621f125bd0b"),
        (100, "aa24f20a743031f7", "571e4e6aee6dd893a046c21af1875df978eb6241cc15e2a6de2f6d3b13dd536c"),
        (131, "28e29361c08721e0", "270588d3a149aefce9462c8146f454daa45e50cf9e897e127dfa74b32399eb72"),
        (333, "c1657d9c64bde82c", "2a90a342d5de3bb3e1801a2be349d4faa545694779efac11d5d1c3388564cd92"),
    ],
)
def test_the_same_bits_on_every_processor(side: int, drawn: str, sha256: str) -> None:
    picture = pattern(side, side)
    assert hashlib.sha256(picture.tobytes()).hexdigest()[:16] == drawn  # else it is the picture that differs
    assert hashlib.sha256(face_pixels(picture).tobytes()).hexdigest() == sha256


def test_the_same_bits_for_a_box_in_a_frame() -> None:
    face = face_pixels(pattern(240, 320), (250, 130, 341, 233), margin=0.03)
    assert (
        hashlib.sha256(face.tobytes()).hexdigest() == "bb0b25bb2498bb196b1bfc6a44ba1ecd20fc50171cd664af408170d47ea53137"
    )
