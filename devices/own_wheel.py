"""This program as a wheel, made of what is installed, or of a checkout; the same content gives the same bytes."""

import base64
import hashlib
import importlib
import io
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

from fer_edge.devices.files import replacing_file

_NAME = "fer-edge"
_PACKAGES = ("", ".devices", ".edge_runtime", ".train", ".calibration", ".convert", ".cli")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_WHEEL = "Wheel-Version: 1.0\nGenerator: fer-edge\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_own_wheel(folder: Path) -> Path:
    """Write the wheel of the running fer-edge into `folder`; gives its path.

    pip's own build needs the network or setuptools and puts times into the archive, so that nothing would ever be
    unchanged for a board; this program is pure Python, and its wheel is a zip of its files.

    Raises:
        OutputError: the folder cannot be written.
    """
    installed = distribution(_NAME)
    stem = f"{_NAME.replace('-', '_')}-{installed.version}"
    files = _sources() | _metadata(installed, f"{stem}.dist-info")
    record = f"{stem}.dist-info/RECORD"
    files[record] = "".join([*(_record_line(name, data) for name, data in files.items()), f"{record},,\n"]).encode()
    path = folder / f"{stem}-py3-none-any.whl"
    with replacing_file(path) as temporary:
        temporary.write_bytes(_zipped(files))
    return path


def _sources() -> dict[str, bytes]:
    """Contents by place in the wheel. Imported by name, the folders of a checkout are found as well."""
    found = {}
    for suffix in _PACKAGES:
        package = importlib.import_module(f"fer_edge{suffix}")
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*")):
            inside = path.relative_to(root)
            # Below site-packages the folders lie inside fer_edge itself and come by their own names.
            nested = not suffix and f".{inside.parts[0]}" in _PACKAGES
            if path.is_file() and not nested and "__pycache__" not in inside.parts and path.suffix != ".pyc":
                found["/".join((*package.__name__.split("."), *inside.parts))] = path.read_bytes()
    return found


def _metadata(installed: Distribution, folder: str) -> dict[str, bytes]:
    texts = {"METADATA": installed.read_text("METADATA"), "entry_points.txt": installed.read_text("entry_points.txt")}
    texts["WHEEL"] = _WHEEL
    return {f"{folder}/{name}": text.encode() for name, text in texts.items() if text}


def _record_line(name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


def _zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return buffer.getvalue()
