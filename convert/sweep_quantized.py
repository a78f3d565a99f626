"""One finished run made int8 in every setting of a sweep: trained once, quantized many times.

Judged on the faces that the run validated on, or on another split where that is asked for; calibrated on faces that
the run was fitted to, which neither judge nor test. A setting that is in the run's quantized.json already stays.
"""

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.calibration.calibration_set import CalibrationFaces, draw
from fer_edge.convert.bundle_writer import golden_faces
from fer_edge.convert.equalize import equalized
from fer_edge.convert.frozen import FrozenModel, freeze, load_frozen
from fer_edge.convert.gate_run import without_validation
from fer_edge.convert.judge import difference
from fer_edge.convert.sweep_settings import Quantize, Setting
from fer_edge.convert.sweep_trial import QUANTIZED, read_quantized
from fer_edge.convert.target import this_target
from fer_edge.convert.write_models import write_models
from fer_edge.devices.errors import ConversionError, DataError, EngineError
from fer_edge.devices.files import write_json
from fer_edge.edge_runtime.engines import infer_all, start
from fer_edge.edge_runtime.vocabulary import Precision
from fer_edge.train.dataset import Dataset
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.split import rows_of


def quantize_run(run: RunFolder, data: Dataset, asked: Quantize, threads: int) -> dict[str, dict[str, Any]]:
    """Convert and judge the run in every setting that quantized.json lacks, and return all of them by name.

    A setting that this network cannot have is an entry with a `sentence` and no figures, and is tried again next time.

    Raises:
        RunError: the run is unfinished, or its model is none that gives seven logits.
        DataError: the split has no images.
    """
    held = read_quantized(run.path, asked.split)
    missing = [one for one in asked.settings if held.get(one.name, {}).get("accuracy") is None]
    if not missing:
        return held
    bench = _Bench(run, data, asked.split, threads)
    for one in missing:
        started = time.monotonic()
        try:
            figures = bench.judged(one)
        except (ConversionError, DataError, EngineError) as error:
            figures = {"images": None, "accuracy": None, "sentence": " ".join(str(error).split())}
        held[one.name] = {**figures, "seconds": round(time.monotonic() - started, 1)}
        _store(run.path, asked.split, held)
    return held


class _Bench:
    """The float network, the faces that judge, and those that may calibrate."""

    def __init__(self, run: RunFolder, data: Dataset, split: str, threads: int) -> None:
        recipe = run.recipe()
        fit, val = rows_of(data, recipe)
        rows = val if split == "val" else data.held_out(split)
        self._model: FrozenModel = load_frozen(run.network())
        self._pool = without_validation(data, fit)
        self._faces: NDArray[np.uint8] = np.asarray(data.faces[rows])
        self._labels = np.asarray(data.labels[rows])
        self._right = self._model.logits(self._faces).argmax(1) == self._labels
        self._threads = threads

    def judged(self, one: Setting) -> dict[str, Any]:
        """The figures of one setting against the float network on the same faces."""
        faces = CalibrationFaces(self._pool, draw(self._pool, one.images, one.seed))
        model = freeze(equalized(self._model.keras_model, golden_faces())) if one.order.recipe.equalize else self._model
        with TemporaryDirectory() as folder:
            target = one.order.target or this_target()
            (entry,) = write_models(model, faces, one.order, target, Path(folder), lambda _: None)
            engine = start(entry["engine"], Path(folder) / entry["file"], Precision.INT8, self._threads)
            try:
                named = infer_all(engine, self._faces).argmax(1)
            finally:
                engine.close()
            figures = difference(named == self._labels, self._right)
            size = entry["bytes"] + sum(file["bytes"] for file in entry["companions"])
            return {**figures, "float_accuracy": float(self._right.mean()), "size_bytes": size, "sentence": None}


def _store(folder: Path, split: str, held: dict[str, dict[str, Any]]) -> None:
    try:
        stored = json.loads((folder / QUANTIZED).read_text(encoding="utf-8"))
    except FileNotFoundError:
        stored = {"schema": 1, "splits": {}}
    stored["splits"][split] = held
    write_json(folder / QUANTIZED, stored)
