"""What rounding does to each tensor: signal to quantization noise, clipping, ranges and channels. Blames nobody.

Float values are the float graph's on the judged images; int8 values are the emulation's of the variant.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.convert.emulate import CHUNK, Emulation, chunks
from fer_edge.convert.float_graph import FloatGraph
from fer_edge.convert.scheme import Floats, Grid, LayerWeights, Scheme

IDEAL_RMSE = 1 / math.sqrt(12)
"""Of a uniform rounding error, in steps; TensorFlow's quantization debugger advises to look at what is above 0.7."""
NO_NOISE_DB = 150.0
"""Stands for a tensor that is not changed at all: about as much as float32 resolves."""
BINS = 80
_SAMPLE = 2_000_000
"""Values kept of a tensor; its 99.99th percentile then has 200 above it."""


def sqnr_db(signal: float, noise: float) -> float | None:
    """10 log10 of signal power over noise power; None of a tensor that is 0 throughout."""
    if signal == 0:
        return None
    return min(10 * math.log10(signal / noise), NO_NOISE_DB) if noise else NO_NOISE_DB


def measure_signals(
    graph: FloatGraph, scheme: Scheme, faces_u8: NDArray[np.uint8], step: Callable[[str], None]
) -> tuple[dict[str, dict[str, Any]], dict[str, Floats]]:
    """What int8 does to each point's tensor, and the logits (N, 7) with that point alone in int8, both by point.

    Of a tensor: SQNR as it arrives and of its own rounding alone, error in steps, clipped share, range, histogram.
    """
    names = [name for name in graph.points if _parts_of(scheme, name)]
    exact = Emulation(graph, scheme, (), names)
    whole = Emulation(graph, scheme, scheme.parts(), names)
    alone = {name: Emulation(graph, scheme, _parts_of(scheme, name), [name]) for name in names}
    tallies = {name: _Tally(scheme.grids.get(name)) for name in names}
    logits: dict[str, list[Floats]] = {name: [] for name in names}
    rng = np.random.default_rng(0)
    share = -(-_SAMPLE * CHUNK // max(len(faces_u8), CHUNK))
    for done, chunk in enumerate(chunks(faces_u8)):
        step(f"each point alone in int8, {done * len(chunk):,} of {len(faces_u8):,} images")
        floats, arrived = exact.run(chunk)[1:], whole.run(chunk)[1:]
        for name, x, y in zip(names, floats, arrived, strict=True):
            given, z = alone[name].run(chunk)
            tallies[name].add(x, y, z, share, rng)
            logits[name].append(given)
    rows = {name: tally.as_dict() for name, tally in tallies.items()}
    return rows, {name: np.concatenate(parts) for name, parts in logits.items()}


def measure_weights(graph: FloatGraph, scheme: Scheme) -> dict[str, dict[str, Any]]:
    """By layer in int8: SQNR of its weights, and how unequal its output channels are."""
    return {
        name: _weights(graph.weights(name), layer, layer.steps)
        for name, layer in scheme.layers.items()
        if layer.steps is not None
    }


def _parts_of(scheme: Scheme, name: str) -> list[Any]:
    return [part for part in scheme.parts() if part[0] == name]


def _weights(values: Floats, held: LayerWeights, steps: Floats) -> dict[str, Any]:
    flat, rounded = values.reshape(len(values), -1), held.values.reshape(len(values), -1)
    ranges = np.abs(flat).max(axis=1)
    alive = ranges[ranges > 0]
    signal, noise = np.square(flat, dtype=np.float64), np.square(rounded - flat, dtype=np.float64)
    return {
        "sqnr_db": sqnr_db(float(signal.sum()), float(noise.sum())),
        "scales": len(steps),
        "channels": len(values),
        "spread": float(alive.max() / np.median(alive)) if len(alive) else None,
        "lost_channels": int((~rounded.any(axis=1) & (ranges > 0)).sum()),
    }


@dataclass(eq=False)
class _Tally:
    """Sums over the judged images of one point."""

    grid: Grid | None
    signal: float = 0.0
    noise_arrived: float = 0.0
    noise_alone: float = 0.0
    in_steps: float = 0.0
    clipped: int = 0
    count: int = 0
    lowest: float = math.inf
    highest: float = -math.inf
    sample: list[Floats] = field(default_factory=list)

    def add(self, x: Floats, y: Floats, z: Floats, share: int, rng: np.random.Generator) -> None:
        """Float values, those of the whole variant, and those with this point alone in int8."""
        error = np.square(z - x)
        self.signal += float(np.square(x).sum(dtype=np.float64))
        self.noise_arrived += float(np.square(y - x).sum(dtype=np.float64))
        self.noise_alone += float(error.sum(dtype=np.float64))
        self.count += x.size
        self.lowest, self.highest = min(self.lowest, float(x.min())), max(self.highest, float(x.max()))
        if self.grid is not None:
            half = self.grid.step / 2
            self.in_steps += float((error / np.square(self.grid.step)).sum(dtype=np.float64))
            self.clipped += int(((x < self.grid.low - half) | (x > self.grid.high + half)).sum())
        flat = x.reshape(-1)
        self.sample.append(flat if len(flat) <= share else flat[rng.integers(0, len(flat), share)])

    def as_dict(self) -> dict[str, Any]:
        """The figures; those of a grid are None where the point has none."""
        values = np.concatenate(self.sample)
        low, high = (float(v) for v in np.percentile(values, (0.01, 99.99)))
        on_grid = self.grid is not None
        return {
            "arrived_db": sqnr_db(self.signal, self.noise_arrived),
            "alone_db": sqnr_db(self.signal, self.noise_alone),
            "rmse_steps": math.sqrt(self.in_steps / self.count) if on_grid else None,
            "clipped": self.clipped / self.count if on_grid else None,
            "range": None if self.grid is None else [float(self.grid.low.min()), float(self.grid.high.max())],
            "seen": [self.lowest, self.highest],
            "p99_99": [low, high],
            "histogram": self._histogram(values),
        }

    def _histogram(self, values: Floats) -> dict[str, Any]:
        """Shares of the values, over all that was seen and over the range."""
        ends = [self.lowest, self.highest]
        if self.grid is not None:
            ends += [float(self.grid.low.min()), float(self.grid.high.max())]
        low, high = min(ends), max(ends)
        counts, _ = np.histogram(values, BINS, (low, high) if high > low else (low, low + 1))
        return {"low": low, "high": high, "shares": (counts / counts.sum()).tolist()}
