"""Finds out which form of FER-2013 a path holds and reads it: CSV (plain, .gz, in a tar or zip), folder or zip.

Archives are read in place and never unpacked; a member whose path leaves the archive's folder is refused all the same,
because whoever unpacks that file later would be hurt by it.
"""

import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TextIO

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import DataError
from fer_edge.devices.frame import IMAGE_SUFFIXES
from fer_edge.train.dataset import Dataset, build_dataset
from fer_edge.train.read_csv import read_csv, read_votes
from fer_edge.train.read_images import read_images

CSV_NAMES = ("fer2013.csv", "fer2013.csv.gz", "icml_face_data.csv")
VOTES_NAME = "fer2013new.csv"
Arrays = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]
Tick = Callable[[int], None] | None


def import_data(path: Path, votes: Path | None = None, tick: Tick = None) -> Dataset:
    """Read what the user has into a checked data set.

    Args:
        path: CSV, .csv.gz, tar (any compression), zip, or folder.
        votes: FER+'s file; by default `fer2013new.csv` beside the CSV, if it is there.
        tick: called now and then with the number of faces read.

    Raises:
        DataError: nothing usable at the path, or a row or file in it that is not as it should be.
    """
    try:
        if not path.exists():
            raise DataError(f"{path} does not exist")
        arrays, has_rows = _read(path, tick)
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        raise DataError(
            f"{path.name} is damaged or cut short ({error or type(error).__name__}); get it again"
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except RuntimeError as error:  # the zip module's word for an encrypted member
        raise DataError(f"{path.name} cannot be read ({error})") from error
    beside = (path if path.is_dir() else path.parent) / VOTES_NAME
    if votes is None and has_rows and beside.is_file():
        votes = beside
    if votes is not None and not has_rows:
        raise DataError("FER+ votes go row by row with the challenge's CSV; images in folders have no rows")
    if votes is not None and not votes.is_file():
        raise DataError(f"{votes} does not exist")
    table = read_votes(votes, arrays[2]) if votes is not None else None
    return build_dataset(*arrays, table, path.name)


def _read(path: Path, tick: Tick) -> tuple[Arrays, bool]:
    """The arrays, and whether they came from a CSV (and so can have FER+ votes)."""
    if path.is_dir():
        for name in CSV_NAMES:
            if (path / name).is_file():
                return _read(path / name, tick)
        files = [p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
        named = ((PurePosixPath(p.relative_to(path).as_posix()), p.read_bytes) for p in files)
        return read_images(named, path.name, tick), False
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"PK\x03\x04":
        with zipfile.ZipFile(path) as archive:
            return _read_zip(archive, path.name, tick)
    if tarfile.is_tarfile(path):
        with _tar_csv(path) as text:
            return read_csv(text, path.name, tick), True
    with _plain_csv(path) as text:
        return read_csv(text, path.name, tick), True


def _read_zip(archive: zipfile.ZipFile, name: str, tick: Tick) -> tuple[Arrays, bool]:
    members = [info for info in archive.infolist() if not info.is_dir()]
    for info in members:
        _refuse_escape(info.filename, name)
    for info in members:
        if PurePosixPath(info.filename).name in CSV_NAMES:
            with archive.open(info) as binary, _text(binary, info.filename.endswith(".gz")) as text:
                return read_csv(text, f"{name}:{info.filename}", tick), True
    named = ((PurePosixPath(i.filename), lambda i=i: archive.read(i)) for i in members)
    return read_images(named, name, tick), False


@contextmanager
def _tar_csv(path: Path) -> Iterator[TextIO]:
    with tarfile.open(path) as archive:
        found = None
        for member in archive:
            _refuse_escape(member.name, path.name)
            if member.isfile() and PurePosixPath(member.name).name in CSV_NAMES:
                found = member
                break  # a compressed tar can only be read forwards: what follows is not read, so not looked at
        binary = archive.extractfile(found) if found is not None else None
        if binary is None or found is None:
            raise DataError(f"{path.name} holds none of {', '.join(CSV_NAMES)}")
        with _text(binary, found.name.endswith(".gz")) as text:
            yield text


@contextmanager
def _plain_csv(path: Path) -> Iterator[TextIO]:
    with path.open("rb") as binary:
        compressed = binary.read(2) == b"\x1f\x8b"
        binary.seek(0)
        with _text(binary, compressed) as text:
            yield text


@contextmanager
def _text(binary: IO[bytes], compressed: bool) -> Iterator[TextIO]:
    raw = gzip.GzipFile(fileobj=binary) if compressed else binary
    with io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
        yield text


def _refuse_escape(member: str, archive: str) -> None:
    path = PurePosixPath(member.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        raise DataError(f"{archive}: member {member!r} leaves the archive's folder; refusing the whole archive")
