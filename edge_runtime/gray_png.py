"""Faces as small PNG pictures for the pages, without an image library."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray


def gray_png(face: NDArray[np.uint8]) -> bytes:
    """A gray picture (H, W) uint8 as PNG (ISO/IEC 15948: 8 bits, colour type 0, no filter)."""
    height, width = face.shape
    rows = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(face))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
