"""Reads the challenge's CSV (`emotion,pixels,Usage`) and FER+'s votes beside it.

The only place that knows the CSV's own emotion order.
"""

import csv
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import DataError
from fer_edge.edge_runtime.vocabulary import EMOTIONS, FACE_SIDE
from fer_edge.train.dataset import SPLITS, VOTE_COLUMNS

CSV_EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""FER-2013's ids 0 to 6."""
USAGE_SPLIT = {"Training": "train", "PublicTest": "test", "PrivateTest": "private"}
_PIXELS = FACE_SIDE * FACE_SIDE
_TO_OURS = np.array([EMOTIONS.index(name) for name in CSV_EMOTIONS], np.uint8)

Progress = Callable[[int], None]
"""Called with the number of bytes (or files) done so far."""


def parse_pixels(text: str, where: str) -> NDArray[np.uint8]:
    """2,304 space-separated values 0 to 255 as (48, 48) uint8.

    Raises:
        DataError: another count, a value outside 0..255, or text that is no number; the message begins with `where`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy's word for text left unread
        try:
            values = np.fromstring(text, dtype=np.int64, sep=" ")
        except (ValueError, DeprecationWarning):
            raise DataError(f"{where}: pixels hold something that is not a whole number") from None
    if values.size != _PIXELS:
        raise DataError(f"{where}: expected {_PIXELS} pixels, got {values.size}")
    if values.min() < 0 or values.max() > 255:
        bad = values[(values < 0) | (values > 255)][0]
        raise DataError(f"{where}: pixel value {bad} is outside 0..255")
    return values.astype(np.uint8).reshape(FACE_SIDE, FACE_SIDE)


def read_csv(
    lines: TextIO, name: str, tick: Progress | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Faces (N, 48, 48), labels (N,) in our order, splits (N,), all uint8.

    Args:
        lines: the CSV as text; columns may have spaces around their names and come in any order.
        name: what to call it in errors.
        tick: called now and then with the number of rows read.

    Raises:
        DataError: a missing column, or a row that is not as it should be, with its line number.
    """
    csv.field_size_limit(1 << 20)
    rows = csv.reader(lines)
    try:
        column = _columns(next(rows, []), name)
        faces, labels, splits = [], [], []
        for row in rows:
            if not row:
                continue
            where = f"{name} line {rows.line_num}"
            if len(row) <= max(column.values()):
                raise DataError(f"{where}: expected {len(column)} columns, got {len(row)}")
            faces.append(parse_pixels(row[column["pixels"]], where))
            labels.append(_label(row[column["emotion"]], where))
            splits.append(_split(row[column["usage"]], where))
            if tick is not None and len(faces) % 256 == 0:
                tick(len(faces))
    except csv.Error as error:
        raise DataError(f"{name} line {rows.line_num}: not readable as CSV ({error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not a text file ({error.reason} at byte {error.start})") from error
    if not faces:
        raise DataError(f"{name} has a header and no rows")
    return np.stack(faces), np.array(labels, np.uint8), np.array(splits, np.uint8)


def _columns(header: Iterable[str], name: str) -> dict[str, int]:
    found = {title.strip().lower(): at for at, title in enumerate(header)}
    missing = [title for title in ("emotion", "pixels", "usage") if title not in found]
    if missing:
        have = ", ".join(map(repr, found)) if found else "nothing"  # repr: a title may hold a line break
        raise DataError(
            f"{name} has no column {', '.join(missing)!r}; expected emotion, pixels, Usage, found {have}"[:300]
        )
    return {title: found[title] for title in ("emotion", "pixels", "usage")}


def _label(text: str, where: str) -> int:
    if text.strip() not in {"0", "1", "2", "3", "4", "5", "6"}:
        raise DataError(f"{where}: unknown emotion {text!r}; expected 0 to 6")
    return int(_TO_OURS[int(text)])


def _split(text: str, where: str) -> int:
    usage = text.strip()
    if usage not in USAGE_SPLIT:
        raise DataError(f"{where}: unknown Usage {usage!r}; expected {', '.join(USAGE_SPLIT)}")
    return SPLITS.index(USAGE_SPLIT[usage])


def read_votes(path: Path, splits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """FER+'s votes (N, 10) uint8, row by row for the CSV whose `splits` are given.

    The numbers in its `Image name` column are not row numbers; the order of rows is what counts.

    Raises:
        DataError: missing columns, a vote that is no number, or rows that do not fit the CSV's.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            votes = _vote_rows(csv.DictReader(file), path.name, splits)
    except (csv.Error, OSError) as error:
        raise DataError(f"{path.name} is not readable as CSV ({error}); expected FER+'s fer2013new.csv") from error
    if len(votes) != len(splits):
        raise DataError(
            f"{path.name} has {len(votes):,} rows, the images' CSV {len(splits):,}; they must go row by row"
        )
    return np.array(votes, np.uint8)


def _vote_rows(rows: csv.DictReader, name: str, splits: NDArray[np.uint8]) -> list[list[int]]:
    missing = [c for c in ("Usage", *VOTE_COLUMNS) if c not in (rows.fieldnames or [])]
    if missing:
        raise DataError(f"{name} has no column {', '.join(missing)}; expected FER+'s fer2013new.csv")
    votes = []
    for at, row in enumerate(rows):
        where = f"{name} line {rows.line_num}"
        if at < len(splits) and _split(row["Usage"] or "", where) != splits[at]:
            raise DataError(f"{where}: Usage {row['Usage']!r} differs from the same row of the images' CSV")
        try:
            votes.append([int(row[c]) for c in VOTE_COLUMNS])
        except (TypeError, ValueError):
            raise DataError(f"{where}: a vote is not a whole number") from None
        if min(votes[-1]) < 0 or max(votes[-1]) > 255:
            raise DataError(f"{where}: a vote is outside 0..255")
    return votes
