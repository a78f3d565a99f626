"""What a V4L2 node says of itself, asked with the kernel's own calls; nothing is streamed and no setting is changed.

Structures and numbers are those of linux/videodev2.h, which are the same on x86-64, aarch64 and 32-bit ARM except for
the padding before v4l2_format's union.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_CAPTURE, _CAPTURE_MPLANE, _M2M, _M2M_MPLANE = 0x1, 0x1000, 0x8000, 0x4000
_DEVICE_CAPS = 0x80000000
_BUF_CAPTURE, _BUF_CAPTURE_MPLANE = 1, 9
_DISCRETE = 1
_MOST = 64
"""Formats, sizes or rates that are asked for; a driver that never says "no more" must not hang us."""
_USUAL_SIZES = (
    *((320, 240), (640, 360), (640, 480), (800, 600), (1280, 720), (1296, 972), (1640, 1232)),
    *((1920, 1080), (2592, 1944), (3840, 2160)),
)
_USUAL_FPS = (120.0, 90.0, 60.0, 50.0, 30.0, 25.0, 20.0, 15.0, 10.0, 5.0)


def _code(read: bool, write: bool, number: int, size: int) -> int:
    return (write << 30) | (read << 31) | (size << 16) | (ord("V") << 8) | number


_CAPABILITY = struct.Struct("16s32s32s3I12x")
_FMTDESC = struct.Struct("3I32s2I12x")
_FRMSIZE = struct.Struct("9I8x")
_FRMIVAL = struct.Struct("11I8x")
_FORMAT = struct.Struct("I4x6I176x" if struct.calcsize("P") == 8 else "I6I176x")
QUERYCAP = _code(True, False, 0, _CAPABILITY.size)
ENUM_FMT = _code(True, True, 2, _FMTDESC.size)
G_FMT = _code(True, True, 4, _FORMAT.size)
S_FMT = _code(True, True, 5, _FORMAT.size)
ENUM_FRAMESIZES = _code(True, True, 74, _FRMSIZE.size)
ENUM_FRAMEINTERVALS = _code(True, True, 75, _FRMIVAL.size)


@dataclass(frozen=True, slots=True)
class CameraFormat:
    """`size` is (width, height) in pixels; `fps` descends. Of a range, the usual sizes and rates in it stand here."""

    fourcc: str
    size: tuple[int, int]
    fps: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class V4l2Node:
    """One /dev/videoN. `is_capture` is False for codecs, image processors and metadata; `busy` for one in use."""

    path: str
    driver: str
    card: str
    is_capture: bool
    formats: tuple[CameraFormat, ...]
    busy: bool


def query(path: str) -> V4l2Node:
    """Ask a node.

    Raises:
        OSError: it is not there, may not be opened, or is no V4L2 node.
    """
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        raw = bytearray(_CAPABILITY.size)
        fcntl.ioctl(fd, QUERYCAP, raw)
        driver, card, _, _, all_caps, caps = _CAPABILITY.unpack(raw)
        if not all_caps & _DEVICE_CAPS:
            caps = all_caps
        kind = _BUF_CAPTURE if caps & _CAPTURE else _BUF_CAPTURE_MPLANE
        is_capture = bool(caps & (_CAPTURE | _CAPTURE_MPLANE)) and not caps & (_M2M | _M2M_MPLANE)
        formats = tuple(_formats(fd, kind)) if is_capture else ()
        return V4l2Node(path, _text(driver), _text(card), is_capture, formats, is_capture and _is_busy(fd, kind))
    finally:
        os.close(fd)


def line_bytes(path: str) -> int | None:
    """Bytes from one line of the picture to the next in the format that is set; None where the driver does not say."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        raw = bytearray(_FORMAT.pack(_BUF_CAPTURE, 0, 0, 0, 0, 0, 0))
        fcntl.ioctl(fd, G_FMT, raw)
        return int(_FORMAT.unpack(raw)[5])
    except OSError:
        return None
    finally:
        os.close(fd)


def _is_busy(fd: int, kind: int) -> bool:
    """Whether someone else streams: setting the format that is set already is refused then, and changes nothing."""
    raw = bytearray(_FORMAT.pack(kind, 0, 0, 0, 0, 0, 0))
    try:
        fcntl.ioctl(fd, G_FMT, raw)
        fcntl.ioctl(fd, S_FMT, raw)
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _formats(fd: int, kind: int) -> Iterator[CameraFormat]:
    for values in _each(fd, ENUM_FMT, _FMTDESC, lambda at: (at, kind, 0, b"", 0, 0)):
        code = values[4]
        for size in _sizes(fd, code):
            yield CameraFormat(_fourcc(code), size, _rates(fd, code, size))


def _sizes(fd: int, code: int) -> list[tuple[int, int]]:
    found = []
    for values in _each(fd, ENUM_FRAMESIZES, _FRMSIZE, lambda at: (at, code, *[0] * 7)):
        if values[2] == _DISCRETE:
            found.append((values[3], values[4]))
        else:  # from, to, step for width and for height; a continuous range has step 1
            return _usual_sizes(values[3:6], values[6:9])
    return found


def _usual_sizes(width: tuple[int, ...], height: tuple[int, ...]) -> list[tuple[int, int]]:
    def fits(side: int, span: tuple[int, ...]) -> bool:
        return span[0] <= side <= span[1] and (side - span[0]) % max(span[2], 1) == 0

    usual = [(w, h) for w, h in _USUAL_SIZES if fits(w, width) and fits(h, height)]
    return list(dict.fromkeys([*usual, (width[1], height[1])]))


def _rates(fd: int, code: int, size: tuple[int, int]) -> tuple[float, ...]:
    found: set[float] = set()
    for values in _each(fd, ENUM_FRAMEINTERVALS, _FRMIVAL, lambda at: (at, code, *size, *[0] * 7)):
        shortest, longest = _rate(*values[5:7]), _rate(*values[7:9])
        found.add(shortest)
        if values[4] != _DISCRETE:
            found |= {longest, *(fps for fps in _USUAL_FPS if longest <= fps <= shortest)}
            break
    return tuple(sorted(found - {0.0}, reverse=True))


def _rate(numerator: int, denominator: int) -> float:
    """Frames a second out of seconds a frame."""
    return round(denominator / numerator, 2) if numerator else 0.0


def _each(fd: int, request: int, layout: struct.Struct, arguments: Callable[[int], tuple]) -> Iterator[tuple]:
    """What the driver answers for index 0, 1, 2 and so on, until it has no more."""
    for at in range(_MOST):
        raw = bytearray(layout.pack(*arguments(at)))
        try:
            fcntl.ioctl(fd, request, raw)
        except OSError:
            return
        yield layout.unpack(raw)


def _fourcc(code: int) -> str:
    """Four letters; the highest bit marks big-endian variants."""
    letters = (code & 0x7FFFFFFF).to_bytes(4, "little").decode("ascii", "replace").rstrip()
    return letters + ("-BE" if code >> 31 else "")


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")
