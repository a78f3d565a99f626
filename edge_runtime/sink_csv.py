"""A row of CSV a face, or a minute where single faces stay on the device."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fer_edge.devices.frame import Frame
from fer_edge.edge_runtime.aggregate import LABELS, MinuteCounts
from fer_edge.edge_runtime.line_file import LineFile
from fer_edge.edge_runtime.record import observation_record
from fer_edge.edge_runtime.vocabulary import EMOTIONS, Observation

FACE_COLUMNS = (
    *("t_wall", "frame", "name", "track_id", "label", "reason", "confidence"),
    *("x0", "y0", "x1", "y1", *EMOTIONS, "age_ms"),
)
MINUTE_COLUMNS = ("start", "seconds", "frames", "tracks", *(f"{label}_s" for label in LABELS))


class CsvSink:
    """A frame without a face gives no row. Arguments and errors as `LineFile`.

    Args:
        aggregate: the rows are minutes and come by `put_counts`.
    """

    name = "csv"
    needs_pixels = False

    def __init__(
        self, path: Path, *, max_bytes: int | None, keep: int, append: bool = False, aggregate: bool = False
    ) -> None:
        header = _text([MINUTE_COLUMNS if aggregate else FACE_COLUMNS])
        self._file = LineFile(path, max_bytes=max_bytes, keep=keep, append=append, header=header)

    def put(self, observation: Observation, frame: Frame | None) -> None:
        """Write one frame's rows.

        Raises:
            OutputError: the disk refuses; the next call tries again.
        """
        if observation.predictions:
            self._file.append(_text(_face_rows(observation)))

    def put_counts(self, counts: MinuteCounts) -> None:
        """Write one minute's row.

        Raises:
            OutputError: as `put`.
        """
        seconds = [counts.face_seconds[label] for label in LABELS]
        self._file.append(_text([[counts.start, counts.seconds, counts.frames, counts.tracks, *seconds]]))

    def idle(self) -> None:
        """Every row is written at once, so there is nothing to do."""

    def close(self) -> None:
        """Close the file; a run without a face leaves the header alone."""
        self._file.close()


def _face_rows(observation: Observation) -> Iterable[list[Any]]:
    record = observation_record(observation)
    for face in record["faces"]:
        yield [
            *(record[key] for key in ("t_wall", "frame", "name")),
            *(face[key] for key in ("track_id", "label", "reason", "confidence")),
            *(*face["box_xyxy"], *face["probabilities"].values(), record["age_ms"]),
        ]


def _text(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
