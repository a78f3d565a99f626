"""Runs a calibration study: many sets of images, ranges by several methods, each network in ONNX Runtime's real int8.

The float network runs once over every image that any set has, and each image's histogram is added to the sets that
hold it; so a set costs nothing but its range search and its evaluation. Judged on the run's own validation images,
which no set holds; test images have no say. Must not know how the result is shown.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from fer_edge.calibration.histogram import Histogram
from fer_edge.calibration.ranges import Range, range_of
from fer_edge.calibration.study import Trial, conclude, curves
from fer_edge.calibration.study_sets import StudySet, commonest, study_sets
from fer_edge.convert.activations import point_histogram, point_values
from fer_edge.convert.emulate import start_session
from fer_edge.convert.frozen import load_frozen
from fer_edge.convert.gate_run import validation_rows, without_validation
from fer_edge.convert.inspection import inspect
from fer_edge.convert.judge_logits import kl_by_image
from fer_edge.convert.onnx import quantize_onnx, write_onnx
from fer_edge.convert.onnx_ranges import prepared, quantized
from fer_edge.convert.quantization_recipe import PLAIN
from fer_edge.convert.score import LIBRARIES, Step
from fer_edge.convert.study_plan import StudyPlan, listed
from fer_edge.convert.target import Target, this_target
from fer_edge.devices.errors import ConversionError, DataError, RunError
from fer_edge.devices.machine import describe_machine, versions
from fer_edge.edge_runtime.vocabulary import EMOTIONS, Precision
from fer_edge.train.dataset import Dataset
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.split import rows_of

SCHEMA = 1
SAME_LABELS = 0.99
"""Of the validation images must get the same label from our int8 network as from `quantize_static`'s."""
_CHUNK = 256


@dataclass(frozen=True, eq=False)
class _Bench:
    """The float network ready to be quantized, and what judges the result."""

    model: onnx.ModelProto
    target: Target
    faces: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    reference: NDArray[np.float32]

    def int8_logits(self, ranges: dict[str, Range]) -> NDArray[np.float32]:
        """Logits of the validation faces by the network with these ranges, in ONNX Runtime's int8."""
        return _logits(quantized(self.model, ranges, self.target, PLAIN), self.faces)


def run_study(run: RunFolder, data: Dataset, plan: StudyPlan, step: Step) -> dict[str, Any]:
    """The study, ready for JSON.

    Raises:
        RunError: the run is unfinished, or its validation images are not known because this is not its data.
        DataError: the data has too few images for the smallest set.
        ConversionError: our int8 network is not int8, or not the one that `quantize_static` makes.
    """
    started = time.monotonic()
    fit, val = _rows(run, data, plan)
    own = without_validation(data, fit)
    sets = study_sets(own, plan.counts, plan.seeds, plan.balances)
    _check_sets(sets, plan)
    with TemporaryDirectory() as folder:
        float_path = Path(folder) / "float32.onnx"
        step("writing the float network")
        write_onnx(load_frozen(run.network()), float_path)
        bench = _bench(prepared(float_path), data, val, plan)
        seen = collect(bench.model, data, sets, step)
        verified = _verify(bench, float_path, data, sets, seen, step)
    trials = list(_trials(bench, sets, seen, plan, step))
    rows = curves(trials)
    return {
        "schema": SCHEMA,
        "run": {"path": str(run.path), "identity": run.identity(), "model": run.recipe().model},
        "data": {"source": data.source, "sha256": data.sha256, "validation_images": len(val)},
        "plan": {**asdict(plan), "target": str(bench.target), "alone": EMOTIONS[commonest(own)]},
        "float_accuracy": float((bench.reference.argmax(1) == bench.labels).mean()),
        "verified": verified,
        "trials": [trial.as_dict() for trial in trials],
        "curves": rows,
        "conclusion": conclude(rows, len(val)),
        "seconds": round(time.monotonic() - started, 1),
        "machine": describe_machine(),
        "versions": versions(*LIBRARIES),
    }


