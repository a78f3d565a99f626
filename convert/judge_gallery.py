"""The faces whose label flipped, as small PNG pictures with what was said of them."""

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_SHOWN = 24
"""Of each kind of flip of a variant."""


def gray_png(face: NDArray[np.uint8]) -> bytes:
    """A gray picture (H, W) uint8 as PNG (ISO/IEC 15948: 8 bits, colour type 0, no filter)."""
    height, width = face.shape
    rows = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(face))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def pictures(flips: list[dict[str, Any]], faces: NDArray[np.uint8]) -> list[tuple[bytes, str, str]]:
    """PNG, caption and alternative text of the first `MOST_SHOWN` flips.

    Args:
        flips: of one kind, as `convert.compare.flipped` gives them.
        faces: (N, 48, 48) uint8, all of the data.
    """
    return [
        (
            gray_png(np.asarray(faces[flip["row"]])),
            f"{flip['reference']} {flip['reference_confidence']:.0%} → {flip['variant']} "
            f"{flip['variant_confidence']:.0%}; is {flip['label']}",
            f"Face number {flip['row']} of the data, labelled {flip['label']}",
        )
        for flip in flips[:MOST_SHOWN]
    ]
