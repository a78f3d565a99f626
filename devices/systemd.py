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
MARK = "# Written by: fer-edge service install"
_PAUSE = "RestartSec=10\n"
_GROWING_PAUSE = "RestartSec=5\nRestartSteps=6\nRestartMaxDelaySec=60\n"
_GROWS_FROM = 254
"""systemd's version that lets the pause grow; Bookworm has 252, which would complain of the keys."""
_UNIT = (
    MARK
    + """
[Unit]
Description=fer-edge: facial emotions from a camera
Wants=network-online.target
After=network-online.target time-sync.target
# It is started again however often the camera goes: whoever plugs it in again after a week-end finds it running. So the
# pause between two starts is the limit, and the start limit is for what restarts it faster than that.
StartLimitIntervalSec=60
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
{pause}\
# Without a frame for {timeout_s:g} s the run ends by itself; the watchdog, petted after a fresh frame, is for hangs.
WatchdogSec={watchdog_s}
TimeoutStartSec={start_s}
TimeoutStopSec=5
{user}{memory}# State and cache in one folder: everything else may be read-only.
StateDirectory={name}
StateDirectoryMode=0750
WorkingDirectory=%S/{name}
Environment=HOME=%S/{name} XDG_CACHE_HOME=%S/{name}/cache PYTHONUNBUFFERED=1
UMask=0077
{groups}
# Cameras, the memory they share, a Raspberry Pi's firmware and a Jetson's GPU; PrivateDevices would hide them all.
DevicePolicy=closed
DeviceAllow=char-video4linux rw
DeviceAllow=char-media rw
DeviceAllow=char-dma_heap rw
DeviceAllow=/dev/vcio rw
DeviceAllow=char-drm rw
DeviceAllow=char-nvhost* rw
DeviceAllow=char-nvgpu* rw
DeviceAllow=char-nvidia* rw
DeviceAllow=/dev/nvmap rw

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
    memory_max_bytes: int | None = None,
    systemd: int | None = None,
) -> str:
    """The text of a unit that runs `fer-edge run --config CONFIG`.

    Args:
        python: interpreter of the environment that fer-edge is installed in.
        config: the run's TOML file.
        name: of the service, and of its folder below /var/lib.
        user: who runs it; None lets systemd make a user of its own while it runs.
        groups: that may open cameras; only those that exist on the board, or the service does not start.
        timeout_s: the run's camera_timeout_s; start and watchdog wait longer.
        memory_max_bytes: what the service may take before the kernel ends it; None: as much as there is.
        systemd: version of the one that reads this, where it is known.

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
        start_s=start_limit_s(timeout_s),
        pause=_GROWING_PAUSE if systemd is not None and systemd >= _GROWS_FROM else _PAUSE,
        memory=_memory(memory_max_bytes),
        groups=f"SupplementaryGroups={' '.join(groups)}\n" if groups else "",
        user=f"User={user}\n" if user else "DynamicUser=yes\n",
        name=name,
    )


def start_limit_s(timeout_s: float) -> int:
    """How long systemd waits for the first frame of a run with this camera_timeout_s."""
    return round(max(90, 2 * timeout_s))


def _memory(max_bytes: int | None) -> str:
    if max_bytes is None:
        return ""
    # Above MemoryHigh the kernel takes caches back and slows the service down, before it must end it.
    return (
        f"MemoryHigh={max_bytes // 10 * 9}\nMemoryMax={max_bytes}\n"
        "# Its threads and helpers go together and are started again; half a service would only look alive.\n"
        "OOMPolicy=kill\n"
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


def check_ours(path: Path) -> None:
    """Refuse to touch a unit that is somebody else's.

    Raises:
        OutputError: it is.
    """
    if path.exists() and not (read_text(path) or "").startswith(MARK):
        raise OutputError(f"{path} was not written by fer-edge; choose another --name, or move it away")


def install_unit(text: str, name: str, folder: Path = UNIT_FOLDER) -> Path:
    """Write the unit; gives its path.

    Raises:
        OutputError: no permission, no such folder, or a unit of that name that is somebody else's.
    """
    path = folder / f"{name}.service"
    check_ours(path)
    with replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)
    return path
