"""Boards by name: core, clock, number of cores, memory bandwidth, each at its peak. Must not know models or timings.

Clocks, memories and float multiply-adds a cycle (vector width times pipes) are general knowledge of these parts, not
looked up again; int8 is by SMLAL without and by SDOT with the dot product. An error here goes into the efficiencies
that the cost model fits, except for boards that nobody measured.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fer_edge.devices.errors import DataError


@dataclass(frozen=True, slots=True)
class Core:
    """Multiply-adds that a core can start in a cycle by precision; `kind` groups the cores that behave alike.

    A core without float16 arithmetic computes in float32, so its figure is that of float32.
    """

    name: str
    kind: str
    int8: int
    float16: int
    float32: int


CORES = {
    core.name: core
    for core in (
        Core("A53", "A53", int8=8, float16=4, float32=4),
        Core("A72", "A72", int8=8, float16=4, float32=4),
        Core("A76", "A76", int8=32, float16=16, float32=8),
        Core("A78AE", "A76", int8=32, float16=16, float32=8),
    )
}


@dataclass(frozen=True, slots=True)
class Board:
    """What a cost model needs to know. `bandwidth_gb_s` is the memory's peak; `matches` finds it by its own name."""

    name: str
    title: str
    core: Core
    clock_mhz: float
    cores: int
    bandwidth_gb_s: float
    matches: str | None


BOARDS = {
    board.name: board
    for board in (
        # BCM2837B0, 32-bit LPDDR2 at 900 MT/s.
        Board("pi3", "Raspberry Pi 3 Model B+", CORES["A53"], 1400, 4, 3.6, r"Raspberry Pi (3|Compute Module 3)"),
        # BCM2711 at the clock of boards since 2021 (1500 before), 32-bit LPDDR4 at 3200 MT/s.
        Board("pi4", "Raspberry Pi 4 Model B", CORES["A72"], 1800, 4, 12.8, r"Raspberry Pi (4|Compute Module 4)"),
        # BCM2712, 32-bit LPDDR4X at 4267 MT/s.
        Board("pi5", "Raspberry Pi 5", CORES["A76"], 2400, 4, 17.1, r"Raspberry Pi (5|Compute Module 5)"),
        # RP3A0 (BCM2710A1), 32-bit LPDDR2 at 900 MT/s.
        Board("zero2w", "Raspberry Pi Zero 2 W", CORES["A53"], 1000, 4, 3.6, r"Raspberry Pi Zero 2"),
        # 128-bit LPDDR5; the 8 GB module at 15 W.
        Board("orin-nano", "Jetson Orin Nano", CORES["A78AE"], 1500, 6, 68.0, r"Orin Nano"),
        # 128-bit LPDDR5; the 16 GB module.
        Board("orin-nx", "Jetson Orin NX", CORES["A78AE"], 2000, 8, 102.4, r"Orin NX"),
        # A board that nobody named: the slowest 64-bit cores that are still sold.
        Board("generic", "64-bit Arm board with four Cortex-A53", CORES["A53"], 1200, 4, 3.6, None),
    )
}


def find_boards(names: Sequence[str]) -> list[Board]:
    """The boards of these names.

    Raises:
        DataError: one of them is in no row.
    """
    unknown = [name for name in names if name not in BOARDS]
    if unknown:
        raise DataError(f"unknown board {', '.join(map(repr, unknown))}; known are {', '.join(BOARDS)}")
    return [BOARDS[name] for name in names]


def board_called(text: str | None) -> Board | None:
    """The board whose own name, as the device tree gives it, is `text`; None for one that is in no row."""
    if not text:
        return None
    return next((b for b in BOARDS.values() if b.matches and re.search(b.matches, text, re.IGNORECASE)), None)
