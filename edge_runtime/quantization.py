"""Quantization is a value and two pure functions: round, then clip, then cast, in this one place only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Quantization:
    """Affine int8: real = scale * (q - zero_point), q in -128..127 (Jacob et al. 2018, equation 1)."""

    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        if not (self.scale > 0 and np.isfinite(self.scale)):
            raise ValueError(f"expected a positive scale, got {self.scale}")
        if not -128 <= self.zero_point <= 127 or self.zero_point != int(self.zero_point):
            raise ValueError(f"expected a zero point in -128..127, got {self.zero_point}")


def quantize(x: NDArray, q: Quantization) -> NDArray[np.int8]:
    """Real values of any shape to int8; out-of-range values saturate."""
    return np.clip(np.rint(x / q.scale) + q.zero_point, -128, 127).astype(np.int8)


def dequantize(x: NDArray[np.int8], q: Quantization) -> NDArray[np.float32]:
    """int8 of any shape to real values, float32."""
    return (x.astype(np.float32) - np.float32(q.zero_point)) * np.float32(q.scale)


def pixel_table(q: Quantization) -> NDArray[np.int8]:
    """What each pixel value 0..255 quantizes to, (256,) int8: quantizing a face is one table look-up.

    For scale 1 and zero point -128 it is `(u8 ^ 0x80).view(int8)`.
    """
    return quantize(np.arange(256, dtype=np.float64), q)
