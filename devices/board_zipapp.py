"""Makes board.pyz, the agent that a board's own python3 runs: some modules of this package and nothing else."""

import io
import zipfile
from pathlib import Path

from fer_edge.devices.files import replacing_file

_HERE = Path(__file__).parent
_BESIDE = ("__init__", "errors", "files", "health", "machine", "systemd")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_SHEBANG = b"#!/usr/bin/env python3\n"
# An old Python must be able to read this one.
_MAIN = """\
import sys

if sys.version_info < (3, 11):
    text = "this board has Python %d.%d and needs 3.11 or newer; install a newer system" % sys.version_info[:2]
    print('{"event": "result", "ok": false, "text": "' + text + '"}')
    sys.exit(1)
from fer_edge.devices.board_main import main

sys.exit(main())
"""


def agent_modules() -> list[Path]:
    """The modules of `devices` that the agent is made of."""
    own = (path for path in _HERE.glob("board_*.py") if path.stem != "board_zipapp")
    return sorted([*own, *(_HERE / f"{name}.py" for name in _BESIDE)])


def write_agent(path: Path) -> None:
    """Write board.pyz: the same bytes from the same sources.

    Raises:
        OutputError: it cannot be written.
    """
    import fer_edge

    package = Path(str(fer_edge.__file__))
    contents = {"__main__.py": _MAIN.encode(), "fer_edge/__init__.py": package.read_bytes()}
    contents |= {f"fer_edge/devices/{module.name}": module.read_bytes() for module in agent_modules()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(contents.items()):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    with replacing_file(path) as temporary:
        temporary.write_bytes(_SHEBANG + packed.getvalue())
        temporary.chmod(0o755)
