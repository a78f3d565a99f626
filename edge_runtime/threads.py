"""How many threads an engine gets: as many as help on this machine, measured before the first frame."""

import statistics
import time

import numpy as np

from fer_edge.devices.machine import usable_cores
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.engines import Engine, open_engine
from fer_edge.edge_runtime.vocabulary import FACE_SIDE, Precision

_COUNTS = (1, 2, 4)
_WORTH = 0.85
"""More threads must bring the time under this part of what fewer take: they cost power, and cores that others need."""
_WARM_UP, _ROUNDS = 3, 15


def fewest_that_help(median_ns: dict[int, float]) -> int:
    """The thread count out of the times that each took, ascending from the fewest."""
    counts = sorted(median_ns)
    chosen = counts[0]
    for count in counts[1:]:
        if median_ns[count] < _WORTH * median_ns[chosen]:
            chosen = count
    return chosen


def open_fastest(bundle: Bundle, engine: str = "auto", precision: Precision | str = Precision.INT8) -> Engine:
    """The bundle's variant, started with as many threads as help for one face.

    Raises:
        EngineError, BundleError: see `open_engine`.
    """
    counts = [count for count in _COUNTS if count <= usable_cores()]
    if len(counts) == 1 or engine == "tensorrt":  # a GPU has threads of its own
        return open_engine(bundle, engine, precision, 1)
    started = {count: open_engine(bundle, engine, precision, count) for count in counts}
    chosen = fewest_that_help(_times(started))
    for count, other in started.items():
        if count != chosen:
            other.close()
    return started[chosen]


def _times(started: dict[int, Engine]) -> dict[int, float]:
    """Median time of one face by thread count, in turn, so that whatever else runs meets them all."""
    face = np.full((1, FACE_SIDE, FACE_SIDE), 128, np.uint8)
    taken: dict[int, list[int]] = {count: [] for count in started}
    for at in range(_WARM_UP + _ROUNDS):
        for count, engine in started.items():
            begun = time.perf_counter_ns()
            engine.infer(face)
            if at >= _WARM_UP:
                taken[count].append(time.perf_counter_ns() - begun)
    return {count: statistics.median(times) for count, times in taken.items()}
