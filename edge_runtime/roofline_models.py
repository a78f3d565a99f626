"""Large matrix products for measuring a machine through an engine: shapes, weights, scales, and what must come out.

Owns the numbers. Each engine's file writes them in its own format; must not know any.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.vocabulary import Precision

_WEIGHT_LIMIT, _DATA_LIMIT = 63, 127
"""Weights keep to 7 bits: without VNNI, x86 adds two products in 16 bits, which saturates with 8."""
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Product:
    """(rows, inner) by (columns, inner) transposed is (rows, columns), in int8 or float32.

    int8 is real = scale * q without a zero point; weights have a scale a column, as an int8 network's have.
    """

    rows: int
    inner: int
    columns: int
    precision: Precision

    @property
    def name(self) -> str:
        return f"{self.rows}x{self.inner}x{self.columns}"

    @property
    def macs(self) -> int:
        """Multiply-adds of one product."""
        return self.rows * self.inner * self.columns

    @property
    def weight_bytes(self) -> int:
        return self.columns * self.inner * (1 if self.precision == Precision.INT8 else 4)

    @property
    def data_scale(self) -> float:
        return 1 / _DATA_LIMIT

    @cached_property
    def weight_scales(self) -> NDArray[np.float32]:
        """(columns,)"""
        return np.linspace(0.5, 1, self.columns, dtype=np.float32) / np.float32(_WEIGHT_LIMIT)

    @property
    def output_scale(self) -> float:
        """Four deviations of the sum of `inner` products of evenly spread numbers fill the range."""
        return 4 * np.sqrt(self.inner) / 3 / _DATA_LIMIT

    @cached_property
    def weights(self) -> NDArray:
        """(columns, inner) int8 or float32 of +-1; a block of random numbers again and again, since megabytes of them
        would take longer to make than to multiply."""
        return self._spread(0, (self.columns, self.inner), _WEIGHT_LIMIT)

    @cached_property
    def data(self) -> NDArray:
        """(rows, inner) int8 or float32 of +-1."""
        return self._spread(1, (self.rows, self.inner), _DATA_LIMIT)

    def _spread(self, seed: int, shape: tuple[int, int], limit: int) -> NDArray:
        rng, size = np.random.default_rng(seed), shape[0] * shape[1]
        # A prime length, so that no row repeats another one.
        count = min(size, _BLOCK + 1)
        if self.precision == Precision.INT8:
            return np.resize(rng.integers(-limit, limit + 1, count, np.int8), shape)
        return np.resize(rng.uniform(-1, 1, count).astype(np.float32), shape)

    def expected(self) -> NDArray[np.float64]:
        """The product in real numbers, (rows, columns), before any rounding of the output."""
        sums = self.data.astype(np.float64) @ self.weights.astype(np.float64).T
        return sums * self.data_scale * self.weight_scales if self.precision == Precision.INT8 else sums


class StartedProduct(Protocol):
    """A product that an engine has loaded, with its data in place."""

    ran_in: str
    """What the engine says it multiplies in: int8, float32, float16..."""

    def run(self) -> None:
        """Multiply once."""
        ...

    def result(self) -> NDArray[np.float32]:
        """What came out last, (rows, columns), in real numbers."""
        ...
