"""A line of JSON a frame, or a minute where single faces stay on the device."""

import json
from pathlib import Path

from fer_edge.devices.frame import Frame
from fer_edge.edge_runtime.aggregate import MinuteCounts, counts_record
from fer_edge.edge_runtime.line_file import LineFile
from fer_edge.edge_runtime.record import observation_record
from fer_edge.edge_runtime.vocabulary import Observation


class JsonlSink:
    """Writes each line as it comes, so that a killed run keeps what it saw. Arguments and errors as `LineFile`."""

    name = "jsonl"
    needs_pixels = False

    def __init__(self, path: Path, *, max_bytes: int | None, keep: int, append: bool = False) -> None:
        self._file = LineFile(path, max_bytes=max_bytes, keep=keep, append=append)

    def put(self, observation: Observation, frame: Frame | None) -> None:
        """Write one frame's line.

        Raises:
            OutputError: the disk refuses; the next call tries again.
        """
        self._file.append(json.dumps(observation_record(observation)) + "\n")

    def put_counts(self, counts: MinuteCounts) -> None:
        """Write one minute's line.

        Raises:
            OutputError: as `put`.
        """
        self._file.append(json.dumps(counts_record(counts)) + "\n")

    def idle(self) -> None:
        """Every line is written at once, so there is nothing to do."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()
