"""Judges a bundle on this machine: which of its variants, on which images, and what is measured beside accuracy."""

from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.convert.fit_rows import FitRows, choose_fit_rows
from fer_edge.convert.robustness import Infer, judge_robustness
from fer_edge.convert.score import Step, check_margin, report
from fer_edge.devices.errors import EngineError
from fer_edge.edge_runtime.bundle import Bundle, Variant
from fer_edge.edge_runtime.engines import infer_all, runs_here, start
from fer_edge.edge_runtime.vocabulary import EMOTIONS, Precision, softmax
from fer_edge.train.dataset import Dataset
from fer_edge.train.judge_confidence import BINS, Halves, judge_confidence
from fer_edge.train.run_folder import RunFolder

MOST_FLIPPED = 100
"""Images of each kind of flip that a report lists, first those of which the float model is surest."""

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Plan:
    """What is judged, on what, against what.

    `reference` names a float32 variant, by default the first; `only` are engines, precisions or variants, all where
    there are none. `run` is the run that made the bundle: its validation faces then fit the temperature.
    """

    split: str = "test"
    margin_pp: float = 0.5
    reference: str | None = None
    only: tuple[str, ...] = ()
    robustness: bool = True
    run: RunFolder | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_margin(self.margin_pp, "--margin")


def compare_bundle(data: Dataset, bundle: Bundle, plan: Plan, step: Step) -> dict[str, Any]:
    """The report of a bundle's variants against its float variant, with every engine that is installed here.

    Raises:
        DataError: the split has no images.
        EngineError: no float32 variant to compare with is here, or nothing is called as the plan says.
        RunError: the plan's run did not make this bundle.
    """
    rows = data.held_out(plan.split)
    reference, judged = choose_variants(bundle, plan)
    parts = choose_fit_rows(data, bundle, plan.split, plan.run, plan.seed)
    every = np.union1d(rows, parts.fit)
    faces, at = np.asarray(data.faces[every]), np.searchsorted(every, rows)
    labels = np.asarray(data.labels[rows])
    with ExitStack() as engines:
        models: dict[str, Infer] = {}
        for variant in dict.fromkeys([reference.name, *(v.name for v in judged)]):
            models[variant] = _started(bundle, variant, engines)
        on_every: dict[str, Logits] = {}
        for name, model in models.items():
            step(f"scoring {name} on {len(every):,} images")
            on_every[name] = model(faces)
        logits = {name: of[at] for name, of in on_every.items()}
        theirs = logits[reference.name]
        own = {v.name: logits[v.name] for v in judged}
        made = report(data, plan.split, reference.name, theirs, own, plan.margin_pp)
        made["flipped"] = {name: flipped(rows, labels, theirs, of) for name, of in own.items()}
        step("fitting temperatures")
        made["confidence"] = _confidence(data, parts, every, on_every, reference.name, plan.seed)
        if plan.robustness:
            lossy = {reference.name, *(v.name for v in judged if v.precision != Precision.FLOAT32)}
            chosen = {name: model for name, model in models.items() if name in lossy}
            made["robustness"] = judge_robustness(faces[at], labels, chosen, logits, reference.name, step, plan.seed)
    made["bundle"] = {"name": bundle.name, "sha256": bundle.sha256}
    made["float_layers"] = {v.name: list(v.float_layers) for v in bundle.variants if v.float_layers}
    made["not_installed"] = [v.name for v in bundle.variants if not runs_here(v.engine, v.precision)]
    return made


def choose_variants(bundle: Bundle, plan: Plan) -> tuple[Variant, list[Variant]]:
    """The reference, and the variants to judge, of those that run here.

    Raises:
        EngineError: there is no float32 variant, no such reference, or nothing that is called as asked.
    """
    here = [v for v in bundle.variants if runs_here(v.engine, v.precision)]
    floats = {v.name: v for v in here if v.precision == Precision.FLOAT32}
    if not floats:
        raise EngineError(f"bundle {bundle.name!r} has no float32 variant for an engine installed here to compare with")
    name = plan.reference or next(iter(floats))
    if name not in floats:
        raise EngineError(f"--reference {name!r} is no float32 variant that runs here; choose {', '.join(floats)}")
    for word in plan.only:
        if not any(_called(v, word) for v in here):
            raise EngineError(f"no variant is called {word!r} here; there are {', '.join(v.name for v in here)}")
    return floats[name], [v for v in here if not plan.only or any(_called(v, word) for word in plan.only)]


def flipped(rows: NDArray[np.int64], labels: NDArray[np.uint8], reference: Logits, variant: Logits) -> dict[str, Any]:
    """Images whose label flipped from right to wrong, and from wrong to right, at most MOST_FLIPPED of each.

    Args:
        rows: (N,) numbers of the images in the data.
        labels: (N,) their emotions.
        reference: (N, 7) logits of the float model.
        variant: (N, 7) logits of the variant.
    """
    p, q = softmax(reference), softmax(variant)
    theirs, ours = p.argmax(1), q.argmax(1)
    best = np.sort(p, axis=1)
    margin = best[:, -1] - best[:, -2]
    found = {}
    for kind, which in (
        ("right_to_wrong", (theirs == labels) & (ours != labels)),
        ("wrong_to_right", (theirs != labels) & (ours == labels)),
    ):
        order = np.flatnonzero(which)
        order = order[np.argsort(-margin[order], kind="stable")][:MOST_FLIPPED]
        found[kind] = [
            {
                "row": int(rows[at]),
                "label": EMOTIONS[labels[at]],
                "reference": EMOTIONS[theirs[at]],
                "reference_confidence": float(p[at, theirs[at]]),
                "reference_margin": float(margin[at]),
                "variant": EMOTIONS[ours[at]],
                "variant_confidence": float(q[at, ours[at]]),
            }
            for at in order
        ]
    return found


def _confidence(
    data: Dataset, parts: FitRows, every: NDArray[np.int64], logits: dict[str, Logits], reference: str, seed: int
) -> dict[str, Any]:
    fit, judge = np.searchsorted(every, parts.fit), np.searchsorted(every, parts.judge)
    halves = {
        name: Halves(of[fit], data.labels[parts.fit], of[judge], data.labels[parts.judge])
        for name, of in logits.items()
    }
    return {
        "fitted_on": {"what": parts.fit_on, "images": len(fit)},
        "judged_on": {"what": parts.judge_on, "images": len(judge)},
        "bins": BINS,
        "seed": seed,
        "models": judge_confidence(halves, reference),
    }


def _started(bundle: Bundle, name: str, engines: ExitStack) -> Infer:
    variant = next(v for v in bundle.variants if v.name == name)
    engine = start(variant.engine, bundle.file(variant), variant.precision)
    return partial(infer_all, engines.enter_context(closing(engine)))


def _called(variant: Variant, word: str) -> bool:
    return word in (variant.engine, str(variant.precision), variant.name)
