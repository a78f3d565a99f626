"""Everything worth knowing about one model, measured on held-out images: the content of evaluation.json, schema 1.

Knows no page and no library that runs a model: `eval_subject` opens it, the other `eval_*` measure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_edge.devices.machine import describe_machine, versions
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.dataset import Dataset
from fer_edge.train.eval_explain import chosen_images, explain
from fer_edge.train.eval_images import DIGITS, Answers, Images, images_of
from fer_edge.train.eval_known import known_and_new, share_of
from fer_edge.train.eval_latency import latency_ms
from fer_edge.train.eval_robustness import under_conditions
from fer_edge.train.eval_scores import scores
from fer_edge.train.eval_subject import Subject
from fer_edge.train.eval_training import training_of
from fer_edge.train.eval_views import under_views
from fer_edge.train.judge_confidence import scored, summary
from fer_edge.train.targets import more_than_half

SCHEMA = 1
RANDOM_IMAGES = 50
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
    views: bool = True
    latency: bool = True
    explanation: bool = True
    seed: int = 0


def evaluate(data: Dataset, subject: Subject, plan: Plan, step: Step) -> dict[str, Any]:
    """evaluation.json but for `made_at` and `command`; docs/evaluate.md says what each figure means.

    Raises:
        DataError: the split cannot judge, or a model of eight classes is judged on data without votes.
    """
    images = images_of(data, plan.split, len(subject.classes))
    step(f"asking {subject.model} of {len(images.rows):,} {plan.split} images")
    answers = Answers.ask(subject, images)
    picked = np.random.default_rng([plan.seed, 11]).permutation(len(images.rows))[:RANDOM_IMAGES]
    return {
        "schema": SCHEMA,
        "what": _what(subject),
        "data": _data(data, subject, plan.split, images),
        "classes": list(subject.classes),
        **scores(images.labels, answers.predicted, subject.classes),
        # As the model comes, with the temperature that convert put into a bundle: none is fitted to what judges.
        "confidence": summary(scored(answers.logits, images.labels.astype(np.uint8))),
        "more_than_half": _more_than_half(data, answers, subject),
        "duplicates": _duplicates(data, answers, step),
        "robustness": _robustness(images, subject, plan, step),
        "views": _views(answers, subject, plan, step),
        "predictions": {
            "rows": images.rows.tolist(),
            "labels": images.labels.tolist(),
            "predicted": answers.predicted.tolist(),
            "confidence": answers.confidence.round(DIGITS).tolist(),
        },
        "misclassified": [answers.about(at) for at in answers.misclassified()],
        "random_images": [answers.about(at) for at in picked],
        "explanation": _explanation(answers, subject, plan, step),
        "parameters": subject.parameters,
        "macs": subject.macs,
        "size_bytes": subject.size_bytes,
        "latency_ms": _latency(images, subject, plan, step),
        "training": None if subject.run is None else training_of(subject.run),
        "seed": plan.seed,
        "machine": describe_machine(),
        "versions": versions(*LIBRARIES),
    }


def _what(subject: Subject) -> dict[str, Any]:
    fields = ("kind", "model", "name", "variant", "precision", "identity", "library")
    return {field: getattr(subject, field) for field in fields}


def _data(data: Dataset, subject: Subject, split: str, images: Images) -> dict[str, Any]:
    run = subject.run
    return {
        "sha256": data.sha256,
        "split": split,
        "source": data.source,
        "images": len(images.rows),
        "left_out": images.left_out,
        "same_as_training": None if run is None else run.about()["data_sha256"] == data.sha256,
    }


def _robustness(images: Images, subject: Subject, plan: Plan, step: Step) -> list[dict[str, Any]] | None:
    if plan.robustness_images == 0:
        return None
    some = np.random.default_rng([plan.seed, 12]).permutation(len(images.rows))[: plan.robustness_images]
    some.sort()
    return under_conditions(images.faces[some], images.labels[some], subject.logits, step, plan.seed)


def _more_than_half(data: Dataset, answers: Answers, subject: Subject) -> dict[str, Any] | None:
    if len(subject.classes) == len(EMOTIONS):
        return None
    right = answers.predicted == answers.images.labels
    return share_of(right[more_than_half(data, answers.images.rows)])


def _duplicates(data: Dataset, answers: Answers, step: Step) -> dict[str, Any] | None:
    step("finding the images that Training knows")
    return known_and_new(data, answers.images.rows, answers.predicted == answers.images.labels)


def _views(answers: Answers, subject: Subject, plan: Plan, step: Step) -> list[dict[str, Any]] | None:
    if not plan.views:
        return None
    return under_views(answers.images.faces, answers.images.labels, answers.logits, subject.logits, step)


def _explanation(answers: Answers, subject: Subject, plan: Plan, step: Step) -> dict[str, Any] | None:
    if not plan.explanation:
        return None
    step("finding out where it looks")
    images = answers.images
    chosen = chosen_images(images.labels, answers.predicted, answers.confidence)
    found = explain(subject, images.faces[chosen], answers.predicted[chosen])
    maps = found.pop("maps")
    return found | {"images": [answers.about(at) | {"map": m} for at, m in zip(chosen, maps, strict=True)]}


def _latency(images: Images, subject: Subject, plan: Plan, step: Step) -> dict[str, Any] | None:
    if not plan.latency:
        return None
    step("timing one face and 256")
    return latency_ms(subject.call, images.faces) | {"threads": subject.threads}
