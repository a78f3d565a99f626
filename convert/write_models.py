"""Writes every model file of an order, opens each with its engine and counts what it computes in."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fer_edge.calibration.calibration_set import CalibrationFaces
from fer_edge.calibration.ranges import Range
from fer_edge.convert import bundle_writer
from fer_edge.convert.activations import activation_ranges, tensor_points
from fer_edge.convert.frozen import FrozenModel
from fer_edge.convert.inspection import inspect
from fer_edge.convert.layers import check_layers, keras_layers
from fer_edge.convert.onnx import quantize_onnx, write_onnx
from fer_edge.convert.onnx_ranges import prepared
from fer_edge.convert.openvino import quantize_openvino, write_openvino
from fer_edge.convert.order import Order
from fer_edge.convert.quantization_recipe import LEARNED, QuantizationRecipe
from fer_edge.convert.scheme import INPUT
from fer_edge.convert.score import Step
from fer_edge.convert.target import Target
from fer_edge.convert.tensorrt import inspect_tensorrt, write_tensorrt
from fer_edge.convert.tflite import write_tflite
from fer_edge.devices.errors import ConversionError
from fer_edge.edge_runtime.engines import ENGINES
from fer_edge.edge_runtime.vocabulary import Precision


@dataclass(frozen=True, eq=False)
class Source:
    """What the files are made from; `float_onnx` is there when ranges of our own are asked for."""

    model: FrozenModel
    faces: CalibrationFaces
    target: Target
    recipe: QuantizationRecipe
    float_onnx: Path
    learned: dict[str, Range] | None = None

    @cached_property
    def ranges(self) -> dict[str, Range] | None:
        """By point, the same for every format; None leaves minimum and maximum to each format's own quantizer."""
        if not self.recipe.own_ranges:
            return None
        if self.recipe.ranges == LEARNED:
            return _checked(self.learned, set(tensor_points(prepared(self.float_onnx)).values()))
        return activation_ranges(prepared(self.float_onnx), self.faces, self.recipe)


def write_models(
    model: FrozenModel,
    faces: CalibrationFaces,
    order: Order,
    target: Target,
    folder: Path,
    step: Step,
    learned: dict[str, Range] | None = None,
) -> list[dict[str, Any]]:
    """Write the files and give their parts of the manifest; float files that only others stood on go again.

    `learned` are a quantization-aware run's ranges by point, for an order that asks for them.

    Raises:
        ConversionError: a converter refuses, or a file is not in the precision that was asked for.
    """
    wanted = order.variants()
    engines = {engine for engine, _ in wanted}
    scaffold = [folder / "float32.onnx", folder / "float32.xml", folder / "float32.bin"]
    layers = list(keras_layers(model.keras_model))
    check_layers(order.recipe.float_layers, layers)
    if engines & {"onnx", "openvino", "tensorrt"} or order.recipe.own_ranges:
        step("writing float32.onnx")
        write_onnx(model, scaffold[0])
    if "openvino" in engines:
        step("writing float32.xml")
        write_openvino(scaffold[0], scaffold[1])
    source = Source(model, faces, target, order.recipe, scaffold[0], learned)
    entries = []
    for engine, precision in wanted:
        path = folder / f"{precision}{ENGINES[engine].suffix}"
        if not path.exists():
            step(f"writing {path.name}")
            _write_one(source, engine, precision, path)
        left = order.recipe.float_layers if precision == Precision.INT8 else ()
        operators = _inspected(engine, path, precision, left, layers)
        entries.append(bundle_writer.variant_entry(engine, precision, path, operators, left))
    _remove_unlisted(scaffold, entries)
    return entries


def _checked(learned: dict[str, Range] | None, points: set[str]) -> dict[str, Range]:
    if learned is None:
        raise ConversionError(
            "the run has learned no ranges; train it with --quantization-aware, or give --ranges minmax"
        )
    if missing := sorted(points - {INPUT} - set(learned)):
        raise ConversionError(f"the run has learned no range of {', '.join(missing)}; give --ranges minmax")
    return learned


def _write_one(source: Source, engine: str, precision: Precision, path: Path) -> None:
    ranges = source.ranges if precision == Precision.INT8 else None
    if engine == "tflite":
        write_tflite(source.model, path, precision, source.faces, source.recipe, ranges)
    elif engine == "onnx":
        quantize_onnx(path.with_name("float32.onnx"), path, source.faces, source.target, source.recipe, ranges)
    elif engine == "tensorrt":
        write_tensorrt(path.with_name("float32.onnx"), path, precision, source.faces, source.recipe, ranges)
    else:
        quantize_openvino(path.with_name("float32.xml"), path, source.faces, source.target, source.recipe, ranges)


def _inspected(
    engine: str, path: Path, precision: Precision, left: tuple[str, ...], layers: list[str]
) -> dict[str, int]:
    """What the file computes in; TensorRT's is read, for no engine here runs it."""
    if engine == "tensorrt":
        return inspect_tensorrt(path, precision, len(left))
    return inspect(engine, path, precision, left, layers)


def _remove_unlisted(scaffold: list[Path], entries: list[dict[str, Any]]) -> None:
    kept = {e["file"] for e in entries} | {c["file"] for e in entries for c in e["companions"]}
    for path in scaffold:
        if path.name not in kept:
            path.unlink(missing_ok=True)
