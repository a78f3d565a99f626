"""The two unit files of a deployed board: the service, which is the same for every release but for its limits, and the
one that puts a deployment right that a power cut left half done."""

import sys
from pathlib import Path

from fer_edge.devices.board_layout import ROOT, SERVICE, STATE, Layout
from fer_edge.devices.board_release import Release
from fer_edge.devices.board_systemctl import RECOVERY
from fer_edge.devices.systemd import MARK, UNIT_FOLDER, camera_groups, service_unit

_RECOVERY = (
    MARK
    + """
[Unit]
Description=fer-edge: finish or undo a deployment that was interrupted
ConditionPathExists={journal}
After=local-fs.target
Before={service}.service

[Service]
Type=oneshot
ExecStart={agent} recover
TimeoutStartSec=300

[Install]
WantedBy=multi-user.target
"""
)


def units(layout: Layout, release: Release, systemd: int | None) -> dict[Path, str]:
    """Path and text of the unit files for a release.

    Args:
        layout: of the board.
        release: that is to run; its limits stand in the unit.
        systemd: the version that reads them, where it is known.
    """
    service = service_unit(
        # Through `current`, so that switching releases needs no other unit.
        layout.current / "venv/bin/python",
        layout.current / "run.toml",
        name=SERVICE,
        user=layout.user,
        groups=camera_groups(),
        timeout_s=release.camera_timeout_s,
        memory_max_bytes=release.memory_max_bytes,
        systemd=systemd,
    )
    recovery = _RECOVERY.format(journal=layout.journal, service=SERVICE, agent=" ".join(agent_command(layout)))
    return {layout.unit(): service, layout.unit(RECOVERY): recovery}


def agent_command(layout: Layout) -> list[str]:
    """How the board's own agent is started, options that differ from the defaults included."""
    python = getattr(sys, "_base_executable", None) or sys.executable  # not the one of a venv that may be removed
    options = {
        "--root": (layout.root, ROOT),
        "--unit-folder": (layout.units, UNIT_FOLDER),
        "--state-folder": (layout.state, STATE),
        "--user": (layout.user, SERVICE),
    }
    given = [word for name, (value, usual) in options.items() if value != usual for word in (name, str(value))]
    return [python, str(layout.agent), *given]
