"""From a finished run to a judged bundle: convert, open and count, replay, score, write. All or nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.calibration.calibration_set import CalibrationFaces, CalibrationSet
from fer_edge.convert import bundle_writer
from fer_edge.convert.frozen import FrozenModel, load_frozen
from fer_edge.convert.gate_run import gate_of_bundle
from fer_edge.convert.inspection import inspect
from fer_edge.convert.onnx import Target, quantize_onnx, this_target, write_onnx
from fer_edge.convert.openvino import quantize_openvino, write_openvino
from fer_edge.convert.score import Step, check_margin, failures, report
from fer_edge.convert.tflite import write_tflite
from fer_edge.devices.errors import ConversionError
from fer_edge.devices.files import replacing_folder, write_json
from fer_edge.edge_runtime.bundle import MANIFEST
from fer_edge.edge_runtime.engines import ENGINES, check_known, infer_all, start
from fer_edge.edge_runtime.vocabulary import Precision
from fer_edge.train.dataset import Dataset
from fer_edge.train.run_folder import RunFolder

REFERENCE = "keras/float32"


class RejectedError(ConversionError):
    """A variant loses more accuracy than allowed; `report` is the judgement, so that it can be shown."""

    def __init__(self, message: str, report: dict[str, Any]) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True)
class Order:
    """What is to be made, the processor meant, and what judges it.

    A format is an engine, made in all `precisions` that it has, or `engine/precision` for that one alone.
    """

    formats: tuple[str, ...] = ("tflite", "onnx", "openvino")
    precisions: tuple[Precision, ...] = (Precision.FLOAT32, Precision.INT8)
    target: Target | None = None
    split: str = "test"
    max_drop_pp: float = 0.5

    def __post_init__(self) -> None:
        for engine, _ in self.variants():
            check_known(engine)
        if not self.formats:
            raise ConversionError("no format was asked for; --to takes tflite, onnx, openvino")
        check_margin(self.max_drop_pp)

    def variants(self) -> list[tuple[str, Precision]]:
        """Engine and precision of each file, in order; float16 and dynamic int8 are TFLite's alone."""
        made = []
        for word in self.formats:
            engine, _, alone = word.partition("/")
            precisions = (_precision(alone),) if alone else self.precisions
            made += [(engine, p) for p in precisions if engine == "tflite" or p in (Precision.FLOAT32, Precision.INT8)]
        return list(dict.fromkeys(made))


def _precision(word: str) -> Precision:
    if word not in list(Precision):
        raise ConversionError(f"unknown precision {word!r} in --to; choose one of {', '.join(Precision)}")
    return Precision(word)


def build_bundle(
    run: RunFolder, data: Dataset, calibration: CalibrationSet, order: Order, out: Path, *, force: bool, step: Step
) -> dict[str, Any]:
    """Make the bundle in `out` and return its report.

    Raises:
        RunError, DataError: the run is unfinished, or the split has no images.
        ConversionError: a variant is not in the precision that was asked for.
        RejectedError: a variant loses more than allowed; no bundle is written, the report is `<out>-rejected.json`.
        OutputError: `out` exists and `force` is not given, or the disk refuses.
    """
    rows = data.held_out(order.split)
    model = load_frozen(run.finished_model())
    golden = bundle_writer.golden_faces()
    with replacing_folder(out, MANIFEST, force=force) as folder:
        target = order.target or this_target()
        entries = _write_models(model, CalibrationFaces(data, calibration), order, target, folder, step)
        faces = np.asarray(data.faces[rows])
        step(f"scoring Keras on {len(rows):,} images")
        reference, golden_logits = model.logits(faces), {REFERENCE: model.logits(golden)}
        logits = {}
        for entry in entries:
            name = f"{entry['engine']}/{entry['precision']}"
            step(f"scoring {name} on {len(rows):,} images")
            logits[name], golden_logits[name] = _replay(folder, entry, faces, golden)
        made = report(data, order.split, REFERENCE, reference, logits, order.max_drop_pp)
        _gate(made, out)
        step("learning when a face is uncertain")
        gate, made["gate"] = gate_of_bundle(run, data, order.split, folder, entries)
        bundle_writer.write_golden(folder, golden, golden_logits)
        bundle_writer.write_manifest(
            folder,
            run.recipe().model,
            entries,
            made,
            calibration=calibration.id,
            training_run=run.identity(),
            target=str(target),
            gate=gate,
        )
    return made


def _write_models(
    model: FrozenModel, faces: CalibrationFaces, order: Order, target: Target, folder: Path, step: Step
) -> list[dict[str, Any]]:
    """Convert, then open each file with its engine and count; float files that only others stood on go again."""
    wanted = order.variants()
    engines = {engine for engine, _ in wanted}
    entries = []
    scaffold = [folder / "float32.onnx", folder / "float32.xml", folder / "float32.bin"]
    if engines & {"onnx", "openvino"}:
        step("writing float32.onnx")
        write_onnx(model, scaffold[0])
    if "openvino" in engines:
        step("writing float32.xml")
        write_openvino(folder / "float32.onnx", folder / "float32.xml")
    for engine, precision in wanted:
        path = folder / f"{precision}{ENGINES[engine].suffix}"
        if not path.exists():
            step(f"writing {path.name}")
            _write_one(model, engine, precision, path, faces, target)
        entries.append(bundle_writer.variant_entry(engine, precision, path, inspect(engine, path, precision)))
    kept = {e["file"] for e in entries} | {c["file"] for e in entries for c in e["companions"]}
    for path in scaffold:
        if path.name not in kept:
            path.unlink(missing_ok=True)
    return entries


def _write_one(
    model: FrozenModel, engine: str, precision: Precision, path: Path, faces: CalibrationFaces, target: Target
) -> None:
    if engine == "tflite":
        write_tflite(model, path, precision, faces)
    elif engine == "onnx":
        quantize_onnx(path.with_name("float32.onnx"), path, faces, target)
    else:
        quantize_openvino(path.with_name("float32.xml"), path, faces, target)


def _replay(
    folder: Path, entry: dict[str, Any], faces: NDArray[np.uint8], golden: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits of the held-out faces, and of the golden ones one by one, as a device will be asked for them."""
    engine = start(entry["engine"], folder / entry["file"], Precision(entry["precision"]))
    try:
        return infer_all(engine, faces), np.concatenate([engine.infer(face[None]) for face in golden])
    finally:
        engine.close()


def _gate(made: dict[str, Any], out: Path) -> None:
    failed = failures(made)
    if failed:
        rejected = out.with_name(f"{out.name}-rejected.json")
        write_json(rejected, made)
        raise RejectedError(f"{'; '.join(failed)}; no bundle was written, the report is {rejected}", made)
