"""A text file that grows by whole lines: it is rotated by size, and a full disk or a power cut leaves no torn line."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from fer_edge.devices.errors import OutputError

_CHUNK_BYTES = 1 << 16


class LineFile:
    """Appends lines. After a write that failed the next one tries again, with the file opened anew.

    Args:
        path: the file, or a device or a pipe, which is never rotated.
        max_bytes: the size at which `path` becomes `path.1`, that `path.2` and so on; None: it is never rotated.
        keep: how many rotated files stay.
        append: go on where the last run stopped; else overwrite. What is rotated is always gone on with.
        header: a first line for every file, with its newline. A file that begins with another one is rotated away.

    Raises:
        OutputError: the file cannot be opened.
    """

    def __init__(self, path: Path, *, max_bytes: int | None, keep: int, append: bool = False, header: str = "") -> None:
        self._path, self._max_bytes, self._keep, self._header = path, max_bytes, keep, _encoded(header)
        self._fd: int | None = None
        self._begun = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = self._continued() if append or max_bytes is not None else self._emptied()
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error

    def append(self, lines: str) -> None:
        """Write whole lines, each with its newline: all of them or none.

        Raises:
            OutputError: the disk refuses; what was written before stays.
        """
        data = _encoded(lines)
        try:
            fd = self._continued() if self._fd is None else self._fd
            self._fd = None  # unless all ends well, the next write begins with a file opened anew
            if self._is_full(fd, len(data)):
                fd = self._rotated(fd)
            _write_whole(fd, data if self._has_header(fd) else self._header + data)
            self._fd, self._begun = fd, True
        except OSError as error:
            raise self._error(error) from error

    def close(self) -> None:
        """Close the file; one without a line gets its header still.

        Raises:
            OutputError: as `append`.
        """
        fd, self._fd = self._fd, None
        if fd is None:
            return
        try:
            if self._header and not self._has_header(fd):
                _write_whole(fd, self._header)
            os.close(fd)
        except OSError as error:
            raise self._error(error) from error

    def _has_header(self, fd: int) -> bool:
        return _size(fd) > 0 if _is_regular(fd) else self._begun

    def _error(self, error: OSError) -> OutputError:
        return OutputError(f"cannot write {self._path}: {error.strerror}; the lines before are kept")

    def _emptied(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)

    def _continued(self) -> int:
        if self._path.exists() and not self._path.is_file():
            return os.open(self._path, os.O_WRONLY | os.O_APPEND)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        _cut_torn_line(fd)
        start = os.pread(fd, len(self._header), 0)
        return self._rotated(fd) if start and start != self._header else fd

    def _is_full(self, fd: int, more: int) -> bool:
        return self._max_bytes is not None and _is_regular(fd) and 0 < _size(fd) > self._max_bytes - more

    def _rotated(self, fd: int) -> int:
        """Close the file, move the old ones up by one, and open an empty one."""
        os.close(fd)
        names = [self._path, *(self._path.with_name(f"{self._path.name}.{n}") for n in range(1, self._keep + 1))]
        for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
            if newer.exists():
                newer.replace(older)
        return self._emptied()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")  # a file's name may hold bytes that are no UTF-8


def _is_regular(fd: int) -> bool:
    return stat.S_ISREG(os.fstat(fd).st_mode)


def _size(fd: int) -> int:
    return os.fstat(fd).st_size


def _write_whole(fd: int, data: bytes) -> None:
    """Write all of `data`, or take back what was written, close the file and raise OSError."""
    size, written = _size(fd), 0
    try:
        while written < len(data):
            written += os.write(fd, data[written:])
    except OSError:
        with suppress(OSError):  # no regular file, or a disk that is gone: a torn line is cut off at the next opening
            os.ftruncate(fd, size)
        with suppress(OSError):
            os.close(fd)
        raise


def _cut_torn_line(fd: int) -> None:
    """Cut off what follows the last newline: a process or a board died there."""
    size = end = _size(fd)
    while end:
        start = max(0, end - _CHUNK_BYTES)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(fd, end)
