"""A second process that watches over an operation, in a unit of its own: killed in its self-test, the agent would leave
the service down until somebody comes or the board boots."""

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from fer_edge.devices import board_systemctl as systemctl
from fer_edge.devices.board_layout import SERVICE, Layout, locked
from fer_edge.devices.board_process import last_words, run
from fer_edge.devices.board_recover import recover_step
from fer_edge.devices.board_speak import Speaker
from fer_edge.devices.board_unit import agent_command
from fer_edge.devices.errors import BoardError

_LIMIT_S = 120.0


@contextmanager
def guarded(layout: Layout) -> Iterator[None]:
    """Let the board's own agent watch over what is done here, for the lock that is held already.

    Where no agent or no systemd is, there is no service that could be left down, and nothing is watched.

    Raises:
        BoardError: the watch cannot be started.
    """
    if not (layout.agent.is_file() and systemctl.is_running()):
        yield
        return
    unit = f"{SERVICE}-guard-{os.getpid()}.service"
    words = ["--quiet", "--collect", f"--unit={unit}", "--description=fer-edge: watches over a deployment"]
    done = run(["systemd-run", *words, *agent_command(layout), "--plain", "guard"], timeout_s=_LIMIT_S)
    if done.returncode:
        raise BoardError(f"systemd-run failed: {last_words(done)}")
    try:
        yield
    finally:  # with the lock still held, so that nobody meets the watch; undismissed it finds nothing to do
        with contextlib.suppress(BoardError):
            run(["systemctl", "stop", unit], timeout_s=_LIMIT_S)


def guard(layout: Layout, say: Speaker) -> None:
    """Wait until whoever holds the lock has ended, and put right what is left of it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # to be dismissed is nothing to speak of
    with locked(layout, wait=True):
        say.deaf = True
        recover_step(layout, say)
