"""The tables of `fer-edge compare-models`."""

from textwrap import fill
from typing import Any


def print_ranking(made: dict[str, Any]) -> None:
    """Accuracy, cost, tests between the leaders and, where it was asked for, latency side by side."""
    from fer_edge.cli.screen import table
    from fer_edge.train import ranking_words as words

    models, data = made["models"], made["data"]
    title = f"{len(models)} models on {data['images']:,} {data['split']} images of {data['source']}"
    columns = ["model", "accuracy", "95% interval", "macro F1", "worst class", "ECE"]
    table(
        title,
        columns,
        [
            _cells(
                *(row["name"], words.percent(row["accuracy"]), words.interval(row["accuracy_interval"])),
                *(words.percent(row["macro_f1"], 1), words.worst(row), words.percent(row["ece"], 1)),
            )
            for row in models
        ],
    )
    columns = ["model", "params", "MACs", "bytes", "ms", "ms of 256", "training", "front"]
    table(
        "cost; front: no other is as accurate for less",
        columns,
        [
            _cells(
                *(row["name"], *(words.count(row[key]) for key in ("parameters", "macs", "size_bytes"))),
                *(words.milliseconds(row), words.batched(row)),
                *(words.duration((row["training"] or {}).get("seconds")), words.fronts(row)),
            )
            for row in models
        ],
    )
    _print(words.latency_note(made))
    if made["side_by_side"] is not None:
        _print_times(made["side_by_side"])
    columns = ["better", "other", "only +/-", "pp", "95% interval", "p", "Holm"]
    table(
        f"the {len(made['leaders'])} most accurate, image by image: exact McNemar (* shown to differ)",
        columns,
        [
            _cells(
                *(pair["better"], pair["other"], f"{pair['only_better']}/{pair['only_other']}"),
                *(f"{pair['difference_pp']:+.2f}", words.signed_interval(pair["interval_pp"])),
                words.p_value(pair["mcnemar_p"]),
                words.p_value(pair["mcnemar_p_holm"]) + ("*" if pair["differ"] else " "),
            )
            for pair in made["pairs"]
        ],
    )
    _print(f"{words.headline(made)}.")


def _print_times(made: dict[str, Any]) -> None:
    from fer_edge.cli.screen import table
    from fer_edge.train.ranking_words import times_note, times_rows

    columns = ["model", "median, ms", "times the fastest", "95% interval"]
    table("one face, side by side", columns, [_cells(*row) for row in times_rows(made)])
    _print(times_note(made))


def _cells(*values: str | None) -> list[str]:
    return ["-" if value is None else value for value in values]


def _print(text: str) -> None:
    print(fill(text, 79) + "\n")
