"""Energy meters that a machine has: RAPL's counters, INA chips through hwmon, Jetson's total rail, tegrastats.

Gives joules over time, and knows nothing of what spends them. One meter a machine: the one that sees the whole board
where there is one, else the processor's package.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from fer_edge.devices.machine import read_text

_TOTAL_RAILS = ("VDD_IN", "POM_5V_IN")
"""What Jetson calls the rail that feeds the module: Orin Nano, Orin NX, Xavier NX and TX2; Nano and TX1."""
_ONE_CHANNEL = {"ina209", "ina219", "ina220", "ina226", "ina230", "ina231", "ina237", "ina238", "ina260"}
_THREE_CHANNELS = "ina3221"
_TEGRASTATS_MS = 100
Watts = Callable[[], float | None]


class Meter(Protocol):
    """Counts joules from the first reading on. Read it often: a gauge has to be integrated, a counter wraps around."""

    name: str

    def joules(self, now_s: float) -> float | None:
        """Joules since the first reading; `now_s` is any monotonic clock. None once it could not be read."""
        ...

    def close(self) -> None:
        """Stop whatever runs; harmless twice."""
        ...


class Counters:
    """Counters of microjoules that wrap around, summed up (RAPL's packages)."""

    def __init__(self, name: str, zones: Sequence[Path]) -> None:
        self.name = name
        self._zones = list(zones)
        self._last: list[int | None] = [None] * len(self._zones)
        self._total_uj: int | None = 0

    def joules(self, now_s: float) -> float | None:
        """See Meter."""
        for at, zone in enumerate(self._zones):
            now, last = _number(zone / "energy_uj"), self._last[at]
            if now is None or self._total_uj is None:
                self._total_uj = None
                return None
            if last is not None:
                # The largest value that is ever shown is max_energy_range_uj; after it comes 0.
                wrap = (_number(zone / "max_energy_range_uj") or 0) + 1 if now < last else 0
                self._total_uj += now - last + wrap
            self._last[at] = now
        return None if self._total_uj is None else self._total_uj / 1e6

    def close(self) -> None:
        """See Meter."""


class Gauge:
    """A reading of watts, integrated by the trapezoidal rule between readings."""

    def __init__(self, name: str, watts: Watts, stop: Callable[[], None] | None = None) -> None:
        self.name = name
        self._watts, self._stop = watts, stop
        self._last: tuple[float, float] | None = None
        self._joules: float | None = 0.0

    def joules(self, now_s: float) -> float | None:
        """See Meter."""
        watts = self._watts()
        if watts is None or self._joules is None:
            self._joules = None
            return None
        if self._last is not None:
            then_s, before = self._last
            self._joules += (now_s - then_s) * (watts + before) / 2
        self._last = now_s, watts
        return self._joules

    def close(self) -> None:
        """See Meter."""
        if self._stop is not None:
            self._stop()
            self._stop = None


def find_meter(root: Path = Path("/"), say: Callable[[str], None] | None = None) -> Meter | None:
    """The machine's meter.

    Args:
        root: where /sys lies; for tests.
        say: told once, in one sentence, why there is none.
    """
    reasons: list[str] = []
    meter: Meter | None = _hwmon(root, reasons) or _rapl(root, reasons)
    if meter is None and root == Path("/") and shutil.which("tegrastats"):
        meter = tegrastats_gauge(["tegrastats", "--interval", str(_TEGRASTATS_MS)])
    if meter is None and say is not None:
        say("; ".join(reasons) or "no energy meter found: no INA chip, no RAPL, no tegrastats")
    return meter


def _hwmon(root: Path, reasons: list[str]) -> Gauge | None:
    """INA chips (Linux, Documentation/hwmon/ina2xx.rst, ina3221.rst): millivolts, milliamperes, microwatts."""
    gauges = []
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        name = read_text(chip / "name") or ""
        if name == _THREE_CHANNELS:
            gauges += _rails(chip, reasons)
        elif name in _ONE_CHANNEL and (watts := _channel(chip, 1)) is not None:
            gauges.append(Gauge(name, watts))
    if len(gauges) > 1:
        names = ", ".join(gauge.name for gauge in gauges)
        reasons.append(f"energy is not measured: nothing says which of {names} feeds the board")
        return None
    return gauges[0] if gauges else None


def _rails(chip: Path, reasons: list[str]) -> list[Gauge]:
    """The total rail of an INA3221, or the only one that is connected."""
    rails = {}
    for number in (1, 2, 3):
        watts = _channel(chip, number)
        if watts is not None:
            rails[read_text(chip / f"in{number}_label") or f"channel {number}"] = watts
    total = [label for label in rails if label in _TOTAL_RAILS] or (list(rails) if len(rails) == 1 else [])
    if rails and not total:
        known = " or ".join(_TOTAL_RAILS)
        reasons.append(f"energy is not measured: of the rails {', '.join(rails)} none is the board's ({known})")
    return [Gauge(f"ina3221 {label}", rails[label]) for label in total]


def _channel(chip: Path, number: int) -> Watts | None:
    """How to read a channel's watts; None where it gives nothing."""
    power, volts, amperes = (chip / f"{kind}{number}_input" for kind in ("power", "in", "curr"))

    def from_power() -> float | None:
        microwatts = _number(power)
        return None if microwatts is None else microwatts / 1e6

    def from_product() -> float | None:
        millivolts, milliamperes = _number(volts), _number(amperes)
        return None if millivolts is None or milliamperes is None else millivolts * milliamperes / 1e6

    return next((watts for watts in (from_power, from_product) if watts() is not None), None)


def _rapl(root: Path, reasons: list[str]) -> Counters | None:
    """RAPL's packages (Linux, Documentation/power/powercap/powercap.rst); AMD's processors use the same names."""
    zones = [
        zone
        for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:*"))
        if zone.name.count(":") == 1 and (read_text(zone / "name") or "").startswith("package")
    ]
    if not zones:
        return None
    if any(_number(zone / "energy_uj") is None for zone in zones):
        files = zones[0].with_name("intel-rapl:*") / "energy_uj"
        reasons.append(f"energy is not measured: root alone may read RAPL; run as root, or: sudo chmod a+r {files}")
        return None
    return Counters(f"rapl {'+'.join(read_text(zone / 'name') or zone.name for zone in zones)}", zones)


def parse_tegrastats(line: str) -> float | None:
    """Watts of the total rail in a line of tegrastats: `VDD_IN 5080mW/5080mW`, `POM_5V_IN 2700/2700` (now/average)."""
    found = re.search(rf"\b(?:{'|'.join(_TOTAL_RAILS)}) (\d+)(?:mW)?/\d+", line)
    return int(found.group(1)) / 1000 if found else None


def tegrastats_gauge(command: Sequence[str]) -> Gauge | None:
    """A gauge that reads the newest line of a running tegrastats; None where it does not start or names no rail."""
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return None
    pipe: Any = process.stdout
    newest, rest = [parse_tegrastats(pipe.readline().decode("ascii", "replace"))], b""
    os.set_blocking(pipe.fileno(), False)

    def watts() -> float | None:
        nonlocal rest
        if process.poll() is not None:
            return None
        *lines, rest = (rest + (pipe.read1(1 << 20) or b"")).split(b"\n")
        newest[:] = [w for line in lines if (w := parse_tegrastats(line.decode("ascii", "replace")))][-1:] or newest
        return newest[0]

    def stop() -> None:
        process.terminate()
        process.wait()
        pipe.close()

    if newest[0] is None:
        stop()
        return None
    return Gauge("tegrastats", watts, stop)


def _number(path: Path) -> int | None:
    text = read_text(path)
    return int(text) if text and text.lstrip("-").isdigit() else None
