"""The commands beside `install`: recover, rollback, remove, bench, selftest. Each holds the lock already."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from fer_edge.devices import board_systemctl as systemctl
from fer_edge.devices.board_guard import guarded
from fer_edge.devices.board_journal import begin
from fer_edge.devices.board_layout import INSTALLED, RELEASE_PARTS, Layout, read_json
from fer_edge.devices.board_recover import recover_step, undo_and_say
from fer_edge.devices.board_remove import remove_everything
from fer_edge.devices.board_selftest import bench_current, is_small, median_ms, self_test
from fer_edge.devices.board_speak import Speaker
from fer_edge.devices.board_switch import finish, installed_release, start_service, switch, undo
from fer_edge.devices.errors import BoardError


def recover(layout: Layout, say: Speaker) -> dict[str, Any]:
    """Finish or undo what was cut off; `recovered` is None where nothing was."""
    return {"recovered": recover_step(layout, say), "current": layout.current_id()}


def rollback(layout: Layout, name: str | None, say: Speaker, settle_s: float) -> dict[str, Any]:
    """Switch to the release before, or to `name`; switches back when its service does not come up.

    Raises:
        BoardError: there is no such release, or its service does not come up.
    """
    recover_step(layout, say)
    target = _target(layout, name)
    release = installed_release(layout, target)
    journal = begin(layout, "rollback", "rollback", target)
    try:
        with say.step("switch") as step:
            step.text = switch(layout, journal, release)
        with say.step("service") as step:
            left_out = start_service(layout, journal, release, settle_s)
            step.text = left_out or "the service labels frames"
    except BaseException as error:
        undo_and_say(layout, journal, say, error)
        raise
    say.deaf = True
    finish(layout, journal)
    return {"id": target, "previous": journal.previous, "changed": True, "service": left_out or "running"}


def _target(layout: Layout, name: str | None) -> str:
    current, installed = layout.current_id(), layout.installed()
    listed = ", ".join(installed) or "none"
    if name is not None:
        if name not in installed:
            raise BoardError(f"there is no release {name!r} on this board; there are: {listed}")
        if name == current:
            raise BoardError(f"{name} is the release that runs already; there are: {listed}")
        return name
    if current is None:
        raise BoardError(f"no release is current, so there is none before it; there are: {listed}")
    before = (read_json(layout.release(current) / INSTALLED) or {}).get("after")
    if before in installed:
        return str(before)
    older = [other for other in installed if layout.number(other) < layout.number(current)]
    if not older:
        raise BoardError(f"there is no release before {current}; there are: {listed}")
    return older[0]


def remove(layout: Layout, say: Speaker, *, purge: bool) -> dict[str, Any]:
    """Take everything off the board; with `purge` state and user, too."""
    recover_step(layout, say)
    was_there = any((layout.root / part).exists() for part in RELEASE_PARTS)
    journal = begin(layout, "remove", "remove", layout.current_id(), purge=purge)
    say.deaf = True  # half a removal is of no use to anybody
    with say.step("remove") as step:
        done = remove_everything(layout, journal)
        step.text = "everything is removed" if was_there else "nothing was installed"
        if done["state"]:
            step.text += f"; {done['state']} stays (remove --purge takes it, too)"
    return done


def bench(layout: Layout, say: Speaker, seconds: float) -> dict[str, Any]:
    """`fer-edge bench` of the current release, beside the service where there is memory for both; gives its report."""
    recover_step(layout, say)
    name = _current(layout)
    with _service_stopped(layout, name, say) if is_small() else nullcontext(), say.step("bench") as step:
        report = bench_current(layout, layout.release(name), seconds)
        median = median_ms(report)
        step.text = f"{len(report.get('variants', []))} variants" + (f", {median:.2f} ms a face" if median else "")
    return {"id": name, "report": report}


def selftest(layout: Layout, say: Speaker) -> dict[str, Any]:
    """The self-test of the current release, again; the service is stopped while its camera is tried."""
    recover_step(layout, say)
    name = _current(layout)
    journal = begin(layout, "selftest", "selftest", name)
    try:
        with say.step("selftest") as step:
            tested = self_test(layout, installed_release(layout, name), journal.service_was_active)
            step.text = tested.text
    finally:
        say.deaf = True
        undo(layout, journal)  # starts the service again where it ran
    return {"id": name, "doctor": tested.doctor, "camera": tested.camera, "bench": tested.bench}


@contextmanager
def _service_stopped(layout: Layout, name: str, say: Speaker) -> Iterator[None]:
    with guarded(layout):
        journal = begin(layout, "bench", "bench", name)
        try:
            if journal.service_was_active:
                systemctl.call("stop", systemctl.UNIT)
            yield
        finally:
            say.deaf = True
            undo(layout, journal)


def _current(layout: Layout) -> str:
    name = layout.current_id()
    if name is None:
        raise BoardError("no release is installed on this board; deploy one first")
    return name
