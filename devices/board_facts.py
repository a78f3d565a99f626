"""What a board answers when it is asked what it is: read here, from a folder that holds its files, or out of JSON.

Needs the standard library alone, for it runs on boards where nothing is installed yet. Knows no board by name.
"""

import json
import platform
import re
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fer_edge.devices.errors import DataError
from fer_edge.devices.machine import core_numbers

CORE_NAMES = {
    "0xd03": "A53", "0xd04": "A35", "0xd05": "A55", "0xd07": "A57", "0xd08": "A72", "0xd09": "A73", "0xd0a": "A75",
    "0xd0b": "A76", "0xd0c": "Neoverse-N1", "0xd0d": "A77", "0xd41": "A78", "0xd42": "A78AE", "0xd46": "A510",
    "0xd47": "A710", "0xd4f": "Neoverse-V2",
}  # fmt: skip
"""Cores by `CPU part` of /proc/cpuinfo under implementer 0x41 (Linux, arch/arm64/include/asm/cputype.h)."""
ARM = "0x41"

TREE = "proc/device-tree"
FACT_FILES = (
    f"{TREE}/model",
    f"{TREE}/compatible",
    "proc/cpuinfo",
    "proc/meminfo",
    "proc/sys/kernel/osrelease",
    "etc/os-release",
    "etc/nv_tegra_release",
)
"""What is read, relative to the root; a probe that can only `cat` brings these and `facts_from_files` does the rest."""
_SAME_TREE = "sys/firmware/devicetree/base"  # what /proc/device-tree points to


@dataclass(frozen=True, slots=True)
class BoardFacts:
    """None, or (), is what the board did not tell.

    `machine` is the kernel's ("aarch64"), which a 32-bit userland may have, too; `cores` those that can be used;
    `libc` as "glibc 2.36"; `l4t` a Jetson's release of Jetson Linux as "36.4.7".
    """

    model: str | None = None
    compatible: tuple[str, ...] = ()
    machine: str | None = None
    userland_bits: int | None = None
    cpu_implementer: str | None = None
    cpu_part: str | None = None
    cpu_name: str | None = None
    flags: tuple[str, ...] = ()
    cores: int | None = None
    memory_bytes: int | None = None
    kernel: str | None = None
    os_id: str | None = None
    os_version: str | None = None
    os_name: str | None = None
    python: str | None = None
    libc: str | None = None
    l4t: str | None = None

    @property
    def core(self) -> str | None:
        """The core by its short name ("A72"), as `boards.CORES` has it; None for one that is not known."""
        return CORE_NAMES.get(self.cpu_part or "") if self.cpu_implementer in (None, ARM) else None

    @property
    def has_dot_product(self) -> bool | None:
        """Whether an ARM core multiplies int8 by SDOT; None where no flags were told."""
        return "asimddp" in self.flags if self.flags else None

    @property
    def has_i8mm(self) -> bool | None:
        """Whether an ARM core multiplies int8 matrices; None where no flags were told."""
        return "i8mm" in self.flags if self.flags else None

    def as_dict(self) -> dict[str, Any]:
        """As JSON; `facts_from_dict` takes it back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


_KINDS: dict[str, type] = {"userland_bits": int, "cores": int, "memory_bytes": int}


def facts_from_dict(told: Mapping[str, Any]) -> BoardFacts:
    """Facts out of the JSON that a probe brings; a name that is missing is not known, other names are passed over.

    Raises:
        DataError: a value of another type than expected.
    """
    found: dict[str, Any] = {}
    for name in (field.name for field in fields(BoardFacts)):
        value = told.get(name)
        if value is None:
            continue
        if name in ("compatible", "flags"):
            if not (isinstance(value, list | tuple) and all(isinstance(word, str) for word in value)):
                raise DataError(f"a board's {name} is {json.dumps(value)[:80]}; expected a list of texts")
            value = tuple(value)
        elif type(value) is not _KINDS.get(name, str):
            kind = "a whole number" if name in _KINDS else "a text"
            raise DataError(f"a board's {name} is {json.dumps(value)[:80]}; expected {kind}")
        found[name] = value
    return BoardFacts(**found)


def facts_from_files(texts: Mapping[str, str], **asked: Any) -> BoardFacts:
    """Facts out of the raw contents of `FACT_FILES`.

    Args:
        texts: content by path, NULs included; a file that is not there is left out.
        asked: what no file says: `machine` (uname -m), `userland_bits`, `python`, `libc`; see `BoardFacts`.

    Raises:
        DataError: one of `asked` is of another type than expected.
    """
    cpu, system = _cpu(texts.get("proc/cpuinfo", "")), os_release(texts.get("etc/os-release", ""))
    return facts_from_dict(
        {
            "model": _words(texts.get(f"{TREE}/model", ""), first=True) or cpu.pop("Model", None),
            "compatible": _words(texts.get(f"{TREE}/compatible", "")),
            "cpu_implementer": cpu.get("CPU implementer"),
            "cpu_part": cpu.get("CPU part"),
            "cpu_name": cpu.get("model name"),
            "flags": (cpu.get("Features") or cpu.get("flags") or "").split(),
            "cores": len(re.findall(r"^processor\s*:", texts.get("proc/cpuinfo", ""), re.MULTILINE)) or None,
            "memory_bytes": _memory(texts.get("proc/meminfo", "")),
            "kernel": texts.get("proc/sys/kernel/osrelease", "").strip() or None,
            "os_id": system.get("ID"),
            "os_version": system.get("VERSION_ID"),
            "os_name": system.get("PRETTY_NAME"),
            "l4t": _l4t(texts.get("etc/nv_tegra_release", "")),
        }
        | asked
    )


def read_facts(root: Path = Path("/")) -> BoardFacts:
    """Ask this machine, or read what lies below `root`, where no file says machine, userland, Python and libc."""
    if root != Path("/"):
        return facts_from_files(_texts(root))
    return facts_from_files(_texts(root), **_asked())


def record() -> dict[str, Any]:
    """All that this machine answers, as the recordings of `tests/boards` hold it; serial numbers are blotted out."""
    texts = {name: re.sub(r"(?m)^(Serial\s*:).*", r"\1 0", text) for name, text in _texts(Path("/")).items()}
    return {"source": "recorded", "asked": _asked(), "files": texts}


def _asked() -> dict[str, Any]:
    return {
        "machine": platform.machine() or None,
        "userland_bits": struct.calcsize("P") * 8,
        "cores": len(core_numbers()),
        "python": platform.python_version(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
    }


def _texts(root: Path) -> dict[str, str]:
    texts = {}
    for name in FACT_FILES:
        text = _text(root / name)
        if text is None and name.startswith(TREE):
            text = _text(root / name.replace(TREE, _SAME_TREE))
        if text is not None:
            texts[name] = text
    return texts


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", errors="replace")
    except OSError:
        return None


def _words(text: str, *, first: bool = False) -> Any:
    """The texts of a device-tree property, each ended by NUL: all of them, or the first, None where there is none."""
    words = [word.strip() for word in text.split("\0") if word.strip()]
    return (words[0] if words else None) if first else words


def _cpu(text: str) -> dict[str, str]:
    """Fields of the first processor, and those of the whole board; the first of a name counts."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip(), value.strip())
    return found


def _memory(text: str) -> int | None:
    found = re.search(r"^MemTotal:\s*(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def os_release(text: str) -> dict[str, str]:
    """Keys and values of /etc/os-release."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}


def _l4t(text: str) -> str | None:
    """Of "# R36 (release), REVISION: 4.7, GCID: …": 36.4.7."""
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
    return f"{found[1]}.{found[2]}" if found else None
