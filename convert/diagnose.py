"""`fer-edge compare --diagnose`: which layer of an int8 variant loses what is lost, and what to convert again with.

Owns the order of the work and the report. Every figure is of an emulation of the variant in the bundle's float graph,
whose labels are first held against the variant's own.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.convert import diagnose_verdict as verdicts
from fer_edge.convert.diagnose_fixes import as_it_is
from fer_edge.convert.diagnose_proposals import Calibration, Suspects, propose
from fer_edge.convert.diagnose_read import aligned, read_scheme
from fer_edge.convert.diagnose_signal import measure_signals, measure_weights
from fer_edge.convert.diagnose_trials import Judge, Outcome, costs_alone, leave_one_out, won_back
from fer_edge.convert.diagnose_verdict import Trials
from fer_edge.convert.emulate import Emulation
from fer_edge.convert.float_graph import load_float_graph
from fer_edge.convert.scheme import Part, Scheme
from fer_edge.convert.score import logits_of
from fer_edge.devices.errors import ConversionError, DataError
from fer_edge.edge_runtime.bundle import Bundle, Variant
from fer_edge.edge_runtime.vocabulary import EMOTIONS, Precision
from fer_edge.train.dataset import Dataset

SCHEMA = 1
SEED = 0
Step = Callable[[str], None]


def diagnose(bundle: Bundle, variant: Variant, data: Dataset, split: str, *, images: int, step: Step) -> dict[str, Any]:
    """The report on one int8 variant; docs/diagnose.md says what each figure is.

    Args:
        bundle: holds the variant and a float32.onnx or float32.tflite.
        variant: int8, of any engine that is installed here.
        data: the cache.
        split: held-out images.
        images: how many of them, all seven emotions in their shares; all where there are fewer.
        step: called with what is being done.

    Raises:
        ConversionError: the variant is not int8, or the bundle has no float model of the same network.
        DataError: the split has no images, or fewer than seven are asked for.
        EngineError: the variant's engine is not installed.
    """
    if variant.precision != Precision.INT8:
        raise ConversionError(f"{variant.name} is not int8; --diagnose looks for what int8 loses")
    began = time.monotonic()
    rows = judged_rows(data, split, images, SEED)
    step(f"reading {bundle.file(variant).name}")
    graph = load_float_graph(bundle, variant.engine)
    scheme = aligned(read_scheme(variant.engine, bundle.file(variant)), graph, bundle.file(variant).name)
    judge = Judge(graph, np.asarray(data.faces[rows]), np.asarray(data.labels[rows]), SEED)
    step(f"scoring {variant.name} and its emulation on {len(rows):,} images")
    real = logits_of(bundle, variant, judge.faces)
    logits = Emulation(graph, scheme, scheme.parts()).logits(judge.faces)
    case = _Case(judge, scheme, judge.of(logits), *_measured(judge, scheme, step))
    made: dict[str, Any] = {
        "schema": SCHEMA,
        "variant": variant.name,
        "float": graph.name,
        "data": _data(data, split, judge.labels),
        "emulation": verdicts.fidelity(logits.argmax(1), real.argmax(1), judge.reference.argmax(1)),
        "loss": _loss(judge, case.whole, judge.of(real)),
        "rule": verdicts.RULE,
        "points": list(case.points.values()),
        "verdict": {"kind": "refused", "points": [], "parts": {}, "share_of_loss": None},
        "proposals": [],
    }
    if made["emulation"]["faithful"]:
        made["verdict"], suspects = _blamed(case, step)
        now, calibration = (
            as_it_is(graph, scheme, bundle.manifest),
            Calibration.of(bundle.manifest["calibration"], data),
        )
        choose = made["verdict"]["kind"] != "healthy"
        made["proposals"] = propose(judge, now, case.whole, suspects, case.points, calibration, step, choose=choose)
    made["says"] = verdicts.sentences(made)
    return {**made, "seconds": round(time.monotonic() - began, 1)}


@dataclass(frozen=True, eq=False)
class _Case:
    """What is known before any layer is left in float: the whole variant's outcome, the report's rows by point, and
    the outcomes of each point alone in int8."""

    judge: Judge
    scheme: Scheme
    whole: Outcome
    points: dict[str, dict[str, Any]]
    alone: dict[str, Outcome]


def _measured(judge: Judge, scheme: Scheme, step: Step) -> tuple[dict[str, dict[str, Any]], dict[str, Outcome]]:
    signals, logits = measure_signals(judge.graph, scheme, judge.faces, step)
    weights = measure_weights(judge.graph, scheme)
    rows = {name: {"name": name, "signal": row, "weights": weights.get(name)} for name, row in signals.items()}
    return rows, {name: judge.of(given) for name, given in logits.items()}


def _blamed(case: _Case, step: Step) -> tuple[dict[str, Any], Suspects]:
    """The verdict, and what to try in float with the part of each point that is to blame; completes the rows."""
    judge, whole = case.judge, case.whole
    trials = Trials(whole, leave_one_out(judge, case.scheme, list(case.points), step), case.alone)
    for name, row in case.points.items():
        row["left_out"] = won_back(judge, whole, trials.left_out[name], len(case.points))
        row["alone"] = costs_alone(judge, whole, trials.alone[name], len(case.points))
    kind, named, share = _verdict(judge, case.scheme, trials, step)
    accused = named or [max(trials.left_out, key=lambda name: float(trials.gain(name).mean()))]
    step(f"weights or range of {', '.join(accused)}")
    together = kind == "several"
    parts = {
        name: _part(judge, case.scheme, name, [other for other in accused if together and other != name])
        for name in accused
    }
    blamed = {name: parts[name] for name in named}
    groups = [parts] if together else [{name: part} for name, part in parts.items()]
    return {"kind": kind, "points": named, "parts": blamed, "share_of_loss": share}, groups


def _verdict(judge: Judge, scheme: Scheme, trials: Trials, step: Step) -> tuple[str, list[str], float | None]:
    """The kind of verdict, the points that it names, and the share of the loss that they win back."""
    if verdicts.is_healthy(judge, trials.whole, judge.of(judge.reference)):
        return "healthy", [], None
    if named := verdicts.guilty(judge, trials):
        share = min(float(trials.gain(name).mean()) for name in named) / trials.loss
        return "layer" if len(named) == 1 else "tie", named, share
    step("leaving the dearest points in float together")
    return _together(judge, scheme, trials) or ("spread", [], None)


def _part(judge: Judge, scheme: Scheme, name: str, in_float: list[str]) -> str | None:
    """Which part of a point wins back half of what all of it does, with others `in_float` already; None where it takes
    both."""
    held = [part for part in scheme.parts() if part[0] not in in_float]

    def kl(parts: list[Part]) -> float:
        return float(judge.trial(scheme, parts).kl.mean())

    before = kl(held)
    own = before - kl([part for part in held if part[0] != name])
    found = {part[1]: before - kl([other for other in held if other != part]) for part in held if part[0] == name}
    best = max(found, key=lambda what: found[what])
    return best if found[best] >= verdicts.LEAST_SHARE * own else None


def _together(judge: Judge, scheme: Scheme, trials: Trials) -> tuple[str, list[str], float] | None:
    """The fewest of the dearest points that win back half of the loss together, and how much."""
    dearest = verdicts.suspects(trials)
    for count in range(2, min(verdicts.MOST_TOGETHER, len(dearest) - 1) + 1):
        names = dearest[:count]
        outcome = judge.trial(scheme, [part for part in scheme.parts() if part[0] not in names])
        gain = trials.whole.kl - outcome.kl
        if gain.mean() >= verdicts.LEAST_SHARE * trials.loss and judge.interval(gain)[0] > 0:
            return "several", names, float(gain.mean()) / trials.loss
    return None


def _loss(judge: Judge, whole: Outcome, real: Outcome) -> dict[str, Any]:
    """What int8 loses on these images: the variant itself, and its emulation."""
    reference = judge.of(judge.reference)
    drop = (reference.right - real.right) * 100
    return {
        "accuracy_float": float(reference.right.mean()),
        "drop_pp": float(drop.mean()),
        "drop_interval_pp": list(judge.interval(drop)),
        "kl_interval": list(judge.interval(real.kl)),
        **real.as_dict(),
        "emulated": whole.as_dict(),
    }


def _data(data: Dataset, split: str, labels: NDArray[np.uint8]) -> dict[str, Any]:
    counts = np.bincount(labels, minlength=len(EMOTIONS))
    return {
        "source": data.source,
        "sha256": data.sha256,
        "split": split,
        "images": len(labels),
        "seed": SEED,
        "counts": {emotion: int(count) for emotion, count in zip(EMOTIONS, counts, strict=True)},
    }


def judged_rows(data: Dataset, split: str, images: int, seed: int) -> NDArray[np.int64]:
    """Rows of a held-out split, ascending: each emotion in its share, one of each at least, the same by seed.

    Raises:
        DataError: the split has no images, or fewer than seven are asked for.
    """
    rows = data.held_out(split)
    if images < len(EMOTIONS):
        raise DataError(f"{images} images are too few to diagnose with; there are {len(EMOTIONS)} emotions")
    rng, labels = np.random.default_rng([seed, 6]), data.labels[rows]
    place = np.empty(len(rows))
    for label in range(len(EMOTIONS)):
        own = rng.permutation(np.flatnonzero(labels == label))
        place[own] = (np.arange(len(own)) + 0.5) / max(len(own), 1)
        place[own[:1]] = 0  # the first of each comes before all others
    return np.sort(rows[np.argsort(place, kind="stable")[:images]])
