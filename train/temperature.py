"""The temperature, one number that divides the logits so that the probabilities fit (Guo et al. 2017), with interval.

Pure functions of logits and labels. It changes no label. The images that fit it must not be those that judge it.
"""

from dataclasses import dataclass
from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray

from fer_edge.train.intervals import Z

LOWEST, HIGHEST = 0.01, 100.0
"""A temperature outside says that there is none: all images are named rightly, or no better than by chance."""

Logits = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Temperature:
    """The temperature, and the ends of its 95% interval."""

    value: float
    low: float
    high: float


def log_probabilities(logits: Logits, temperature: float = 1.0) -> NDArray[np.float64]:
    """Natural logarithms (N, 7) of the softmax of logits / temperature; finite for any finite input."""
    scaled = logits.astype(np.float64) / temperature
    shifted = scaled - scaled.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def nll_by_image(logits: Logits, labels: NDArray[np.uint8], temperature: float = 1.0) -> NDArray[np.float64]:
    """Negative log-likelihood (N,) of the true emotions, in nats."""
    return -log_probabilities(logits, temperature)[np.arange(len(labels)), labels]


def fit_temperature(logits: Logits, labels: NDArray[np.uint8]) -> Temperature | None:
    """The temperature with the least mean negative log-likelihood; None where none between LOWEST and HIGHEST has it.

    In b = 1 / temperature the likelihood of these logits is convex, so its slope has one zero, found by halving. The
    interval is that of log b, from the sandwich variance (Huber 1967, White 1982): the spread of the images' slopes
    over the square of the curvature, which holds though one temperature never is the whole truth.

    Args:
        logits: (N, 7).
        labels: (N,) true emotions.
    """
    z = logits.astype(np.float64)
    low, high = 1 / HIGHEST, 1 / LOWEST
    if len(labels) == 0 or _slopes(z, labels, low).mean() >= 0 or _slopes(z, labels, high).mean() <= 0:
        return None
    for _ in range(80):
        b = sqrt(low * high)
        if _slopes(z, labels, b).mean() < 0:
            low = b
        else:
            high = b
    b = sqrt(low * high)
    p = np.exp(log_probabilities(z, 1 / b))
    curvature = float(((p * z**2).sum(1) - (p * z).sum(1) ** 2).mean())
    spread = sqrt(float((_slopes(z, labels, b) ** 2).mean()) / len(labels)) / curvature / b
    return Temperature(1 / b, exp(-Z * spread) / b, exp(Z * spread) / b)


def consistent_temperature(logits: Logits, labels: NDArray[np.uint8]) -> Temperature | None:
    """The temperature at which the mean confidence is the share that is named rightly; None where none has it.

    Expectation consistency (Clarté et al. 2023, "Expectation consistency for calibration of neural networks"). Where
    labels are noisy and the training smoothed them, one temperature cannot fit all seven probabilities; that of the
    least likelihood then buys the others' fit with a confidence that is too high, and this one looks at the confidence
    alone. The interval is that of log b, b = 1 / temperature: the spread of confidence less right over its slope.

    Args:
        logits: (N, 7).
        labels: (N,) true emotions.
    """
    z = logits.astype(np.float64)
    right = z.argmax(axis=1) == labels if len(labels) else np.zeros(0, bool)
    low, high = 1 / HIGHEST, 1 / LOWEST
    if len(labels) == 0 or not _confidence(z, low).mean() < right.mean() < _confidence(z, high).mean():
        return None
    for _ in range(80):
        b = sqrt(low * high)
        if _confidence(z, b).mean() < right.mean():
            low = b
        else:
            high = b
    b = sqrt(low * high)
    p = np.exp(log_probabilities(z, 1 / b))
    confidence = p.max(axis=1)
    slope = float((confidence * (z.max(axis=1) - (p * z).sum(axis=1))).mean())
    spread = float((confidence - right).std()) / sqrt(len(labels)) / slope / b
    return Temperature(1 / b, exp(-Z * spread) / b, exp(Z * spread) / b)


def _confidence(z: NDArray[np.float64], b: float) -> NDArray[np.float64]:
    return np.asarray(np.exp(log_probabilities(z, 1 / b)).max(axis=1))


def _slopes(z: NDArray[np.float64], labels: NDArray[np.uint8], b: float) -> NDArray[np.float64]:
    """Derivatives (N,) of each image's negative log-likelihood in b: the mean logit less that of the true emotion."""
    p = np.exp(log_probabilities(z, 1 / b))
    return np.asarray((p * z).sum(1) - z[np.arange(len(labels)), labels])
