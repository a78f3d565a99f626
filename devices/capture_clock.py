"""Drivers stamp frames with a clock of their own; this brings a stamp onto Python's monotonic clock, or refuses it."""

import time

_OLDEST_NS = 10_000_000_000
"""A stamp further back than this was not made by the clock it is read as."""


def capture_time_ns(stamp_ns: int | None) -> int:
    """When a frame was taken, in the nanoseconds of `time.monotonic_ns`.

    Linux's camera drivers stamp with CLOCK_MONOTONIC, some with CLOCK_BOOTTIME (libcamera documents that one for
    SensorTimestamp and gives the other); the two part when the machine sleeps.

    Args:
        stamp_ns: the driver's stamp; None where there is none.

    Returns:
        The stamp where it fits one of the two clocks, else now: the frame then counts as no older than its reading.
    """
    now_ns = time.monotonic_ns()
    if stamp_ns is None:
        return now_ns
    slept_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - now_ns if hasattr(time, "CLOCK_BOOTTIME") else 0
    for on_monotonic_ns in (stamp_ns, stamp_ns - slept_ns):
        if 0 <= now_ns - on_monotonic_ns <= _OLDEST_NS:
            return on_monotonic_ns
    return now_ns
