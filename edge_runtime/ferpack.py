"""A .ferpack is a bundle folder zipped. It is unpacked once for each content, into the user's cache folder."""

import os
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from fer_edge.devices.errors import BundleError
from fer_edge.devices.files import replacing_folder, sha256_of
from fer_edge.edge_runtime.bundle import MANIFEST

_LIMIT_BYTES = 512 << 20


def cache_home() -> Path:
    """`$XDG_CACHE_HOME/fer-edge`, or ~/.cache/fer-edge."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fer-edge"


def unpack(pack: Path, *, again: bool = False) -> Path:
    """The folder that holds the pack's content; with `again` it is unpacked anew, whatever the cache has.

    Raises:
        BundleError: not a zip, a member that leaves the folder, or larger than any bundle.
    """
    folder = cache_home() / "bundles" / sha256_of(pack)[:32]
    if folder.is_dir() and not again:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with zipfile.ZipFile(pack) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            if sum(info.file_size for info in members) > _LIMIT_BYTES:
                raise BundleError(f"{pack} unpacks to more than {_LIMIT_BYTES >> 20} MiB; that is no bundle")
            top = _common_top(members)
            with replacing_folder(folder, MANIFEST) as temporary:
                for info in members:
                    _extract(archive, info, temporary, top, pack)
                if not (temporary / MANIFEST).is_file():
                    raise BundleError(f"{pack} is a zip without {MANIFEST}, so not a .ferpack")
    # The zip module says RuntimeError for an encrypted member, NotImplementedError for an unknown compression.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise BundleError(f"{pack} is not a bundle folder and not a readable .ferpack ({error})") from error
    return folder


def _common_top(members: list[zipfile.ZipInfo]) -> str | None:
    """The one folder that holds all members, as `zip -r` of a folder makes it; None where they stand at the top."""
    paths = [PurePosixPath(info.filename) for info in members]
    nested = all(len(path.parts) > 1 for path in paths)
    tops = {path.parts[0] for path in paths} if nested else set()
    return tops.pop() if len(tops) == 1 else None


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, folder: Path, top: str | None, pack: Path) -> None:
    inside = PurePosixPath(info.filename)
    if not inside.parts or inside.is_absolute() or ".." in inside.parts or "\\" in info.filename:
        raise BundleError(f"{pack}: member {info.filename!r} leaves the bundle; refusing it")
    target = folder / (inside.relative_to(top) if top else inside)
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(info) as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink)
