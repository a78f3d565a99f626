"""Which cores a process may run on: reads a list like `0-1,3`, and pins to it for a while. Linux only."""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fer_edge.devices.errors import EngineError
from fer_edge.devices.machine import core_numbers


def parse_cores(text: str) -> list[int]:
    """`0-1,3` is [0, 1, 3].

    Raises:
        ValueError: anything else than numbers, commas and ranges that ascend.
    """
    cores: set[int] = set()
    for part in text.split(","):
        if not re.fullmatch(r"\s*\d+\s*(-\s*\d+\s*)?", part):
            raise ValueError(f"expected cores like 0-1,3, got {text!r}")
        low, _, high = part.partition("-")
        if int(high or low) < int(low):
            raise ValueError(f"expected cores like 0-1,3, got {text!r}")
        cores |= set(range(int(low), int(high or low) + 1))
    return sorted(cores)


@contextmanager
def pinned(cores: Sequence[int] | None) -> Iterator[None]:
    """Run the whole process on these cores alone, threads that there are and threads to come; afterwards as before.

    Engines must be started inside: their threads get what the starting thread has. None pins nothing.

    Raises:
        EngineError: a core that is not usable here, or a system that cannot pin.
    """
    if cores is None:
        yield
        return
    if not hasattr(os, "sched_setaffinity"):
        raise EngineError("this system cannot pin a process to cores; leave --cores away")
    usable = core_numbers()
    if unusable := [core for core in cores if core not in usable]:
        raise EngineError(
            f"core {', '.join(map(str, unusable))} cannot be used here; usable are {', '.join(map(str, usable))}"
        )
    before = {thread: os.sched_getaffinity(thread) for thread in _threads()}
    usual = os.sched_getaffinity(0)
    try:
        for thread in before:
            _pin(thread, set(cores))
        yield
    finally:
        for thread in _threads():
            _pin(thread, before.get(thread, usual))


def _threads() -> list[int]:
    """The ids of this process's threads."""
    return [int(entry.name) for entry in Path("/proc/self/task").iterdir()]


def _pin(thread: int, cores: set[int]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
        os.sched_setaffinity(thread, cores)
