"""All wheels that a board needs, fetched on the workstation for the board's processor, Python and C library."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from fer_edge.devices.errors import DeployError
from fer_edge.devices.files import replacing_folder, write_json
from fer_edge.devices.own_wheel import write_own_wheel

PINS = Path(__file__).parent / "edge_pins.txt"
PINS_NUMPY1 = Path(__file__).parent / "edge_pins_numpy1.txt"
"""For environments that see Bookworm's picamera2, whose compiled parts take no NumPy from 2 on."""
_MARKER = "wheels.json"
ONLY_AS_SOURCE = ("sdnotify",)
"""Pure Python without a wheel at the index: one is made here, which fits every board."""
_GLIBC_STEPS = (17, 24, 26, 27, 28, 31, 34, 35, 36, 38, 39, 41)


@dataclass(frozen=True, slots=True)
class WheelOrder:
    """Which wheels.

    Args:
        machine: `aarch64` or `x86_64`.
        python: `3.11`.
        glibc: the board's; wheels for a newer one are not taken.
        extras: of fer-edge, such as ("service", "mqtt").
        numpy1: pins that go with NumPy below 2.
    """

    machine: str
    python: str
    glibc: tuple[int, int]
    extras: tuple[str, ...]
    numpy1: bool = False

    @property
    def pins(self) -> Path:
        """The file with a version for each package."""
        return PINS_NUMPY1 if self.numpy1 else PINS

    def platforms(self) -> list[str]:
        """pip's names for all systems whose wheels run there, oldest first."""
        steps = [minor for minor in _GLIBC_STEPS if (2, minor) <= self.glibc]
        names = [f"manylinux_2_{minor}_{self.machine}" for minor in steps]
        return [*names, f"manylinux2014_{self.machine}", f"linux_{self.machine}"]


def build_wheels(order: WheelOrder, folder: Path, say: Callable[[str], None]) -> list[Path]:
    """All wheels of an order, pip's own included; what was fetched before is taken from the user's cache.

    Args:
        order: which.
        folder: receives the wheels; made anew.
        say: called with one line for what takes long.

    Raises:
        DeployError: pip is missing here, or a package has no wheel for that board.
        OutputError: the folder cannot be written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ours = write_own_wheel(folder)
    for path in _others(order, ours, say):
        os.link(path, folder / path.name) if _same_disk(path, folder) else shutil.copy2(path, folder / path.name)
    return sorted(folder.glob("*.whl"))


def requirements_of(wheels: Sequence[Path]) -> list[str]:
    """`name==version` of each wheel but pip's own, sorted."""
    named = (path.name.split("-")[:2] for path in wheels)
    return sorted(f"{name.replace('_', '-').lower()}=={number}" for name, number in named if name != "pip")


def _others(order: WheelOrder, ours: Path, say: Callable[[str], None]) -> list[Path]:
    """Every wheel but ours. They depend on our metadata and the pins alone, so they are fetched once for both."""
    cached = _cache() / _key(order)
    if not (cached / _MARKER).is_file():
        say(f"fetching packages for {order.machine}, Python {order.python}, glibc {order.glibc[0]}.{order.glibc[1]}")
        with replacing_folder(cached, _MARKER, force=True) as temporary:
            _fetch(order, ours, temporary)
            names = sorted(path.name for path in temporary.glob("*.whl"))
            write_json(temporary / _MARKER, {"wheels": names})
    return sorted(cached.glob("*.whl"))


def _fetch(order: WheelOrder, ours: Path, folder: Path) -> None:
    pins = order.pins.read_text(encoding="utf-8")
    for name in ONLY_AS_SOURCE:
        pinned = re.search(rf"^{name}==\S+", pins, re.MULTILINE)
        assert pinned is not None, f"{name} has no pin"
        _pip("wheel", "--no-deps", "--wheel-dir", str(folder), pinned[0])
    words = ["--only-binary=:all:", "--implementation", "cp", "--python-version", order.python.replace(".", "")]
    for platform in order.platforms():
        words += ["--platform", platform]
    extras = f"[{','.join(order.extras)}]" if order.extras else ""
    _pip(
        *("download", "--dest", str(folder), "--find-links", str(folder), *words, "-c", str(order.pins)),
        *(f"{ours}{extras}", f"pip=={_pip_pin(pins)}"),
    )
    (folder / ours.name).unlink(missing_ok=True)


def _pip_pin(pins: str) -> str:
    found = re.search(r"^pip==(\S+)", pins, re.MULTILINE)
    assert found is not None, "pip has no pin"
    return found[1]


def _pip(*words: str) -> None:
    command = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "-q", *words]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode == 0:
        return
    if "No module named pip" in done.stderr:
        raise DeployError(f"{sys.executable} comes without pip, which fetches the packages; run: python -m ensurepip")
    errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    last = errors[-1] if errors else (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
    raise DeployError(f"the board's packages cannot be fetched: {last}")


def _key(order: WheelOrder) -> str:
    glibc = ".".join(map(str, order.glibc))
    words = [order.machine, f"py{order.python}", f"glibc{glibc}", *order.extras, f"fer-edge{version('fer-edge')}"]
    return "-".join(words) + f"-{_digest(order.pins)}"


def _digest(path: Path) -> str:
    import hashlib
    from importlib.metadata import distribution

    # What we depend on is in our metadata: a changed dependency fetches anew, a changed line of code does not.
    needs = "\n".join(distribution("fer-edge").requires or ())
    return hashlib.sha256(path.read_bytes() + needs.encode()).hexdigest()[:12]


def _same_disk(path: Path, folder: Path) -> bool:
    return path.stat().st_dev == folder.stat().st_dev


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "fer-edge" / "wheels"
