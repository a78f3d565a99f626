"""How long a model takes for one face, and for a face of a batch of 256, on this machine."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.latency import percentile_ms
from fer_edge.train.eval_subject import Infer

BATCH = 256
MOST_RUNS = 200
SECONDS = 10.0


def latency_ms(call: Infer, faces: NDArray[np.uint8], seconds: float = SECONDS) -> dict[str, Any]:
    """`batch1` and `batch256` with `median`, `p90` and `runs`, and `batch256_per_sample`; in milliseconds.

    `p90` is None where there were too few runs for it.

    Args:
        call: the model; it is called a few times before it is timed.
        faces: (N, 48, 48) uint8, any N from 1; repeated where there are fewer than a batch takes.
        seconds: how long each of the two is measured at most, but for the least number of runs.
    """
    ones = [faces[at : at + 1] for at in range(min(len(faces), MOST_RUNS))]
    one = _timed(call, ones, seconds, warm_up=5, least=11)
    batch = _timed(call, [np.resize(faces, (BATCH, *faces.shape[1:]))], seconds, warm_up=1, least=3)
    return {"batch1": one, "batch256": batch, "batch256_per_sample": batch["median"] / BATCH}


def _timed(call: Infer, batches: list[NDArray[np.uint8]], seconds: float, warm_up: int, least: int) -> dict[str, Any]:
    for at in range(warm_up):
        call(batches[at % len(batches)])
    taken: list[int] = []
    until = time.perf_counter() + seconds
    while len(taken) < least or (len(taken) < MOST_RUNS and time.perf_counter() < until):
        batch = batches[len(taken) % len(batches)]
        start = time.perf_counter_ns()
        call(batch)
        taken.append(time.perf_counter_ns() - start)
    return {"median": float(np.median(taken)) / 1e6, "p90": percentile_ms(taken, 90), "runs": len(taken)}
