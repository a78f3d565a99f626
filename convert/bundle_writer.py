"""Writes bundle.json and golden.npz beside the converted models: the only place that makes what `Bundle.open` reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.convert.inspection import Operators, tflite_quantization
from fer_edge.convert.quantization_recipe import PLAIN, QuantizationRecipe
from fer_edge.convert.score import LIBRARIES
from fer_edge.devices.files import sha256_of, write_json
from fer_edge.devices.machine import cpu_info, versions
from fer_edge.edge_runtime.bundle import GOLDEN_FILE, REPORT_FILE, SCHEMA
from fer_edge.edge_runtime.engines import judge_of
from fer_edge.edge_runtime.preprocess import PREPROCESSING_ID
from fer_edge.edge_runtime.quality import Gate
from fer_edge.edge_runtime.vocabulary import EMOTIONS, FACE_SIDE, Precision
from fer_edge.train.synth import draw_face

GOLDEN_FACES = 64
FACE_MARGIN = 0.03
"""Haar's squares are 0.97 of the side of FER-2013's crops (median over the test images that it finds a face in)."""


def golden_faces() -> NDArray[np.uint8]:
    """64 faces (64, 48, 48) that are the same everywhere: drawn ones, since FER-2013's may not be passed on."""
    rng = np.random.default_rng(2013)
    return np.stack([draw_face(EMOTIONS[i % len(EMOTIONS)], rng) for i in range(GOLDEN_FACES)])


def file_entry(path: Path) -> dict[str, Any]:
    """Name, sha256 and size of one file of the bundle."""
    return {"file": path.name, "sha256": sha256_of(path), "bytes": path.stat().st_size}


def variant_entry(
    engine: str, precision: Precision, path: Path, operators: Operators | None, float_layers: Sequence[str] = ()
) -> dict[str, Any]:
    """A variant's part of the manifest; accuracy and flips are filled in when they were measured."""
    quantization = None
    if engine == "tflite" and precision == Precision.INT8:
        first, last = tflite_quantization(path)
        quantization = {
            "input": {"scale": first.scale, "zero_point": first.zero_point},
            "output": {"scale": last.scale, "zero_point": last.zero_point},
        }
    weights = path.with_suffix(".bin")
    return {
        "engine": engine,
        "precision": str(precision),
        **file_entry(path),
        "companions": [file_entry(weights)] if engine == "openvino" else [],
        "quantization": quantization,
        "operators": operators or {},
        "float_layers": list(float_layers),
        **({} if judge_of(engine) == engine else {"judged_by": judge_of(engine)}),
        "accuracy": None,
        "flips": None,
    }


def write_golden(folder: Path, faces: NDArray[np.uint8], logits: dict[str, NDArray[np.float32]]) -> None:
    """Write the golden vectors: the faces, and the logits that each variant gave for them here."""
    arrays: dict[str, Any] = {"faces": faces, **{f"logits/{name}": values for name, values in logits.items()}}
    np.savez_compressed(folder / GOLDEN_FILE, **arrays)


def write_manifest(
    folder: Path,
    name: str,
    variants: list[dict[str, Any]],
    made: dict[str, Any],
    *,
    calibration: str | None,
    training_run: str | None,
    trained: list[dict[str, Any]] | None = None,
    target: str,
    recipe: QuantizationRecipe = PLAIN,
    gate: Gate | None = None,
) -> None:
    """Write report.json and, last of all, bundle.json."""
    write_json(folder / REPORT_FILE, made)
    for entry in variants:
        judged = made["variants"].get(f"{entry['engine']}/{entry['precision']}")
        if judged is not None:
            entry["accuracy"], entry["flips"] = judged["accuracy"], judged["flips"]
    cpu, flags = cpu_info()
    manifest = {
        "schema": SCHEMA,
        "name": name,
        "labels": list(EMOTIONS),
        "input": {"shape": [FACE_SIDE, FACE_SIDE], "dtype": "uint8"},
        "face_margin": FACE_MARGIN,
        "preprocessing": PREPROCESSING_ID,
        "gate": None if gate is None else gate.as_dict(),
        "variants": variants,
        "golden": file_entry(folder / GOLDEN_FILE),
        "report": file_entry(folder / REPORT_FILE),
        "calibration": calibration,
        "training_run": training_run,
        "trained": trained,
        "target": target,
        "quantization_recipe": recipe.as_dict() if any(v["precision"] == Precision.INT8 for v in variants) else None,
        "versions": versions(*LIBRARIES),
        "measured_on": {"cpu": cpu, "flags": list(flags)},
    }
    write_json(folder / "bundle.json", manifest)
