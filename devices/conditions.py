"""The conditions that a figure is measured under: heat, throttling, clock, governor, load; and what they say of it.

Knows nothing of what is measured. A cgroup, a hypervisor or a neighbour is seen in the load average alone.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fer_edge.devices.health import throttled_bits, throttled_text
from fer_edge.devices.machine import clock_mhz, core_numbers, governor, read_text, temperature_c

_X86_COUNTERS = {"core": "processor core too hot", "package": "processor package too hot"}


@dataclass(frozen=True, slots=True)
class Conditions:
    """One look at the machine; None is what it does not tell, () is "none".

    `throttled` names what slows it now, `throttled_since_boot` what did at any time since boot. `events` counts, where
    the kernel counts them, how often; the counts themselves are not part of a report.
    """

    temp_c: float | None
    throttled: tuple[str, ...] | None
    throttled_since_boot: tuple[str, ...] | None
    clock_mhz: float | None
    governor: str | None
    load_average: tuple[float, ...] | None
    events: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For a report."""
        return {
            "temp_c": self.temp_c,
            "throttled": None if self.throttled is None else list(self.throttled),
            "throttled_since_boot": None if self.throttled_since_boot is None else list(self.throttled_since_boot),
            "clock_mhz": self.clock_mhz,
            "governor": self.governor,
            "load_average": None if self.load_average is None else list(self.load_average),
        }


def read_conditions(root: Path = Path("/")) -> Conditions:
    """Look at the machine: some tenths of a millisecond in sysfs, some milliseconds where a Pi's firmware is asked.

    Args:
        root: where /sys and /proc lie; for tests.
    """
    text = throttled_text(root)
    events = _throttle_events(root)
    since_boot = throttled_bits(text, since_boot=True)
    if events:
        since_boot = (*(since_boot or ()), *(name for name, count in events.items() if count))
    return Conditions(
        temperature_c(root), throttled_bits(text), since_boot, clock_mhz(root), governor(root), _load(root), events
    )


def throttling_began(before: Conditions, after: Conditions) -> list[str]:
    """What slowed the machine between the two: bits that stick until boot and were not set yet, counters that rose.

    A Raspberry Pi's bit that was set already cannot rise again: then only `throttled`, seen in between, tells.
    """
    known = before.throttled_since_boot or ()
    stuck = [name for name in after.throttled_since_boot or () if name not in known]
    rose = [name for name, count in after.events.items() if count > before.events.get(name, 0)]
    return list(dict.fromkeys(stuck + rose))


def _throttle_events(root: Path) -> dict[str, int]:
    """How often the processor throttled since boot, by reason; empty where nothing counts.

    x86 counts by core and package (Linux, drivers/thermal/intel/therm_throt.c);
    Jetson counts over-current events by input (Jetson Linux Developer Guide, "Platform Power and Performance").
    """
    found: dict[str, int] = {}
    for core in core_numbers():
        folder = root / f"sys/devices/system/cpu/cpu{core}/thermal_throttle"
        for kind, name in _X86_COUNTERS.items():
            _count(found, name, folder / f"{kind}_throttle_count")
    for counter in sorted((root / "sys/class/hwmon").glob("hwmon*/oc*_event_cnt")):
        _count(found, f"over-current {counter.name.partition('_')[0].removeprefix('oc')}", counter)
    return found


def _count(found: dict[str, int], name: str, counter: Path) -> None:
    text = read_text(counter)
    if text and text.isdigit():
        found[name] = found.get(name, 0) + int(text)


def _load(root: Path) -> tuple[float, ...] | None:
    text = read_text(root / "proc/loadavg")
    if text is not None:
        return tuple(float(word) for word in text.split()[:3])
    return os.getloadavg() if root == Path("/") and hasattr(os, "getloadavg") else None
