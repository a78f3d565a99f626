"""Which layer is to blame: a rule over what was measured, stated in full in `RULE`. Runs no model.

"Nothing is wrong", "no single layer" and "these two cannot be told apart" are answers, too.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.convert.diagnose_trials import Judge, Outcome, larger
from fer_edge.train.intervals import wilson

HEALTHY_AGREEMENT = 0.97
LEAST_SHARE = 0.5
"""Of the loss, that a layer must win back to be named."""
ALIKE_SHARE = 0.05
"""Of the loss: differences under it are none."""
MOST_TOGETHER = 3
FAITHFUL = (0.02, 0.25)
RULE = (
    "Loss is the mean KL of int8 from float. The emulation must give the variant's own labels on all but "
    f"{FAITHFUL[0]:.0%} of the images, or all but {FAITHFUL[1]:.0%} of those that int8 changes. Nothing is wrong where "
    f"{HEALTHY_AGREEMENT:.0%} of the labels are the float model's and no loss of accuracy is shown. Else a layer is "
    f"named that, left in float, wins back {LEAST_SHARE:.0%} of the loss or more, at 95% for all layers together. Of "
    "several such, those stay that win back most, then those that cost most alone in int8; differences that the images "
    f"do not show, or under {ALIKE_SHARE:.0%} of the loss, are none. Without such a layer, up to {MOST_TOGETHER} "
    "together are named by the same measure, in order of what each costs alone."
)


def fidelity(emulated: NDArray[np.int64], real: NDArray[np.int64], reference: NDArray[np.int64]) -> dict[str, Any]:
    """How far the emulation is the variant: labels (N,) of both, and of the float model."""
    n, other, lost = len(real), int((emulated != real).sum()), int((real != reference).sum())
    return {
        "agreement": 1 - other / n,
        "agreement_interval": list(wilson(n - other, n)),
        "allowed": max(FAITHFUL[0], FAITHFUL[1] * lost / n),
        "faithful": other / n <= max(FAITHFUL[0], FAITHFUL[1] * lost / n),
    }


@dataclass(frozen=True, eq=False)
class Trials:
    """Outcomes of the whole variant, of each point left in float, and of each alone in int8."""

    whole: Outcome
    left_out: dict[str, Outcome]
    alone: dict[str, Outcome]

    @property
    def loss(self) -> float:
        """Mean KL of the variant from the float model, in nats."""
        return float(self.whole.kl.mean())

    def gain(self, name: str) -> NDArray[np.float64]:
        """What leaving a point in float wins back, by image."""
        return self.whole.kl - self.left_out[name].kl


def is_healthy(judge: Judge, whole: Outcome, reference: Outcome) -> bool:
    """Whether nearly all labels are the float model's and no loss of accuracy is shown."""
    lowest_drop = judge.interval(reference.right - whole.right)[0]
    return float(whole.agrees.mean()) >= HEALTHY_AGREEMENT and lowest_drop <= 0


def guilty(judge: Judge, trials: Trials) -> list[str]:
    """The layer to blame; several that cannot be told apart; or none."""
    tests = max(len(trials.left_out), 1)
    named = [
        name
        for name in trials.left_out
        if trials.gain(name).mean() >= LEAST_SHARE * trials.loss and judge.interval(trials.gain(name), tests)[0] > 0
    ]
    named = _most(judge, {name: trials.gain(name) for name in named}, trials.loss)
    return _most(judge, {name: trials.alone[name].kl for name in named}, trials.loss)


def _most(judge: Judge, values: dict[str, NDArray[np.float64]], loss: float) -> list[str]:
    """Those that cannot be told from the largest."""
    if not values:
        return []
    best = max(values, key=lambda name: float(values[name].mean()))
    return [name for name, value in values.items() if name == best or alike(judge, values[best], value, loss)]


def alike(judge: Judge, first: NDArray[np.float64], second: NDArray[np.float64], loss: float) -> bool:
    """Whether the first is no larger than the second, as far as the images show or as far as it matters."""
    return float((first - second).mean()) < ALIKE_SHARE * loss or not larger(judge, first, second)


def suspects(trials: Trials) -> list[str]:
    """Points by what they cost alone in int8, the dearest first."""
    return sorted(trials.alone, key=lambda name: -float(trials.alone[name].kl.mean()))


def sentences(made: dict[str, Any]) -> list[str]:
    """The verdict and the proposal for people."""
    verdict, emulation = made["verdict"], made["emulation"]
    says = [_verdict_sentence(made["variant"], verdict, emulation)]
    if verdict["kind"] == "refused":
        return says
    best = next((row for row in made["proposals"] if row["recommended"]), None)
    if verdict["kind"] == "healthy":
        return says + _most_of_little(made["points"])
    if best is None:
        return [*says, "No change that was tried wins back a quarter of the loss; train again, or judge by float."]
    share = min(best["emulated"]["share_of_loss"], 1)
    after = f"{best['emulated']['agreement']:.1%} of the labels would be the float model's"
    change = best["fix"] + (" (without --per-tensor)" if best["fix"].startswith("per channel") else "")
    return [*says, f"Convert again with: {change}. It wins back {share:.0%} of the loss; {after}."]


def _most_of_little(points: list[dict[str, Any]]) -> list[str]:
    """Of a healthy variant the point that makes most of what little is lost, if there is one."""
    most = max(points, key=lambda row: row["left_out"]["share_of_loss"] or 0)
    share = most["left_out"]["share_of_loss"] or 0
    if share < LEAST_SHARE or not most["left_out"]["significant"]:
        return []
    return [f"Of the little that differs, {min(share, 1):.0%} comes from {most['name']}."]


def _verdict_sentence(variant: str, verdict: dict[str, Any], emulation: dict[str, Any]) -> str:
    who = " and ".join(verdict["points"])
    share = verdict["share_of_loss"]
    won = "" if share is None else f"{min(share, 1):.0%} of the loss"
    words = {"weights": "its weights", "range": "the range of its values", None: "weights and range together"}
    part = words[next(iter(verdict["parts"].values()), None)]
    return {
        "refused": (
            f"No layer is blamed: the emulation gives {variant}'s own label on {emulation['agreement']:.1%} of the "
            "images, so what is lost does not come from the scales and weights in its file."
        ),
        "healthy": (
            f"Nothing stands out in {variant}: on these images nearly all labels are the float model's, "
            "and no loss of accuracy is shown."
        ),
        "layer": f"{who} is to blame, by {part}: left in float it wins back {won}.",
        "tie": f"{who} cannot be told apart: either of them, left in float, wins back {won} or more.",
        "several": f"No layer alone is to blame, but {who} are together: left in float they win back {won}.",
        "spread": f"No layer is to blame: what {variant} loses is spread over many.",
    }[verdict["kind"]]
