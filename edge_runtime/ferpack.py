"""A .ferpack is a bundle folder zipped. It is unpacked once for each content, into the user's cache folder."""

import os
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from fer_edge.devices.errors import BundleError
from fer_edge.devices.files import replacing_folder, sha256_of

_LIMIT_BYTES = 512 << 20


def cache_home() -> Path:
    """`$XDG_CACHE_HOME/fer-edge`, or ~/.cache/fer-edge."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fer-edge"


def unpack(pack: Path) -> Path:
    """The folder that holds the pack's content.

    Raises:
        BundleError: not a zip, a member that leaves the folder, or larger than any bundle.
    """
    folder = cache_home() / "bundles" / sha256_of(pack)[:32]
    if folder.is_dir():
        return folder
    try:
        with zipfile.ZipFile(pack) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            if sum(info.file_size for info in members) > _LIMIT_BYTES:
                raise BundleError(f"{pack} unpacks to more than {_LIMIT_BYTES >> 20} MiB; that is no bundle")
            with replacing_folder(folder) as temporary:
                for info in members:
                    _extract(archive, info, temporary, pack)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise BundleError(f"{pack} is not a bundle folder and not a readable .ferpack ({error})") from error
    return folder


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, folder: Path, pack: Path) -> None:
    inside = PurePosixPath(info.filename)
    if inside.is_absolute() or ".." in inside.parts or "\\" in info.filename:
        raise BundleError(f"{pack}: member {info.filename!r} leaves the bundle; refusing it")
    target = folder / inside
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(info) as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink)
