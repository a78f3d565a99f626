"""Runs variants over held-out images and collects the judgement of each: the content of report.json."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.convert.judge import judge
from fer_edge.devices.errors import ConversionError, EngineError
from fer_edge.devices.machine import describe_machine, versions
from fer_edge.edge_runtime.bundle import Bundle, Variant
from fer_edge.edge_runtime.engines import infer_all, is_installed, start
from fer_edge.edge_runtime.vocabulary import Precision
from fer_edge.train.dataset import Dataset

REPORT_SCHEMA = 1
LIBRARIES = (
    "fer-edge", "tensorflow", "keras", "ai-edge-litert", "onnx", "onnxruntime", "tf2onnx", "openvino", "nncf", "numpy",
    "opencv-python-headless",
)  # fmt: skip
Step = Callable[[str], None]
"""Called with what is being done."""


def check_margin(max_drop_pp: float) -> None:
    """Raises ConversionError unless the loss allowed is a number of percentage points, 0 or more."""
    if not max_drop_pp >= 0:  # so written, NaN is refused too
        raise ConversionError(
            f"--max-drop {max_drop_pp} is no loss that can be allowed; give percentage points, as 0.5"
        )


def logits_of(
    bundle: Bundle, variant: Variant, faces_u8: NDArray[np.uint8], threads: int | None = None
) -> NDArray[np.float32]:
    """Logits (N, 7) of a variant for faces (N, 48, 48), by its own engine."""
    engine = start(variant.engine, bundle.file(variant), variant.precision, threads)
    try:
        return infer_all(engine, faces_u8)
    finally:
        engine.close()


def report(
    data: Dataset,
    split: str,
    reference_name: str,
    reference: NDArray[np.float32],
    variants: dict[str, NDArray[np.float32]],
    max_drop_pp: float,
) -> dict[str, Any]:
    """report.json: each variant's judgement against the reference, and on what data and machine it was made.

    Args:
        data: the cache.
        split: which held-out images.
        reference_name: what the float reference is, as `keras/float32`.
        reference: its logits on those images, in the cache's order.
        variants: logits by variant name, on the same images.
        max_drop_pp: largest loss of top-1 that passes, in percentage points.
    """
    labels = np.asarray(data.labels[data.held_out(split)])
    return {
        "schema": REPORT_SCHEMA,
        "data": {"source": data.source, "sha256": data.sha256, "split": split, "images": len(labels)},
        "reference": {"name": reference_name, **judge(labels, reference, reference, max_drop_pp)},
        "variants": {name: judge(labels, reference, logits, max_drop_pp) for name, logits in variants.items()},
        "machine": describe_machine(),
        "versions": versions(*LIBRARIES),
    }


def compare_bundle(data: Dataset, bundle: Bundle, split: str, max_drop_pp: float, step: Step) -> dict[str, Any]:
    """Judge a bundle again, with its float variant as the reference and every engine that is installed here.

    Raises:
        EngineError: no engine that is installed here has a float32 variant in the bundle to compare with.
    """
    check_margin(max_drop_pp)
    rows = data.held_out(split)
    faces = np.asarray(data.faces[rows])
    here = [v for v in bundle.variants if is_installed(v.engine)]
    floats = [v for v in here if v.precision == Precision.FLOAT32]
    if not floats:
        raise EngineError(f"bundle {bundle.name!r} has no float32 variant for an engine installed here to compare with")
    logits = {}
    for variant in here:
        step(f"scoring {variant.name} on {len(rows):,} images")
        logits[variant.name] = logits_of(bundle, variant, faces)
    made = report(data, split, floats[0].name, logits[floats[0].name], logits, max_drop_pp)
    made["not_installed"] = [v.name for v in bundle.variants if v not in here]
    return made


def failures(made: dict[str, Any]) -> list[str]:
    """One phrase for each variant that loses more than allowed."""
    return [
        f"{name} loses {row['drop_pp']:.2f} points of accuracy (allowed {row['max_drop_pp']:g})"
        for name, row in made["variants"].items()
        if not row["passes"]
    ]
