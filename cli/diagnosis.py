"""The tables of `compare --diagnose`: what each point loses, and what to convert again with."""

from textwrap import fill
from typing import Any

LOOK_ABOVE = 0.7
"""An error of that many steps is marked; rounding alone makes 0.29."""
_WIDTH = 79
_NOTE = (
    "wins back: share of the loss when left in float; ~ not shown by these images. labels: points more that are the "
    "float model's. alone: its loss when nothing else is int8. SQNR: in dB, as it arrives / by its own rounding. "
    f"error: in steps; rounding alone makes 0.29, ! is above {LOOK_ABOVE}. spread: largest over median channel of the "
    "weights."
)


def print_diagnosis(made: dict[str, Any]) -> None:
    """The verdict in words; by point what it wins back in float, costs alone and does to its tensor; the fixes."""
    from fer_edge.cli.screen import table
    from fer_edge.convert.diagnose_evidence import reasons

    data = made["data"]
    print(f"\n{made['variant']} on {data['images']:,} {data['split']} images of {data['source']}")
    for sentence in made["says"]:
        print(fill(sentence, _WIDTH))
    for command in next((row["commands"] for row in made["proposals"] if row["recommended"]), []):
        print(f"  {command}")
    print(fill(_losses(made), _WIDTH))
    judged = "left_out" in made["points"][0]
    columns = ["point", *(["wins back", "95%", "labels", "alone"] if judged else [])]
    rows = [[row["name"], *(_blame(row) if judged else []), *_signal(row)] for row in made["points"]]
    table("each point", [*columns, "SQNR", "error", "clipped", "spread"], rows)
    print(fill(_NOTE, _WIDTH))
    if made["proposals"]:
        columns = ["convert again with", "labels", "top-1", "wins back", "95%"]
        table("changes, as emulated", columns, [_fix(row) for row in made["proposals"]])
        for why, names in reasons(made["proposals"]).items():
            print(fill(f"- {', '.join(names)}: {why}", _WIDTH, subsequent_indent="  "))


def _losses(made: dict[str, Any]) -> str:
    loss, own = made["loss"], made["emulation"]["agreement"]
    return (
        f"It gives {loss['agreement']:.2%} of the float model's labels at KL {loss['kl']:.2g}; the emulation gives "
        f"{own:.2%} of its."
    )


def _blame(row: dict[str, Any]) -> list[str]:
    left, alone = row["left_out"], row["alone"]
    return [*_won(left), f"{left['agreement_gain_pp']:+.2f}", _percent(alone["share_of_loss"])]


def _won(gain: dict[str, Any]) -> list[str]:
    if gain["share_of_loss"] is None:
        return ["-", "-"]
    low, high = gain["share_interval"]
    mark = "" if gain["significant"] else "~"
    return [f"{mark}{_percent(gain['share_of_loss'])}", f"{round(low * 100)}..{round(high * 100)}"]


def _signal(row: dict[str, Any]) -> list[str]:
    signal, weights = row["signal"], row["weights"]
    error, clipped = signal["rmse_steps"], signal["clipped"]
    spread = None if weights is None else weights["spread"]
    exact = signal["rmse_steps"] == 0
    return [
        "exact" if exact else f"{_db(signal['arrived_db'])}/{_db(signal['alone_db'])}",
        "-" if error is None else f"{error:.2f}{'!' if error > LOOK_ABOVE else ''}",
        "-" if clipped is None else f"{clipped:.2%}",
        "-" if spread is None else f"{spread:.3g}",
    ]


def _fix(row: dict[str, Any]) -> list[str]:
    after = row["emulated"]
    name = f"{'*' if row['recommended'] else ' '} {row['fix']}"
    return [name, f"{after['agreement']:.2%}", f"{after['accuracy']:.2%}", *_won(after)]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{round(share * 100)}%"


def _db(value: float | None) -> str:
    return "-" if value is None else f"{round(value)}"
