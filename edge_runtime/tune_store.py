"""What was measured so far, a line a measurement, so that an interrupted `tune` goes on where it stopped.

The file's name is a hash of all that the measurements depend on; another bundle, clip or board has another file.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fer_edge.devices.errors import OutputError
from fer_edge.devices.frame import Closing
from fer_edge.edge_runtime.agreement import Agreement
from fer_edge.edge_runtime.state_folder import state_home
from fer_edge.edge_runtime.tune_score import Round
from fer_edge.edge_runtime.tune_search import Looked, Meter
from fer_edge.edge_runtime.tune_space import Candidate, Looking, Running
from fer_edge.edge_runtime.vocabulary import Face


class Store(Closing):
    """A file of measurements by name; one process at a time.

    Args:
        key: JSON of what the measurements depend on.
        restart: forget what is there.
        folder: where the file lies; None is the user's state folder.

    Raises:
        OutputError: another `tune` is at work on it, or the folder cannot be written.
    """

    def __init__(self, key: Any, *, restart: bool = False, folder: Path | None = None) -> None:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        self.path = (folder or state_home() / "tune") / f"{digest[:16]}.jsonl"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"another fer-edge tune is measuring the same ({self.path}); wait for it") from error
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}") from error
        if restart:
            self._file.truncate(0)
        self._known = self._read()
        self.found = len(self._known)
        self.added = 0

    def get(self, name: str, measure: Callable[[], Any]) -> Any:
        """The measurement of that name: as it is known, or as `measure` makes it now (JSON), which is then kept."""
        if name not in self._known:
            self.put(name, measure())
        return self._known[name]

    def has(self, name: str) -> bool:
        return name in self._known

    def put(self, name: str, value: Any) -> None:
        """Keep a measurement: the whole line, on the disk, before anything else happens.

        Raises:
            OutputError: the disk refuses.
        """
        line = json.dumps([name, value], separators=(",", ":")).encode() + b"\n"
        try:
            self._file.seek(0, os.SEEK_END)
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}") from error
        self._known[name] = json.loads(line)[1]
        self.added += 1

    def __getitem__(self, name: str) -> Any:
        return self._known[name]

    def remove(self) -> None:
        """The search is over: the next one measures anew."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let another process have it; harmless twice."""
        self._file.close()

    def _read(self) -> dict[str, Any]:
        """The whole lines; one that was cut short by a loss of power is taken off, and what follows it."""
        self._file.seek(0)
        known: dict[str, Any] = {}
        good = 0
        for line in self._file:
            try:
                name, value = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            known[name] = value
            good += len(line)
        self._file.truncate(good)
        return known


class Remembering:
    """A meter that asks another one only for what is not in the store.

    Args:
        meter: measures.
        store: remembers; of what was measured in an earlier process, too.
    """

    def __init__(self, meter: Meter, store: Store) -> None:
        self._meter, self._store = meter, store

    def reference(self) -> list[list[Face]]:
        """See Meter."""

        def measure() -> list[Any]:
            return [[list(face.box_xyxy) for face in faces] for faces in self._meter.reference()]

        boxes = self._store.get("reference", measure)
        return [[Face((x0, y0, x1, y1), 1.0) for x0, y0, x1, y1 in faces] for faces in boxes]

    def look(self, looking: Looking, wanted: Sequence[Sequence[Face]]) -> Looked:
        """See Meter."""

        def measure() -> list[Any]:
            looked = self._meter.look(looking, wanted)
            a = looked.agreement
            return [_packed(looked.times), [a.wanted, a.found, a.shown, a.right, a.ids]]

        times, counts = self._store.get(f"look {len(wanted)} {looking}", measure)
        return Looked(_unpacked(times), Agreement(*counts))

    def infer(self, running: Running) -> Round:
        """See Meter."""
        return _unpacked(self._store.get(f"infer {running}", lambda: _packed(self._meter.infer(running))))

    def turns(self, candidates: Sequence[Candidate], begin: int, end: int) -> Iterator[tuple[Candidate, int, Round]]:
        """See Meter; only what is lacking is measured."""
        at = begin
        while at < end:
            missing = [c for c in candidates if not self._store.has(_round_name(c, at))]
            if not missing:
                at += 1
                continue
            # One that was interrupted in the middle of a round is made whole with this round alone.
            until = at + 1 if len(missing) < len(candidates) else end
            self._measure(missing, at, until)
        for number in range(begin, end):
            for candidate in candidates:
                yield candidate, number, _unpacked(self._store[_round_name(candidate, number)])

    def _measure(self, candidates: Sequence[Candidate], begin: int, end: int) -> None:
        for candidate, number, taken in self._meter.turns(candidates, begin, end):
            if not self._store.has(_round_name(candidate, number)):
                self._store.put(_round_name(candidate, number), _packed(taken))


def _round_name(candidate: Candidate, number: int) -> str:
    return f"round {number} {candidate}"


def _packed(taken: Round) -> list[Any]:
    return [taken.cpu_ns, taken.service_ns]


def _unpacked(packed: list[Any]) -> Round:
    return Round(packed[1], packed[0])
