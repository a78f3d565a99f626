"""The service file: what systemd is told about a run that goes on for months."""

import grp
import re
import stat
from pathlib import Path

from fer_edge.devices.errors import OutputError
from fer_edge.devices.files import replacing_file
from fer_edge.devices.machine import read_text

UNIT_FOLDER = Path("/etc/systemd/system")
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,100}"
_MARK = "# Written by: fer-edge service install"
_UNIT = (
    _MARK
    + """
[Unit]
Description=fer-edge: facial emotions from a camera
Wants=network-online.target
After=network-online.target time-sync.target
# It is started again however often the camera goes.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=5
# Without a frame for {timeout_s:g} s the run ends by itself; the watchdog, petted after a fresh frame, is for hangs.
WatchdogSec={watchdog_s}
TimeoutStartSec={start_s}
TimeoutStopSec=5
{user}StateDirectory={name}
WorkingDirectory=%S/{name}
Environment=HOME=%S/{name} XDG_CACHE_HOME=%S/{name}/cache PYTHONUNBUFFERED=1
UMask=0077
{groups}
# Cameras, the memory they share, and a Raspberry Pi's firmware; PrivateDevices would hide them all.
DevicePolicy=closed
DeviceAllow=char-video4linux rw
DeviceAllow=char-media rw
DeviceAllow=char-dma_heap rw
DeviceAllow=/dev/vcio rw
DeviceAllow=char-drm rw
DeviceAllow=char-nvhost rw

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
# Netlink is how libcamera hears of devices. MemoryDenyWriteExecute stays off: inference engines compile at run time.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""
)


def service_unit(
    python: Path,
    config: Path,
    *,
    name: str = "fer-edge",
    user: str | None = None,
    groups: tuple[str, ...] = (),
    timeout_s: float = 30.0,
) -> str:
    """The text of a unit that runs `fer-edge run --config CONFIG`.

    Args:
        python: interpreter of the environment that fer-edge is installed in.
        config: the run's TOML file.
        name: of the service, and of its folder below /var/lib.
        user: who runs it; None lets systemd make a user of its own while it runs.
        groups: that may open cameras; only those that exist on the board, or the service does not start.
        timeout_s: the run's camera_timeout_s; start and watchdog wait longer.

    Raises:
        OutputError: a name, user or path that a unit cannot hold.
    """
    for what, word in (("service name", name), ("user", user or "root")):
        if not re.fullmatch(_NAME, word):
            raise OutputError(f"{what} {word!r}: expected letters, digits, and . _ @ - after the first")
    return _UNIT.format(
        command=f"{_quoted(python)} -P -m fer_edge run --config {_quoted(config)} --quiet",
        timeout_s=timeout_s,
        watchdog_s=round(max(60, 2 * timeout_s)),
        start_s=round(max(90, 2 * timeout_s)),
        groups=f"SupplementaryGroups={' '.join(groups)}\n" if groups else "",
        user=f"User={user}\n" if user else "DynamicUser=yes\n",
        name=name,
    )


def camera_groups() -> tuple[str, ...]:
    """Groups of this machine whose members may open cameras and their memory."""
    return tuple(group.gr_name for group in grp.getgrall() if group.gr_name in ("video", "render"))


def closed_folders(*paths: Path) -> list[Path]:
    """Folders above these files that a user made by systemd could not enter, as homes with mode 0700 are."""
    above = dict.fromkeys(folder for path in paths for folder in path.parents)
    return [folder for folder in above if folder.exists() and not folder.stat().st_mode & stat.S_IXOTH]


def _quoted(path: Path) -> str:
    text = str(path)
    if not path.is_absolute() or not text.isprintable():
        raise OutputError(
            f"{text!r} cannot stand in a service file; expected an absolute path without control characters"
        )
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if re.search(r"[^\w@./:+%-]", text) else escaped


def install_unit(text: str, name: str, folder: Path = UNIT_FOLDER) -> Path:
    """Write the unit; gives its path.

    Raises:
        OutputError: no permission, no such folder, or a unit of that name that is somebody else's.
    """
    path = folder / f"{name}.service"
    if path.exists() and not (read_text(path) or "").startswith(_MARK):
        raise OutputError(f"{path} was not written by fer-edge; choose another --name, or move it away")
    with replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)
    return path
