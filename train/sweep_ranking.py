"""Which setting of a sweep comes first: mean, spread and interval over seeds. Pure functions of a sweep's trials.

A setting takes part once all its seeds have come to their end: where early stopping keeps the lucky seeds of a setting
alone, their mean would flatter it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from fer_edge.train.intervals import CONFIDENCE
from fer_edge.train.sweep_search import HIGHER_IS_BETTER


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation and Student's 95% interval of the mean; with one value the latter two are None.

    The interval is for the next seed's *mean*: it says how well the mean is known, the deviation how far seeds differ.
    """
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return {"values": list(values), "mean": mean, "deviation": None, "interval": None}
    deviation = float(np.std(values, ddof=1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * deviation / n**0.5
    return {"values": list(values), "mean": mean, "deviation": deviation, "interval": [mean - half, mean + half]}


def ranking(trials: Sequence[dict[str, Any]], metric: str) -> dict[str, Any]:
    """Settings by the mean of `metric` over their seeds, best first, and those that take no part with the reason.

    By `int8_accuracy` each training setting comes once with every quantization setting.
    """
    rows, left_out = [], []
    groups: dict[str, list[dict[str, Any]]] = {}
    for trial in trials:
        groups.setdefault(trial["setting"], []).append(trial)
    for setting, own in groups.items():
        ended = [trial for trial in own if trial["status"] == "finished"]
        if len(ended) < len(own):
            left_out.append({"setting": setting, "quantization": None, "why": _why(own)})
            continue
        for quantization in _quantizations(own) if metric == "int8_accuracy" else [None]:
            values = [_value(trial, metric, quantization) for trial in own]
            if any(value is None for value in values):
                why = f"{metric} is missing with {values.count(None)} of {len(values)} seeds"
                left_out.append({"setting": setting, "quantization": quantization, "why": why})
                continue
            seeds = [trial["seed"] for trial in own]
            figures = over_seeds([float(value) for value in values if value is not None])
            rows.append({"setting": setting, "quantization": quantization, "seeds": seeds, **figures})
    rows.sort(key=lambda row: row["mean"], reverse=HIGHER_IS_BETTER[metric])
    return {"metric": metric, "rows": rows, "left_out": left_out}


def not_told_apart(made: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows after the first whose interval reaches into the first's: more seeds could turn them round.

    Without an interval, of one seed, nothing is told apart from anything.
    """
    first, *others = made["rows"]
    if first["interval"] is None:
        return others
    return [row for row in others if row["interval"] is None or _overlap(first["interval"], row["interval"])]


def _overlap(one: list[float], other: list[float]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def _quantizations(own: Sequence[dict[str, Any]]) -> list[str]:
    return [entry["name"] for entry in own[0]["quantized"]]


def _value(trial: dict[str, Any], metric: str, quantization: str | None) -> float | None:
    if quantization is None:
        return trial[metric]
    return next(entry["accuracy"] for entry in trial["quantized"] if entry["name"] == quantization)


def _why(own: Sequence[dict[str, Any]]) -> str:
    counts = {status: sum(trial["status"] == status for trial in own) for status in ("failed", "stopped", "waiting")}
    words = {"failed": "failed", "stopped": "were stopped early", "waiting": "have not ended"}
    return ", ".join(f"{count} of {len(own)} seeds {words[status]}" for status, count in counts.items() if count)
