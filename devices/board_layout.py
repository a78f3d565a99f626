"""Where everything of a deployment lies on the board, and the writes that a power cut leaves whole.

Like every `board_*` module it knows the standard library only: the agent runs before anything is installed.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_edge.devices.errors import BoardError
from fer_edge.devices.machine import read_text
from fer_edge.devices.systemd import UNIT_FOLDER

ROOT = Path("/opt/fer-edge")
STATE = Path("/var/lib/fer-edge")
SERVICE = "fer-edge"
AGENT = "board.pyz"
MANIFEST, SIGNATURE, KEY = "release.json", "release.sig", "key.pub"
RELEASE_PARTS = ("releases", "store", "incoming", "trust")
"""Folders that hold releases and what belongs to them."""
INSTALLED = "installed.json"
"""Written last: a release without it is not one."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders of one board; all but the defaults are for tests.

    Args:
        root: releases and everything that belongs to them.
        units: where systemd reads unit files.
        state: what the service may write: its state and its cache.
        user: who runs the service.
    """

    root: Path = ROOT
    units: Path = UNIT_FOLDER
    state: Path = STATE
    user: str = SERVICE

    @property
    def current(self) -> Path:
        """The link to the release that runs."""
        return self.root / "current"

    @property
    def agent(self) -> Path:
        """The agent that stays on the board."""
        return self.root / AGENT

    @property
    def store(self) -> Path:
        """Wheels by content: store/<sha256>/<file name>."""
        return self.root / "store"

    @property
    def incoming(self) -> Path:
        """Payloads under way."""
        return self.root / "incoming"

    @property
    def trusted_key(self) -> Path:
        """The key that this board was first deployed with."""
        return self.root / "trust" / KEY

    @property
    def journal(self) -> Path:
        """What is under way."""
        return self.root / "journal.json"

    def release(self, name: str) -> Path:
        """The folder of one release."""
        return self.root / "releases" / name

    def stored(self, sha256: str, file: str) -> Path:
        """Where a wheel is kept."""
        return self.store / sha256 / file

    def unit(self, name: str = SERVICE) -> Path:
        """A unit file."""
        return self.units / f"{name}.service"

    def current_id(self) -> str | None:
        """The release that `current` points to; None where there is none."""
        try:
            name = Path(self.current.readlink()).name
        except OSError:
            return None
        return name if self.is_installed(name) else None

    def is_installed(self, name: str) -> bool:
        """Whether this release is whole."""
        return (self.release(name) / INSTALLED).is_file()

    def installed(self) -> list[str]:
        """The whole releases, the one installed last first."""
        folder = self.root / "releases"
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        return sorted(filter(self.is_installed, names), key=self.number, reverse=True)

    def number(self, name: str) -> int:
        """Installations are counted: a board without a clock of its own cannot order them by time."""
        return int((read_json(self.release(name) / INSTALLED) or {}).get("number") or 0)

    def installed_at(self, name: str) -> str | None:
        """When a release was installed, as the board's clock had it."""
        return (read_json(self.release(name) / INSTALLED) or {}).get("installed_at")

    def switch_to(self, name: str | None) -> None:
        """Let `current` point to a release, or to none; at no moment it is missing in between."""
        if name is None:
            self.current.unlink(missing_ok=True)
        else:
            temporary = self.root / ".current.tmp"
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(Path("releases") / name)
            temporary.replace(self.current)
        sync_folder(self.root)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last through a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_durably(path: Path, content: bytes | str, mode: int = 0o644) -> None:
    """Write a small file so that even after a power cut there is the old one or the new one.

    `files.replacing_file` is for results: it does not wait for the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_json_durably(path: Path, value: Any) -> None:
    """`write_durably` of JSON."""
    write_durably(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file of our own; None where there is none, or no object."""
    text = read_text(path)
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


@contextmanager
def locked(layout: Layout, *, wait: bool = False) -> Iterator[None]:
    """Hold the board's lock; the kernel lets it go when the process ends, however it ends.

    Args:
        layout: of the board.
        wait: for whoever holds it, instead of an error.

    Raises:
        BoardError: another operation is under way.
    """
    layout.root.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = layout.root / "lock"
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file.fileno())):
                raise BlockingIOError  # it was removed with everything else, between our two calls
        except BlockingIOError as error:
            journal = read_json(layout.journal) or {}
            what = f"{journal['operation']}, process {journal['pid']}" if "pid" in journal else "just begun"
            raise BoardError(
                f"another operation is under way on this board ({what}); wait until it has ended, and try again"
            ) from error
        yield
