"""Time of a network on a processor from its operators: a roofline with fitted efficiencies, and its held-out errors.

    time = board x engine x sum over operators of max(MACs / (peak x threads^a x efficiency), bytes / (bandwidth x m))

Everything is fitted in the logarithm, each parameter drawn to what is expected of it before anything was measured
(a Gaussian prior), so that a few dozen timings are enough. Owns the arithmetic alone; must not know a file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.boards import Board

Floats = NDArray[np.float64]
NOISE, REPORT_NOISE = 0.2, 0.1
"""Standard deviation of what no parameter explains, in the logarithm: of a published latency, and of our own report,
whose engine, threads and clock are known."""
PRIORS = {
    "efficiency": (np.log(0.5), 0.5),
    "depthwise": (np.log(0.5), 0.5),
    "memory": (np.log(0.5), 0.5),
    "threads": (0.85, 0.15),
    "engine": (0.0, 0.25),
    "board": (0.0, 0.15),
}
"""Mean and standard deviation by kind of parameter; factors in the logarithm, `threads` is the exponent itself."""
COVERAGE = 0.9


@dataclass(frozen=True, slots=True)
class Work:
    """One operator: multiply-adds, bytes moved once, `int8`, `float16` or `float32`, and whether it is depthwise."""

    macs: int
    bytes: int
    precision: str
    depthwise: bool = False


@dataclass(frozen=True, eq=False)
class Timing:
    """A network that took `ms` on `board` in an engine; `network` only tells one from another.

    `ms` is not looked at where a time is asked for.
    """

    board: Board
    network: str
    engine: str
    threads: int
    work: tuple[Work, ...]
    ms: float
    noise: float = NOISE

    @property
    def precision(self) -> str:
        """The one that most multiply-adds are in."""
        macs: dict[str, int] = {}
        for one in self.work:
            macs[one.precision] = macs.get(one.precision, 0) + one.macs
        return max(macs, key=lambda name: macs[name])


def cell(board: Board, precision: str) -> str:
    """The efficiency's name; a core that has no float16 arithmetic computes it in float32."""
    slow16 = precision == "float16" and board.core.float16 == board.core.float32
    return f"efficiency {'float32' if slow16 else precision} {board.core.kind}"


def _terms(timing: Timing) -> tuple[list[tuple[float, dict[str, float]]], ...]:
    """For compute and for memory: of each operator the logarithm of its ideal milliseconds, and what is added to it.

    Depthwise operators reuse no input, which the dot product lives from: their int8 peak is that of SMLAL, 8 a cycle.
    """
    compute, memory = [], []
    for one in timing.work:
        core, clock_khz = timing.board.core, timing.board.clock_mhz * 1e3
        peak = getattr(core, one.precision)
        peak = min(peak, 8) if one.depthwise and one.precision == "int8" else peak
        adds = {cell(timing.board, one.precision): -1.0, "threads": -float(np.log(timing.threads))}
        if one.depthwise:
            adds["depthwise"] = -1.0
        compute.append((float(np.log(max(one.macs, 1e-9) / (peak * clock_khz))), adds))
        memory.append((float(np.log(max(one.bytes, 1e-9) / (timing.board.bandwidth_gb_s * 1e6))), {"memory": -1.0}))
    return compute, memory


