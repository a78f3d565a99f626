"""release.json, read strictly: what a release is made of, and whether this board can take it."""

import json
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from fer_edge.devices.board_layout import AGENT
from fer_edge.devices.errors import BoardError
from fer_edge.devices.machine import is_32bit_userland

SCHEMA = 1
_ID = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}"
_SHA256 = r"[0-9a-f]{64}"
_REQUIREMENT = r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[A-Za-z0-9._, -]*\])?==([A-Za-z0-9.!+_-]+)"
_WHEEL = r"([A-Za-z0-9_.]+)-([A-Za-z0-9_.!+]+)(?:-\d[A-Za-z0-9_.]*)?-[A-Za-z0-9_.]+-[A-Za-z0-9_.]+-[A-Za-z0-9_.]+\.whl"
_NUMBER = (int, float)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the payload: its sha256 in hex, and size."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Release:
    """What release.json says. `files` are by path in the payload; `requirements` are pinned with ==."""

    id: str
    version: str
    machine: str
    python: str
    profile: str
    memory_max_bytes: int | None
    system_site_packages: bool
    online: bool
    requirements: tuple[str, ...]
    bundle_name: str
    camera: str | None
    camera_timeout_s: float
    engine: str
    precision: str
    bench_s: float
    files: dict[str, FileEntry]

    @property
    def wheels(self) -> dict[str, FileEntry]:
        """Wheels by file name."""
        return {PurePosixPath(name).name: entry for name, entry in self.files.items() if name.startswith("wheels/")}

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(entry.size_bytes for entry in self.files.values())


def parse_release(content: bytes) -> Release:
    """Read release.json.

    Raises:
        BoardError: no JSON, another schema, a value missing or of another kind, a path that leaves the payload, or a
            set of files and requirements that does not fit together.
    """
    try:
        values = json.loads(content)
    except ValueError as error:
        raise BoardError(f"release.json is not JSON ({error}); make the payload again") from error
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        got = values.get("schema") if isinstance(values, dict) else type(values).__name__
        raise BoardError(
            f"release.json has schema {got!r}, expected {SCHEMA}; deploy over ssh, which brings an agent that "
            "reads it, or make the payload with the version of fer-edge that is on the board"
        )
    bundle, selftest = _take(values, "bundle", dict), _take(values, "selftest", dict)
    requirements = _take(values, "requirements", list)
    release = Release(
        id=_matching(values, "id", _ID),
        version=_take(values, "version", str),
        machine=_take(values, "machine", str),
        python=_matching(values, "python", r"3\.\d{1,2}"),
        profile=_take(values, "profile", str),
        memory_max_bytes=_take(values, "memory_max_bytes", int, or_none=True),
        system_site_packages=_take(values, "system_site_packages", bool),
        online=_take(values, "online", bool),
        requirements=tuple(str(word) for word in requirements),
        bundle_name=_take(bundle, "name", str),
        camera=_take(values, "camera", str, or_none=True),
        camera_timeout_s=float(_take(values, "camera_timeout_s", _NUMBER)),
        engine=_take(values, "engine", str),
        precision=_take(values, "precision", str),
        bench_s=float(_take(selftest, "bench_s", _NUMBER)),
        files={name: _file_entry(name, entry) for name, entry in _take(values, "files", dict).items()},
    )
    _check_whole(release, _take(bundle, "sha256", str))
    return release


def check_fits(release: Release) -> None:
    """Refuse what is made for another machine or another Python.

    Raises:
        BoardError: it is.
    """
    here, python = platform.machine(), f"{sys.version_info.major}.{sys.version_info.minor}"
    if release.machine != here:
        raise BoardError(f"the payload is for {release.machine} and this board is {here}; make one for this board")
    if is_32bit_userland() and release.machine in ("aarch64", "x86_64"):
        raise BoardError(
            f"the payload is for 64-bit {release.machine} and this board's Python is 32-bit; install the 64-bit system"
        )
    if release.python != python:
        raise BoardError(
            f"the payload is for Python {release.python} and this board has {python}; make one for this board"
        )


