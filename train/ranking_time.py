"""Times compared models against one another in one process: in turns, in a new order each round, ratios within rounds.

Latencies of separate evaluations were taken on other days, beside other work, or on other machines; these were not. The
rounds and their statistics are those of `fer-edge bench`. Loads TensorFlow.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import RunError
from fer_edge.devices.machine import describe_machine, usable_cores
from fer_edge.edge_runtime.bench_rounds import Lane, measure
from fer_edge.edge_runtime.bench_stats import paired_ratio
from fer_edge.edge_runtime.bench_subject import Subject
from fer_edge.edge_runtime.engines import EngineSpec
from fer_edge.edge_runtime.latency import distribution
from fer_edge.edge_runtime.vocabulary import FACE_SIDE, Precision
from fer_edge.train.predictor import Predictor, open_run
from fer_edge.train.ranking_read import Evaluated
from fer_edge.train.run_folder import RunFolder

MIN_SECONDS, MIN_SAMPLES = 1.0, 200
_FACES, _SEED = 16, 0
Step = Callable[[str], None]
Named = Callable[[NDArray[np.uint8]], Any]


def side_by_side(evaluated: Sequence[Evaluated], threads: int, step: Step) -> dict[str, Any]:
    """Milliseconds for one face of each model, and its ratio to the fastest's with the 95% interval.

    Args:
        evaluated: each of them one that `check_run` takes.
        threads: of TensorFlow, for the report; 0: all cores.
        step: told what is being done.

    Raises:
        RunError: a model cannot be read.
    """
    lanes = []
    for one in evaluated:
        step(f"loading {one.name}")
        lanes.append(Lane(_subject(one, threads)))
    rounds = measure(lanes, min_seconds=MIN_SECONDS, min_samples=MIN_SAMPLES, seed=_SEED, step=step)
    fastest = min(lanes, key=lambda lane: float(np.median(lane.samples_ns)))
    models = {}
    for one, lane in zip(evaluated, lanes, strict=True):
        over = None if lane is fastest else paired_ratio(lane.round_medians_ns, fastest.round_medians_ns, _SEED)
        models[one.name] = {"latency": distribution(lane.samples_ns), "over_fastest": over, "stable": lane.stable}
    return {
        "fastest": evaluated[lanes.index(fastest)].name,
        "faces": 1,
        "rounds": rounds,
        "threads": threads or usable_cores(),
        "models": models,
        "machine": describe_machine(),
    }


def check_run(one: Evaluated) -> None:
    """Whether the model that was evaluated is there to be timed.

    Raises:
        RunError: an evaluation lies in no run, or in one whose model has changed since.
    """
    if not (one.folder / "recipe.json").is_file():
        raise RunError(f"{one.path} lies in no run, so its model cannot be timed; give the run, or no --side-by-side")
    if RunFolder(one.folder).identity() != one.made["what"]["identity"]:
        raise RunError(
            f"{one.folder} holds another model than the one that was evaluated; run: fer-edge evaluate {one.folder}"
        )


def _subject(one: Evaluated, threads: int) -> Subject:
    faces = np.random.default_rng(_SEED).integers(0, 256, (_FACES, 1, FACE_SIDE, FACE_SIDE), np.uint8)
    predictor = open_run(RunFolder(one.folder))
    spec = EngineSpec(one.name, Precision.FLOAT32, threads, "", "CPU")
    return Subject(spec, 1, [("name one face", _one_face(predictor))], list(faces), lambda: None)


def _one_face(predictor: Predictor) -> Named:
    """A network as a compiled graph, as it would serve; Keras' own `predict` takes longer than a small network."""
    if predictor.keras_model is None:
        return predictor.logits
    import tensorflow as tf

    graph = tf.function(
        lambda pixels: predictor.keras_model(pixels, training=False),
        input_signature=[tf.TensorSpec((1, FACE_SIDE, FACE_SIDE, 1), tf.float32)],
    )
    return lambda faces: graph(tf.constant(faces[..., None], tf.float32)).numpy()
