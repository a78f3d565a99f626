"""Energy of each lane, in a turn of its own that is long enough for a slow meter. Must not know engines."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from fer_edge.devices.energy import Meter, find_meter

TURN_S = 1.0
"""RAPL counts every millisecond, INA chips average over some, tegrastats speaks ten times a second: a second has enough
of each. A turn in a round, of some hundredths of a second, has not."""
_LOOK_S = 0.05
Take = Callable[[int, Callable[[], int]], Any]


def energy_rows(
    lanes: Sequence[tuple[Take, float, int]],
    step: Callable[[str], None],
    say: Callable[[str], None],
    *,
    find: Callable[..., Meter | None] = find_meter,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> list[dict[str, Any] | None]:
    """Measure the idle machine, then each lane.

    Args:
        lanes: what makes so many calls, the usual nanoseconds of one, and the faces in it.
        step: told what is being done.
        say: told why there is no meter.
        find, clock_ns, sleep: for tests.

    Returns:
        `{"meter", "mj_per_face", "idle_w"}` a lane, None without a meter. All that the meter sees is in it: what the
        idle machine takes is not subtracted.
    """
    meter = find(say=say)
    if meter is None:
        return [None] * len(lanes)
    rows = []
    try:
        step(f"energy: idle, {meter.name}")
        idle = _spend(meter, lambda: sleep(_LOOK_S), clock_ns)
        idle_w = None if idle is None else idle[0] / idle[1]
        for number, (take, usual_ns, batch) in enumerate(lanes, 1):
            step(f"energy: {number} of {len(lanes)}")
            calls = max(1, int(_LOOK_S * 1e9 / max(usual_ns, 1)))
            take(calls, clock_ns)  # what the turn before left to cool down or to spin is over
            spent = _spend(meter, partial(take, calls, clock_ns), clock_ns)
            rows.append(None if spent is None else _row(meter, spent[0] / (spent[2] * calls * batch), idle_w))
    finally:
        meter.close()
    return rows


def _row(meter: Meter, joules_per_face: float, idle_w: float | None) -> dict[str, Any]:
    return {"meter": meter.name, "mj_per_face": joules_per_face * 1000, "idle_w": idle_w}


def _spend(meter: Meter, work: Callable[[], Any], clock_ns: Callable[[], int]) -> tuple[float, float, int] | None:
    """Joules, seconds and how often it worked in a turn; None where the meter could not be read."""
    begun = now = clock_ns() / 1e9
    first = last = meter.joules(begun)
    done = 0
    while now - begun < TURN_S:
        work()
        done += 1
        now = clock_ns() / 1e9
        last = meter.joules(now)
    return None if first is None or last is None else (last - first, now - begun, done)
