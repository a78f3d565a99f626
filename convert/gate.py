"""Learns the gate's thresholds from labelled faces that the network did not learn from. Runs no engine itself.

Chow's rule (Chow 1970, "On optimum recognition error and reject tradeoff"): where a face that is not named costs
`REJECT_COST` of a wrong name, those are not to be named whose name would be wrong with a higher probability than that;
the threshold is the one with the least cost on the faces given.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.convert.judge import wilson
from fer_edge.edge_runtime.quality import Gate, brightness, margin, sharpness
from fer_edge.edge_runtime.vocabulary import EMOTIONS, FACE_SIDE, Doubt, softmax
from fer_edge.train.degrade import blurrier, darker, smaller

REJECT_COST = 0.5
"""Of a wrong name: faces that the model gets right less than half of the time are uncertain."""
MAX_GOOD_REJECTED = 0.005
"""Dark and blurred may each refuse this share of the validation faces as they are, and so both together 1%."""
MAX_UNSURE = 0.5
"""A network that is unsure of more than this share needs training, not a gate."""
MAX_FACES = 2000
"""As many faces are made worse at most: each of them is shown to the model some 70 times."""
CURVE_POINTS = 20

Infer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Logits (N, 7) of faces (N, 48, 48) uint8."""


@dataclass(frozen=True, eq=False)
class Judged:
    """One measure (N,) of faces and whether the model names them rightly (N,); `steps` says what was done to them."""

    measure: NDArray[np.float64]
    right: NDArray[np.bool_]
    steps: list[dict[str, Any]]


def chow_threshold(
    measure: NDArray[np.float64], right: NDArray[np.bool_], reject_cost: float = REJECT_COST
) -> float | None:
    """The t with the fewest wrong among `measure >= t` plus `reject_cost` for each face below it.

    Of equals, the lowest. None where naming every face is cheapest; infinity where naming none is.

    Args:
        measure: (N,), the higher the better.
        right: (N,) whether the name would be right.
        reject_cost: of a face that is not named, in wrong names.
    """
    order = np.argsort(measure, kind="stable")
    ascending = measure[order]
    saved = np.concatenate([[0.0], np.cumsum(~right[order] - reject_cost)])
    inside_a_tie = np.flatnonzero(ascending[1:] == ascending[:-1]) + 1
    saved[inside_a_tie] = -math.inf
    rejected = int(saved.argmax())
    if rejected == 0:
        return None
    return float(ascending[rejected]) if rejected < len(measure) else math.inf


def quantile_cap(measure: NDArray[np.float64], share: float) -> float:
    """The highest threshold that at most `share` of the measures (N,) lie below."""
    return float(np.sort(measure)[min(math.floor(share * len(measure)), len(measure) - 1)])


def curve(measure: NDArray[np.float64], right: NDArray[np.bool_]) -> list[dict[str, float]]:
    """Threshold, share of faces named and share of those named rightly, at about `CURVE_POINTS` thresholds."""
    thresholds = np.unique(np.quantile(measure, np.arange(CURVE_POINTS) / CURVE_POINTS, method="lower"))
    rows = []
    for threshold in thresholds:
        named = measure >= threshold
        rows.append(
            {
                "threshold": float(threshold),
                "coverage": float(named.mean()),
                "accuracy": float(right[named].mean()),
            }
        )
    return rows


def learn_gate(
    faces: NDArray[np.uint8], labels: NDArray[np.uint8], infer: Infer, face_margin: float, seed: int = 0
) -> tuple[Gate, dict[str, Any]]:
    """The gate, and how it came about: for report.json.

    Args:
        faces: (N, 48, 48) uint8 that the network did not learn from.
        labels: (N,) their emotions.
        infer: the model as it will run.
        face_margin: the bundle's; turns the side of a crop into the side of a box.
        seed: of the sensor's noise, and of the choice where there are more than `MAX_FACES`.
    """
    probabilities = softmax(infer(faces))
    right = probabilities.argmax(axis=1) == labels
    margins = np.array([margin(row) for row in probabilities])
    learned: dict[str, dict[str, Any]] = {
        "min_margin": _learned(Judged(margins, right, []), quantile_cap(margins, MAX_UNSURE))
    }
    if right.mean() > 1 - REJECT_COST:  # else the rule would refuse good faces for what is the network's fault
        learned |= _learned_quality(faces, labels, infer, face_margin, seed)
    gate = Gate(**{name: found["threshold"] for name, found in learned.items()})
    return gate, {
        "rule": f"Chow 1970: a face that is not named costs {REJECT_COST:g} of a wrong name",
        "seed": seed,
        "thresholds": gate.as_dict(),
        "measures": learned,
        "validation": summarize(gate, faces, labels, probabilities, face_margin),
    }


