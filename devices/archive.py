"""A payload as one file for boards without ssh: carried on an SD card, unpacked there, it installs itself."""

import io
import tarfile
from pathlib import Path

from fer_edge.devices.files import replacing_file
from fer_edge.devices.payload import Payload

_INSTALL = """\
#!/bin/sh
# Installs this release of fer-edge on the board that it was unpacked on: sudo sh install
# Every file's hash is checked, and a signature where the board knows a key; what fails leaves the board as it was.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ "$(id -u)" != 0 ]; then
  echo "this installs into /opt and starts a service; run: sudo sh $0" >&2
  exit 1
fi
python=/usr/bin/python3
[ -x "$python" ] || python=$(command -v python3) || { echo "python3 is missing; run: apt install python3" >&2; exit 1; }
# The agent that the board has is trusted already, the one that came along is not: it has no say in what it is.
agent=/opt/fer-edge/board.pyz
[ -e "$agent" ] || agent=$here/payload/board.pyz
exec "$python" "$agent" --plain install "$here/payload"
"""


def write_archive(payload: Payload, path: Path) -> None:
    """Write a tar of a payload and its `install`; wheels are zips already, so it is not compressed.

    Raises:
        OutputError: it cannot be written.
    """
    top = f"fer-edge-{payload.id}"
    with replacing_file(path) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, f"{top}/install", _INSTALL.encode(), 0o755)
        for name in (*payload.head(), *payload.manifest["files"]):
            _add(archive, f"{top}/payload/{name}", (payload.folder / name).read_bytes(), 0o644)


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    archive.addfile(info, io.BytesIO(data))
