"""Takes everything off the board again."""

import shutil
from pathlib import Path

from fer_edge.devices import board_systemctl as systemctl
from fer_edge.devices.board_journal import Journal
from fer_edge.devices.board_layout import RELEASE_PARTS, Layout, sync_folder
from fer_edge.devices.board_user import remove_user


def remove_everything(layout: Layout, journal: Journal) -> dict[str, object]:
    """Stop the service and remove units, releases, wheels, agent and, with `purge`, state and user.

    The journal goes last, so that what is cut off here is finished by the next `recover`.

    Returns:
        `state`: the folder that stays, None where it went; `user`: whether the user went.

    Raises:
        BoardError: systemd or userdel refuses.
    """
    journal.at(layout, "remove")
    for name in (systemctl.UNIT, f"{systemctl.RECOVERY}.service"):
        path = layout.units / name
        if not path.exists():
            continue
        if systemctl.exists():
            systemctl.call("disable", *(["--now"] if systemctl.is_running() else []), name)
        path.unlink()
        sync_folder(path.parent)
    if systemctl.is_running():
        systemctl.call("daemon-reload")
    layout.switch_to(None)
    for part in RELEASE_PARTS:
        shutil.rmtree(layout.root / part, ignore_errors=True)
    went = False
    if journal.purge:
        _remove_state(layout.state)
        went = remove_user(layout)
    layout.agent.unlink(missing_ok=True)
    journal.end(layout)
    # Whatever else is in the folder was put there by somebody; the folder then stays.
    (layout.root / "lock").unlink(missing_ok=True)
    if not any(layout.root.iterdir()):
        layout.root.rmdir()
    return {"state": str(layout.state) if layout.state.exists() else None, "user_removed": went}


def _remove_state(state: Path) -> None:
    if state.is_symlink():
        shutil.rmtree(state.resolve(), ignore_errors=True)
        state.unlink()
    elif state.exists():
        shutil.rmtree(state)
