"""What a board answers before anything is sent: one shell script over ssh, read into one value."""

import json
import re
import time
from dataclasses import dataclass, field
from typing import Any

from fer_edge.devices.board_facts import os_release
from fer_edge.devices.errors import DeployError
from fer_edge.devices.ssh import Ssh

HOME = "/opt/fer-edge"
_MARK = "@@"
# Asked of Python itself: the interpreter's width is not the kernel's, and a module is found without importing it.
_PYTHON = r"""
import json, platform, struct, sys
from importlib.util import find_spec
def version(name):
    try:
        from importlib.metadata import version
        return version(name)
    except Exception:
        return None
print(json.dumps({"version": platform.python_version(), "bits": 8 * struct.calcsize("P"),
    "libc": platform.libc_ver()[1], "venv": find_spec("venv") is not None, "machine": platform.machine(),
    "picamera2": find_spec("picamera2") is not None, "numpy": version("numpy")}))
"""
_SCRIPT = rf"""
LC_ALL=C; export LC_ALL
say() {{ printf '\n{_MARK} %s\n' "$1"; }}
say machine; uname -m
say kernel; uname -sr
say os; cat /etc/os-release
say model; tr -d '\0' </proc/device-tree/model
say compatible; tr '\0' '\n' </proc/device-tree/compatible
say cpuinfo; cat /proc/cpuinfo
say meminfo; cat /proc/meminfo
say bits; getconf LONG_BIT
python=/usr/bin/python3; test -x "$python" || python=$(command -v python3)
say path; echo "$python"
say python; "$python" -c '{_PYTHON}'
say user; id -un
say uid; id -u
say sudo; sudo -n true && echo yes
say systemd; test -d /run/systemd/system && systemctl --version
at={HOME}; while ! test -d "$at"; do at=$(dirname "$at"); done
say disk; df -Pk "$at"
say cameras; ls -d /dev/video*
say clock; date +%s
say current; readlink {HOME}/current
say throttled; vcgencmd get_throttled
say nvpmodel; nvpmodel -q
say tegra; cat /etc/nv_tegra_release
say end
"""


@dataclass(frozen=True, slots=True)
class Probe:
    """A board's answers. What it did not tell is None or empty.

    `python_path` is the system's own where there is one: a user's may lie in a home, where no service comes, and
    picamera2 belongs to the system's.

    `raw` are the sections of the script by name, for `devices.board_facts`; `clock_off_s` is how far its clock is
    ahead of this machine's.
    """

    host: str
    machine: str
    python_path: str
    python: str | None
    python_bits: int | None
    glibc: tuple[int, int] | None
    os: dict[str, str]
    root: bool
    sudo: bool
    systemd: int | None
    disk_free_bytes: int | None
    memory_bytes: int | None
    cameras: tuple[str, ...]
    picamera2: bool
    system_numpy: str | None
    clock_off_s: float | None
    current: str | None
    raw: dict[str, str] = field(repr=False)

    @property
    def python_minor(self) -> str | None:
        """`3.11`"""
        return ".".join(self.python.split(".")[:2]) if self.python else None

    @property
    def as_root(self) -> list[str]:
        """Words that a command needs before it to run as root there."""
        return [] if self.root else ["sudo", "-n"]


def probe(ssh: Ssh) -> Probe:
    """Ask a host what it is; changes nothing there.

    Raises:
        DeployError: it cannot be reached, or no shell answers there.
    """
    asked = time.time()
    answer = ssh.run("sh -s", stdin=_SCRIPT, timeout_s=180)
    now = (asked + time.time()) / 2
    raw = sections(answer.out)
    if "end" not in raw:
        raise DeployError(f"{ssh.host} answers, but runs no shell for commands: {answer.why}")
    return read_probe(ssh.host, raw, now)


def sections(text: str) -> dict[str, str]:
    """What the script printed, by section."""
    found: dict[str, str] = {}
    for part in re.split(rf"^{_MARK} ", text, flags=re.MULTILINE)[1:]:
        name, _, body = part.partition("\n")
        found[name.strip()] = body.strip("\n")
    return found


def read_probe(host: str, raw: dict[str, str], now_s: float) -> Probe:
    """The answers as values; `now_s` is this machine's clock when they were given."""
    python = _json(raw.get("python", ""))
    systemd = re.search(r"^systemd (\d+)", raw.get("systemd", ""), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", raw.get("meminfo", ""), re.MULTILINE)
    glibc = re.match(r"(\d+)\.(\d+)", python.get("libc") or "")
    disk = raw.get("disk", "").splitlines()
    clock = raw.get("clock", "")
    return Probe(
        host=host,
        machine=raw.get("machine", "").strip() or "unknown",
        python_path=raw.get("path", "").strip() or "python3",
        python=python.get("version"),
        python_bits=python.get("bits"),
        glibc=(int(glibc[1]), int(glibc[2])) if glibc else None,
        os=os_release(raw.get("os", "")),
        root=raw.get("uid", "").strip() == "0",
        sudo=raw.get("sudo", "").strip() == "yes",
        systemd=int(systemd[1]) if systemd else None,
        disk_free_bytes=int(disk[-1].split()[3]) * 1024 if len(disk) > 1 else None,
        memory_bytes=int(memory[1]) * 1024 if memory else None,
        cameras=tuple(raw.get("cameras", "").split()),
        picamera2=bool(python.get("picamera2")),
        system_numpy=python.get("numpy"),
        clock_off_s=int(clock) - now_s if clock.strip().isdigit() else None,
        current=(raw.get("current", "").strip().rpartition("/")[2] or None),
        raw=raw,
    )


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
