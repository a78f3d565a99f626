"""Judges each written file by what its own engine computes in: int8 asked for means int8 or an error.

Owns the judgement. What the engine runs, `edge_runtime/operators.py` lists.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from fer_edge.devices.errors import ConversionError
from fer_edge.edge_runtime.operator_row import Row, is_heavy
from fer_edge.edge_runtime.operators import list_operators
from fer_edge.edge_runtime.quantization import Quantization
from fer_edge.edge_runtime.vocabulary import Precision

Operators = dict[str, int]
"""Operators by precision and name, as {"int8 CONV_2D": 7}."""
_NO_ARITHMETIC = ("QuantizeLinear", "DequantizeLinear", "Cast", "Transpose", "Reorder", "ReorderInput", "ReorderOutput")
"""Left out: a change of type or of layout, which ONNX Runtime and OpenVINO put in as the processor likes it."""

_BORDERS = ("QUANTIZE", "DEQUANTIZE")
"""Between a layer that was asked to stay in float and the rest."""


def inspect(
    engine: str, path: Path, precision: Precision, allow_float: Collection[str] = (), layers: Sequence[str] = ()
) -> Operators:
    """Count operators by the precision that they run in.

    Args:
        engine: whose file it is.
        path: the file.
        precision: what was asked for.
        allow_float: layers that were asked to stay in float: those must be, and no others may.
        layers: names of all layers in order of execution, as in `convert/layers.py`; needed with `allow_float` alone.

    Raises:
        ConversionError: int8 was asked for and a convolution or matrix product is left in float, or nothing is int8.
        EngineError: the engine does not take the file, or float was asked for and it runs in int8.
    """
    rows = [entry for entry in list_operators(engine, path, precision) if entry["type"] not in _NO_ARITHMETIC]
    counts = Counter(f"{entry['precision']} {entry['type']}" for entry in rows)
    operators = dict(sorted(counts.items()))
    if precision == Precision.INT8:
        _check_layers(path, [entry for entry in rows if is_heavy(entry)], allow_float, layers)
        floats = {e["type"] for e in rows if e["precision"].startswith("float") and not is_heavy(e)}
        if engine == "tflite" and floats - set(_BORDERS if allow_float else ()):
            raise ConversionError(f"{path.name} was to be int8 throughout, but holds float operators: {operators}")
    return operators


def _check_layers(path: Path, heavy: list[Row], allow_float: Collection[str], layers: Sequence[str]) -> None:
    """Raises ConversionError unless the convolutions and products in float are those that were asked for."""
    if allow_float:
        if len(heavy) != len(layers):
            raise ConversionError(
                f"{path.name} runs {len(heavy)} convolutions and matrix products for the network's {len(layers)}, so "
                f"that {', '.join(allow_float)} cannot be found in it; convert without --float-layers"
            )
        found = [name for name, entry in zip(layers, heavy, strict=True) if entry["precision"] != "int8"]
        if set(found) != set(allow_float):
            raise ConversionError(
                f"{path.name} was to be int8 but for {', '.join(allow_float)}, and its engine runs "
                f"{', '.join(found) or 'nothing'} in float; no bundle was written"
            )
    left = [f"{entry['precision']} {entry['type']}" for entry in heavy if entry["precision"] != "int8"]
    if len(left) == len(heavy) or (left and not allow_float):
        raise ConversionError(
            f"{path.name} was to be int8, but {', '.join(dict.fromkeys(left)) or 'every convolution'} stayed in "
            "float; no bundle was written"
        )


def tflite_quantization(path: Path) -> tuple[Quantization, Quantization]:
    """Input's and output's scale and zero point of an int8 TFLite file."""
    from ai_edge_litert.interpreter import Interpreter

    lite = Interpreter(model_content=path.read_bytes())
    ends = (lite.get_input_details()[0]["quantization"], lite.get_output_details()[0]["quantization"])
    first, last = (Quantization(float(scale), int(zero_point)) for scale, zero_point in ends)
    return first, last
