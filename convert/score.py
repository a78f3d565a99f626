"""Collects the judgement of each variant on held-out images: the content of report.json, schema 2."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.convert.judge import judge
from fer_edge.devices.errors import ConversionError
from fer_edge.devices.machine import describe_machine, versions
from fer_edge.edge_runtime.bundle import Bundle, Variant
from fer_edge.edge_runtime.engines import infer_all, start
from fer_edge.train.dataset import Dataset
from fer_edge.train.intervals import holm

REPORT_SCHEMA = 2
LIBRARIES = (
    "fer-edge", "tensorflow", "keras", "ai-edge-litert", "onnx", "onnxruntime", "tf2onnx", "openvino", "nncf", "numpy",
    "opencv-python-headless",
)  # fmt: skip
Step = Callable[[str], None]
"""Called with what is being done."""


def check_margin(max_drop_pp: float, option: str = "--max-drop") -> None:
    """Raises ConversionError unless the loss allowed is a number of percentage points, 0 to 100."""
    if not 0 <= max_drop_pp <= 100:  # so written, NaN is refused too
        raise ConversionError(f"{option} {max_drop_pp} is no loss that can be allowed; give percentage points, as 0.5")


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

    `flipped`, `confidence`, `robustness` and `diagnosis` are None: `fer-edge compare` measures them; `temperature`
    is what convert puts in.

    Args:
        data: the cache.
        split: which held-out images.
        reference_name: what the float reference is, as `keras/float32`.
        reference: its logits on those images, in the cache's order.
        variants: logits by variant name, on the same images.
        max_drop_pp: the margin: largest loss of top-1 that passes, in percentage points.
    """
    labels = np.asarray(data.labels[data.held_out(split)])
    rows = {name: judge(labels, reference, logits, max_drop_pp) for name, logits in variants.items()}
    own = judge(labels, reference, reference, max_drop_pp)
    for row in (own, rows.get(reference_name)):
        if row is not None:
            row["verdict"] = None  # nothing is judged against itself
    judged = [row for name, row in rows.items() if name != reference_name]
    for row, adjusted in zip(judged, holm([row["mcnemar_p"] for row in judged]), strict=True):
        row["mcnemar_p_holm"] = adjusted
    return {
        "schema": REPORT_SCHEMA,
        "data": {"source": data.source, "sha256": data.sha256, "split": split, "images": len(labels)},
        "margin_pp": max_drop_pp,
        "compared": len(judged),
        "reference": {"name": reference_name, **own},
        "variants": rows,
        "flipped": None,
        "confidence": None,
        "robustness": None,
        "diagnosis": None,
        "balance": None,
        "temperature": None,
        "machine": describe_machine(),
        "versions": versions(*LIBRARIES),
    }


def failures(made: dict[str, Any], *, strict: bool = False) -> list[str]:
    """One phrase for each variant that loses more than allowed, with `strict` also for each that may."""
    found = []
    for name, row in made["variants"].items():
        allowed = f"(allowed {row['max_drop_pp']:g})"
        if not row["passes"]:
            found.append(f"{name} loses {row['drop_pp']:.2f} points of accuracy {allowed}")
        elif strict and row["verdict"] is not None and not row["non_inferior"]:
            high = row["drop_score_interval_pp"][1]
            found.append(
                f"{name} is not shown to be as good: it may lose up to {high:.2f} points of accuracy {allowed}"
            )
    return found
