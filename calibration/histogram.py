"""A histogram that grows with its values: one pass over any number of activations, in bounded memory.

The width of a bin is a power of two and bins start at multiples of it. So two histograms add exactly, whatever their
ranges, and the result depends on the values alone, not on their order or on how they were divided.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 4096
"""On each side of zero. The larger side fills at least half of them, 2048: as many as Migacz (2017) takes."""
_LEAST_EXPONENT = -126
"""float32's smallest normal number: nothing narrower can be told apart, and zeros alone need a width, too."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of values by bin, how many were exactly zero (they are in the counts, too), and the true extremes.

    `counts` (2 * BINS,) int64: bin i holds values from (i - BINS) * width up to, not including, the next bin's start.
    """

    counts: NDArray[np.int64]
    exponent: int
    zeros: int
    minimum: float
    maximum: float

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> "Histogram":
        """The histogram of an array of any shape.

        Raises:
            ValueError: there are no values, or one is not a finite number.
        """
        if values.size == 0:
            raise ValueError("expected values to count, got none")
        minimum, maximum = float(values.min()), float(values.max())
        if not (math.isfinite(minimum) and math.isfinite(maximum)):
            raise ValueError("expected finite values, got NaN or infinity")
        exponent = _exponent(max(-minimum, maximum))
        places = np.floor(np.ravel(values) * np.float32(2.0**-exponent)).astype(np.int32) + BINS
        counts = np.bincount(places, minlength=2 * BINS).astype(np.int64)
        return cls(counts, exponent, values.size - int(np.count_nonzero(values)), minimum, maximum)

    @property
    def width(self) -> float:
        """Of a bin, in the activation's unit."""
        return 2.0**self.exponent

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    def edges(self) -> NDArray[np.float64]:
        """Where bins start and end, (2 * BINS + 1,)."""
        return np.arange(-BINS, BINS + 1, dtype=np.float64) * self.width

    def coarser(self, exponent: int) -> "Histogram":
        """The same in bins of width 2**exponent, which is this one's or wider."""
        if exponent == self.exponent:
            return self
        filled = np.flatnonzero(self.counts)
        places = ((filled - BINS) >> min(exponent - self.exponent, 62)) + BINS
        counts = np.zeros_like(self.counts)
        np.add.at(counts, places, self.counts[filled])
        return Histogram(counts, exponent, self.zeros, self.minimum, self.maximum)

    def __add__(self, other: "Histogram") -> "Histogram":
        exponent = max(self.exponent, other.exponent)
        return Histogram(
            self.coarser(exponent).counts + other.coarser(exponent).counts,
            exponent,
            self.zeros + other.zeros,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
        )


def _exponent(largest: float) -> int:
    """The least power of two that as width of a bin takes `largest` into the outermost bin or further in."""
    return max(math.frexp(largest)[1] - int(math.log2(BINS)), _LEAST_EXPONENT) if largest else _LEAST_EXPONENT
