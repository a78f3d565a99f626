"""Why a fix might help, with the one figure that speaks for it most: unequal channels, far ranges, clipped values."""

from typing import Any

from fer_edge.convert.diagnose_fixes import Fix

Rows = dict[str, dict[str, Any]]
"""By point what was measured: `signal`, and `weights` or None."""
SPREAD, REACH, CLIPPED = 4.0, 2.0, 0.001
"""From which a figure speaks for a fix: largest over median channel, range over 99.99th percentile, share clipped."""


def evidence(fix: Fix, points: Rows) -> dict[str, Any]:
    """`why` in words, `evidence` as figure, point and value, and whether it is large enough to speak for the fix."""
    if fix.slower:
        why = "of these layers nothing is rounded but what int8 layers read"
        return {"why": why, "evidence": None, "indicated": True}
    signals = {name: row["signal"] for name, row in points.items()}
    weights = {name: row["weights"] for name, row in points.items() if row["weights"] is not None}
    if fix.name.startswith("per channel") or fix.name == "equalize":
        return _of_channels(weights)
    return _of_clipping(signals) if fix.calibrate or fix.recipe.ranges == "minmax" else _of_reach(signals)


def reasons(proposals: list[dict[str, Any]]) -> dict[str, list[str]]:
    """By what speaks for them, the names of the fixes."""
    found: dict[str, list[str]] = {}
    for row in proposals:
        found.setdefault(row["why"], []).append(row["fix"])
    return found


def reach(row: dict[str, Any]) -> float | None:
    """How far a range reaches beyond all but 0.01% of the values, on the side where that is worse."""
    if row["range"] is None:
        return None
    ends = [(end, seen) for end, seen in zip(row["range"], row["p99_99"], strict=True) if seen * end > 0]
    return max((end / seen for end, seen in ends), default=None)


def _of_channels(weights: Rows) -> dict[str, Any]:
    spreads = {name: row["spread"] for name, row in weights.items()}
    found = _largest("channel_spread", spreads, SPREAD)
    if found is None:
        return {"why": "no layer has weights in int8", "evidence": None, "indicated": False}
    row, value = weights[found["evidence"]["point"]], found["evidence"]["value"]
    why = f"{found['evidence']['point']}: its largest channel is {value:.3g} times the median one"
    lost = f", and {row['lost_channels']} of {row['channels']} channels round to 0" if row["lost_channels"] else ""
    return {"why": why + lost, **found}


def _of_reach(signals: Rows) -> dict[str, Any]:
    found = _largest("range_over_p99_99", {name: reach(row) for name, row in signals.items()}, REACH)
    if found is None:
        return {"why": "no values are rounded", "evidence": None, "indicated": False}
    point, value = found["evidence"]["point"], found["evidence"]["value"]
    return {"why": f"{point}: its range reaches {value:.3g} times as far as all but 0.01% of its values", **found}


def _of_clipping(signals: Rows) -> dict[str, Any]:
    found = _largest("clipped", {name: row["clipped"] for name, row in signals.items()}, CLIPPED)
    if found is None:
        return {"why": "no values are rounded", "evidence": None, "indicated": False}
    point, value = found["evidence"]["point"], found["evidence"]["value"]
    return {"why": f"{point}: {value:.2%} of its values on these images lie outside its range", **found}


def _largest(figure: str, values: dict[str, float | None], enough: float) -> dict[str, Any] | None:
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return None
    name = max(known, key=known.__getitem__)
    return {"evidence": {"figure": figure, "point": name, "value": known[name]}, "indicated": known[name] >= enough}
