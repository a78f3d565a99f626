"""A payload's files: which are here already, whether each is what release.json says, and whether any is too many."""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_edge.devices.board_layout import KEY, MANIFEST, SIGNATURE, Layout
from fer_edge.devices.board_release import FileEntry, Release, parse_release
from fer_edge.devices.errors import BoardError
from fer_edge.devices.files import sha256_of

_BESIDE = (MANIFEST, SIGNATURE, KEY)
_MOST_BYTES = 4 << 20
"""Of release.json: far more than any payload needs, and little enough to read."""


class TamperedError(BoardError):
    """The payload is not what release.json says, or not signed as it must be: it is thrown away."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A folder with release.json; `signature` and `key` are None where the payload has none.

    What is signed and what signs is read once, into memory: what was checked is what is used, whoever may write to the
    folder meanwhile.
    """

    folder: Path
    content: bytes
    release: Release
    signature: bytes | None
    key: bytes | None


def open_payload(folder: Path) -> Payload:
    """Read release.json of a payload.

    Raises:
        BoardError: there is none, or it is not one that this agent reads.
    """
    content = _read(folder / MANIFEST)
    signature, key = (_read(path) if os.path.lexists(path) else None for path in (folder / SIGNATURE, folder / KEY))
    return Payload(folder, content, parse_release(content), signature, key)


def missing(layout: Layout, release: Release) -> list[str]:
    """The payload's files that the board lacks, so that only these are sent."""
    folder = layout.incoming / release.id
    return [
        name
        for name, entry in release.files.items()
        if not any(_is(path, entry) for path in _places(layout, folder, name, entry))
    ]


def check_payload(layout: Layout, payload: Payload) -> dict[str, Path]:
    """Hash every file; gives where each lies, by its name in the payload.

    Raises:
        TamperedError: a file is not what release.json says, is too many, or is a link.
        BoardError: a file is missing.
    """
    _refuse_extra(payload)
    found: dict[str, Path] = {}
    for name, entry in payload.release.files.items():
        for path in _places(layout, payload.folder, name, entry):
            if _is(path, entry):
                found[name] = path
                break
            if path.is_relative_to(payload.folder) and os.path.lexists(path):
                raise TamperedError(f"{name} is not the file that release.json lists; the payload was altered")
        if name not in found:
            raise BoardError(f"{name} is missing from the payload; run the same command again, and it is sent")
    return found


def run_settings(path: Path) -> dict[str, Any]:
    """The keys of a run.toml.

    Raises:
        BoardError: it is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BoardError(f"{path} is not TOML ({error}); make the payload again") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise BoardError(f"{path.parent} is no payload: {path.name} cannot be read ({error.strerror})") from error
    if len(content) > _MOST_BYTES:
        raise BoardError(f"{path} is longer than any {path.name} is; make the payload again")
    return content


def _refuse_extra(payload: Payload) -> None:
    for folder, folders, files in os.walk(payload.folder):
        for name in (*folders, *files):
            path = Path(folder, name)
            inside = path.relative_to(payload.folder).as_posix()
            if path.is_symlink():
                raise TamperedError(f"{inside} in the payload is a link; expected files and folders only")
            if name in files and inside not in _BESIDE and inside not in payload.release.files:
                raise TamperedError(f"{inside} in the payload is not in release.json; the payload was altered")


def _places(layout: Layout, folder: Path, name: str, entry: FileEntry) -> list[Path]:
    """Where a file of the payload may lie: sent, kept by its content, or, outside wheels, part of today's release."""
    if name.startswith("wheels/"):
        return [folder / name, layout.stored(entry.sha256, Path(name).name)]
    current = layout.current_id()
    return [folder / name, *([layout.release(current) / name] if current else [])]


def _is(path: Path, entry: FileEntry) -> bool:
    try:
        return path.is_file() and path.stat().st_size == entry.size_bytes and sha256_of(path) == entry.sha256
    except OSError:
        return False
