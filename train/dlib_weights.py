"""Reads the convolutions of a network that dlib wrote (King's face recognition ResNet): a file of .dat.

dlib writes a layer as its name, then its parameters as one tensor: four counts, of which the first is the length, and
float32 values, little-endian (`serialize` in dlib/dnn/layers.h and dlib/cuda/tensor.h). Integers are one byte that says
how many bytes follow, then these. Everything else in the file is left alone.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import RunError

_LAYER = re.compile(rb"\x01\x05con_4|\x01\x07affine_")
_TENSOR = re.compile(rb"\x01\x02([\x01-\x04])")
_FLAT = b"\x01\x01\x01\x01\x01\x01"


@dataclass(frozen=True)
class FlatConv:
    """A convolution with what scales its result: `kernel` (out, in, height, width) still flat, `scale` and `shift`."""

    kernel: NDArray[np.float32]
    scale: NDArray[np.float32]
    shift: NDArray[np.float32]

    def folded(self, side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Kernel (side, side, in, out) and bias (out,), as Keras has them, of the two as one."""
        kernel = self.kernel.reshape(len(self.scale), -1, side, side) * self.scale[:, None, None, None]
        return kernel.transpose(2, 3, 1, 0), self.shift


def read_dlib(path: Path) -> list[FlatConv]:
    """The convolutions from the picture on, each with the affine layer that follows it.

    Raises:
        RunError: there is no such file, it ends early, or it is none that dlib wrote.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror})") from error
    found = [(m.group()[2:], _parameters(data, m.end(), path)) for m in _LAYER.finditer(data)]
    convs, affines = found[0::2], found[1::2]
    named = [(conv[0], affine[0]) for conv, affine in zip(convs, affines, strict=False)]
    if not found or len(convs) != len(affines) or set(named) != {(b"con_4", b"affine_")}:
        raise RunError(f"{path} holds no network of dlib's in which each convolution is followed by an affine layer")
    return [_joined(conv, affine, path) for (_, conv), (_, affine) in zip(convs, affines, strict=True)]


def _joined(conv: NDArray[np.float32], affine: NDArray[np.float32], path: Path) -> FlatConv:
    filters = len(affine) // 2
    if len(affine) % 2 or len(conv) <= filters or len(conv) % filters:
        raise RunError(f"{path} is damaged: {len(conv)} weights do not fit {len(affine)} of the affine layer")
    scale, shift = affine[:filters], affine[filters:]
    return FlatConv(conv[:-filters], scale, shift + scale * conv[-filters:])


def _parameters(data: bytes, at: int, path: Path) -> NDArray[np.float32]:
    header = _TENSOR.match(data, at)
    start = header.end() + header[1][0] + len(_FLAT) if header else at
    if header is None or data[start - len(_FLAT) : start] != _FLAT:
        raise RunError(f"{path} is damaged or of another version of dlib: no tensor follows a layer's name")
    count = int.from_bytes(data[header.end() : header.end() + header[1][0]], "little")
    if start + 4 * count > len(data):
        raise RunError(f"{path} ends early: {len(data)} bytes")
    return np.frombuffer(data, "<f4", count, start)
