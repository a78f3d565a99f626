"""Several evaluated models against one another: a row each, who is on the front, and tests between the leaders.

Pure functions of evaluations: no file, no framework.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from fer_edge.train.intervals import holm, mcnemar_exact, score_interval_pp
from fer_edge.train.ranking_read import Evaluated

SCHEMA = 1
ALPHA = 0.05
COSTS = ("macs", "size_bytes")
"""What accuracy is set against."""


def ranking(evaluated: Sequence[Evaluated], leaders: int) -> dict[str, Any]:
    """The report, but for when and how it was made.

    Args:
        evaluated: two or more, the most accurate first, as `read_all` gives them.
        leaders: how many of the first are tested against one another, in all pairs.
    """
    first = evaluated[0].made
    rows = [_row(one) for one in evaluated]
    for cost in COSTS:
        on = on_front([(row["accuracy"], row[cost]) for row in rows])
        for row, yes in zip(rows, on, strict=True):
            row["on_front"][cost] = yes
    leading = evaluated[:leaders]
    return {
        "schema": SCHEMA,
        "data": {key: first["data"].get(key) for key in ("sha256", "split", "source", "images", "left_out")},
        "classes": first["classes"],
        "models": rows,
        "leaders": [one.name for one in leading],
        "pairs": pairs(leading),
        "side_by_side": None,
    }


def on_front(points: Sequence[tuple[float, float | None]]) -> list[bool | None]:
    """Which models no other beats: is at least as accurate at no more cost, and better in one of the two.

    Args:
        points: accuracy and cost of each; a cost of None was not measured.

    Returns:
        By model; None where its cost is not known.
    """

    def beaten(accuracy: float, cost: float) -> bool:
        return any(
            other >= accuracy and price <= cost and (other > accuracy or price < cost)
            for other, price in points
            if price is not None
        )

    return [None if cost is None else not beaten(accuracy, cost) for accuracy, cost in points]


def pairs(leading: Sequence[Evaluated]) -> list[dict[str, Any]]:
    """All pairs of the leaders, image by image: exact McNemar with Holm over the pairs, Tango's interval.

    Returns:
        `{"better", "other", "only_better", "only_other", "difference_pp", "interval_pp", "mcnemar_p",
        "mcnemar_p_holm", "differ"}` each; the interval is not adjusted.
    """
    made: list[dict[str, Any]] = []
    for better, other in combinations(leading, 2):
        mine, theirs = better.right, other.right
        lost, won, n = int((mine & ~theirs).sum()), int((theirs & ~mine).sum()), len(mine)
        made.append(
            {
                "better": better.name,
                "other": other.name,
                "only_better": lost,
                "only_other": won,
                "difference_pp": (lost - won) * 100 / n,
                "interval_pp": list(score_interval_pp(lost, won, n)),
                "mcnemar_p": mcnemar_exact(lost, won),
            }
        )
    for pair, adjusted in zip(made, holm([pair["mcnemar_p"] for pair in made]), strict=True):
        pair |= {"mcnemar_p_holm": adjusted, "differ": adjusted < ALPHA}
    return made


def _row(one: Evaluated) -> dict[str, Any]:
    made, what = one.made, one.made["what"]
    machine, training = made.get("machine") or {}, made.get("training")
    return {
        "name": one.name,
        **{key: what.get(key) for key in ("kind", "model", "variant", "precision", "identity")},
        "evaluation": str(one.path),
        **{key: made[key] for key in ("accuracy", "accuracy_interval")},
        "macro_f1": made["macro"]["f1"],
        "worst_class": made["worst_class"],
        "by_class": {
            name: {key: of.get(key) for key in ("recall", "recall_interval", "support")}
            for name, of in made["by_class"].items()
        },
        "ece": (made.get("confidence") or {}).get("ece"),
        "robustness": made.get("robustness"),
        "seed": made.get("seed"),
        **{key: made.get(key) for key in ("parameters", *COSTS, "latency_ms")},
        "training": training and {key: training.get(key) for key in ("epochs_run", "seconds")},
        "on_front": {},
        "machine": {key: machine.get(key) for key in ("cpu", "usable_cores")},
        "evaluated_at": made.get("made_at"),
    }
