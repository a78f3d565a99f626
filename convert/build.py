"""From a finished run to a judged bundle: convert, open and count, replay, score, write. All or nothing."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.calibration.calibration_set import CalibrationFaces, CalibrationSet
from fer_edge.calibration.ranges import Range
from fer_edge.convert import balanced, bundle_writer
from fer_edge.convert.equalize import equalized
from fer_edge.convert.frozen import FrozenModel, freeze, load_frozen
from fer_edge.convert.gate_run import gate_of_bundle, validation_rows
from fer_edge.convert.order import Order
from fer_edge.convert.score import Step, failures, report
from fer_edge.convert.target import this_target
from fer_edge.convert.tempered import about, judged, none_put_in, temperature_of, tempered, tempered_ranges
from fer_edge.convert.write_models import write_models
from fer_edge.devices.errors import ConversionError
from fer_edge.devices.files import replacing_folder, write_json
from fer_edge.edge_runtime.bundle import MANIFEST
from fer_edge.edge_runtime.engines import infer_all, judge_of, start
from fer_edge.edge_runtime.vocabulary import Precision
from fer_edge.train.dataset import Dataset
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.split import rows_of
from fer_edge.train.trained_on import trained_on

REFERENCE = "keras/float32"


class RejectedError(ConversionError):
    """A variant loses more accuracy than allowed; `report` is the judgement, so that it can be shown."""

    def __init__(self, message: str, report: dict[str, Any]) -> None:
        super().__init__(message)
        self.report = report


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
    model, ranges, balance = _with_balance(run, data, order)
    model, ranges, temperature = _with_temperature(run, data, order, step, model, ranges)
    golden = bundle_writer.golden_faces()
    source = model
    if order.recipe.equalize:
        step("equalizing")
        source = freeze(equalized(model.keras_model, golden))
    with replacing_folder(out, MANIFEST, force=force) as folder:
        target = order.target or this_target()
        entries = write_models(source, CalibrationFaces(data, calibration), order, target, folder, step, ranges)
        faces = np.asarray(data.faces[rows])
        step(f"scoring Keras on {len(rows):,} images")
        reference, golden_logits = model.logits(faces), {REFERENCE: model.logits(golden)}
        logits = {}
        for entry in entries:
            name = f"{entry['engine']}/{entry['precision']}"
            step(f"scoring {name} on {len(rows):,} images")
            logits[name], golden_logits[name] = _replay(folder, entry, faces, golden)
        made = report(data, order.split, REFERENCE, reference, logits, order.max_drop_pp)
        made["temperature"] = _judged(temperature, reference, data, order.split)
        if balance is not None:
            divided_by = (temperature or {}).get("value") or 1.0
            made["balance"] = balanced.judged(balance, reference, data.labels[rows], divided_by)
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
            trained=trained_on(run),
            target=str(target),
            recipe=order.recipe,
            gate=gate,
        )
    return made


def _with_balance(
    run: RunFolder, data: Dataset, order: Order
) -> tuple[FrozenModel, dict[str, Range] | None, dict[str, Any] | None]:
    """The run's network, its learned ranges, and the balance's part of report.json, None if none was asked for."""
    model, ranges, faces = load_frozen(run.network()), learned(run), None
    if order.balance == 0:
        return model, ranges, None
    shift = balanced.shift_of(run, data, 1.0)
    tau = order.balance
    if tau is None:
        rows = rows_of(data, run.recipe())[1]
        tau = balanced.chosen_tau(model.logits(np.asarray(data.faces[rows])), data.labels[rows], shift)
        faces = len(rows)
    shift = tau * shift
    if ranges is not None:
        ranges = balanced.shifted_ranges(ranges, model, shift)
    return balanced.balanced(model, shift), ranges, balanced.about(tau, shift, faces)


def _with_temperature(
    run: RunFolder,
    data: Dataset,
    order: Order,
    step: Step,
    model: FrozenModel,
    ranges: dict[str, Range] | None,
) -> tuple[FrozenModel, dict[str, Range] | None, dict[str, Any] | None]:
    """The network, its learned ranges, and the temperature's part of report.json, None if none was asked for."""
    if not order.temperature:
        return model, ranges, None
    rows = validation_rows(run, data)
    if rows is None:
        return model, ranges, none_put_in("this is not the run's data, so its validation faces are not known")
    step(f"fitting the temperature on {len(rows):,} validation faces")
    found = temperature_of(model.logits(np.asarray(data.faces[rows])), data.labels[rows])
    if found is None:
        return model, ranges, none_put_in(f"{len(rows):,} validation faces tell none from 1")
    divided = tempered(model, found.value)
    if divided is None:
        return model, ranges, none_put_in("the network does not end in a layer that can be divided")
    ranges = None if ranges is None else tempered_ranges(ranges, model, found.value)
    return divided, ranges, about(found, len(rows))


def _judged(
    part: dict[str, Any] | None, reference: NDArray[np.float32], data: Dataset, split: str
) -> dict[str, Any] | None:
    """The temperature's part with what it does to the split, unless the split's faces are those that fitted it."""
    if part is None or part["value"] is None or split == "val":
        return part
    return judged(part, reference, data.labels[data.held_out(split)])


def learned(run: RunFolder) -> dict[str, Range] | None:
    """The ranges by point of a quantization-aware run, or None."""
    ranges = run.learned_ranges()
    return None if ranges is None else {name: Range(low, high) for name, (low, high) in ranges.items()}


def _replay(
    folder: Path, entry: dict[str, Any], faces: NDArray[np.uint8], golden: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits of the held-out faces, and of the golden ones one by one, as a device will be asked for them."""
    engine = start(judge_of(entry["engine"]), folder / entry["file"], Precision(entry["precision"]))
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
