"""From what a board answered to what will be done there, or why nothing can be: no step is taken here."""

from dataclasses import dataclass, field

from fer_edge.devices.board_facts import TREE, BoardFacts, facts_from_files
from fer_edge.devices.deploy_probe import Probe
from fer_edge.devices.errors import DeployError
from fer_edge.devices.profiles import Match, recognise
from fer_edge.devices.wheel_set import WheelOrder

PYTHONS = ("3.11", "3.12", "3.13")
_OLDEST_GLIBC = (2, 27)
_CLOCK_OFF_S = 300
_ROOM_BYTES = 500 << 20
"""What a first release takes: the agent counted 474 MB on x86-64 before it began."""
_NEXT_ROOM_BYTES = 50 << 20
"""What a next one takes at least: it shares its packages, and some 56 MB were counted. The agent knows the figure."""
EXTRAS = ("service", "mqtt", "web")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for; None leaves it to the profile."""

    profile: str | None = None
    camera: str | None = None
    engine: str | None = None
    precision: str | None = None
    threads: int | None = None
    signed: bool = False


@dataclass(frozen=True, slots=True)
class System:
    """An operating system as far as packages go."""

    title: str
    python: str
    glibc: tuple[int, int]
    numpy1: bool = False


SYSTEMS = {
    "trixie": System("Debian 13 or Raspberry Pi OS of it", "3.13", (2, 41)),
    "bookworm": System("Debian 12 or Raspberry Pi OS of it", "3.11", (2, 36), numpy1=True),
    "ubuntu-24.04": System("Ubuntu 24.04 or JetPack 7", "3.12", (2, 39)),
}
"""Those that a package can be made for without asking the board; `numpy1`: its picamera2 takes no newer NumPy."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one board gets. `notes` are for people: what is odd, and what was decided because of it."""

    probe: Probe | None
    match: Match
    camera: str
    engine: str
    precision: str
    threads: int | None
    wheels: WheelOrder
    system_site_packages: bool
    notes: tuple[str, ...] = field(default=())


def facts_of(probe: Probe) -> BoardFacts:
    """A probe's answers as the profiles want them."""
    raw = probe.raw
    texts = {
        f"{TREE}/model": raw.get("model", ""),
        f"{TREE}/compatible": raw.get("compatible", "").replace("\n", "\0"),
        "proc/cpuinfo": raw.get("cpuinfo", ""),
        "proc/meminfo": raw.get("meminfo", ""),
        "proc/sys/kernel/osrelease": raw.get("kernel", "").split(" ")[-1],
        "etc/os-release": raw.get("os", ""),
        "etc/nv_tegra_release": raw.get("tegra", ""),
    }
    libc = f"glibc {probe.glibc[0]}.{probe.glibc[1]}" if probe.glibc else None
    return facts_from_files(
        texts, machine=probe.machine, userland_bits=probe.python_bits, python=probe.python, libc=libc
    )


def plan(probe: Probe, wish: Wish) -> Plan:
    """What will be done on a board.

    Raises:
        DeployError: it cannot be, with the reason and what to do.
        DataError: no profile of that name, or none for such a board.
    """
    match = recognise(facts_of(probe), wish.profile)
    _refuse(probe, match)
    system = System(
        probe.os.get("PRETTY_NAME", "unknown"), str(probe.python_minor), probe.glibc or _OLDEST_GLIBC,
        (probe.system_numpy or "").startswith("1."),
    )  # fmt: skip
    machine = "aarch64" if probe.machine == "arm64" else probe.machine
    return _plan(probe, match, machine, system, wish)


def plan_unseen(profile: str, system: str | None, wish: Wish) -> tuple[Plan, System]:
    """What a board of this profile gets that cannot be asked, and the system that it is made for.

    Raises:
        DeployError: no such system, or it cannot be.
        DataError: no profile of that name.
    """
    match = recognise(BoardFacts(), profile)
    name = system or ("ubuntu-24.04" if profile.startswith("jetson") else "trixie")
    if name not in SYSTEMS:
        raise DeployError(f"there is no system {name!r}; choose one of {', '.join(SYSTEMS)}")
    return _plan(None, match, match.profile.machine, SYSTEMS[name], wish), SYSTEMS[name]


