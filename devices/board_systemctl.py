"""What the agent asks of systemd, and how it tells that a service has come up and stays."""

import re
import shutil
import time
from pathlib import Path
from typing import Any

from fer_edge.devices.board_layout import SERVICE
from fer_edge.devices.board_process import last_words, run
from fer_edge.devices.errors import BoardError
from fer_edge.devices.machine import read_text

UNIT = f"{SERVICE}.service"
RECOVERY = f"{SERVICE}-recover"
"""The unit that puts a board right after a power cut."""
_LIMIT_S = 120.0
_POLL_S, _SPARE_S = 0.2, 15.0
_SHOWN = "ActiveState,SubState,UnitFileState,ActiveEnterTimestamp,NRestarts,MainPID,MemoryCurrent,StatusText,Result"
UP = ("active", "activating", "reloading")


def exists() -> bool:
    """Whether there is a systemctl at all; in a chroot it enables units, though nothing runs."""
    return shutil.which("systemctl") is not None


def is_running() -> bool:
    """Whether systemd runs this machine; not so in a chroot, where an image is made."""
    try:
        done = run(["systemctl", "is-system-running"], timeout_s=_LIMIT_S)
    except BoardError:
        return False
    return done.stdout.strip() not in ("offline", "unknown", "")


def version() -> int | None:
    """systemd's version; None where there is no systemctl."""
    try:
        done = run(["systemctl", "--version"], timeout_s=_LIMIT_S)
    except BoardError:
        return None
    match = re.match(r"systemd (\d+)", done.stdout)
    return int(match[1]) if match else None


def call(*words: str) -> None:
    """One systemctl command.

    Raises:
        BoardError: it failed.
    """
    done = run(["systemctl", *words], timeout_s=_LIMIT_S)
    if done.returncode:
        raise BoardError(f"systemctl {' '.join(words)} failed: {last_words(done)}")


def is_enabled(unit: str = UNIT) -> bool:
    """Whether a unit is started at boot."""
    return exists() and run(["systemctl", "is-enabled", unit], timeout_s=_LIMIT_S).stdout.strip() == "enabled"


def show(unit: str = UNIT) -> dict[str, str]:
    """systemd's properties of a unit, as text."""
    done = run(["systemctl", "show", unit, "-p", _SHOWN], timeout_s=_LIMIT_S)
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def forget_failure() -> None:
    """Let a service that failed be as one that was never started; one that did not fail stays as it is."""
    run(["systemctl", "reset-failed", UNIT], timeout_s=_LIMIT_S)


def limits_memory() -> bool:
    """Whether this kernel counts memory by service; a Raspberry Pi's does not unless it is told to."""
    version_2, version_1 = Path("/sys/fs/cgroup/cgroup.controllers"), Path("/sys/fs/cgroup/memory")
    return "memory" in (read_text(version_2) or "").split() or version_1.is_dir()


def is_up(unit: str = UNIT) -> bool:
    """Whether the service runs, or is about to; one that has just ended is restarted by systemd."""
    return show(unit).get("ActiveState") in (*UP, "deactivating")


def describe(unit: str = UNIT) -> dict[str, Any]:
    """The service's state for `status`; all None where systemd does not run."""
    seen = show(unit) if is_running() else {}
    return {
        "active": seen.get("ActiveState"),
        "sub": seen.get("SubState"),
        "enabled": seen["UnitFileState"] == "enabled" if "UnitFileState" in seen else None,
        "since": seen.get("ActiveEnterTimestamp") or None,
        "restarts": _whole(seen.get("NRestarts")),
        "main_pid": _whole(seen.get("MainPID")) or None,
        "memory_bytes": _whole(seen.get("MemoryCurrent")),
        "status_text": seen.get("StatusText") or None,
    }


def restart(limit_s: float, settle_s: float) -> None:
    """Restart the service, wait until it is active, that is until it labelled a frame, and see that it stays so.

    Raises:
        BoardError: it did not come up in time, or ended again; with what systemd and the service itself said.
    """
    forget_failure()
    since_s = time.time()
    try:
        # systemd gives up first, and then says why.
        done = run(["systemctl", "restart", UNIT], timeout_s=limit_s + _SPARE_S)
    except BoardError as error:
        raise BoardError(f"{UNIT} was not ready within {limit_s:g} s{_because(since_s)}") from error
    if done.returncode:
        raise BoardError(f"{UNIT} did not come up (systemd says {show().get('Result', 'nothing')}){_because(since_s)}")
    began_with = show().get("NRestarts")
    deadline = time.monotonic() + settle_s
    while True:
        seen = show()
        if seen.get("ActiveState") not in ("active", "reloading") or seen.get("NRestarts") != began_with:
            raise BoardError(f"{UNIT} came up and ended again (systemd says {seen.get('Result')}){_because(since_s)}")
        if time.monotonic() >= deadline:
            return
        time.sleep(_POLL_S)


def wait_until_active(limit_s: float) -> bool:
    """Wait for a service whose start was asked for already; whether it became active."""
    deadline = time.monotonic() + limit_s
    while True:
        seen = show()
        if seen.get("ActiveState") == "active":
            return True
        if seen.get("ActiveState") == "failed" or time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)


def last_lines(since_s: float, count: int = 20) -> list[str]:
    """The service's last lines in the journal since a time (of `time.time()`); none where nobody can tell."""
    since = ["--since", f"@{int(since_s)}"]
    command = ["journalctl", "-u", UNIT, *since, "-n", str(count), "-o", "cat", "--no-pager", "-q"]
    try:
        done = run(command, timeout_s=_LIMIT_S)
    except BoardError:
        return []
    return done.stdout.splitlines()


def _because(since_s: float) -> str:
    """The service's own last words: a line by fer-edge where there is one."""
    own = [line for line in last_lines(since_s) if line.startswith("fer-edge: ")]
    return f": {own[-1].removeprefix('fer-edge: ')}" if own else ""


def _whole(text: str | None) -> int | None:
    number = int(text) if text is not None and text.isdigit() else None
    return None if number is None or number >= 1 << 63 else number  # how systemd writes "not set" as a number
