"""A release's own Python: a venv, filled by the payload's pip from the payload's wheels, without any network."""

import os
import shutil
import sys
from pathlib import Path

from fer_edge.devices.board_layout import Layout, sync_folder
from fer_edge.devices.board_process import last_words, run
from fer_edge.devices.board_release import Release, pinned, pip_wheel, wheel_of
from fer_edge.devices.board_reuse import OURS, is_ours, link_packages, twin
from fer_edge.devices.errors import BoardError
from fer_edge.devices.files import sha256_of

UNPACKED = 4
"""What a wheel takes installed, with its byte code, in sizes of the wheel; numpy and OpenCV take 3.5."""
ONLINE_BYTES = 400 << 20
"""For what the board's pip fetches by itself: numpy, OpenCV and LiteRT take about 300 MB."""
_SPARE_BYTES = 16 << 20
_VENV_LIMIT_S, _PIP_LIMIT_S = 300.0, 3600.0


def space_needed(layout: Layout, release: Release, found: dict[str, Path]) -> int:
    """Bytes that installing takes on the board's disk.

    Args:
        layout: of the board.
        release: what is to be installed.
        found: where its files lie now; wheels that came into `incoming` are moved, others are copied.
    """
    shared = twin(layout, release) is not None
    needed = _SPARE_BYTES + (ONLINE_BYTES if release.online else 0)
    for name, entry in release.files.items():
        wheel = name.startswith("wheels/")
        linked = wheel and shared and not is_ours(name.removeprefix("wheels/"))
        here = found[name].is_relative_to(layout.incoming) or found[name].is_relative_to(layout.store)
        needed += entry.size_bytes * ((UNPACKED if wheel and not linked else not linked) + (wheel and not here))
    return needed


def store_wheels(layout: Layout, release: Release, found: dict[str, Path]) -> int:
    """Put the payload's wheels where releases share them; gives how many were new.

    Raises:
        BoardError: a wheel changed while it was copied.
    """
    new = 0
    for file, entry in release.wheels.items():
        place, source = layout.stored(entry.sha256, file), found[f"wheels/{file}"]
        if source == place:
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_relative_to(layout.incoming):
            source.replace(place)
            if os.geteuid() == 0:
                os.chown(place, 0, 0)
        else:
            copy_checked(source, place, entry.sha256)
        place.chmod(0o644)
        new += 1
    if new:
        sync_folder(layout.store)
    return new


def copy_checked(source: Path, place: Path, sha256: str) -> None:
    """Copy a file of the payload; what is compared is the copy, so that nobody changes it in between.

    Raises:
        BoardError: the copy is another file than the one that was looked at.
    """
    temporary = place.with_name(f".{place.name}.tmp")
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, temporary)
        if sha256_of(temporary) != sha256:
            raise BoardError(f"{source} changed while it was copied; is its medium in order?")
        temporary.chmod(0o644)
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


def build_environment(layout: Layout, release: Release) -> str:
    """Make releases/<id>/venv; gives what was done, in words.

    `ensurepip`, which Debian keeps in a package of its own, is not needed: pip runs out of its wheel.

    Raises:
        BoardError: venv or pip failed.
    """
    environment = layout.release(release.id) / "venv"
    shared = ["--system-site-packages"] if release.system_site_packages else []
    done = run([sys.executable, "-m", "venv", "--without-pip", *shared, environment], timeout_s=_VENV_LIMIT_S)
    if done.returncode:
        raise BoardError(f"python3 -m venv failed: {last_words(done)}")
    other = twin(layout, release)
    if other is not None:
        link_packages(layout, other, environment)
    pip, wheels = pip_wheel(release), release.wheels
    by_project = {wheel_of(file)[0]: layout.stored(entry.sha256, file) for file, entry in wheels.items()}
    # By path and not by name: an index could have another file of that name and version.
    projects = {pinned(word)[0]: word for word in release.requirements}
    if other is not None:
        projects = {OURS: projects[OURS]} if OURS in projects else {}
    what = [by_project.get(project, word) for project, word in projects.items()]
    command = [
        *(environment / "bin/python", "-P", layout.stored(wheels[pip].sha256, pip) / "pip", "install"),
        *("--no-input", "--no-cache-dir", "--disable-pip-version-check", "--no-warn-script-location", "--quiet"),
        *("--root-user-action=ignore", "--only-binary=:all:"),
        *(() if release.online else ("--no-index",)),
        *(() if other is None else ("--no-deps",)),
        *what,
    ]
    # A Raspberry Pi's /etc/pip.conf adds an index, which must have no say in an offline installation.
    config = {} if release.online else {"PIP_CONFIG_FILE": os.devnull}
    done = run(command, timeout_s=_PIP_LIMIT_S, env=config, cwd=layout.release(release.id))
    if done.returncode:
        raise BoardError(f"pip failed: {last_words(done)}")
    count = f"{len(what)} package{'s' if len(what) != 1 else ''}"
    if other is not None:
        return f"{count} installed, the others shared with {other}"
    return f"{count} installed {'with the board’s own index' if release.online else 'offline'}"
