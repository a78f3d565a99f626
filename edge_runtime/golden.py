"""Golden vectors: do the logits that were written down when the bundle was made come out on this machine?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.bundle import Variant
from fer_edge.edge_runtime.vocabulary import Precision


@dataclass(frozen=True, slots=True)
class Replay:
    """Outcome of one variant's replay; differences are in logits."""

    faces: int
    labels_differing: int
    max_difference: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether every logit is within the tolerance and every label that is not a tie is the same."""
        return self.labels_differing == 0 and self.max_difference <= self.tolerance


def tolerance_of(variant: Variant, expected: NDArray[np.float32]) -> float:
    """How far logits may lie from those expected.

    Int8 kernels differ between processors by a step here and there: one step of the output is allowed, which is its
    scale where the file says it, else 1/255 of the range that the expected logits span. Float is held to 1e-3 of it.
    """
    span = float(np.ptp(expected))
    if variant.precision == Precision.INT8:
        # A manifest cannot widen it at will: int8 spreads 255 steps over at least the span, so no step is much wider.
        step = min(variant.quantization[1].scale, span / 64) if variant.quantization else span / 255
        return step * 1.01
    return span * (1e-3 if variant.precision == Precision.FLOAT32 else 1e-2)


def compare(variant: Variant, expected: NDArray[np.float32], got: NDArray[np.float32]) -> Replay:
    """Compare logits (K, 7) with those expected; a label may differ only where the best two are that close."""
    tolerance = tolerance_of(variant, expected)
    best_two = np.sort(expected, axis=1)[:, -2:]
    clear = best_two[:, 1] - best_two[:, 0] > 2 * tolerance
    differing = (expected.argmax(1) != got.argmax(1)) & clear
    return Replay(len(expected), int(differing.sum()), float(np.abs(expected - got).max()), tolerance)