def _plan(probe: Probe | None, match: Match, machine: str, system: System, wish: Wish) -> Plan:
    profile, host = match.profile, probe.host if probe else f"a {match.profile.title}"
    engine, precision = wish.engine or profile.engine, wish.precision or profile.precision
    against = match.why_not(engine, precision)
    if against is not None:
        fix = f"; {against.fix}" if against.fix else ""
        raise DeployError(f"{host} cannot {against.what}: {against.reason}{fix}")
    camera = wish.camera or profile.camera
    # These come from the system's own packages: libcamera's Python, JetPack's OpenCV and ONNX Runtime.
    with_system = camera.startswith(("picamera2", "argus")) or engine == "tensorrt"
    return Plan(
        probe=probe,
        match=match,
        camera=camera,
        engine=engine,
        precision=precision,
        threads=wish.threads or profile.threads,
        wheels=WheelOrder(
            machine=machine,
            python=system.python,
            glibc=system.glibc,
            extras=tuple(dict.fromkeys((*EXTRAS, *_engine_extra(engine), *(("sign",) if wish.signed else ())))),
            numpy1=with_system and system.numpy1,
        ),
        system_site_packages=with_system,
        notes=tuple(_notes(probe, camera)) if probe else (),
    )


def _engine_extra(engine: str) -> tuple[str, ...]:
    return (engine,) if engine in ("onnx", "openvino") else ()


def _refuse(probe: Probe, match: Match) -> None:
    host = probe.host
    if probe.python is None:
        raise DeployError(f"{host} has no python3; run there: sudo apt install python3")
    for each in match.cannot:
        if each.engine == "any":
            raise DeployError(f"{host} cannot {each.what}: {each.reason}{f'; {each.fix}' if each.fix else ''}")
    if probe.python_minor not in PYTHONS:
        raise DeployError(f"{host} has Python {probe.python}; packages are there for {', '.join(PYTHONS)}")
    if probe.glibc is not None and probe.glibc < _OLDEST_GLIBC:
        raise DeployError(
            f"{host} has glibc {probe.glibc[0]}.{probe.glibc[1]}; LiteRT needs 2.27: install a newer system"
        )
    if not (probe.root or probe.sudo):
        raise DeployError(
            f"{host}: this user is not root and sudo asks for a password; allow it (NOPASSWD), or use root@"
        )
    room, which = (_NEXT_ROOM_BYTES, "another") if probe.current else (_ROOM_BYTES, "a first")
    if probe.disk_free_bytes is not None and probe.disk_free_bytes < room:
        raise DeployError(
            f"{host} has {probe.disk_free_bytes >> 20} MB free for /opt, and {which} release needs about "
            f"{room >> 20} MB; make room, such as by sudo apt clean"
        )


def _notes(probe: Probe, camera: str) -> list[str]:
    notes = []
    if probe.systemd is None:
        notes.append("systemd does not run there: the release is installed, and nothing starts it")
    off = probe.clock_off_s
    if off is not None and abs(off) > _CLOCK_OFF_S:
        way = "ahead" if off > 0 else "behind"
        notes.append(f"its clock is {abs(off) / 60:.0f} minutes {way}: TLS will fail until it is right (timedatectl)")
    if camera.startswith("picamera2") and not probe.picamera2:
        notes.append("picamera2 is not installed there; run there: sudo apt install -y python3-picamera2")
    if camera.startswith("v4l2:/dev/") and camera.removeprefix("v4l2:").split("?")[0] not in probe.cameras:
        there = ", ".join(probe.cameras) or "none"
        notes.append(f"the camera {camera.removeprefix('v4l2:')} is not there; there are: {there}")
    return notes