def project_name(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def wheel_of(file: str) -> tuple[str, str]:
    """Project and version that a wheel's file name states."""
    match = re.fullmatch(_WHEEL, file)
    if match is None:
        raise BoardError(f"wheels/{file} is not named like a wheel; make the payload again")
    return project_name(match[1]), match[2]


def pip_wheel(release: Release) -> str:
    """The file name of the payload's own pip."""
    for file in release.wheels:
        if wheel_of(file)[0] == "pip":
            return file
    raise BoardError("the payload holds no wheel of pip, which installs the others; make it again")


def pinned(requirement: str) -> tuple[str, str]:
    """Project and version of a requirement."""
    match = re.fullmatch(_REQUIREMENT, requirement)
    if match is None:
        raise BoardError(f"requirement {requirement!r} is not pinned as name==version; make the payload again")
    return project_name(match[1]), match[2]


def _check_whole(release: Release, bundle_sha256: str) -> None:
    for name in ("run.toml", AGENT, "bundle/bundle.json"):
        if name not in release.files:
            raise BoardError(f"release.json lists no {name}; make the payload again")
    if release.files["bundle/bundle.json"].sha256 != bundle_sha256:
        raise BoardError("release.json says two things about bundle/bundle.json; make the payload again")
    pip_wheel(release)
    wanted = dict(map(pinned, release.requirements))
    have = dict(map(wheel_of, release.wheels))
    for project, version in have.items():
        if project != "pip" and project not in wanted:
            raise BoardError(f"the payload's wheel of {project} is in no requirement; make the payload again")
        if project in wanted and _plain(wanted[project]) != _plain(version):
            raise BoardError(f"{project} {wanted[project]} is required and {version} is in the payload; make it again")
    absent = sorted(wanted.keys() - have.keys())
    if absent and not release.online:
        raise BoardError(f"the payload holds no wheel of {', '.join(absent)}; make it again, or deploy --online")


def _plain(version: str) -> str:
    return version.lower().replace("_", "-")


def _file_entry(name: str, entry: Any) -> FileEntry:
    parts = PurePosixPath(name).parts
    plain = name.isprintable() and "\\" not in name and PurePosixPath(name).as_posix() == name
    if not parts or not plain or name.startswith("/") or ".." in parts:
        raise BoardError(f"release.json lists {name!r}, which leaves the payload's folder; it is refused")
    in_place = name in ("run.toml", AGENT) or (parts[0] in ("bundle", "files") and len(parts) > 1)
    if not in_place and not (parts[0] == "wheels" and len(parts) == 2 and name.endswith(".whl")):
        raise BoardError(
            f"release.json lists {name!r}; expected run.toml, {AGENT}, bundle/…, files/… and wheels/*.whl only"
        )
    if not isinstance(entry, dict):
        raise BoardError(f"release.json: {name} is {entry!r}; expected its sha256 and bytes")
    size = _take(entry, "bytes", int)
    if size < 0:
        raise BoardError(f"release.json: {name} has {size} bytes; make the payload again")
    return FileEntry(_matching(entry, "sha256", _SHA256), size)


def _take(values: dict[str, Any], key: str, kind: Any, *, or_none: bool = False) -> Any:
    if key not in values:
        raise BoardError(f"release.json has no {key}; make the payload again")
    value = values[key]
    if (value is None and or_none) or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
        return value
    raise BoardError(f"release.json: {key} is {value!r}, which it cannot be; make the payload again")


def _matching(values: dict[str, Any], key: str, pattern: str) -> str:
    value: str = _take(values, key, str)
    if not re.fullmatch(pattern, value):
        raise BoardError(f"release.json: {key} is {value!r}, which it cannot be; make the payload again")
    return value
