"""The agent's command line: one operation on this board, told in lines of JSON.

    python3 board.pyz [--root DIR] missing|install|recover|guard|rollback|status|remove|bench|selftest

The last line is {"event": "result", "ok": …}; the exit code is 0 or 1.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fer_edge.devices import board_operations as operations
from fer_edge.devices.board_guard import guard, guarded
from fer_edge.devices.board_install import install
from fer_edge.devices.board_layout import ROOT, SERVICE, STATE, Layout, locked
from fer_edge.devices.board_payload import missing
from fer_edge.devices.board_release import parse_release
from fer_edge.devices.board_speak import Speaker
from fer_edge.devices.board_status import status
from fer_edge.devices.board_switch import SETTLE_S
from fer_edge.devices.errors import BoardError, FerEdgeError
from fer_edge.devices.systemd import UNIT_FOLDER

Work = Callable[[Layout, argparse.Namespace, Speaker], dict[str, Any]]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    given = _parser().parse_args(arguments)
    layout = Layout(given.root.resolve(), given.unit_folder.resolve(), given.state_folder, given.user)
    os.umask(0o022)  # the service's user reads what root writes here
    say = Speaker(plain=given.plain)
    try:
        if os.geteuid() != 0 and layout.root == ROOT:
            raise BoardError(f"{ROOT} belongs to root; run this as root, with sudo")
        _hand_over(layout, given)
        answer = _COMMANDS[given.command](layout, given, say)
    except FerEdgeError as error:
        say.result(ok=False, text=str(error), failed_step=say.failed_step, current=layout.current_id())
        return 1
    except Exception as error:
        traceback.print_exc()
        text = f"a bug in the agent: {type(error).__name__}: {error}; the traceback is on stderr"
        say.result(ok=False, text=text, failed_step=say.failed_step, current=layout.current_id())
        return 1
    say.result(ok=True, **answer)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="board.pyz", description="Releases of fer-edge on this board.")
    parser.add_argument("--root", type=Path, default=ROOT, help="where releases lie")
    parser.add_argument("--unit-folder", type=Path, default=UNIT_FOLDER, help="where systemd reads unit files")
    parser.add_argument("--state-folder", type=Path, default=STATE, help="what the service may write")
    parser.add_argument("--user", default=SERVICE, help="who runs the service; made where he is missing")
    parser.add_argument("--plain", action="store_true", help="lines for people in place of JSON")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("missing", help="what of the payload whose release.json is on stdin is not here yet")
    command = commands.add_parser("install", help="install a payload and let the service run it")
    command.add_argument("folder", type=Path)
    command.add_argument("--settle-s", type=float, default=SETTLE_S, help="how long the service is watched")
    commands.add_parser("recover", help="finish or undo what was cut off")
    commands.add_parser("guard", help="recover as soon as the operation under way has ended")
    command = commands.add_parser("rollback", help="back to the release before, or to ID")
    command.add_argument("id", nargs="?")
    command.add_argument("--settle-s", type=float, default=SETTLE_S, help="how long the service is watched")
    commands.add_parser("status", help="releases, service, machine")
    command = commands.add_parser("remove", help="take everything off the board")
    command.add_argument("--purge", action="store_true", help="state and user, too")
    command = commands.add_parser("bench", help="how fast the release is that runs")
    command.add_argument("--seconds", type=float, default=3.0, help="at least so long for each variant")
    commands.add_parser("selftest", help="try the release that runs once more")
    return parser


def _missing(layout: Layout, given: argparse.Namespace, say: Speaker) -> dict[str, Any]:
    release = parse_release(sys.stdin.buffer.read())
    installed = layout.is_installed(release.id)
    return {
        "id": release.id,
        "missing": [] if installed else missing(layout, release),
        "installed": installed,
        "current": layout.current_id() == release.id,
    }


def _install(layout: Layout, given: argparse.Namespace, say: Speaker) -> dict[str, Any]:
    with locked(layout), guarded(layout):
        return install(layout, given.folder.resolve(), say, given.settle_s)


def _recover(layout: Layout, given: argparse.Namespace, say: Speaker) -> dict[str, Any]:
    with locked(layout):
        return operations.recover(layout, say)


def _guard(layout: Layout, given: argparse.Namespace, say: Speaker) -> dict[str, Any]:
    guard(layout, say)
    return {"current": layout.current_id()}


def _rollback(layout: Layout, given: argparse.Namespace, say: Speaker) -> dict[str, Any]:
    with locked(layout), guarded(layout):
        return operations.rollback(layout, given.id, say, given.settle_s)


def _remove(layout: Layout, given: argparse.Namespace, say: Speaker) -> dict[str, Any]:
    with locked(layout):
        return operations.remove(layout, say, purge=given.purge)


def _bench(layout: Layout, given: argparse.Namespace, say: Speaker) -> dict[str, Any]:
    with locked(layout):
        return operations.bench(layout, say, given.seconds)


def _selftest(layout: Layout, given: argparse.Namespace, say: Speaker) -> dict[str, Any]:
    with locked(layout), guarded(layout):
        return operations.selftest(layout, say)


def _status(layout: Layout, given: argparse.Namespace, say: Speaker) -> dict[str, Any]:
    return status(layout)


_COMMANDS: dict[str, Work] = {
    "missing": _missing,
    "install": _install,
    "recover": _recover,
    "guard": _guard,
    "rollback": _rollback,
    "status": _status,
    "remove": _remove,
    "bench": _bench,
    "selftest": _selftest,
}


def _hand_over(layout: Layout, given: argparse.Namespace) -> None:
    """Let the board's own agent check what comes from elsewhere, as from an SD card: its code is trusted already.

    What was sent over ssh lies in `incoming`; whoever may log in as root needs no such check.
    """
    own = Path(sys.argv[0]).resolve()
    if given.command != "install" or given.folder.resolve().is_relative_to(layout.incoming):
        return
    if own.suffix == ".pyz" and layout.agent.is_file() and not own.samefile(layout.agent):
        os.execv(sys.executable, [sys.executable, str(layout.agent), *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
