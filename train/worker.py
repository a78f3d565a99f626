"""A worker's line to the process that started it: the job comes on stdin, progress goes back on a pipe."""

import contextlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.abc import MetaPathFinder
from typing import Any, NoReturn, Self

from fer_edge.devices.errors import FerEdgeError

LOST = 75
"""Exit code of a worker that could not go on because another was gone."""
REPORT_EVERY_S = 0.3


@dataclass(frozen=True)
class Job:
    """What a worker is to do. `recipe` is as its JSON has it, None to resume; only worker 0 touches `folder`."""

    index: int
    count: int
    coordinator: str
    data: str
    folder: str
    recipe: dict[str, Any] | None

    def to_line(self) -> bytes:
        """One line, for `from_line`."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: str) -> Self:
        """The job of a line."""
        return cls(**json.loads(line))


def read_messages(pipe: int, take: Callable[[dict[str, Any]], None]) -> None:
    """Take each message until the worker ends; one that was cut off by a kill is left out."""
    with os.fdopen(pipe) as lines:
        for line in lines:
            with contextlib.suppress(ValueError):
                take(json.loads(line))


class Reports:
    """What a worker tells of its progress: every epoch, and some of the batches."""

    def __init__(self, pipe: int) -> None:
        self._pipe, self._last = pipe, 0.0

    def batch(self, epoch: int, done: int, total: int, logs: dict[str, float]) -> None:
        """A batch is done, see `OnBatch`."""
        if time.monotonic() - self._last >= REPORT_EVERY_S:
            self._last = time.monotonic()
            figures = {name: float(value) for name, value in logs.items()}
            self._send({"epoch": epoch, "done": done, "total": total, "figures": figures})

    def epoch(self, figures: dict[str, float]) -> None:
        """An epoch is done and counts."""
        self._send({"figures": figures})

    def _send(self, message: dict[str, Any]) -> None:
        os.write(self._pipe, json.dumps(message).encode() + b"\n")


class LostError(Exception):
    """This worker cannot go on, because another is gone."""


def work(pipe: int) -> NoReturn:
    """Read the job from stdin, do it, and end this process; it also ends when its parent does.

    Python's own end would run JAX's, which waits for the other workers; so an end that is none of theirs is a hard one.
    """
    job = Job.from_line(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.meta_path.insert(0, _WithoutTensorFlow())
    code = 0
    try:
        from fer_edge.train.distributed import train_together

        train_together(job, Reports(pipe))
    except FerEdgeError as error:
        print("fer-edge:", " ".join(str(error).splitlines()), file=sys.stderr)
        code = 1
    except LostError as error:
        print(error, file=sys.stderr)
        code = LOST
    except BaseException:
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class _WithoutTensorFlow(MetaPathFinder):
    """Keras would import TensorFlow where it finds it, which costs seconds, half a gigabyte, and a GPU's memory."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Find no TensorFlow."""
        if fullname == "tensorflow":
            raise ModuleNotFoundError("a worker trains on JAX, without TensorFlow", name=fullname)


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)