def collect(model: onnx.ModelProto, data: Dataset, sets: Sequence[StudySet], step: Step) -> list[dict[str, Histogram]]:
    """Each set's histograms by point; every image runs once, whatever the number of sets that hold it."""
    holders: dict[int, list[int]] = {}
    for at, one in enumerate(sets):
        for row in one.rows:
            holders.setdefault(row, []).append(at)
    rows = sorted(holders)
    found: list[dict[str, Histogram]] = [{} for _ in sets]
    done = 0
    for values in point_values(model, (np.asarray(data.faces[row]) for row in rows)):
        count = len(next(iter(values.values())))
        for name, held in values.items():
            for offset in range(count):
                histogram = point_histogram(name, held[offset])
                for at in holders[rows[done + offset]]:
                    found[at][name] = found[at][name] + histogram if name in found[at] else histogram
        done += count
        step(f"activations of {done:,} of {len(rows):,} images")
    return found


def _trials(
    bench: _Bench, sets: Sequence[StudySet], seen: list[dict[str, Histogram]], plan: StudyPlan, step: Step
) -> Iterator[Trial]:
    wanted = [
        (one, histograms, method)
        for one, histograms in zip(sets, seen, strict=True)
        for method in (plan.methods if one.balance == plan.balances[0] else plan.methods[:1])
    ]
    for at, (one, histograms, method) in enumerate(wanted, 1):
        step(f"{at} of {len(wanted)}: {method}, {one.count} images")
        ranges = {name: range_of(histogram, method, plan.percentile) for name, histogram in histograms.items()}
        logits = bench.int8_logits(ranges)
        named = logits.argmax(1)
        yield Trial(
            one.balance,
            method,
            one.count,
            one.seed,
            accuracy=float((named == bench.labels).mean()),
            agreement=float((named == bench.reference.argmax(1)).mean()),
            mean_kl=float(kl_by_image(bench.reference, logits).mean()),
            lows={name: held.low for name, held in ranges.items()},
            highs={name: held.high for name, held in ranges.items()},
        )


def _verify(
    bench: _Bench,
    float_path: Path,
    data: Dataset,
    sets: Sequence[StudySet],
    seen: list[dict[str, Histogram]],
    step: Step,
) -> dict[str, Any]:
    """That our way to int8 is the one of `convert`: the same set by minimum and maximum, quantized by both."""
    step("checking against ONNX Runtime's own quantization")
    largest = max(range(len(sets)), key=lambda at: sets[at].count)
    ours = bench.int8_logits({name: range_of(histogram, "minmax") for name, histogram in seen[largest].items()})
    path = float_path.with_name("int8.onnx")
    quantize_onnx(float_path, path, np.asarray(data.faces[np.array(sets[largest].rows)]), bench.target)
    operators = inspect("onnx", path, Precision.INT8)
    theirs = _logits(onnx.load(str(path)), bench.faces)
    same = float((ours.argmax(1) == theirs.argmax(1)).mean())
    if same < SAME_LABELS:
        raise ConversionError(
            f"with the same ranges only {same:.1%} of the labels are those of ONNX Runtime's own quantization, so the "
            "study would say nothing about convert; this is a bug, please report it"
        )
    difference = float(np.abs(ours - theirs).max())
    return {
        "against": "quantize_static",
        "same_labels": same,
        "max_logit_difference": difference,
        "operators": operators,
    }


def _bench(model: onnx.ModelProto, data: Dataset, val: NDArray[np.int64], plan: StudyPlan) -> _Bench:
    faces = np.asarray(data.faces[val])
    labels = np.asarray(data.labels[val])
    return _Bench(model, plan.target or this_target(), faces, labels, _logits(model, faces))


def _logits(model: onnx.ModelProto, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    session = start_session(model)
    parts = [
        session.run(None, {"pixels": faces[at : at + _CHUNK, ..., None]})[0] for at in range(0, len(faces), _CHUNK)
    ]
    return np.concatenate(parts)


def _rows(run: RunFolder, data: Dataset, plan: StudyPlan) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that the run learned from, and those of its validation that judge."""
    if validation_rows(run, data) is None:
        raise RunError(
            f"{run.path} was not trained on this data, so which images it did not learn from is not known; "
            "give the data of the run with --data"
        )
    recipe = run.recipe()
    fit, val = rows_of(data, recipe)
    if plan.images is not None and plan.images < len(val):
        val = np.sort(np.random.default_rng([0, 8]).permutation(val)[: plan.images])
    return fit, val


def _check_sets(sets: Sequence[StudySet], plan: StudyPlan) -> None:
    for balance in plan.balances:
        if len({one.count for one in sets if one.balance == balance}) < 2:
            raise DataError(
                f"the data has too few images of an emotion for two sets of {listed(plan.counts)} with balance "
                f"{balance!r}; give smaller --counts, or leave it out of --balances"
            )
