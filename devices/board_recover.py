"""Puts a board right on which an operation was cut off: undoes it, or finishes it where it had proven itself."""

import contextlib
import shutil
from typing import Any

from fer_edge.devices import board_selftest, board_trust
from fer_edge.devices import board_systemctl as systemctl
from fer_edge.devices.board_journal import Journal, read
from fer_edge.devices.board_layout import SERVICE, Layout
from fer_edge.devices.board_remove import remove_everything
from fer_edge.devices.board_speak import Speaker
from fer_edge.devices.board_switch import finish, installed_release, undo
from fer_edge.devices.errors import BoardError
from fer_edge.devices.systemd import start_limit_s


def recover(layout: Layout) -> dict[str, Any] | None:
    """Finish or undo what the journal says; gives what was done, None where nothing was under way.

    Raises:
        BoardError: the journal cannot be read, or systemd refuses.
    """
    journal = read(layout)
    done = None
    if journal is not None:
        how = "undone"
        if journal.operation == "remove":
            remove_everything(layout, journal)
            how = "finished"
        elif journal.step == "prune":
            finish(layout, journal)
            how = "finished"
        else:
            undo(layout, journal)
        done = {"operation": journal.operation, "id": journal.id, "step": journal.step, "how": how}
    _remove_garbage(layout)
    return done


def recover_step(layout: Layout, say: Speaker) -> dict[str, Any] | None:
    """`recover` as the first step of another command."""
    with say.step("recover") as step:
        done = recover(layout)
        step.text = "nothing was under way"
        if done is not None:
            step.text = f"{done['operation']} of {done['id']} was cut off in {done['step']} and is {done['how']}"
    return done


def undo_and_say(layout: Layout, journal: Journal, say: Speaker, error: BaseException) -> None:
    """Undo what failed, and wait for the old service; says what is so now. `error` gets a note where undoing fails."""
    say.deaf = True
    lines = systemctl.last_lines(journal.at_s) if journal.step == "service" else []
    if lines:
        say.note("the service's last lines: " + " | ".join(lines))
    try:
        undo(layout, journal)
    except (OSError, BoardError) as trouble:
        say.note(f"undoing failed, too: {trouble}; mend it and run recover")
        error.add_note(f"undoing failed, too: {trouble}")
        return
    if journal.previous is None:
        say.note("nothing is installed, as before")
        return
    say.note(f"{journal.previous} is the current release, as before" + _old_service(layout, journal))


def _old_service(layout: Layout, journal: Journal) -> str:
    if not journal.service_was_active or journal.previous is None:
        return ""
    with contextlib.suppress(BoardError):
        release = installed_release(layout, journal.previous)
        if systemctl.wait_until_active(start_limit_s(release.camera_timeout_s)):
            return ", and its service runs"
    return ", but its service did not come up again: look at journalctl -u fer-edge"


def _remove_garbage(layout: Layout) -> None:
    """Releases that were never finished, since half of one is none, and files that were never renamed."""
    folder = layout.root / "releases"
    for pattern in (
        ".*.tmp",
        "trust/.*.tmp",
        "store/*/.*.tmp",
        "releases/*/.*.tmp",
        f"releases/*/{board_selftest.TRIAL}",
    ):
        for path in layout.root.glob(pattern):
            path.unlink()
    for path in layout.units.glob(f".{SERVICE}*.tmp"):
        path.unlink()
    for work in (layout.state / board_selftest.WORK, layout.root / board_trust.WORK):
        shutil.rmtree(work, ignore_errors=True)
    for path in list(folder.iterdir()) if folder.is_dir() else ():
        if not layout.is_installed(path.name) and path.resolve() != layout.current.resolve():  # whatever runs is left
            shutil.rmtree(path)
