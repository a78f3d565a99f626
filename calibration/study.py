"""What a calibration study says: trials to curves, and from which count on more images change nothing.

Pure functions. Must not know how a trial is run.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

KL_SHARE = 0.1
"""A mean KL within a tenth of the largest count's is no worse, however sure the difference is."""
RULE = (
    "the smallest count from which on two things hold: labels agree with float as often as at the largest count, and "
    "probabilities are as close to float's (mean KL), both but for the spread between seeds; the spread is the pooled "
    "standard deviation from that count on, for agreement one image at least, for KL a tenth of the largest count's"
)


@dataclass(frozen=True)
class Trial:
    """One quantized network on the validation images.

    `accuracy` and `agreement` with the float model's labels are fractions, `mean_kl` is in nats, `highs` and `lows` are
    the ranges' ends by point.
    """

    balance: str
    method: str
    count: int
    seed: int
    accuracy: float
    agreement: float
    mean_kl: float
    lows: dict[str, float]
    highs: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """For the JSON."""
        return asdict(self)


def spread_of(values: Sequence[float]) -> dict[str, float | None]:
    """Mean, standard deviation between seeds (None of a single one), least and greatest."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "sd": deviation, "low": float(min(values)), "high": float(max(values))}


def curves(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """A row for each balance, method and count, over its seeds, in the trials' order.

    `width` is how wide ranges are: the mean over points of high - low, each over the same point's at the largest count
    of the first balance by `minmax`, or by the first method where that was not tried.
    """
    widest = _widest(trials)
    groups: dict[tuple[str, str, int], list[Trial]] = {}
    for trial in trials:
        groups.setdefault((trial.balance, trial.method, trial.count), []).append(trial)
    return [
        {
            "balance": balance,
            "method": method,
            "count": count,
            "seeds": len(own),
            "accuracy": spread_of([t.accuracy for t in own]),
            "agreement": spread_of([t.agreement for t in own]),
            "mean_kl": spread_of([t.mean_kl for t in own]),
            "width": spread_of([_width(t, widest) for t in own]),
        }
        for (balance, method, count), own in groups.items()
    ]


def _widest(trials: Sequence[Trial]) -> dict[str, float]:
    """By point the mean width that others are compared with."""
    own = [t for t in trials if t.balance == trials[0].balance]
    method = "minmax" if any(t.method == "minmax" for t in own) else own[0].method
    own = [t for t in own if t.method == method]
    own = [t for t in own if t.count == max(t.count for t in own)]
    return {name: float(np.mean([t.highs[name] - t.lows[name] for t in own])) for name in own[0].highs}


def _width(trial: Trial, widest: dict[str, float]) -> float:
    return float(np.mean([(trial.highs[name] - trial.lows[name]) / widest[name] for name in widest]))


def enough(rows: Sequence[dict[str, Any]], images: int) -> dict[str, Any]:
    """What `RULE` says of one balance's and method's rows of `curves`.

    Args:
        rows: of ascending counts.
        images: that the agreement was measured on.

    Returns:
        `count`, None where only the largest would do: then the study has not seen enough; how far agreement is behind
        the largest count's at worst from there on (`agreement_loss`, a fraction, 0 where nowhere) and what is allowed
        (`agreement_spread`), and the same of KL in nats (`kl_excess`, `kl_allowed`).
    """
    last = rows[-1]
    for at in range(len(rows) - 1):
        later = rows[at:]
        loss = max(0.0, *(last["agreement"]["mean"] - row["agreement"]["mean"] for row in later))
        excess = max(0.0, *(row["mean_kl"]["mean"] - last["mean_kl"]["mean"] for row in later))
        spread = max(1 / images, _pooled(later, "agreement"))
        allowed = max(KL_SHARE * last["mean_kl"]["mean"], _pooled(later, "mean_kl"))
        if loss <= spread and excess <= allowed:
            found = {"agreement_loss": loss, "agreement_spread": spread, "kl_excess": excess, "kl_allowed": allowed}
            return {"count": rows[at]["count"], **found}
    keys = ("count", "agreement_loss", "agreement_spread", "kl_excess", "kl_allowed")
    return dict.fromkeys(keys)


def _pooled(rows: Sequence[dict[str, Any]], figure: str) -> float:
    """Standard deviation between seeds over several counts; 0 of single seeds."""
    deviations = [row[figure]["sd"] for row in rows if row[figure]["sd"] is not None]
    return math.sqrt(float(np.mean(np.square(deviations)))) if deviations else 0.0


def conclude(rows: Sequence[dict[str, Any]], images: int) -> dict[str, Any]:
    """Of `curves`: what is enough by balance and method, and which method comes closest to float.

    Methods are compared on the first balance, each at its largest count. `best` names the one with the smallest mean
    KL, which tells methods apart where labels hardly differ; of each of the `others` the KL as a multiple of the
    best's, how far its agreement is behind (negative: ahead), and the `spread` of both: under that is no difference.
    """
    pairs = list(dict.fromkeys((row["balance"], row["method"]) for row in rows))
    verdicts = []
    for balance, method in pairs:
        own = [row for row in rows if (row["balance"], row["method"]) == (balance, method)]
        verdicts.append({"balance": balance, "method": method, **enough(own, images)})
    first = pairs[0][0]
    most = {method: _largest(rows, first, method) for balance, method in pairs if balance == first}
    best = min(most, key=lambda method: float(most[method]["mean_kl"]["mean"]))
    others = [_against(most[best], row, images) for method, row in most.items() if method != best]
    return {"rule": RULE, "enough": verdicts, "best": {"balance": first, "method": best, "others": others}}


def _against(best: dict[str, Any], row: dict[str, Any], images: int) -> dict[str, Any]:
    least = best["mean_kl"]["mean"]
    return {
        "method": row["method"],
        "kl_ratio": row["mean_kl"]["mean"] / least if least > 0 else None,
        "behind": best["agreement"]["mean"] - row["agreement"]["mean"],
        "spread": max(1 / images, math.hypot(row["agreement"]["sd"] or 0, best["agreement"]["sd"] or 0)),
    }


def _largest(rows: Sequence[dict[str, Any]], balance: str, method: str) -> dict[str, Any]:
    own = [row for row in rows if (row["balance"], row["method"]) == (balance, method)]
    return max(own, key=lambda row: int(row["count"]))
