"""Programs that the agent starts: each has a limit, and none outlives the agent."""

import contextlib
import ctypes
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_edge.devices.board_speak import check_listener
from fer_edge.devices.errors import BoardError

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_LISTENER_EVERY_S = 1.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Person:
    """Who a program runs as: name of the user, and groups beside his own that may open cameras."""

    name: str
    groups: tuple[str, ...] = ()

    def as_popen(self) -> dict[str, Any]:
        """For Popen; nothing where this process is that user already."""
        if not exists(self.name) or pwd.getpwnam(self.name).pw_uid == os.geteuid():
            return {}
        return {"user": self.name, "group": pwd.getpwnam(self.name).pw_gid, "extra_groups": list(self.groups)}


def exists(user: str) -> bool:
    """Whether there is such a user."""
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def run(
    command: Sequence[str | Path],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path = Path("/"),
    person: Person | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; its whole group is killed with the agent, or when an exception passes here.

    Raises:
        BoardError: it is not there, or took longer than `timeout_s`.
    """
    words = [str(word) for word in command]
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=plain_environment() | dict(env or {}),
            cwd=cwd,
            start_new_session=True,
            preexec_fn=_die_with_the_agent,  # safe: the agent has one thread
            **(person.as_popen() if person else {}),
        )
    except OSError as error:
        raise BoardError(f"cannot start {words[0]}: {error.strerror}") from error
    try:
        out, err = _to_its_end(process, timeout_s)
    except subprocess.TimeoutExpired as error:
        _kill(process)
        raise BoardError(f"{' '.join(words[:3])} … did not end within {timeout_s:g} s") from error
    except BaseException:
        _kill(process)
        raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def _to_its_end(process: subprocess.Popen[str], timeout_s: float) -> tuple[str, str]:
    deadline = time.monotonic() + timeout_s
    while True:
        left_s = deadline - time.monotonic()
        try:
            return process.communicate(timeout=min(_LISTENER_EVERY_S, max(left_s, 0)))
        except subprocess.TimeoutExpired:
            if left_s <= 0:
                raise
        check_listener()


def plain_environment() -> dict[str, str]:
    """What every program gets: nothing that the one who logged in happens to have set."""
    return {"PATH": os.environ.get("PATH", _PATH), "LANG": "C.UTF-8", "HOME": "/root", "PYTHONUNBUFFERED": "1"}


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """Why a program failed, in a line: its last words, or the signal that it died of."""
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    words = lines[-1].removeprefix("fer-edge: ") if lines else "it said nothing"
    if done.returncode < 0:
        return f"died of {signal.Signals(-done.returncode).name} ({words})"
    return words


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _die_with_the_agent() -> None:
    # What goes on writing into a release that the next agent removes would be in its way.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
