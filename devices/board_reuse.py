"""Packages that the release before has already are linked into the new one.

A second deployment takes seconds then, and three releases take little more of an SD card than one.
"""

import os
import shutil
from pathlib import Path

from fer_edge.devices.board_layout import MANIFEST, Layout
from fer_edge.devices.board_release import Release, parse_release, wheel_of
from fer_edge.devices.errors import BoardError

OURS = "fer-edge"


def twin(layout: Layout, release: Release) -> str | None:
    """An installed release with the very same packages but for this program, the newest; None where there is none.

    What a board's own pip fetched is of no known hash, so a release made online has no twin.
    """
    if release.online:
        return None
    for name in layout.installed():
        try:
            other = parse_release((layout.release(name) / MANIFEST).read_bytes())
        except (OSError, BoardError):
            continue
        same = other.python == release.python and other.system_site_packages == release.system_site_packages
        if not other.online and same and _others(other) == _others(release) and _site(layout, name) is not None:
            return name
    return None


def link_packages(layout: Layout, name: str, environment: Path) -> None:
    """Link the packages of release `name` into a new, empty environment: files are shared, folders are not.

    Nothing writes into an installed package's files; byte code that Python makes later is a new file in its own folder.
    """
    source, target = _site(layout, name), next((environment / "lib").glob("python3*/site-packages"))
    assert source is not None
    for entry in sorted(source.iterdir()):
        if entry.name.startswith(("fer_edge", "__pycache__")):
            continue
        if entry.is_dir():
            shutil.copytree(entry, target / entry.name, copy_function=os.link, symlinks=True, dirs_exist_ok=True)
        else:
            os.link(entry, target / entry.name)


def is_ours(file: str) -> bool:
    """Whether a wheel is this program's."""
    return wheel_of(file)[0] == OURS


def _others(release: Release) -> dict[str, str]:
    return {file: entry.sha256 for file, entry in release.wheels.items() if not is_ours(file)}


def _site(layout: Layout, name: str) -> Path | None:
    found = sorted((layout.release(name) / "venv" / "lib").glob("python3*/site-packages"))
    return found[0] if found else None
