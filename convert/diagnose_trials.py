"""What each part of an int8 variant costs: left in float by itself, and in int8 by itself. Names nobody guilty.

Every trial runs on the same images, so that differences are of pairs and their intervals are narrow.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.convert.emulate import Emulation
from fer_edge.convert.float_graph import FloatGraph
from fer_edge.convert.judge_logits import kl_by_image
from fer_edge.convert.scheme import Floats, Part, Scheme
from fer_edge.train.intervals import RESAMPLES

Interval = tuple[float, float]
_ERROR = 0.05


@dataclass(frozen=True, eq=False)
class Outcome:
    """A model's logits, image by image, against the float model's and the truth."""

    kl: NDArray[np.float64]
    agrees: NDArray[np.float64]
    right: NDArray[np.float64]

    def as_dict(self) -> dict[str, float]:
        """Means over the images."""
        return {
            "kl": float(self.kl.mean()),
            "agreement": float(self.agrees.mean()),
            "accuracy": float(self.right.mean()),
        }


@dataclass(frozen=True, eq=False)
class Judge:
    """The images: faces (N, 48, 48), labels (N,), and what the float graph says of them, (N, 7)."""

    graph: FloatGraph
    faces: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    seed: int = 0

    @cached_property
    def reference(self) -> Floats:
        """The float graph's logits."""
        return Emulation(self.graph, Scheme({}, {}), ()).logits(self.faces)

    def of(self, logits: Floats) -> Outcome:
        """The outcome of a model that gave these logits."""
        ours = logits.argmax(1)
        kl = kl_by_image(self.reference, logits)
        agrees, right = ours == self.reference.argmax(1), ours == self.labels
        return Outcome(kl, agrees.astype(np.float64), right.astype(np.float64))

    def trial(self, scheme: Scheme, parts: Collection[Part], graph: FloatGraph | None = None) -> Outcome:
        """The outcome with these parts in int8; of another `graph` where its weights were changed."""
        return self.of(Emulation(graph or self.graph, scheme, parts).logits(self.faces))

    @cached_property
    def _draws(self) -> NDArray[np.float32]:
        """How often each image is in each of the bootstrap's resamples, as shares: (RESAMPLES, N)."""
        n = len(self.faces)
        rng = np.random.default_rng(self.seed)
        return (rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n).astype(np.float32)

    def intervals(self, differences: NDArray[np.float64], tests: int = 1) -> list[Interval]:
        """Percentile bootstrap intervals of the means of columns (N, K).

        They hold 95% each or, with `tests` of them looked at together, 95% for all at once (Bonferroni).
        """
        means = self._draws @ differences.astype(np.float32)
        low, high = np.percentile(means, (50 * _ERROR / tests, 100 - 50 * _ERROR / tests), axis=0)
        return list(zip(low.tolist(), high.tolist(), strict=True))

    def interval(self, differences: NDArray[np.float64], tests: int = 1) -> Interval:
        """The same of one column (N,)."""
        return self.intervals(differences[:, None], tests)[0]

    def share(self, part: NDArray[np.float64], loss: NDArray[np.float64]) -> dict[str, Any]:
        """Which share of a loss (N,) a part (N,) is, with the interval of the quotient; None where nothing is lost."""
        if not loss.mean() > 0:
            return {"share_of_loss": None, "share_interval": None}
        parts, losses = self._draws @ part.astype(np.float32), self._draws @ loss.astype(np.float32)
        quotients = parts / np.maximum(losses, np.finfo(np.float32).tiny)
        low, high = np.percentile(quotients, (50 * _ERROR, 100 - 50 * _ERROR))
        return {"share_of_loss": float(part.mean() / loss.mean()), "share_interval": [float(low), float(high)]}


def leave_one_out(
    judge: Judge, scheme: Scheme, names: Collection[str], step: Callable[[str], None]
) -> dict[str, Outcome]:
    """By point the outcome with it in float, weights and range, and all else in int8."""
    every = scheme.parts()
    found = {}
    for name in names:
        step(f"leaving {name} in float")
        found[name] = judge.trial(scheme, [part for part in every if part[0] != name])
    return found


def won_back(judge: Judge, whole: Outcome, trial: Outcome, tests: int = 1) -> dict[str, Any]:
    """What a change gains over the variant as it is: KL in nats, labels and accuracy in points, with intervals."""
    gain = whole.kl - trial.kl
    same, right = (trial.agrees - whole.agrees) * 100, (trial.right - whole.right) * 100
    intervals = judge.intervals(np.stack([gain, same, right], axis=1))
    return {
        **trial.as_dict(),
        "kl_gain": float(gain.mean()),
        "kl_gain_interval": list(intervals[0]),
        "significant": judge.interval(gain, tests)[0] > 0,
        **judge.share(gain, whole.kl),
        "agreement_gain_pp": float(same.mean()),
        "agreement_gain_interval_pp": list(intervals[1]),
        "accuracy_gain_pp": float(right.mean()),
        "accuracy_gain_interval_pp": list(intervals[2]),
    }


def costs_alone(judge: Judge, whole: Outcome, trial: Outcome, tests: int = 1) -> dict[str, Any]:
    """What a point costs by itself, against the float model."""
    return {
        **trial.as_dict(),
        "kl_interval": list(judge.interval(trial.kl)),
        "significant": judge.interval(trial.kl, tests)[0] > 0,
        **judge.share(trial.kl, whole.kl),
    }


def larger(judge: Judge, first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    """Whether the first's mean is larger, by the interval of the paired difference."""
    return judge.interval(first - second)[0] > 0
