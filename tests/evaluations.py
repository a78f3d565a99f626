"""Evaluations as `fer-edge evaluate` writes them, made by hand: what each model says is drawn, the figures follow."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.intervals import wilson

HARMS = (("noise", 0.1), ("noise", 0.2), ("blur", 1.0), ("dark", 0.5), ("bright", 2.0), ("occlusion", 0.5), ("jpeg", 10))


def evaluation(
    name: str, right: int | list[bool], images: int = 1000, *, seed: int = 0, **changes: Any
) -> dict[str, Any]:
    """The report of a model that names so many of the images rightly; `changes` replace or, as dicts, extend parts."""
    labels = np.arange(images) % len(EMOTIONS)
    is_right = np.zeros(images, bool)
    if isinstance(right, int):
        is_right[np.random.default_rng(seed).permutation(images)[:right]] = True
    else:
        is_right[:] = right
    predicted = np.where(is_right, labels, (labels + 1) % len(EMOTIONS))
    accuracy, by_class = float(is_right.mean()), {}
    for at, emotion in enumerate(EMOTIONS):
        here = is_right[labels == at]
        by_class[emotion] = {
            "precision": 0.5, "recall": float(here.mean()), "f1": 0.5, "support": len(here),
            "recall_interval": list(wilson(int(here.sum()), len(here))),
        }  # fmt: skip
    worst = min(by_class, key=lambda emotion: by_class[emotion]["recall"])
    made: dict[str, Any] = {
        "schema": 1,
        "what": {
            "kind": "run", "model": name, "name": name, "variant": None, "precision": "float32",
            "identity": f"{abs(hash((name, seed))):016x}"[:16],
        },
        "data": {"sha256": "ab" * 32, "split": "test", "source": "drawn", "images": images, "left_out": 0},
        "classes": list(EMOTIONS),
        "accuracy": accuracy,
        "accuracy_interval": list(wilson(int(is_right.sum()), images)),
        "correct": int(is_right.sum()),
        "macro": {"precision": accuracy, "recall": accuracy, "f1": accuracy - 0.01},
        "weighted": {"precision": accuracy, "recall": accuracy, "f1": accuracy},
        "by_class": by_class,
        "worst_class": {"name": worst, "recall": by_class[worst]["recall"]},
        "confusion": [],
        "confidence": {"ece": 0.05},
        "robustness": [
            {"condition": kind, "level": level, "what": f"{kind} {level:g}", "accuracy": accuracy * (0.9 - at / 50)}
            for at, (kind, level) in enumerate(HARMS)
        ],
        "predictions": {"labels": labels.tolist(), "predicted": predicted.tolist(), "confidence": [0.5] * images},
        "parameters": 1_000_000, "macs": 30_000_000, "size_bytes": 4_000_000,
        "latency_ms": {"batch1": {"median": 2.5, "p90": 3.0, "runs": 200}, "batch256_per_sample": 0.8},
        "training": {"recipe": {"model": name}, "epochs_run": 20, "seconds": 600.0},
        "machine": {"cpu": "Some CPU", "usable_cores": 2},
        "versions": {},
        "made_at": "2026-01-02T03:04:05Z",
        "command": ["fer-edge", "evaluate", f"runs/{name}"],
    }  # fmt: skip
    for key, value in changes.items():
        made[key] = made[key] | value if isinstance(value, dict) and isinstance(made[key], dict) else value
    return made


def write(folder: Path, made: dict[str, Any]) -> Path:
    """Put it where `evaluate` does; the run's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(made))
    return folder
