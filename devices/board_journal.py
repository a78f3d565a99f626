"""The operation under way, on the disk: what the next agent needs to finish it or undo it after a power cut."""

import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fer_edge.devices import board_systemctl as systemctl
from fer_edge.devices.board_layout import Layout, read_json, sync_folder, write_json_durably
from fer_edge.devices.errors import BoardError
from fer_edge.devices.machine import read_text


@dataclass(slots=True)
class Journal:
    """journal.json.

    `id` is the release that is to run, `previous` the one that ran. `built` is set when this operation makes the
    release and so may remove it. `units` are the unit files as they were before the switch, None where there was none.
    `first` is set where the board had no agent of its own before. `at_s` is when the step began, by `time.time()`.
    """

    operation: str
    id: str | None
    previous: str | None
    step: str
    service_was_active: bool = False
    service_was_enabled: bool = False
    built: bool = False
    first: bool = False
    purge: bool = False
    units: dict[str, str | None] = field(default_factory=dict)
    pid: int = 0
    boot_id: str | None = None
    at_s: float = 0.0

    def at(self, layout: Layout, step: str) -> None:
        """Note the step that begins now."""
        self.step, self.at_s = step, time.time()
        write_json_durably(layout.journal, asdict(self))

    def end(self, layout: Layout) -> None:
        """The operation has ended, well or undone."""
        layout.journal.unlink(missing_ok=True)
        sync_folder(layout.root)


def begin(layout: Layout, operation: str, step: str, name: str | None, **more: Any) -> Journal:
    """Begin an operation: note what is so now."""
    runs = systemctl.is_running()
    journal = Journal(
        operation=operation,
        id=name,
        previous=layout.current_id(),
        step=step,
        service_was_active=runs and systemctl.is_up(),
        service_was_enabled=systemctl.is_enabled(),
        first=not layout.agent.exists(),
        pid=os.getpid(),
        boot_id=read_text(Path("/proc/sys/kernel/random/boot_id")),
        **more,
    )
    journal.at(layout, step)
    return journal


def read(layout: Layout) -> Journal | None:
    """The operation that was interrupted; None where there is none.

    Raises:
        BoardError: there is a journal that cannot be understood.
    """
    if not layout.journal.exists():
        return None
    values = read_json(layout.journal)
    try:
        return Journal(**(values or {}))
    except TypeError as error:
        raise BoardError(
            f"{layout.journal} cannot be read; look at {layout.current}, start the release that you want by hand, and "
            f"remove {layout.journal}"
        ) from error
