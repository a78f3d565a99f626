"""What this machine is: processor, flags, governor, temperature, memory. What cannot be read is None, never 0."""

import os
import platform
import struct
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_INT8_FLAGS = {
    "avx512_vnni": "VNNI", "avx_vnni": "VNNI", "amx_int8": "AMX", "asimddp": "dot product", "i8mm": "i8mm",
}  # fmt: skip


def read_text(path: str | Path) -> str | None:
    """A small text file without its trailing NUL and blanks, or None where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return None


def cpu_info() -> tuple[str | None, tuple[str, ...]]:
    """Name and feature flags of the first processor in /proc/cpuinfo; ARM gives numbers in place of a name."""
    fields = _cpuinfo()
    name = fields.get("model name")
    if name is None and "CPU part" in fields:
        name = f"ARM implementer {fields.get('CPU implementer', 'unknown')} part {fields['CPU part']}"
    flags = fields.get("flags") or fields.get("Features") or ""
    return name, tuple(flags.split())


def _cpuinfo() -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in (read_text("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return fields


def int8_features(flags: tuple[str, ...]) -> tuple[str, ...]:
    """The instructions among `flags` that make int8 faster than float: VNNI, AMX, ARM dot product, i8mm."""
    return tuple(dict.fromkeys(name for flag, name in _INT8_FLAGS.items() if flag in flags))


def board_name() -> str | None:
    """What the device tree, the kernel or the firmware calls this board, as "Raspberry Pi 4 Model B Rev 1.4"."""
    by_kernel = _cpuinfo().get("Model")
    return read_text("/proc/device-tree/model") or by_kernel or read_text("/sys/class/dmi/id/product_name") or None


def temperature_c(root: Path = Path("/")) -> float | None:
    """The hottest thermal zone in degrees Celsius. `root` is for tests."""
    found = []
    for zone in (root / "sys/class/thermal").glob("thermal_zone*/temp"):
        text = read_text(zone)
        if text and text.lstrip("-").isdigit():
            found.append(int(text) / 1000)
    return max(found) if found else None


def governor(root: Path = Path("/")) -> str | None:
    """cpufreq's governor of the cores that this process may run on; several are joined. `root` is for tests."""
    found = (read_text(cpufreq / "scaling_governor") for cpufreq in _cpufreq_folders(root))
    return ", ".join(dict.fromkeys(name for name in found if name)) or None


def clock_mhz(root: Path = Path("/")) -> float | None:
    """The clock of the fastest core that this process may run on, in MHz, as cpufreq tells it."""
    clocks = (read_text(cpufreq / "scaling_cur_freq") for cpufreq in _cpufreq_folders(root))
    return max((int(khz) / 1000 for khz in clocks if khz and khz.isdigit()), default=None)


def _cpufreq_folders(root: Path) -> list[Path]:
    return [root / f"sys/devices/system/cpu/cpu{core}/cpufreq" for core in core_numbers()]


def memory_bytes() -> int | None:
    """Installed memory as the kernel counts it."""
    for line in (read_text("/proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return None


def peak_memory_bytes() -> int | None:
    """The largest resident size that this process had so far.

    VmHWM rather than getrusage's ru_maxrss: that one starts at the parent's size on some kernels.
    """
    for line in (read_text("/proc/self/status") or "").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def core_numbers() -> list[int]:
    """The cores that this process may run on; `os.cpu_count()` ignores taskset and cgroups' cpusets."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """How many cores this process may run on."""
    return len(core_numbers())


def is_32bit_userland() -> bool:
    """True where Python itself is 32-bit; `platform.machine()` may say aarch64 all the same."""
    return struct.calcsize("P") == 4


def versions(*distributions: str) -> dict[str, str | None]:
    """Installed version by distribution; None where it is not installed."""
    found: dict[str, str | None] = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def describe_machine() -> dict[str, Any]:
    """Everything above as JSON, for reports: the conditions that a figure was measured under."""
    cpu, flags = cpu_info()
    return {
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "python": platform.python_version(),
        "board": board_name(),
        "cpu": cpu,
        "cpu_flags": list(flags),
        "int8_features": list(int8_features(flags)),
        "usable_cores": usable_cores(),
        "memory_bytes": memory_bytes(),
        "governor": governor(),
        "temp_c": temperature_c(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }
