"""Starts the workers of one training run, watches them, and says in one sentence why a run ended early.

Each worker is a process of its own (`worker.py`), so that whatever ends one, a signal or the native code's own abort,
leaves this one to stop the others and to speak. Imports neither Keras nor JAX.
"""

import os
import queue
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from fer_edge.devices.errors import RunError, needs_extra
from fer_edge.train.recipe import AnyRecipe, Recipe
from fer_edge.train.worker import LOST, Job, read_messages

SETTLE_S = 1.0
"""How long the others are given to die of a death, so that the first cause is told from what follows it."""
_LOST_IN_NATIVE_CODE = ("JAX distributed service detected fatal errors", "gloo::")
_PEERS = (re.compile(r"replica:0/task:(\d+)"), re.compile(r"\[([\d.]+)\]:\d+"))


@dataclass(frozen=True)
class Crew:
    """Who trains: how many workers in all, the numbers of those on this machine, and where worker 0 listens."""

    count: int
    here: tuple[int, ...]
    coordinator: str


def parse_workers(text: str, index: int | None) -> Crew:
    """What `--workers` and `--worker-index` ask for: N processes here, or one here of those on several hosts.

    Raises:
        RunError: they are no such thing.
    """
    if text.lstrip("-").isdigit():
        count = int(text)
        if count < 1:
            raise RunError(f"--workers {count}: give 1 or more processes of this machine, or HOST:PORT,HOST,...")
        if index is not None:
            raise RunError("--worker-index goes with --workers HOST:PORT,HOST,...; leave it out for this machine alone")
        return Crew(count, tuple(range(count)), f"127.0.0.1:{_free_port()}")
    hosts = [host.strip() for host in text.split(",")]
    first, _, port = hosts[0].rpartition(":")
    if not first or not port.isdigit() or not all(hosts):
        raise RunError(f"--workers {text!r} is neither a number nor HOST:PORT,HOST,... (the port is worker 0's)")
    if index is None or not 0 <= index < len(hosts):
        raise RunError(f"--workers names {len(hosts)}; say which this one is: --worker-index 0 to {len(hosts) - 1}")
    return Crew(len(hosts), (index,), hosts[0])


def check_recipe(recipe: AnyRecipe, count: int) -> None:
    """Whether so many workers can share this recipe's batches.

    Raises:
        RunError: they cannot, or JAX is not installed.
    """
    if not isinstance(recipe, Recipe):
        raise RunError(
            f"{recipe.model} is not fitted batch by batch, so there is nothing to share; leave --workers out"
        )
    if recipe.batch_size % count:
        raise RunError(
            f"{count} workers cannot share batches of {recipe.batch_size} equally; "
            f"give --batch-size a multiple of {count}, or another --workers"
        )
    if recipe.average or recipe.teachers or recipe.quantization_aware or recipe.start or recipe.sharpness:
        raise RunError(
            "averaged weights, teachers, quantization-aware training, --start and sharpness are for one process; "
            "leave --workers out"
        )
    if find_spec("jax") is None:
        raise RunError(needs_extra("jax", "distributed"))


