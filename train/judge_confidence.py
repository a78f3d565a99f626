"""Whether the confidence can be believed: calibration error, likelihood, reliability, before and after a temperature.

Pure functions of logits and labels. The confidence is the probability of the emotion that is named.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.train.intervals import wilson
from fer_edge.train.temperature import Logits, fit_temperature, log_probabilities, nll_by_image

BINS = 15
"""Of equal width, as in Guo et al. 2017; and as many of equal numbers of images."""
RESAMPLES = 2000
BY_CHANCE = 1000

Shares = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scored:
    """One model's confidences (N,), whether they were right (N,), and the true emotions' likelihoods (N,) in nats."""

    confidence: Shares
    right: NDArray[np.bool_]
    nll: Shares
    brier: float


def scored(logits: Logits, labels: NDArray[np.uint8], temperature: float = 1.0) -> Scored:
    """What logits (N, 7) say at a temperature, against the true emotions (N,)."""
    p = np.exp(log_probabilities(logits, temperature))
    off = p.copy()
    off[np.arange(len(labels)), labels] -= 1
    right = logits.argmax(1) == labels
    return Scored(p.max(1), right, nll_by_image(logits, labels, temperature), float((off**2).sum(1).mean()))


def equal_width(confidence: Shares) -> NDArray[np.int64]:
    """Number of the bin (N,) of each confidence, 0 to BINS - 1; a bin holds its upper end."""
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


def equal_mass(confidence: Shares) -> NDArray[np.int64]:
    """The same with bins that hold as many images each, up to one."""
    rank = np.argsort(np.argsort(confidence, kind="stable"), kind="stable")
    return rank * BINS // max(1, len(confidence))


def calibration_error(confidence: Shares, right: NDArray[np.bool_], bins: NDArray[np.int64]) -> float:
    """Expected calibration error: mean distance of accuracy and confidence of the bins, by their number of images."""
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def reliability(of: Scored) -> list[dict[str, Any]]:
    """The bins of equal width: `low`, `high`, `images`, mean `confidence`, `accuracy` with Wilson's interval."""
    bins, rows = equal_width(of.confidence), []
    for at in range(BINS):
        own = bins == at
        n = int(own.sum())
        rows.append(
            {
                "low": at / BINS,
                "high": (at + 1) / BINS,
                "images": n,
                "confidence": float(of.confidence[own].mean()) if n else None,
                "accuracy": float(of.right[own].mean()) if n else None,
                "accuracy_interval": list(wilson(int(of.right[own].sum()), n)) if n else None,
            }
        )
    return rows


def error_if_calibrated(of: Scored, seed: int = 0) -> dict[str, float]:
    """Calibration error that these images would show if each confidence were true: `mean` and `p95` of chance alone.

    An error is a mean of distances and never 0 (Bröcker and Smith 2007, consistency resampling).
    """
    rng = np.random.default_rng([seed, 7])
    bins, n = equal_width(of.confidence), len(of.confidence)
    member = np.eye(BINS)[bins]
    gaps = np.concatenate(
        [((rng.random((50, n)) < of.confidence) - of.confidence) @ member for _ in range(BY_CHANCE // 50)]
    )
    errors = np.abs(gaps).sum(1) / n
    return {"mean": float(errors.mean()), "p95": float(np.quantile(errors, 0.95))}


def summary(of: Scored) -> dict[str, Any]:
    """`nll` in nats, `brier` (sum over the emotions), `ece`, `ece_equal_mass`, `ece_if_calibrated`, `reliability`."""
    return {
        "nll": float(of.nll.mean()),
        "brier": of.brier,
        "mean_confidence": float(of.confidence.mean()),
        "ece": calibration_error(of.confidence, of.right, equal_width(of.confidence)),
        "ece_equal_mass": calibration_error(of.confidence, of.right, equal_mass(of.confidence)),
        "ece_if_calibrated": error_if_calibrated(of),
        "reliability": reliability(of),
    }


def rise(own: Scored, reference: Scored, seed: int = 0) -> dict[str, Any]:
    """How much greater the variant's error and likelihood are, with intervals of a paired bootstrap."""
    n = len(own.right)
    rng = np.random.default_rng([seed, 8])
    gaps = np.concatenate([_gaps(own), _gaps(reference)], axis=1)
    nll = own.nll - reference.nll
    errors, likelihoods = np.empty(RESAMPLES), np.empty(RESAMPLES)
    for at in range(RESAMPLES):
        times = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)
        total = np.abs(times @ gaps)
        errors[at] = (total[:BINS].sum() - total[BINS:].sum()) / n
        likelihoods[at] = times @ nll / n
    seen = [calibration_error(m.confidence, m.right, equal_width(m.confidence)) for m in (own, reference)]
    return {
        "ece": seen[0] - seen[1],
        "ece_interval": np.percentile(errors, (2.5, 97.5)).tolist(),
        "nll": float(nll.mean()),
        "nll_interval": np.percentile(likelihoods, (2.5, 97.5)).tolist(),
    }


def _gaps(of: Scored) -> Shares:
    """Right less confidence of each image, in the column of its bin: (N, BINS)."""
    return np.asarray(np.eye(BINS)[equal_width(of.confidence)] * (of.right - of.confidence)[:, None])


@dataclass(frozen=True, eq=False)
class Halves:
    """The logits (N, 7) and labels (N,) that fit a temperature, and those that judge it: no image is in both."""

    fit: Logits
    fit_labels: NDArray[np.uint8]
    judge: Logits
    judge_labels: NDArray[np.uint8]


def judge_confidence(models: dict[str, Halves], reference: str) -> dict[str, dict[str, Any]]:
    """By model: `temperature` with interval, `before` and `after` it, and how much either is above the reference's.

    Args:
        models: by name, all on the same images, the reference among them.
        reference: its name.
    """
    fitted = {name: fit_temperature(of.fit, of.fit_labels) for name, of in models.items()}
    before = {name: scored(of.judge, of.judge_labels) for name, of in models.items()}
    after = {
        name: scored(of.judge, of.judge_labels, t.value) if (t := fitted[name]) is not None else None
        for name, of in models.items()
    }
    made: dict[str, dict[str, Any]] = {}
    for name, found in fitted.items():
        mine, yours = after[name], after[reference]
        made[name] = {
            "temperature": None if found is None else found.value,
            "temperature_interval": None if found is None else [found.low, found.high],
            "before": summary(before[name]),
            "after": None if mine is None else summary(mine),
            "rise_before": None if name == reference else rise(before[name], before[reference]),
            "rise_after": None if name == reference or mine is None or yours is None else rise(mine, yours),
        }
    return made
