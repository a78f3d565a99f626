"""Whole or nothing on the disk: every result is written to a temporary name beside its place and renamed."""

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
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {_reason(error, path)}") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its name when the block ends well, else is removed.

    Raises:
        OutputError: `path` exists and `force` is not given, or the disk refuses.
    """
    if path.exists() and not force:
        raise OutputError(f"{path} exists already; choose another folder or pass --force to replace it")
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        temporary.mkdir()
        yield temporary
        if path.exists():
            old = temporary.with_name(temporary.name + ".old")
            path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.rename(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {_reason(error, path)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _reason(error: OSError, path: Path) -> str:
    """What the system said; NumPy's own "N requested and M written" is a full disk by another name."""
    if error.strerror is None and shutil.disk_usage(path.parent).free < 1 << 20:
        return os.strerror(errno.ENOSPC)
    return error.strerror or str(error)


def _sweep(path: Path) -> None:
    """Remove what a process that was killed while writing `path` left beside it."""
    for left in path.parent.glob(f".{glob.escape(path.stem)}.*.tmp*"):
        pid = left.name.removeprefix(f".{path.stem}.").split(".")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    with replacing_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """The file's sha256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
