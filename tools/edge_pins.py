"""Writes devices/edge_pins.txt: of constraints.txt what a board gets, for `fer-edge deploy`.

    .venv/bin/python tools/edge_pins.py

Run it after `make constraints`; a test compares. edge_pins_numpy1.txt is made of the same lines with the few that NumPy
below 2 asks for.
"""

import re
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("", "service", "mqtt", "web", "metrics", "onnx", "openvino", "sign")
NUMPY1 = {
    "numpy": "numpy==1.26.4", "opencv-python-headless": "opencv-python-headless==4.11.0.86",
    "ml-dtypes": "ml_dtypes==0.5.4",
}  # fmt: skip
PIP = "pip==26.3"
"""Installs on the board, where no ensurepip may be."""
HEADER = "# Of constraints.txt what a board gets; made by: python tools/edge_pins.py\n"


def canonical(name: str) -> str:
    """A project's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(name: str, extra: str, seen: set[str]) -> None:
    """All that `name[extra]` needs, into `seen`."""
    seen.add(canonical(name))
    for line in distribution(name).requires or ():
        needed = Requirement(line)
        if needed.marker is not None and not needed.marker.evaluate({"extra": extra}):
            continue
        for inner in ("", *needed.extras):
            if canonical(needed.name) not in seen or inner:
                closure(needed.name, inner, seen)


def edge_pins(constraints: str) -> str:
    """The text of edge_pins.txt."""
    seen: set[str] = set()
    for extra in EXTRAS:
        closure("fer-edge", extra, seen)
    lines = [line for line in constraints.splitlines() if "==" in line and canonical(line.split("==")[0]) in seen]
    return HEADER + "".join(f"{line}\n" for line in sorted([*lines, PIP], key=str.lower))


def numpy1_pins(pins: str) -> str:
    """The same for NumPy below 2."""
    lines = (NUMPY1.get(canonical(line.split("==")[0]), line) for line in pins.splitlines())
    return "".join(f"{line}\n" for line in lines)


def main() -> None:
    """Write both."""
    pins = edge_pins((ROOT / "constraints.txt").read_text())
    (ROOT / "devices" / "edge_pins.txt").write_text(pins)
    (ROOT / "devices" / "edge_pins_numpy1.txt").write_text(numpy1_pins(pins))


if __name__ == "__main__":
    main()
