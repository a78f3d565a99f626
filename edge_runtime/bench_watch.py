"""What the machine did while it was measured, and whether the figures hold: throttling that began, a clock that fell.

Looks between rounds, at most once a second, on no thread of its own. Must not know what is measured.
"""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from fer_edge.devices.conditions import Conditions, read_conditions, throttling_began
from fer_edge.devices.jetson_power import JetsonPower, read_jetson_power

PERIOD_S = 1.0
CLOCK_LOSS = 0.10
"""A clock this part below the highest at the begin makes a run invalid."""
_FIRST_LOOKS = 5
"""The highest of so many looks is what the clock is held against."""


class Watch:
    """Looks at the machine when told that nothing is being timed."""

    def __init__(
        self,
        read: Callable[[], Conditions] = read_conditions,
        clock_s: Callable[[], float] = time.monotonic,
        read_power: Callable[[], JetsonPower | None] = read_jetson_power,
    ) -> None:
        self._read, self._clock_s, self._read_power = read, clock_s, read_power
        self.before = read()
        self.after = self.before
        self._power_before = self._power_after = read_power()
        self.looks: list[Conditions] = []
        self._due = clock_s() + PERIOD_S

    def between(self) -> None:
        """Look, if the last look is a second ago."""
        if self._clock_s() >= self._due:
            self.looks.append(self._read())
            self._due = self._clock_s() + PERIOD_S

    def finish(self) -> None:
        """The last look."""
        self.after = self._read()
        self._power_after = self._read_power()

    def invalid_because(self) -> list[str]:
        """Why the run does not hold; empty where nothing speaks against it."""
        reasons = []
        began = throttling_began(self.before, self.after)
        if began:
            reasons.append(f"throttling began: {', '.join(began)}")
        live = [name for name in _throttled([*self.looks, self.after]) if name not in began]
        if live:
            reasons.append(f"throttled while it was measured: {', '.join(live)}")
        fall = self._fall()
        if fall is not None:
            reasons.append(f"the clock fell from {fall[0]:.0f} to {fall[1]:.0f} MHz")
        modes = [power.power_mode for power in (self._power_before, self._power_after) if power is not None]
        if len(set(modes)) > 1:
            reasons.append(f"the power mode changed from {modes[0]} to {modes[1]}")
        return reasons

    def report(self) -> dict[str, Any]:
        """`valid`, `invalid_because` and `conditions` of the bench report."""
        reasons = self.invalid_because()
        temperatures = [look.temp_c for look in self.looks if look.temp_c is not None]
        known = any(look.throttled is not None for look in self.looks)
        during = {
            "samples": len(self.looks),
            "temp_c": _span(temperatures),
            "clock_mhz": _span(self._clocks()),
            "throttled": list(_throttled(self.looks)) if known else None,
        }
        return {
            "valid": not reasons,
            "invalid_because": reasons,
            "conditions": {
                "before": self.before.as_dict() | _jetson(self._power_before),
                "after": self.after.as_dict() | _jetson(self._power_after),
                "during": during,
            },
        }

    def _clocks(self) -> list[float]:
        return [look.clock_mhz for look in self.looks if look.clock_mhz is not None]

    def _fall(self) -> tuple[float, float] | None:
        """From the highest at the begin to the lowest of two looks on end; one alone may be between two states."""
        clocks = self._clocks()
        if not clocks:
            return None
        usual = max(clocks[:_FIRST_LOOKS])
        confirmed = min((max(pair) for pair in pairwise(clocks)), default=usual)
        return (usual, confirmed) if confirmed < (1 - CLOCK_LOSS) * usual else None


def _jetson(power: JetsonPower | None) -> dict[str, Any]:
    """The part of the conditions that a Jetson alone has."""
    return {} if power is None else {"jetson": power.as_dict()}


def _throttled(looks: list[Conditions]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for look in looks for name in look.throttled or ()))


def _span(values: list[float]) -> dict[str, float] | None:
    return {"min": min(values), "max": max(values)} if values else None
