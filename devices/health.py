"""How the board bears it: temperature, throttling, clock. Sampled on a thread, since asking the firmware takes time."""

import shutil
import subprocess
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fer_edge.devices.machine import read_text, temperature_c

HOT_C, COOL_C = 80.0, 75.0
"""A Raspberry Pi lowers its clock from 80 degrees Celsius; pressure ends five degrees below."""
_PERIOD_S = 5.0
_THERMAL = ("frequency capped", "throttled", "soft temperature limit")
_NOW = ("under-voltage", *_THERMAL)
"""Bits 0 to 3 of the Raspberry Pi's get_throttled; bits 16 to 19 say the same of some time since boot."""
_FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
_CLOCK = "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"


@dataclass(frozen=True, slots=True)
class Health:
    """`throttled` names what is the case now; None where this board does not say."""

    temp_c: float | None
    throttled: tuple[str, ...] | None
    clock_mhz: float | None

    def as_dict(self) -> dict[str, Any]:
        """For the status."""
        return asdict(self) | {"throttled": None if self.throttled is None else list(self.throttled)}

    def is_hot(self, was_hot: bool) -> bool:
        """Whether heat slows this board now, or is about to; with five degrees of hysteresis."""
        limit = COOL_C if was_hot else HOT_C
        slowed = self.throttled is not None and any(word in _THERMAL for word in self.throttled)
        return slowed or (self.temp_c is not None and self.temp_c >= limit)


def read_health(root: Path = Path("/")) -> Health:
    """Ask the kernel and, on a Raspberry Pi, the firmware. `root` is for tests."""
    clock = read_text(root / _CLOCK)
    return Health(
        temperature_c(root),
        throttled_bits(throttled_text(root)),
        int(clock) / 1000 if clock and clock.isdigit() else None,
    )


def throttled_bits(text: str | None, *, since_boot: bool = False) -> tuple[str, ...] | None:
    """What get_throttled's hexadecimal answer (`0x50005`, or vcgencmd's `throttled=0x50005`) says of now, or of any
    time since boot."""
    if text is None:
        return None
    try:
        bits = int(text.rpartition("=")[2], 16)
    except ValueError:
        return None
    return tuple(name for bit, name in enumerate(_NOW) if bits >> (bit + 16 * since_boot) & 1)


def throttled_text(root: Path = Path("/")) -> str | None:
    """get_throttled's answer as the kernel or the firmware gives it; None where there is none."""
    text = read_text(root / _FIRMWARE)
    if text is not None or root != Path("/") or shutil.which("vcgencmd") is None:
        return text
    try:
        done = subprocess.run(["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=2, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


class HealthSampler:
    """Keeps `latest` fresh, every five seconds, until closed."""

    def __init__(self) -> None:
        self.latest = read_health()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="health", daemon=True)
        self._thread.start()

    def as_dict(self) -> dict[str, Any]:
        """The latest, for the status."""
        return self.latest.as_dict()

    def close(self) -> None:
        """Stop asking."""
        self._stop.set()
        self._thread.join(0.5)

    def _work(self) -> None:
        while not self._stop.wait(_PERIOD_S):
            self.latest = read_health()
