"""Where this program keeps what it learned about the device. Imports nothing: it is on the path to the first label."""

import os
from pathlib import Path


def state_home() -> Path:
    """$FER_EDGE_STATE_DIR, or the folder that systemd gives a service, or $XDG_STATE_HOME/fer-edge, or
    ~/.local/state/fer-edge.
    """
    given = os.environ.get("FER_EDGE_STATE_DIR") or os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "fer-edge"


def profiles_folder() -> Path:
    """Where profiles lie."""
    return state_home() / "profiles"


def has_profiles() -> bool:
    """Whether there is any profile, of whatever bundle; costs a look at a folder."""
    try:
        return any(profiles_folder().glob("*.toml"))
    except (OSError, RuntimeError):  # no permission, or a user without a home
        return False
