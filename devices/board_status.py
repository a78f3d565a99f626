"""What a board says of itself: releases, service, machine, disk."""

import os
import shutil
from pathlib import Path
from typing import Any

from fer_edge.devices import board_systemctl as systemctl
from fer_edge.devices.board_layout import INSTALLED, MANIFEST, Layout, read_json
from fer_edge.devices.board_selftest import RESULT
from fer_edge.devices.health import throttled_bits, throttled_text
from fer_edge.devices.machine import describe_machine


def status(layout: Layout) -> dict[str, Any]:
    """Everything that `status` answers; takes no lock and changes nothing."""
    current = layout.current_id()
    throttled = throttled_text(Path("/"))
    now, since_boot = throttled_bits(throttled), throttled_bits(throttled, since_boot=True)
    return {
        "current": _about(layout, current) if current else None,
        "releases": [
            {
                "id": name,
                "installed_at": layout.installed_at(name),
                "current": name == current,
                "bytes": _size_bytes(layout.release(name)),
            }
            for name in layout.installed()
        ],
        "journal": read_json(layout.journal),
        "service": systemctl.describe(),
        "selftest_at": (read_json(layout.current / RESULT) or {}).get("at"),
        "machine": describe_machine(),
        "throttled": None if now is None else list(now),
        "throttled_since_boot": None if since_boot is None else list(since_boot),
        "disk_free_bytes": shutil.disk_usage(_existing(layout.root)).free,
        "signed": layout.trusted_key.is_file(),
    }


def _about(layout: Layout, name: str) -> dict[str, Any]:
    installed = read_json(layout.release(name) / INSTALLED) or {}
    made = read_json(layout.release(name) / MANIFEST) or {}
    known = {key: made.get(key) for key in ("version", "bundle", "profile", "engine", "precision", "made_at")}
    return {"id": name, "installed_at": installed.get("installed_at")} | known


def _size_bytes(folder: Path) -> int:
    """What a release takes on the disk."""
    return sum(Path(parent, name).lstat().st_blocks * 512 for parent, _, names in os.walk(folder) for name in names)


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
