"""The table of float against int8, shared by `convert` and `compare`."""

from typing import Any


def print_judgement(made: dict[str, Any]) -> None:
    """Accuracy and drop with intervals; agreement, flips both ways, McNemar and verdict; recall by emotion."""
    from fer_edge.cli.screen import table

    reference, data = made["reference"], made["data"]
    margin = reference["max_drop_pp"]
    title = (
        f"against {reference['name']}, {reference['accuracy']:.2%} on {data['images']:,} {data['split']} images "
        f"of {data['source']}"
    )
    columns = ["variant", "top-1", "95% interval", "drop, pp", "95% interval"]
    table(title, columns, [_accuracy(name, row) for name, row in made["variants"].items()])
    columns = ["variant", "agree", "flips -/+", "McNemar p", f"loses < {margin:g} pp"]
    table("label by label", columns, [_flips(name, row) for name, row in made["variants"].items()])
    emotions = list(reference["recall"])
    recalls = [
        [name, *(_percent(row["recall"][e]["recall"]) for e in emotions)]
        for name, row in {reference["name"]: reference, **made["variants"]}.items()
    ]
    counts = ["images", *(f"{reference['recall'][e]['images']:,}" for e in emotions)]
    table("recall by emotion, %", ["variant", *emotions], [*recalls, counts])


def _accuracy(name: str, row: dict[str, Any]) -> list[str]:
    low, high = row["accuracy_interval"]
    drop_low, drop_high = row["drop_interval_pp"]
    interval = f"{drop_low:+.2f}..{drop_high:+.2f}"
    return [name, f"{row['accuracy']:.2%}", f"{low:.2%}..{high:.2%}", f"{row['drop_pp']:+.2f}", interval]


def _flips(name: str, row: dict[str, Any]) -> list[str]:
    both = f"{row['flips_right_to_wrong']}/{row['flips_wrong_to_right']}"
    verdict = "yes" if row["non_inferior"] else "not shown" if row["passes"] else "NO"
    return [name, f"{row['agreement']:.2%}", both, f"{row['mcnemar_p']:.3f}", verdict]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.1f}"
