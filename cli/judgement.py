"""The table of float against int8, shared by `convert` and `compare`."""

from typing import Any


def print_judgement(made: dict[str, Any]) -> None:
    """One row a variant: accuracy with interval, drop with interval, flips both ways, McNemar, verdict."""
    from fer_edge.cli.screen import table

    reference, data = made["reference"], made["data"]
    rows = []
    for name, row in made["variants"].items():
        low, high = row["accuracy_interval"]
        drop_low, drop_high = row["drop_interval_pp"]
        rows.append(
            [
                name,
                f"{row['accuracy']:.2%}",
                f"{low:.2%}..{high:.2%}",
                f"{row['drop_pp']:+.2f}",
                f"{drop_low:+.2f}..{drop_high:+.2f}",
                f"{row['agreement']:.2%}",
                f"{row['flips_right_to_wrong']}/{row['flips_wrong_to_right']}",
                f"{row['mcnemar_p']:.3f}",
                "yes" if row["non_inferior"] else "not shown" if row["passes"] else "NO",
            ]
        )
    margin = reference["max_drop_pp"]
    columns = [
        "variant", "top-1", "95% interval", "drop, pp", "95% interval", "agree", "flips -/+", "McNemar p",
        f"loses < {margin:g} pp",
    ]  # fmt: skip
    title = (
        f"against {reference['name']}, {reference['accuracy']:.2%} on {data['images']:,} {data['split']} images "
        f"of {data['source']}"
    )
    table(title, columns, rows)
    emotions = list(reference["recall"])
    recalls = [
        [name, *(_percent(row["recall"][e]["recall"]) for e in emotions)]
        for name, row in {reference["name"]: reference, **made["variants"]}.items()
    ]
    counts = ["images", *(f"{reference['recall'][e]['images']:,}" for e in emotions)]
    table("recall by emotion", ["variant", *emotions], [*recalls, counts])


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
