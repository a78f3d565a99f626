"""Whole or nothing on the disk: every result is written to a temporary name beside its place and renamed."""

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fer_edge.devices.errors import OutputError


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the name `path` when the block ends well, else it is removed.

    The temporary keeps the suffix, because OpenCV and Keras choose their format by it.

    Raises:
        OutputError: the folder cannot be written or the disk is full.
    """
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {_reason(error, path)}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextmanager
def replacing_folder(path: Path, marker: str, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its name when the block ends well, else is removed.

    Args:
        path: where the result is to be.
        marker: the file by which a folder of this kind is known; `force` replaces no other folder.
        force: replace a folder of this kind.

    Raises:
        OutputError: something is there that may not be replaced, or the disk refuses.
    """
    path = path.resolve()
    refuse_occupied(path, marker, force=force)
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        temporary.mkdir()
        yield temporary
        refuse_occupied(path, marker, force=force)  # the work took minutes; somebody may have been quicker
        old = temporary.with_name(f"{temporary.name}.old")
        if path.exists():
            path.rename(old)
        temporary.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {_reason(error, path)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_occupied(path: Path, marker: str, *, force: bool) -> None:
    """Say that a result has no place before the work is done, not after it.

    Raises:
        OutputError: `path` exists and `force` is not given, or it is nothing that this command ever wrote.
    """
    if not path.exists():
        return
    if not force:
        raise OutputError(f"{path} exists already; choose another --out or pass --force to replace it")
    if not path.is_dir() or (any(path.iterdir()) and not (path / marker).is_file()):
        raise OutputError(f"{path} holds no {marker}, so --force does not replace it; choose another --out")


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")


def _reason(error: OSError, path: Path) -> str:
    """What the system said; NumPy's own "N requested and M written" is a full disk by another name."""
    if error.strerror is None and shutil.disk_usage(path.parent).free < 1 << 20:
        return os.strerror(errno.ENOSPC)
    return error.strerror or str(error)


def _sweep(path: Path) -> None:
    """Clear up after a process that was killed while writing `path`; what it had moved aside comes back."""
    for left in sorted(path.parent.glob(f".{glob.escape(path.stem)}.*.tmp*"), reverse=True):
        pid = left.name.removeprefix(f".{path.stem}.").split(".")[0]
        if not pid.isdigit() or Path(f"/proc/{pid}").exists() or not Path("/proc/self").exists():
            continue
        if left.name.endswith(".old") and not path.exists():
            left.rename(path)
        elif left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def write_json(path: Path, value: Any, *, indent: int | None = 2) -> None:
    """Write `value` as JSON, whole or not at all; `indent` None is for raw samples, of which each would take a line."""
    with replacing_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=indent, allow_nan=False) + "\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """The file's sha256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
