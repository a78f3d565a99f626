"""The table of float against int8, shared by `convert` and `compare`, and the gate's line."""

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


def gate_line(learned: dict[str, Any] | None) -> str:
    """When a face is uncertain, and what that does to validation faces."""
    if learned is None:
        return "gate: none, this is not the data that the run was trained on, so its validation faces are not known"
    least = learned["thresholds"]
    words = {
        "min_side_px": "under {:g} px",
        "min_brightness": "darker than {:.1f}",
        "min_sharpness": "less sharp than {:.4f}",
        "min_margin": "ahead by less than {:.3f}",
    }
    when = ", ".join(words[name].format(value) for name, value in least.items() if value is not None)
    found = learned["validation"]
    if not when:
        return f"gate: no face is uncertain; on {found['n']:,} validation faces, naming all is best"
    right = "none" if found["accuracy_covered"] is None else f"{found['accuracy_covered']:.1%}"
    return (
        f"gate: uncertain when {when}; of {found['n']:,} validation faces {found['coverage']:.1%} are named, "
        f"{right} of them rightly ({found['accuracy_all']:.1%} of all)"
    )


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
