"""The service's own user and its one writable folder."""

import os
import pwd
import shutil
from pathlib import Path

from fer_edge.devices.board_layout import Layout
from fer_edge.devices.board_process import exists, last_words, run
from fer_edge.devices.errors import BoardError

_COMMENT = "fer-edge service"
"""By it we know a user that we made."""
_LIMIT_S = 60.0


def ensure_user(layout: Layout) -> bool:
    """Make the service's user where there is none; whether it was made now.

    Raises:
        BoardError: useradd failed.
    """
    if exists(layout.user):
        return False
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]
    done = run([*command, "--home-dir", layout.state, "--comment", _COMMENT, layout.user], timeout_s=_LIMIT_S)
    if done.returncode or not exists(layout.user):
        raise BoardError(f"useradd could not make the user {layout.user}: {last_words(done)}")
    return True


def ensure_state(layout: Layout) -> None:
    """Make the state folder, or take it over from a service whose user systemd made while it ran."""
    state = layout.state
    moved = state.is_symlink()
    if moved:  # DynamicUser keeps it in private/, where no other user comes
        private = state.resolve()
        state.unlink()
        if private.is_dir():
            private.rename(state)
    state.mkdir(mode=0o750, parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return
    owner = pwd.getpwnam(layout.user)
    for path in (state, *(state.rglob("*") if moved else ())):
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def keep_private(layout: Layout, path: Path) -> None:
    """Let nobody but root and the service read a file: a camera's address and a broker's password are secrets."""
    if os.geteuid() == 0:
        os.chown(path, 0, pwd.getpwnam(layout.user).pw_gid)
    path.chmod(0o640)


def remove_user(layout: Layout) -> bool:
    """Remove the service's user if it is one that we made; whether it was.

    Raises:
        BoardError: userdel failed.
    """
    if not exists(layout.user) or pwd.getpwnam(layout.user).pw_gecos != _COMMENT:
        return False
    done = run(["userdel", layout.user], timeout_s=_LIMIT_S)
    if done.returncode:
        raise BoardError(f"userdel {layout.user} failed: {last_words(done)}")
    return True


def fresh_folder(layout: Layout, name: str) -> Path:
    """An empty folder below the state folder that the service's user may write."""
    folder = layout.state / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        owner = pwd.getpwnam(layout.user)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    return folder
