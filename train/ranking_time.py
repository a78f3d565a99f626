"""Times compared models against one another in one process: in turns, in a new order each round, ratios within rounds.

Latencies of separate evaluations were taken on other days, beside other work, or on other machines; these were not. The
rounds and their statistics are those of `fer-edge bench`.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from fer_edge.devices.errors import RunError
from fer_edge.devices.machine import describe_machine
from fer_edge.edge_runtime.bench_rounds import Lane, measure, until_quiet
from fer_edge.edge_runtime.bench_stats import paired_ratio
from fer_edge.edge_runtime.bench_subject import Subject
from fer_edge.edge_runtime.engines import EngineSpec
from fer_edge.edge_runtime.latency import distribution
from fer_edge.edge_runtime.vocabulary import FACE_SIDE, Precision
from fer_edge.train.eval_subject import Subject as Model
from fer_edge.train.eval_subject import opened
from fer_edge.train.ranking_read import Evaluated
from fer_edge.train.run_folder import RunFolder

MIN_SECONDS, MIN_SAMPLES = 1.0, 200
_FACES, _SEED = 16, 0
Step = Callable[[str], None]


def side_by_side(evaluated: Sequence[Evaluated], threads: int, step: Step) -> dict[str, Any]:
    """Milliseconds for one face of each model, and its ratio to the fastest's with the 95% interval.

    Args:
        evaluated: each of them one that `check_run` takes.
        threads: cores to use; 0: what the library takes.
        step: told what is being done.

    Raises:
        RunError: a model cannot be read.
    """
    with ExitStack() as stack:
        lanes = []
        for one in evaluated:
            step(f"loading {one.name}")
            lanes.append(Lane(_timed(one.name, stack.enter_context(opened(one.folder, threads=threads)))))
        rounds = measure(
            lanes, min_seconds=MIN_SECONDS, min_samples=MIN_SAMPLES, seed=_SEED, rest=until_quiet, step=step
        )
    fastest = min(lanes, key=lambda lane: float(np.median(lane.samples_ns)))
    models = {}
    for one, lane in zip(evaluated, lanes, strict=True):
        over = None if lane is fastest else paired_ratio(lane.round_medians_ns, fastest.round_medians_ns, _SEED)
        models[one.name] = {"latency": distribution(lane.samples_ns), "over_fastest": over, "stable": lane.stable}
    return {
        "fastest": evaluated[lanes.index(fastest)].name,
        "faces": 1,
        "rounds": rounds,
        "threads": threads or None,
        "models": models,
        "machine": describe_machine(),
    }


def check_run(one: Evaluated) -> None:
    """Whether the model that was evaluated is there to be timed.

    Raises:
        RunError: an evaluation lies in no run, or in one whose model has changed since.
    """
    if one.made["what"]["kind"] != "run" or not (one.folder / "recipe.json").is_file():
        raise RunError(
            f"{one.path} lies in no run, so its model cannot be timed; leave it or --side-by-side out "
            "(fer-edge bench times the variants of a bundle)"
        )
    if RunFolder(one.folder).identity() != one.made["what"]["identity"]:
        raise RunError(
            f"{one.folder} holds another model than the one that was evaluated; run: fer-edge evaluate {one.folder}"
        )


def _timed(name: str, model: Model) -> Subject:
    faces = np.random.default_rng(_SEED).integers(0, 256, (_FACES, 1, FACE_SIDE, FACE_SIDE), np.uint8)
    spec = EngineSpec(name, Precision.FLOAT32, model.threads or 0, model.library, "CPU")
    return Subject(spec, 1, [("name one face", model.call)], list(faces), lambda: None)
