"""From one release to another and back: the units, the link `current`, the service; and what undoes it."""

import shutil
from pathlib import Path

from fer_edge.devices import board_systemctl as systemctl
from fer_edge.devices.board_journal import Journal
from fer_edge.devices.board_layout import AGENT, INSTALLED, KEY, MANIFEST, Layout, sync_folder, write_durably
from fer_edge.devices.board_release import Release, parse_release
from fer_edge.devices.board_selftest import has_camera
from fer_edge.devices.board_unit import units
from fer_edge.devices.errors import BoardError
from fer_edge.devices.systemd import check_ours, start_limit_s

SETTLE_S = 5.0
"""How long a service that has come up is watched."""
KEPT = 3
SWITCHED = ("switch", "service")
"""Steps in which the link may point to a release that is not proven yet."""


def installed_release(layout: Layout, name: str) -> Release:
    """release.json of a release on the board."""
    return parse_release((layout.release(name) / MANIFEST).read_bytes())


def switch(layout: Layout, journal: Journal, release: Release) -> str:
    """Write the units and let `current` point to the release; gives what was done, in words."""
    texts = units(layout, release, systemctl.version())
    for path in texts:
        check_ours(path)
    journal.units = {str(path): path.read_text(encoding="utf-8") if path.exists() else None for path in texts}
    journal.at(layout, "switch")
    folder = layout.release(release.id)
    if journal.first:  # from here on a power cut needs somebody on the board who puts it right
        write_durably(layout.agent, (folder / AGENT).read_bytes())
    for path, text in texts.items():
        write_durably(path, text)
    if systemctl.exists():
        systemctl.call("enable", systemctl.RECOVERY + ".service")
    layout.switch_to(release.id)
    return f"{journal.previous or 'nothing'} → {release.id}"


def start_service(layout: Layout, journal: Journal, release: Release, settle_s: float) -> str | None:
    """Restart the service on the release that `current` points to, and see it come up.

    Returns:
        What was left out and why; None where the service runs.

    Raises:
        BoardError: it does not come up, or not for long.
    """
    journal.at(layout, "service")
    if not has_camera(layout.release(release.id)):
        if systemctl.exists() and journal.service_was_enabled:
            systemctl.call("disable", "--now", systemctl.UNIT)
        return "no camera is set, so the service is not started"
    if systemctl.exists():
        systemctl.call("enable", systemctl.UNIT)
    if not systemctl.is_running():
        return "systemd does not run here; the service starts when the board does"
    systemctl.call("daemon-reload")
    systemctl.restart(start_limit_s(release.camera_timeout_s), settle_s)
    return None


def undo(layout: Layout, journal: Journal) -> None:
    """Take back what an operation did, whatever it came to; starts the old service without waiting for it."""
    runs = systemctl.is_running()
    switched = journal.step in SWITCHED and bool(journal.units)
    if switched:
        _undo_switch(layout, journal, runs)
    if journal.built and journal.id is not None and layout.release(journal.id).exists():
        remove_release(layout, journal.id)
    if runs and journal.service_was_active:
        # Without waiting: at boot the service is started after this has ended.
        systemctl.call("restart" if switched else "start", "--no-block", systemctl.UNIT)
    journal.end(layout)


def _undo_switch(layout: Layout, journal: Journal, runs: bool) -> None:
    layout.switch_to(journal.previous)
    if systemctl.exists():
        if runs and not journal.service_was_active:
            systemctl.call("stop", "--no-block", systemctl.UNIT)
        if not journal.service_was_enabled and layout.unit().exists():
            systemctl.call("disable", systemctl.UNIT)
        if journal.units.get(str(layout.unit(systemctl.RECOVERY)), "") is None:
            systemctl.call("disable", systemctl.RECOVERY + ".service")
    for name, text in journal.units.items():
        path = Path(name)
        if text is not None:
            write_durably(path, text)
        elif path.exists():
            path.unlink()
            sync_folder(path.parent)
    if runs:
        systemctl.call("daemon-reload")
        systemctl.forget_failure()
    if journal.first:
        layout.agent.unlink(missing_ok=True)


def finish(layout: Layout, journal: Journal) -> str:
    """What follows once a release has proven itself; may be done again after a power cut. Gives what was removed."""
    journal.at(layout, "prune")
    assert journal.id is not None
    folder = layout.release(journal.id)
    if journal.operation == "install":
        write_durably(layout.agent, (folder / AGENT).read_bytes())
        if (folder / KEY).exists() and not layout.trusted_key.exists():  # its signature was checked before
            write_durably(layout.trusted_key, (folder / KEY).read_bytes())
        text = prune(layout)
    else:
        text = "nothing to remove"
    journal.end(layout)
    return text


def prune(layout: Layout) -> str:
    """Keep three releases, the wheels that they name, and no payload; gives what was removed, in words."""
    current = layout.current_id()
    others = [name for name in layout.installed() if name != current]
    keep = {current, *others[: KEPT - 1]}
    folder = layout.root / "releases"
    gone = [name for name in sorted(path.name for path in folder.iterdir()) if name not in keep]
    for name in gone:
        remove_release(layout, name)
    wheels = drop_wheels(layout, set())
    shutil.rmtree(layout.incoming, ignore_errors=True)
    if not gone and not wheels:
        return f"{len(keep)} of {KEPT} releases kept"
    return f"{len(gone)} old releases and {wheels} wheels removed"


def remove_release(layout: Layout, name: str) -> None:
    """Remove a release; that it does not count any more comes first."""
    folder = layout.release(name)
    (folder / INSTALLED).unlink(missing_ok=True)
    shutil.rmtree(folder)


def drop_wheels(layout: Layout, wanted: set[str]) -> int:
    """Remove wheels that no release names and whose sha256 is not in `wanted`; gives how many."""
    named = set(wanted)
    for name in layout.installed():
        try:
            named |= {entry.sha256 for entry in installed_release(layout, name).wheels.values()}
        except BoardError:
            continue  # of a schema that this agent does not read; it is installed, and its wheels are not needed
    if not layout.store.is_dir():
        return 0
    gone = [folder for folder in layout.store.iterdir() if folder.name not in named]
    for folder in gone:
        shutil.rmtree(folder)
    return len(gone)
