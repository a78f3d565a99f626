"""A Jetson's power mode and its GPU's clocks: conditions that a figure depends on. Recorded, never changed."""

import re
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fer_edge.devices.machine import read_text

_GPU = re.compile(r"\d+\.(gpu|ga10b|gv11b|gp10b|gm20b)")
"""The GPU's name below /sys/class/devfreq: 57000000.gpu on a Nano, 17000000.gpu or 17000000.ga10b on an Orin."""


@dataclass(frozen=True, slots=True)
class JetsonPower:
    """None is what was not told. `clocks_pinned`: the GPU's lowest clock is its highest, as jetson_clocks sets it."""

    power_mode: str | None
    gpu_clock_mhz: float | None
    gpu_clock_max_mhz: float | None
    clocks_pinned: bool | None

    def as_dict(self) -> dict[str, Any]:
        """For a report."""
        return asdict(self)


def read_jetson_power(root: Path = Path("/"), mode: str | None = None) -> JetsonPower | None:
    """Look at it; None where this is no Jetson. Asks nvpmodel, which takes some milliseconds.

    Args:
        root: where /sys and /proc lie; for tests.
        mode: nvpmodel's answer, where it is not to be asked; for tests.
    """
    if "nvidia,tegra" not in (read_text(root / "proc/device-tree/compatible") or ""):
        return None
    now, low, high = (_gpu_mhz(root, name) for name in ("cur_freq", "min_freq", "max_freq"))
    pinned = None if low is None or high is None else low == high
    return JetsonPower(parse_nvpmodel(_ask() if mode is None else mode), now, high, pinned)


def parse_nvpmodel(text: str) -> str | None:
    """The mode's name out of `nvpmodel -q`: "NV Power Mode: 15W" and, in the next line, its number."""
    found = re.search(r"NV Power Mode:[ \t]*(\S+)", text)
    return found[1] if found else None


def _gpu_mhz(root: Path, name: str) -> float | None:
    for folder in sorted((root / "sys/class/devfreq").glob("*")):
        text = read_text(folder / name) if _GPU.fullmatch(folder.name) else None
        if text and text.isdigit():
            return int(text) / 1e6
    return None


def _ask() -> str:
    if shutil.which("nvpmodel") is None:
        return ""
    try:
        done = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
