"""Soaks a machine in the load that is measured until its temperature stays: a board in its case slows after minutes.

Thermometer and clock are given, so that tests need neither. Must not know engines.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_edge.devices.machine import temperature_c

WITHOUT_SENSOR_S = 120.0
"""How long to soak where nothing tells the temperature."""


@dataclass(frozen=True)
class Soak:
    """When to stop: the slope over `window_s` is under `slope_c_per_minute`, or `max_seconds` are over."""

    max_seconds: float = 600.0
    slope_c_per_minute: float = 1.0
    window_s: float = 60.0
    period_s: float = 1.0


def soak(
    work: Callable[[], None],
    bounds: Soak,
    *,
    step: Callable[[str], None] = lambda what: None,
    thermometer: Callable[[], float | None] = temperature_c,
    clock_s: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Keep working until the temperature stays.

    Args:
        work: some of the load, a second at most; called again and again.
        bounds: when to stop. Without a sensor it is `WITHOUT_SENSOR_S`, or `max_seconds` where that is less.
        step: told how hot it is.
        thermometer: degrees Celsius, or None.
        clock_s: seconds.

    Returns:
        `{"soak_seconds", "slope_c_per_minute", "reached", "temp_c": [start, end]}`; slope and temperatures are None
        without a sensor, the slope too where there was no time for one, and `reached` is False then.
    """
    begun, first = clock_s(), thermometer()
    readings: list[tuple[float, float]] = [] if first is None else [(begun, first)]
    limit = bounds.max_seconds if first is not None else min(bounds.max_seconds, WITHOUT_SENSOR_S)
    slope, due = None, begun + bounds.period_s
    while (now := clock_s()) - begun < limit:
        if now >= due:
            due = now + bounds.period_s
            if first is not None and (temperature := thermometer()) is not None:
                readings.append((now, temperature))
            slope = _slope(readings, now - bounds.window_s)
            step(_words(now - begun, readings, slope))
            if slope is not None and abs(slope) < bounds.slope_c_per_minute:
                break
        work()
    return {
        "soak_seconds": clock_s() - begun,
        "slope_c_per_minute": slope,
        "reached": slope is not None and abs(slope) < bounds.slope_c_per_minute,
        "temp_c": [readings[0][1], readings[-1][1]] if readings else None,
    }


def _slope(readings: list[tuple[float, float]], since: float) -> float | None:
    """Degrees a minute by least squares over the readings since then; None before they reach back so far.

    A line through many readings: sensors count in halves of a degree.
    """
    if not readings or readings[0][0] > since:
        return None
    times, temperatures = np.array([reading for reading in readings if reading[0] >= since]).T
    if len(times) < 3:
        return None
    centred = times - times.mean()
    return float(centred @ temperatures / (centred @ centred)) * 60


def _words(seconds: float, readings: list[tuple[float, float]], slope: float | None) -> str:
    heat = f"{readings[-1][1]:.1f} °C" if readings else "no sensor"
    return f"soaking {seconds:.0f} s: {heat}" + ("" if slope is None else f", {slope:+.1f} °C a minute")
