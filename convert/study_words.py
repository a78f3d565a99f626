"""What a calibration study found, in sentences and cells, for the command line and the page alike."""

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
FIGURES = {
    "agreement": ("labels equal to float's, %", 100, 2),
    "mean_kl": ("mean KL from float, 1e-4 nats", 10_000, 2),
    "accuracy": ("accuracy, %", 100, 2),
    "width": ("width of ranges, % of the widest", 100, 1),
}
"""By name in the curves: title, what it is multiplied with, and decimals."""
BALANCE_WORDS = {"stratified": "as Training", "equal": "equal classes", "alone": "{} alone"}


def balance_name(made: dict[str, Any], balance: str) -> str:
    """`as Training`, `equal classes`, `happy alone`."""
    return BALANCE_WORDS[balance].format(made["plan"]["alone"])


def series(made: dict[str, Any], balance: str, method: str) -> list[Row]:
    """The curve of one balance and method, counts rising."""
    return [row for row in made["curves"] if (row["balance"], row["method"]) == (balance, method)]


def methods_compared(made: dict[str, Any]) -> list[tuple[str, list[Row]]]:
    """Name and curve of each method, on the first balance."""
    first = made["plan"]["balances"][0]
    return [(method, series(made, first, method)) for method in made["plan"]["methods"]]


def balances_compared(made: dict[str, Any]) -> list[tuple[str, list[Row]]]:
    """Name and curve of each balance, by the first method; nothing where there is but one."""
    method, balances = made["plan"]["methods"][0], made["plan"]["balances"]
    if len(balances) < 2:
        return []
    return [(balance_name(made, balance), series(made, balance, method)) for balance in balances]


def cells(compared: Sequence[tuple[str, list[Row]]], figure: str) -> list[list[str]]:
    """A row a count: the mean of `figure` and the standard deviation between seeds behind it; - where not tried."""
    counts = sorted({row["count"] for _, rows in compared for row in rows})
    table = []
    for count in counts:
        found = [next((row for row in rows if row["count"] == count), None) for _, rows in compared]
        table.append([f"{count:,}", *("-" if row is None else cell(row, figure) for row in found)])
    return table


def cell(row: Row, figure: str) -> str:
    """`98.51 ±0.12`, in the unit of `FIGURES`."""
    spread, (_, times, digits) = row[figure], FIGURES[figure]
    deviation = "" if spread["sd"] is None else f" ±{spread['sd'] * times:.{digits}f}"
    return f"{spread['mean'] * times:.{digits}f}{deviation}"


def sentences(made: dict[str, Any]) -> list[str]:
    """What is enough, and which method comes closest to float."""
    found = [_enough(made, row) for row in made["conclusion"]["enough"]]
    return [*found, _best(made["conclusion"]["best"])]


def _enough(made: dict[str, Any], row: Row) -> str:
    which = f"{row['method']}, {balance_name(made, row['balance'])}"
    if row["count"] is None:
        return f"{which}: no count tried is enough, the largest still changes something; try larger --counts"
    return f"{which}: {row['count']:,} images are enough"


def _best(best: Row) -> str:
    if not best["others"]:
        return f"{best['method']} is the only method tried"
    words = [
        ("same KL" if other["kl_ratio"] is None else f"{other['kl_ratio']:.2f} times its KL")
        + f" by {other['method']}, agreement {-other['behind'] * 100:+.2f} points"
        + (" (within the spread)" if abs(other["behind"]) <= other["spread"] else "")
        for other in best["others"]
    ]
    return f"{best['method']} comes closest to float at its largest count; {'; '.join(words)}"
