"""Everything worth knowing about one model, measured on held-out images: the content of evaluation.json, schema 1.

Knows no page and no library that runs a model: `eval_subject` opens it, the other `eval_*` measure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import DataError, RunError
from fer_edge.devices.machine import describe_machine, versions
from fer_edge.train.dataset import Dataset, load_dataset
from fer_edge.train.eval_latency import latency_ms
from fer_edge.train.eval_robustness import under_conditions
from fer_edge.train.eval_scores import scores
from fer_edge.train.eval_subject import Subject
from fer_edge.train.eval_training import training_of
from fer_edge.train.judge_confidence import scored, summary
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.targets import majority
from fer_edge.train.temperature import Logits, log_probabilities

SCHEMA = 1
DIGITS = 6
"""Of each image's confidence."""
RANDOM_IMAGES = 50
DEFAULT_DATA = Path("data/fer2013")
LIBRARIES = (
    "fer-edge", "tensorflow", "keras", "scikit-learn", "scipy", "ai-edge-litert", "onnxruntime", "openvino", "numpy",
    "opencv-python-headless",
)  # fmt: skip
Step = Callable[[str], None]
"""Called with what is being done."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured. `robustness_images` are judged under each condition: None is all of them, 0 skips it."""

    split: str = "test"
    robustness_images: int | None = None
    latency: bool = True
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Judged:
    """The images that judge: their rows (N,) in the data, true classes (N,), and how many of the split have none."""

    rows: NDArray[np.int64]
    labels: NDArray[np.uint8]
    left_out: int


def data_of(run: RunFolder | None, given: Path | None) -> Dataset:
    """The data cache: the one given, else the one that the run was trained on, else data/fer2013.

    Raises:
        RunError: the run's data is not where it was, and none is given.
        DataError: what is there is no data cache.
    """
    if given is not None or run is None:
        return load_dataset(given or DEFAULT_DATA)
    stored = run.about().get("data_path")
    if stored is None or not Path(stored).is_dir():
        gone = "does not say where its data is" if stored is None else f"was trained on {stored}, which is not there"
        raise RunError(f"{run.path} {gone}; give --data CACHE")
    return load_dataset(Path(stored))


def judged(data: Dataset, split: str, classes: int) -> Judged:
    """Which images judge a model of so many classes, by the policy of `train.targets`.

    Raises:
        DataError: the split cannot judge, or eight classes are asked of data without votes.
    """
    rows = data.held_out(split)
    if classes == 7:
        return Judged(rows, np.asarray(data.labels[rows]), 0)
    kept, labels = majority(data, rows, classes)
    if len(kept) == 0:
        raise DataError(f"no {split} image has one emotion with the most votes; choose another --split")
    return Judged(kept, labels, len(rows) - len(kept))


def evaluate(data: Dataset, subject: Subject, plan: Plan, step: Step) -> dict[str, Any]:
    """evaluation.json but for `made_at` and `command`; docs/evaluate.md says what each figure means.

    Raises:
        DataError: see `judged`.
    """
    on = judged(data, plan.split, len(subject.classes))
    faces, labels = np.asarray(data.faces[on.rows]), on.labels.astype(np.int64)
    step(f"asking {subject.model} of {len(faces):,} {plan.split} images")
    logits = subject.logits(faces)
    predicted = logits.argmax(axis=1)
    confidence = np.exp(log_probabilities(logits)).max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
    picked = np.random.default_rng([plan.seed, 11]).permutation(len(labels))[:RANDOM_IMAGES]

    def image(at: int) -> dict[str, Any]:
        return _image(int(on.rows[at]), subject.classes, labels[at], predicted[at], confidence[at])

    return {
        "schema": SCHEMA,
        "what": _what(subject),
        "data": _data(data, subject.run, plan.split, on),
        "classes": list(subject.classes),
        **scores(labels, predicted, subject.classes),
        "confidence": _confidence(logits, on.labels),
        "robustness": _robustness(faces, labels, subject, plan, step),
        "predictions": {
            "rows": on.rows.tolist(),
            "labels": labels.tolist(),
            "predicted": predicted.tolist(),
            "confidence": confidence.round(DIGITS).tolist(),
        },
        "misclassified": [image(at) for at in wrong],
        "random_images": [image(at) for at in picked],
        "parameters": subject.parameters,
        "macs": subject.macs,
        "size_bytes": subject.size_bytes,
        "latency_ms": _latency(faces, subject, plan, step),
        "training": None if subject.run is None else training_of(subject.run),
        "seed": plan.seed,
        "machine": describe_machine(),
        "versions": versions(*LIBRARIES),
    }


def _what(subject: Subject) -> dict[str, Any]:
    fields = ("kind", "model", "name", "variant", "precision", "identity", "library")
    return {field: getattr(subject, field) for field in fields}


def _data(data: Dataset, run: RunFolder | None, split: str, on: Judged) -> dict[str, Any]:
    return {
        "sha256": data.sha256,
        "split": split,
        "source": data.source,
        "images": len(on.rows),
        "left_out": on.left_out,
        "same_as_training": None if run is None else run.about()["data_sha256"] == data.sha256,
    }


def _image(row: int, classes: tuple[str, ...], label: int, predicted: int, confidence: float) -> dict[str, Any]:
    return {
        "row": row,
        "path": f"faces.npy[{row}]",
        "true": classes[label],
        "predicted": classes[predicted],
        "confidence": round(float(confidence), DIGITS),
    }


def _confidence(logits: Logits, labels: NDArray[np.uint8]) -> dict[str, Any]:
    """Calibration as the model comes, without a temperature: that would need images that judge nothing."""
    return summary(scored(logits, labels))


def _robustness(
    faces: NDArray[np.uint8], labels: NDArray[np.int64], subject: Subject, plan: Plan, step: Step
) -> list[dict[str, Any]] | None:
    if plan.robustness_images == 0:
        return None
    some = np.random.default_rng([plan.seed, 12]).permutation(len(faces))[: plan.robustness_images]
    some.sort()
    return under_conditions(faces[some], labels[some], subject.logits, step, plan.seed)


def _latency(faces: NDArray[np.uint8], subject: Subject, plan: Plan, step: Step) -> dict[str, Any] | None:
    if not plan.latency:
        return None
    step("timing one face and 256")
    return latency_ms(subject.call, faces) | {"threads": subject.threads}
