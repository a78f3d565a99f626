"""Installing a release, step by step: what fails before the switch leaves the old release running, and what fails after
it switches back."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fer_edge.devices import board_environment as environment
from fer_edge.devices import board_systemctl as systemctl
from fer_edge.devices.board_journal import Journal, begin
from fer_edge.devices.board_layout import (
    AGENT,
    INSTALLED,
    KEY,
    MANIFEST,
    SIGNATURE,
    Layout,
    write_durably,
    write_json_durably,
)
from fer_edge.devices.board_payload import Payload, TamperedError, check_payload, open_payload, run_settings
from fer_edge.devices.board_recover import recover_step, undo_and_say
from fer_edge.devices.board_release import Release, check_fits
from fer_edge.devices.board_selftest import self_test
from fer_edge.devices.board_speak import Speaker, Step
from fer_edge.devices.board_switch import drop_wheels, finish, start_service, switch
from fer_edge.devices.board_trust import check_first_signature, check_trust
from fer_edge.devices.board_user import ensure_state, ensure_user, keep_private
from fer_edge.devices.errors import BoardError


def install(layout: Layout, folder: Path, say: Speaker, settle_s: float) -> dict[str, Any]:
    """Install the payload in `folder` and let the service run it; gives what the result says. Holds the lock already.

    Raises:
        BoardError: a step failed, was interrupted, and what was begun is undone.
    """
    recover_step(layout, say)
    with say.step("verify") as step:
        payload, found = _verify(layout, folder, step)
    release = payload.release
    if layout.current_id() == release.id:
        return _check_that_it_runs(layout, payload, say, settle_s)
    journal = begin(layout, "install", "space", release.id, built=not layout.is_installed(release.id))
    try:
        if journal.built:
            _build(layout, payload, found, journal, say)
        elif not layout.trusted_key.exists() and check_first_signature(
            layout, payload, layout.release(release.id) / "venv"
        ):
            _keep_manifest(layout, payload)
        _self_test(layout, release, journal, say)
        with say.step("switch") as step:
            if journal.built:
                _mark_installed(layout, release, journal)
            step.text = switch(layout, journal, release)
        with say.step("service") as step:
            left_out = start_service(layout, journal, release, settle_s)
            step.text = left_out or "the service labels frames"
    except BaseException as error:
        undo_and_say(layout, journal, say, error)
        raise
    say.deaf = True  # the release is proven: nothing is undone any more
    if release.memory_max_bytes is not None and systemctl.is_running() and not systemctl.limits_memory():
        say.note(
            "this kernel does not hold services to a memory limit; on a Raspberry Pi add cgroup_enable=memory to the "
            "line in /boot/firmware/cmdline.txt, and reboot"
        )
    with say.step("prune") as step:
        if not journal.built:
            _mark_installed(layout, release, journal)
        step.text = finish(layout, journal)
    return {"id": release.id, "previous": journal.previous, "changed": True, "service": left_out or "running"}


def _verify(layout: Layout, folder: Path, step: Step) -> tuple[Payload, dict[str, Path]]:
    payload = open_payload(folder)
    try:
        check_fits(payload.release)
        trusted = check_trust(layout, payload)
        # What is installed already may have been sent as release.json alone; an archive is whole, or was altered.
        installed = layout.is_installed(payload.release.id)
        known = installed and folder.is_relative_to(layout.incoming)
        found = {} if known else check_payload(layout, payload)
    except TamperedError:
        if folder.is_relative_to(layout.incoming):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if "run.toml" in found:
        run_settings(found["run.toml"])
    size, count = payload.release.size_bytes / 1e6, len(payload.release.files)
    step.text = "it is on the board already" if installed else f"{count} files, {size:.1f} MB"
    if payload.signature is not None:
        step.text += ", signed with the board's key" if trusted else ", signed"
    return payload, found


def _check_that_it_runs(layout: Layout, payload: Payload, say: Speaker, settle_s: float) -> dict[str, Any]:
    """The release is the one that is current: see that its service runs, and nothing else."""
    if check_first_signature(layout, payload, layout.current / "venv") and not layout.trusted_key.exists():
        assert payload.key is not None
        write_durably(layout.trusted_key, payload.key)
        say.note("from now on this board takes only what is signed with this key")
    runs = "running"
    with say.step("service") as step:
        if not systemctl.is_running():
            step.text = runs = "systemd does not run here; the service starts when the board does"
        elif systemctl.show().get("ActiveState") == "active":
            step.text = "the service labels frames"
        else:
            journal = begin(layout, "restart", "restart", payload.release.id)
            try:
                left_out = start_service(layout, journal, payload.release, settle_s)
            finally:
                journal.end(layout)
            runs = left_out or "running"
            step.text = left_out or "the service was down and runs again"
    if payload.folder.is_relative_to(layout.incoming):
        shutil.rmtree(payload.folder, ignore_errors=True)
    name = payload.release.id
    return {"id": name, "previous": name, "changed": False, "service": runs}


def _build(layout: Layout, payload: Payload, found: dict[str, Path], journal: Journal, say: Speaker) -> None:
    release = payload.release
    with say.step("space") as step:
        step.text = _check_space(layout, release, found)
    journal.at(layout, "store")
    with say.step("store") as step:
        new = environment.store_wheels(layout, release, found)
        step.text = f"{new} of {len(release.wheels)} wheels are new"
    journal.at(layout, "environment")
    with say.step("environment") as step:
        folder = layout.release(release.id)
        folder.mkdir(mode=0o755, parents=True)
        step.text = environment.build_environment(layout, release)
        if not layout.trusted_key.exists() and check_first_signature(layout, payload, folder / "venv"):
            step.text += "; the signature holds"
    journal.at(layout, "settings")
    with say.step("settings") as step:
        step.text = _settle(layout, payload, found)


def _check_space(layout: Layout, release: Release, found: dict[str, Path]) -> str:
    needed = environment.space_needed(layout, release, found)
    if shutil.disk_usage(layout.root).free < needed:  # what earlier tries left makes room
        for other in layout.incoming.iterdir() if layout.incoming.is_dir() else ():
            if other.name != release.id:
                shutil.rmtree(other, ignore_errors=True)
        drop_wheels(layout, {entry.sha256 for entry in release.wheels.values()})
    free = shutil.disk_usage(layout.root).free
    if free < needed:
        raise BoardError(
            f"{needed / 1e6:.0f} MB are needed at {layout.root} and {free / 1e6:.0f} MB are free; make room on the "
            "board and try again"
        )
    return f"{needed / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free"


def _settle(layout: Layout, payload: Payload, found: dict[str, Path]) -> str:
    folder = layout.release(payload.release.id)
    made = ensure_user(layout)
    ensure_state(layout)
    for name, entry in payload.release.files.items():
        if not name.startswith("wheels/"):
            environment.copy_checked(found[name], folder / name, entry.sha256)
        if name == "run.toml" or name.startswith("files/"):
            keep_private(layout, folder / name)
    _keep_manifest(layout, payload)
    user = f"; user {layout.user} made" if made else ""
    return f"{AGENT}, run.toml and bundle {payload.release.bundle_name}{user}"


def _keep_manifest(layout: Layout, payload: Payload) -> None:
    """Keep what was checked; a key becomes the board's when the release has proven itself."""
    folder = layout.release(payload.release.id)
    write_durably(folder / MANIFEST, payload.content)
    for name, content in ((SIGNATURE, payload.signature), (KEY, payload.key)):
        if content is not None:
            write_durably(folder / name, content)


def _self_test(layout: Layout, release: Release, journal: Journal, say: Speaker) -> None:
    journal.at(layout, "selftest")

    with say.step("selftest") as step:
        step.text = self_test(layout, release, journal.service_was_active).text


def _mark_installed(layout: Layout, release: Release, journal: Journal) -> None:
    """The release is whole: everything is on the disk before installed.json says so."""
    os.sync()
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    known = {"version": release.version, "bundle": release.bundle_name, "profile": release.profile}
    number = 1 + max(map(layout.number, layout.installed()), default=0)
    write_json_durably(
        layout.release(release.id) / INSTALLED,
        {"number": number, "installed_at": now, "after": journal.previous, **known},
    )
