"""What a sweep found, in words and table cells: the same for the terminal and for the page."""

from typing import Any

from fer_edge.train.sweep_ranking import not_told_apart

LABELS = {"val_accuracy": "val accuracy", "val_loss": "val loss", "int8_accuracy": "int8 accuracy"}


def shown(metric: str, value: float | None) -> str:
    """A figure of a metric: shares in percent, losses as they are."""
    if value is None:
        return "–"
    return f"{value:.4f}" if metric == "val_loss" else f"{value * 100:.2f}"


def unit(metric: str) -> str:
    """A metric's name with its unit."""
    return LABELS[metric] if metric == "val_loss" else f"{LABELS[metric]}, %"


def shared_words(made: dict[str, Any]) -> list[str]:
    """What all settings have in common beside the model, as `epochs=5`; nothing where there is one setting alone."""
    settings = {row["setting"] for row in (*made["ranking"]["rows"], *made["ranking"]["left_out"])}
    if len(settings) < 2:
        return []
    first, *others = [setting.split(" ")[1:] for setting in sorted(settings)]
    return [word for word in first if all(word in words for words in others)]


def short(made: dict[str, Any], setting: str) -> str:
    """A setting without what all have in common."""
    model, *words = setting.split(" ")
    shared = shared_words(made)
    return " ".join([model, *(word for word in words if word not in shared)])


def row_name(made: dict[str, Any], row: dict[str, Any]) -> str:
    """A row of the ranking for people."""
    name = short(made, row["setting"])
    return name if row["quantization"] is None else f"{name}: {row['quantization']}"


def columns(made: dict[str, Any]) -> list[str]:
    """Headings of the ranking."""
    return ["setting", unit(made["metric"]), "± seeds", "95% interval", "seeds"]


def ranked_rows(made: dict[str, Any]) -> list[list[str]]:
    """Cells of the ranking, best first; what one seed cannot say is a dash."""
    metric = made["metric"]
    return [
        [
            row_name(made, row),
            shown(metric, row["mean"]),
            shown(metric, row["deviation"]),
            interval_words(metric, row["interval"]),
            str(len(row["seeds"])),
        ]
        for row in made["ranking"]["rows"]
    ]


def interval_words(metric: str, interval: list[float] | None) -> str:
    """Both ends of an interval."""
    return "–" if interval is None else f"{shown(metric, interval[0])} to {shown(metric, interval[1])}"


def headline(made: dict[str, Any]) -> tuple[str, bool]:
    """The finding in one sentence, and whether it is clear: the first is told apart from every other."""
    rows = made["ranking"]["rows"]
    if not rows:
        return "no setting has all its seeds at their end", False
    first, near = row_name(made, rows[0]), not_told_apart(made["ranking"])
    if len(rows) == 1:
        return f"{first} is the only setting that is ranked", False
    if not near:
        return f"{first} comes first, and no other interval reaches into its own", True
    if rows[0]["interval"] is None:
        return f"{first} comes first; one seed does not tell it from the others", False
    return f"{first} comes first; {len(near)} of {len(rows) - 1} others may be as good", False


def sentences(made: dict[str, Any]) -> list[str]:
    """What was found, and what it leaves open."""
    counts = made["counts"]
    ended = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    found = [headline(made)[0], f"{len(made['trials'])} trials: {ended}"]
    found += [f"not ranked: {row_name(made, row)} ({row['why']})" for row in made["ranking"]["left_out"]]
    return found
