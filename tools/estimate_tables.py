"""The tables of docs/estimates.md: the cost model's parameters and its errors on held-out latencies.

    python tools/estimate_tables.py            # prints them
    python tools/estimate_tables.py --write    # puts them into docs/estimates.md

Fitted to what ships: anchors.json and devices/reports/, never to a user's own reports.
"""

import sys
from pathlib import Path

import numpy as np
from marked import begin, write

from fer_edge.edge_runtime.anchors import SHIPPED_REPORTS
from fer_edge.edge_runtime.cost_model import half_width
from fer_edge.edge_runtime.estimate import Fit

DOC = Path(__file__).resolve().parents[1] / "docs" / "estimates.md"
BEGIN = begin("estimate_tables")
_WHAT = {
    "efficiency": "share of the peak that dense operators reach",
    "depthwise": "times that for a depthwise operator",
    "memory": "share of the memory's peak",
    "threads": "speed grows with threads to this power",
    "engine": "factor on the time",
    "board": "factor on the time",
}


def tables(fit: Fit) -> str:
    """Markdown: parameters, errors by what was held out, errors by board and precision."""
    timings, count = fit.model.timings, f"{len(fit.anchors)} published latencies, {len(fit.measured)} reported."
    lines = [count, "", "| parameter | value | what |", "|---|---|---|"]
    for name, value in fit.model.parameters.items():
        lines.append(f"| {name} | {value:.2f} | {_WHAT[name.split()[0]]} |")
    lines += [
        "",
        "| held out: all latencies of the same | median error | nine in ten within a factor of |",
        "|---|---|---|",
    ]
    for held, errors in fit.errors.items():
        lines.append(f"| {' or '.join(held)} | {_percent(errors)} | {np.exp(half_width(errors)):.2f} |")
    lines += ["", "| board, precision | latencies | median error | measured over estimated |", "|---|---|---|---|"]
    errors = fit.errors["network", "board"]
    keys = [(timing.board.name, timing.precision) for timing in timings]
    for key in sorted(set(keys)):
        of = np.array([errors[at] for at, other in enumerate(keys) if other == key])
        spread = f"{np.exp(of.min()):.2f} to {np.exp(of.max()):.2f}" if len(of) > 1 else f"{np.exp(of[0]):.2f}"
        lines.append(f"| {key[0]}, {key[1]} | {len(of)} | {_percent(of)} | {spread} |")
    return "\n".join(lines)


def _percent(errors: np.ndarray) -> str:
    return f"{100 * (np.exp(np.median(np.abs(errors))) - 1):.0f}%"


def main() -> None:
    """Print the tables, or write them."""
    made = tables(Fit.of([SHIPPED_REPORTS]))
    if sys.argv[1:] == ["--write"]:
        write(DOC, {BEGIN: made})
    else:
        print(made)


if __name__ == "__main__":
    main()
