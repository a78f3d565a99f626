"""Learns the gate of a bundle in the making: which faces, which variant, and a check on the images that judge."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.convert.bundle_writer import FACE_MARGIN
from fer_edge.convert.gate import learn_gate, summarize
from fer_edge.edge_runtime.engines import infer_all, judge_of, start
from fer_edge.edge_runtime.quality import Gate
from fer_edge.edge_runtime.vocabulary import Precision, softmax
from fer_edge.train.dataset import SPLITS, Dataset
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.split import rows_of


def validation_rows(run: RunFolder, data: Dataset) -> NDArray[np.int64] | None:
    """Rows that the run validated on; None where this is not its data: which faces it learned from is not known then.

    A `val` split of the data's own is held out whoever trained, and is taken.
    """
    if len(data.rows("val")) == 0 and run.about().get("data_sha256") != data.sha256:
        return None
    recipe = run.recipe()
    return rows_of(data, recipe)[1]


def without_validation(data: Dataset, fit: NDArray[np.int64]) -> Dataset:
    """The data with no image in Training but `fit`, those that a run learned from: what judges must not calibrate."""
    splits = np.where(data.splits == SPLITS.index("train"), SPLITS.index("val"), data.splits).astype(np.uint8)
    splits[fit] = SPLITS.index("train")
    return replace(data, splits=splits)


def gate_variant(variants: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the manifest's variants the one whose probabilities the gate is for: int8 first, and of those TFLite first."""
    return min(variants, key=lambda v: (v["precision"] != Precision.INT8, v["engine"] != "tflite"))


def gate_of_bundle(
    run: RunFolder, data: Dataset, split: str, folder: Path, variants: list[dict[str, Any]]
) -> tuple[Gate | None, dict[str, Any] | None]:
    """The gate, and its part of report.json; None twice where the run's validation faces are not known.

    Args:
        run: knows which part of Training was validation.
        data: the cache.
        split: held-out images on which the finished gate is checked; they have no say in it.
        folder: where the variants' files are.
        variants: the manifest's.
    """
    rows = validation_rows(run, data)
    if rows is None:
        return None, None
    chosen = gate_variant(variants)
    engine = start(judge_of(chosen["engine"]), folder / chosen["file"], Precision(chosen["precision"]))
    try:
        gate, learned = learn_gate(
            np.asarray(data.faces[rows]), data.labels[rows], lambda faces: infer_all(engine, faces), FACE_MARGIN
        )
        judges = data.held_out(split)
        faces = np.asarray(data.faces[judges])
        check = summarize(gate, faces, data.labels[judges], softmax(infer_all(engine, faces)), FACE_MARGIN)
    finally:
        engine.close()
    about = {"variant": f"{chosen['engine']}/{chosen['precision']}", "data_sha256": data.sha256}
    return gate, {**about, **learned, "check": {"split": split, **check}}