def _learned_quality(
    faces: NDArray[np.uint8], labels: NDArray[np.uint8], infer: Infer, face_margin: float, seed: int
) -> dict[str, dict[str, Any]]:
    if len(faces) > MAX_FACES:
        chosen = np.sort(np.random.default_rng([seed, 6]).permutation(len(faces))[:MAX_FACES])
        faces, labels = faces[chosen], labels[chosen]
    sides = (
        (f"crop of {crop} px", np.full(len(faces), float(box_side(crop, face_margin))), bad)
        for crop, bad in smaller(faces)
    )
    dark = ((name, _of_each(brightness, bad), bad) for name, bad in darker(faces, seed))
    blurred = ((name, _of_each(sharpness, bad), bad) for name, bad in blurrier(faces))
    return {
        "min_side_px": _learned(_judge(sides, labels, infer), float(box_side(FACE_SIDE, face_margin))),
        "min_brightness": _learned(
            _judge(dark, labels, infer), quantile_cap(_of_each(brightness, faces), MAX_GOOD_REJECTED)
        ),
        "min_sharpness": _learned(
            _judge(blurred, labels, infer), quantile_cap(_of_each(sharpness, faces), MAX_GOOD_REJECTED)
        ),
    }


def box_side(crop_px: int, face_margin: float) -> int:
    """Side of the smallest box that preprocessing makes a crop of at least `crop_px` from (see `square_crop`)."""
    side = 1
    while round(side * (1.0 + face_margin)) < crop_px:
        side += 1
    return side


def _of_each(measure: Callable[[NDArray[np.uint8]], float], faces: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.array([measure(face) for face in faces])


def _judge(
    steps: Iterable[tuple[str, NDArray[np.float64], NDArray[np.uint8]]], labels: NDArray[np.uint8], infer: Infer
) -> Judged:
    """All faces after all steps, each step of equal weight; the steps are made one at a time."""
    measures, rights, rows = [], [], []
    for name, measure, bad in steps:
        right = infer(bad).argmax(axis=1) == labels
        measures.append(measure)
        rights.append(right)
        rows.append({"what": name, "median": float(np.median(measure)), "accuracy": float(right.mean())})
    return Judged(np.concatenate(measures), np.concatenate(rights), rows)


def _learned(judged: Judged, cap: float) -> dict[str, Any]:
    chow = chow_threshold(judged.measure, judged.right)
    threshold = None if chow is None else min(chow, cap)
    return {
        "threshold": threshold,
        "capped": chow is not None and chow > cap,
        "steps": judged.steps,
        "curve": curve(judged.measure, judged.right),
    }


def summarize(
    gate: Gate,
    faces: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    probabilities: NDArray[np.float32],
    face_margin: float,
) -> dict[str, Any]:
    """How many of the faces the gate lets be named and how many of those rightly, with Wilson's 95% intervals.

    Args:
        gate: the thresholds.
        faces: (N, 48, 48) uint8, as they are: their crop is 48 pixels wide.
        labels: (N,) their emotions.
        probabilities: (N, 7) of them.
        face_margin: the bundle's.
    """
    side = box_side(FACE_SIDE, face_margin)
    doubts = [gate.doubt(side, face, row) for face, row in zip(faces, probabilities, strict=True)]
    right = probabilities.argmax(axis=1) == labels
    named = np.array([doubt is None for doubt in doubts])
    n, k = len(faces), int(named.sum())
    return {
        "n": n,
        "accuracy_all": float(right.mean()),
        "accuracy_all_interval": wilson(int(right.sum()), n),
        "coverage": k / n,
        "coverage_interval": wilson(k, n),
        "accuracy_covered": _share(right[named]),
        "accuracy_covered_interval": wilson(int(right[named].sum()), k) if k else None,
        "rejected": {str(doubt): sum(d == doubt for d in doubts) for doubt in Doubt},
        "emotions": {
            emotion: {
                "images": int(own.sum()),
                "coverage": _share(named[own]),
                "recall_all": _share(right[own]),
                "recall_covered": _share(right[own & named]),
            }
            for emotion, own in ((e, labels == i) for i, e in enumerate(EMOTIONS))
        },
    }


def _share(hits: NDArray[np.bool_]) -> float | None:
    return float(hits.mean()) if len(hits) else None