class CostModel:
    """Parameters by name, fitted to timings. Deterministic; a few milliseconds for a few dozen of them."""

    def __init__(self, timings: Sequence[Timing]) -> None:
        """Fit by Gauss-Newton; the derivative of a sum of maxima is the share of each operator's greater term."""
        self.timings = tuple(timings)
        self.names = _names(timings)
        self._mean = np.array([PRIORS[name.split()[0]][0] for name in self.names])
        self._weight = np.array([PRIORS[name.split()[0]][1] ** -2 for name in self.names])
        self._log_ms = np.log([timing.ms for timing in timings])
        self._trust = np.array([timing.noise**-2 for timing in timings])
        self._problem = _Problem(timings, self.names)
        self.theta = self._fit(np.ones(len(timings), bool), self._mean)

    @property
    def parameters(self) -> dict[str, float]:
        """Value by name: factors as such, `threads` as the exponent."""
        values = zip(self.names, self.theta, strict=True)
        return {name: float(value if name == "threads" else np.exp(value)) for name, value in values}

    def predict_ms(self, timing: Timing) -> float:
        """Milliseconds. An engine or board that nothing was fitted for has the factor 1."""
        return float(np.exp(_Problem([timing], self.names).log_ms(self.theta)[0]))

    def held_out(self, alike: Callable[[Timing, Timing], bool]) -> Floats:
        """The logarithm of measured over predicted, each timing by a fit without those that are `alike` it."""
        errors, fits = np.empty(len(self.timings)), {}
        for at, timing in enumerate(self.timings):
            use = np.array([not alike(timing, other) for other in self.timings])
            if use.tobytes() not in fits:
                fits[use.tobytes()] = self._log_ms - self._problem.log_ms(self._fit(use, self.theta))
            errors[at] = fits[use.tobytes()][at]
        return errors

    def _fit(self, use: NDArray[np.bool_], start: Floats) -> Floats:
        trust, theta, cost = self._trust * use, start, self._cost(use, start)
        for _ in range(50):
            residuals, slopes = self._log_ms - self._problem.log_ms(theta), self._problem.slopes(theta)
            gradient = slopes.T @ (trust * residuals) - self._weight * (theta - self._mean)
            step = np.linalg.solve(slopes.T @ (trust[:, None] * slopes) + np.diag(self._weight), gradient)
            while (now := self._cost(use, theta + step)) > cost and np.abs(step).max() > 1e-9:
                step = step / 2
            theta, gain, cost = theta + step, cost - now, now
            if gain < 1e-9:
                break
        return theta

    def _cost(self, use: NDArray[np.bool_], theta: Floats) -> float:
        residuals = self._log_ms - self._problem.log_ms(theta)
        return float(self._trust * use @ residuals**2 + self._weight @ (theta - self._mean) ** 2)


class _Problem:
    """The timings as arrays: for each operator two logarithms that are linear in the parameters; the greater counts."""

    def __init__(self, timings: Sequence[Timing], names: Sequence[str]) -> None:
        column = {name: at for at, name in enumerate(names)}
        pairs = [_terms(timing) for timing in timings]
        sizes = [len(timing.work) for timing in timings]
        self._starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(int)
        self._owner = np.repeat(np.arange(len(timings)), sizes)
        self._base = np.empty((2, sum(sizes)))
        self._rows = np.zeros((2, sum(sizes), len(names)))
        for side in range(2):
            flat = [term for pair in pairs for term in pair[side]]
            for at, (base, adds) in enumerate(flat):
                self._base[side, at] = base
                for name, factor in adds.items():
                    if name in column:
                        self._rows[side, at, column[name]] = factor
                    else:
                        self._base[side, at] += factor * PRIORS[name.split()[0]][0]
        self._factors = np.zeros((len(timings), len(names)))
        for at, timing in enumerate(timings):
            for name in (f"engine {timing.engine}", f"board {timing.board.name}"):
                if name in column:
                    self._factors[at, column[name]] = 1.0

    def log_ms(self, theta: Floats) -> Floats:
        """The logarithm of each timing's milliseconds."""
        made: Floats = np.log(np.add.reduceat(self._terms(theta)[0], self._starts)) + self._factors @ theta
        return made

    def slopes(self, theta: Floats) -> Floats:
        """Its derivatives (timings, parameters)."""
        ms, side = self._terms(theta)
        shares = ms / np.add.reduceat(ms, self._starts)[self._owner]
        chosen = self._rows[side, np.arange(len(ms))] * shares[:, None]
        made: Floats = np.add.reduceat(chosen, self._starts) + self._factors
        return made

    def _terms(self, theta: Floats) -> tuple[Floats, NDArray[np.int64]]:
        logs = self._base + self._rows @ theta
        side = logs.argmax(axis=0)
        return np.exp(logs.max(axis=0)), side


def _names(timings: Sequence[Timing]) -> list[str]:
    cells = {cell(timing.board, one.precision) for timing in timings for one in timing.work}
    engines = {f"engine {timing.engine}" for timing in timings}
    boards = {f"board {timing.board.name}" for timing in timings}
    return [*sorted(cells), "depthwise", "memory", "threads", *sorted(engines), *sorted(boards)]


def half_width(errors: Floats) -> float:
    """The band's half width in the logarithm: the error that nine in ten held-out ones do not exceed.

    Split conformal prediction's quantile, the ceil(0.9 (n + 1))-th smallest absolute error; the largest where there are
    too few for that.
    """
    ordered = np.sort(np.abs(errors))
    return float(ordered[min(int(np.ceil(COVERAGE * (len(ordered) + 1))), len(ordered)) - 1])
