"""Photos that strangers send: how much is read, which formats are decoded, and how large a picture may become.

The size is read from the file's header before anything is decoded, since a file of a few kilobytes can claim to be a
picture that fills the memory.
"""

import asyncio
import struct
import time
from collections import OrderedDict
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

MAX_BYTES = 10_000_000
MAX_PIXELS = 50_000_000
_FORM_BYTES = 16_384  # what a form wraps around its photo
_DISCARD_BYTES = 6 * MAX_BYTES
_READ_S = 30.0
_MAX_SCANS = 100  # a progressive JPEG of thousands of scans takes minutes to decode
_NO_PHOTO = "that is not a photo; send a JPEG, PNG or WebP file"
_TOO_LONG = f"the photo is larger than {MAX_BYTES // 1_000_000} MB; send a smaller one"


class RateLimit:
    """A token bucket for each client, for at most `clients` of them.

    Args:
        per_s: requests a second in the long run.
        burst: requests at once.
        clock: seconds, never going back.
    """

    def __init__(
        self, per_s: float = 2.0, burst: int = 5, clients: int = 256, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s, self._burst, self._clients, self._clock = per_s, burst, clients, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """0.0 when the request may pass, which is counted; else the seconds until the next one may."""
        now = self._clock()
        left, at = self._buckets.pop(client, (float(self._burst), now))
        left = min(self._burst, left + (now - at) * self._per_s)
        passes = left >= 1
        self._buckets[client] = (left - 1 if passes else left, now)
        while len(self._buckets) > self._clients:
            self._buckets.popitem(last=False)
        return 0.0 if passes else (1 - left) / self._per_s


async def photo_bytes(request: Request) -> bytes:
    """The photo in a request: its whole body, or the file `photo` of a form.

    Raises:
        HTTPException: 413 for more than `MAX_BYTES`, 408 when it comes too slowly, 415 without a photo.
    """
    form = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
    try:
        async with asyncio.timeout(_READ_S):
            body = await _limited_body(request, MAX_BYTES + (_FORM_BYTES if form else 0))
            photo = await _form_file(request, body) if form else body
    except TimeoutError:
        raise HTTPException(408, f"the photo did not arrive within {_READ_S:.0f} s; try again") from None
    except ClientDisconnect:
        raise HTTPException(400, "the photo was cut off") from None
    if len(photo) > MAX_BYTES:
        raise HTTPException(413, _TOO_LONG)
    if not photo:
        raise HTTPException(415, _NO_PHOTO)
    return photo


async def discard(request: Request) -> None:
    """Read what is sent and throw it away, up to a bound, so that a refusal is seen and not a lost connection."""
    length = 0
    try:
        async with asyncio.timeout(_READ_S):
            async for part in request.stream():
                length += len(part)
                if length > _DISCARD_BYTES:
                    return
    except (TimeoutError, ClientDisconnect):
        return


async def _limited_body(request: Request, limit: int) -> bytes:
    """What is said in Content-Length is not believed: the bytes are counted as they come.

    The rest of a body that is too long is thrown away, for the reason in `discard`.
    """
    parts: list[bytes] = []
    length = 0
    async for part in request.stream():
        length += len(part)
        if length <= limit:
            parts.append(part)
        else:
            parts.clear()
        if length > _DISCARD_BYTES:
            break
    if length > limit:
        raise HTTPException(413, _TOO_LONG)
    return b"".join(parts)


async def _form_file(request: Request, body: bytes) -> bytes:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    async with Request(request.scope, receive).form(max_files=1, max_fields=4, max_part_size=_FORM_BYTES) as form:
        photo = form.get("photo")
        if photo is None or isinstance(photo, str):
            raise HTTPException(415, "the form has no file named photo")
        return await photo.read()


_REDUCED = ((32_000_000, cv2.IMREAD_REDUCED_COLOR_4), (8_000_000, cv2.IMREAD_REDUCED_COLOR_2))


def decoded(photo: bytes) -> NDArray[np.uint8]:
    """The photo as (H, W, 3) uint8 BGR, turned upright as its EXIF says; a JPEG of over 8 megapixels at half its
    width and height, of over 32 at a quarter.

    Raises:
        HTTPException: 413 for more than `MAX_PIXELS`, 415 for what is no JPEG, PNG or WebP or is damaged.
    """
    size = picture_size(photo)
    if size is None:
        raise HTTPException(415, _NO_PHOTO)
    width, height = size
    if width * height > MAX_PIXELS:
        raise HTTPException(413, f"the photo has more than {MAX_PIXELS // 1_000_000} megapixels; send a smaller one")
    if photo.startswith(b"\xff\xd8") and photo.count(b"\xff\xda") > _MAX_SCANS:
        raise HTTPException(415, "the photo is an unusual JPEG; save it again as a plain one")
    how = cv2.IMREAD_COLOR
    if photo.startswith(b"\xff\xd8"):  # a JPEG can be decoded smaller, which a board with 512 MB has memory for
        how = next((mode for pixels, mode in _REDUCED if width * height > pixels), how)
    try:
        bgr = cv2.imdecode(np.frombuffer(photo, np.uint8), how)
    except cv2.error:
        bgr = None
    if bgr is None:
        raise HTTPException(415, "the photo is damaged; send another one")
    return bgr  # type: ignore[return-value]


def picture_size(photo: bytes) -> tuple[int, int] | None:
    """Width and height in pixels as a JPEG, PNG or WebP file states them; None for anything else."""
    size: tuple[int, int] | None
    try:
        if photo.startswith(b"\x89PNG\r\n\x1a\n") and photo[12:16] == b"IHDR":
            size = struct.unpack_from(">II", photo, 16)
        elif photo.startswith(b"\xff\xd8"):
            size = _jpeg_size(photo)
        elif photo.startswith(b"RIFF") and photo[8:12] == b"WEBP":
            size = _webp_size(photo)
        else:
            return None
    except (struct.error, IndexError):
        return None
    return size if size and min(size) > 0 else None


def _jpeg_size(photo: bytes) -> tuple[int, int] | None:
    """ITU-T T.81, B.2: segments of a marker and a length, until a start of frame."""
    at = 2
    while photo[at] == 0xFF:
        while photo[at] == 0xFF:  # fill bytes
            at += 1
        marker = photo[at]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", photo, at + 4)
            return width, height
        if marker in (0x00, 0xD8, 0xD9, 0xDA):
            return None
        at += 1 if marker == 0x01 or 0xD0 <= marker <= 0xD7 else 1 + struct.unpack_from(">H", photo, at + 1)[0]
    return None


def _webp_size(photo: bytes) -> tuple[int, int] | None:
    """RFC 9649: the canvas of an extended file, else the one frame's size."""
    kind = photo[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(photo[24:27], "little"), 1 + int.from_bytes(photo[27:30], "little")
    if kind == b"VP8L" and photo[20] == 0x2F:
        bits = int.from_bytes(photo[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and photo[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", photo, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None