def run_workers(
    jobs: Sequence[Job],
    *,
    threads: int,
    go_on: Sequence[str],
    on_batch: Callable[[int, int, int, dict[str, float]], None],
    on_epoch: Callable[[dict[str, float]], None],
) -> None:
    """Run this machine's workers to their end.

    Args:
        jobs: one a worker.
        threads: cores of each; 0 shares this machine's among them.
        go_on: the command that continues the run.
        on_batch: progress of the first of them.
        on_epoch: its finished epochs.

    Raises:
        RunError: a worker ended early; the others have been stopped.
    """
    threads = threads or max(1, len(os.sched_getaffinity(0)) // len(jobs))
    started = [_Worker(job, threads) for job in jobs]
    try:
        epoch = _watch(started, on_batch, on_epoch)
        if epoch is not None:
            raise RunError(_sentence(started, epoch, jobs[0], go_on))
    finally:
        for worker in started:
            worker.stop()


class _Worker:
    """One process, the pipe on which it reports, and the file that takes what it and its libraries print."""

    def __init__(self, job: Job, threads: int) -> None:
        self.job = job
        self.messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        reading, writing = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fer_edge", "train-worker", str(writing)],
            stdin=subprocess.PIPE,  # its end tells the worker that this process is gone
            stdout=self._log,
            stderr=self._log,
            pass_fds=(writing,),
            start_new_session=True,  # Ctrl-C in a terminal is for this process, which stops the worker
            env=os.environ | {"KERAS_BACKEND": "jax", "NPROC": str(threads), "NO_COLOR": "1"},
        )
        os.close(writing)
        assert self.process.stdin is not None
        self.process.stdin.write(job.to_line())
        self.process.stdin.flush()
        threading.Thread(target=read_messages, args=(reading, self.messages.put), daemon=True).start()

    @property
    def printed(self) -> str:
        """All that it has printed."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def stop(self) -> None:
        """End it, if it has not ended."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._log.close()


def _watch(workers: Sequence[_Worker], on_batch: Callable[..., None], on_epoch: Callable[..., None]) -> int | None:
    """Wait for the end; None when all is well, else the number of epochs that were finished."""
    epoch = 0
    while True:
        codes = [worker.process.poll() for worker in workers]
        if any(codes):
            time.sleep(SETTLE_S)
        while not workers[0].messages.empty():
            message = workers[0].messages.get()
            if "done" in message:
                on_batch(message["epoch"], message["done"], message["total"], message["figures"])
            else:
                epoch = int(message["figures"]["epoch"])
                on_epoch(message["figures"])
        if any(codes):
            return epoch
        if all(code == 0 for code in codes):
            return None
        time.sleep(0.1)


def _sentence(workers: Sequence[_Worker], epoch: int, job: Job, go_on: Sequence[str]) -> str:
    cause = min((w for w in workers if w.process.poll()), key=_rank)
    if said := _said(cause):
        return said
    when = f"after epoch {epoch}" if epoch else "before the end of the first epoch"
    others = "the others were" if len(workers) > 2 else "the other was" if len(workers) == 2 else ""
    stopped = f", and {others} stopped" if others else ""
    if job.index == 0 and not (Path(job.folder) / "recipe.json").is_file():
        return f"{_end_of(cause)} {when}{stopped}; nothing was written yet, so start again"
    return f"{_end_of(cause)} {when}{stopped}; go on from there with: {shlex.join(go_on)}"


def _rank(worker: _Worker) -> int:
    """Causes before consequences: whoever lost another worker is not the one to be named."""
    if _is_lost(worker):
        return 2
    return 0 if worker.process.returncode < 0 else 1


def _is_lost(worker: _Worker) -> bool:
    code = worker.process.returncode
    return code == LOST or (code == -signal.SIGABRT and any(words in worker.printed for words in _LOST_IN_NATIVE_CODE))


def _said(worker: _Worker) -> str | None:
    """A worker's own sentence about something that the user can mend."""
    lines = worker.printed.rstrip().splitlines()
    if worker.process.returncode == 1 and lines and lines[-1].startswith("fer-edge: "):
        return lines[-1].removeprefix("fer-edge: ")
    return None


def _end_of(worker: _Worker) -> str:
    name, code = f"worker {worker.job.index} of {worker.job.count}", worker.process.returncode
    if _is_lost(worker):
        return f"{name} lost {_whom(worker)}"
    if code < 0:
        hint = ", as a system that runs out of memory does" if code == -signal.SIGKILL else ""
        return f"{name} was killed by signal {-code} ({signal.Signals(-code).name}{hint})"
    print(worker.printed, file=sys.stderr)  # a bug keeps its traceback
    return f"{name} failed with exit code {code} (what it printed is above)"


def _whom(worker: _Worker) -> str:
    """Of the others, as far as the libraries' own words tell."""
    for pattern, what in zip(_PEERS, ("worker", "the worker at"), strict=True):
        if found := pattern.search(worker.printed):
            return f"{what} {found[1]}"
    return "another worker"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
