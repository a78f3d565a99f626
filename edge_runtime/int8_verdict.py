"""Is it really int8? What of a variant runs in int8 on this machine, what was left in float, and whether int8 pays.

Owns the verdict and its words. Judges from the operators that the engine runs, never from a file's name; measures
nothing. Must not know an engine's format.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from fer_edge.devices.machine import cpu_info, int8_features
from fer_edge.edge_runtime.operator_row import Row, is_heavy
from fer_edge.edge_runtime.vocabulary import Precision

INT8, PARTLY, NOT = "int8", "partly int8", "not int8"


def verdict(
    engine: str, model: Path, precision: Precision, operators: list[Row], ratio: dict[str, Any] | None
) -> dict[str, Any]:
    """Judge one variant by its convolutions and matrix products.

    Args:
        engine: the engine that runs it.
        model: its file; only its name is used.
        precision: what the file is said to be.
        operators: as of `operators.list_operators` or `operators.profile_operators`.
        ratio: `{"time_ratio", "interval": [low, high]}` of the variant's time over that of float32 in the same engine
            with the same threads and batch; None where that was not measured.

    Returns:
        `{"verdict", "operators_int8", "operators_float", "mac_share_int8", "left_in_float", "instructions", "runs_in",
        "pays", "why"}`. The verdict is "int8" when every convolution and matrix product runs in int8, "partly int8"
        when some do, else "not int8". `mac_share_int8` is None where an operator's multiply-adds are not known. `pays`
        is True when the whole interval is under 1, False when it is over 1, and None without evidence or where nothing
        is multiplied in int8.
    """
    heavy = [entry for entry in operators if is_heavy(entry)]
    quantized = [entry for entry in heavy if entry["precision"] == "int8"]
    instructions = list(int8_features(cpu_info()[1]))
    runs_in = Counter(entry["precision"] for entry in operators)
    judged = INT8 if heavy and len(quantized) == len(heavy) else PARTLY if quantized else NOT
    share = _mac_share(heavy, quantized)
    multiplies_int8 = any(entry["precision"] in ("int8", "dynamic-int8") for entry in heavy)
    pays = _pays(ratio) if multiplies_int8 else None
    sentence = _what_runs(judged, model, precision, heavy, share) + _half_precision(engine, operators)
    if multiplies_int8:
        sentence += _with(instructions) + _what_it_brings(pays, ratio)
    return {
        "verdict": judged,
        "operators_int8": runs_in["int8"],
        "operators_float": sum(count for name, count in runs_in.items() if _is_float(name)),
        "mac_share_int8": share,
        "left_in_float": [f"{each['name']} {each['type']}" for each in heavy if _is_float(each["precision"])],
        "instructions": instructions,
        "runs_in": dict(sorted(runs_in.items())),
        "pays": pays,
        "why": sentence,
    }


def _is_float(precision: str) -> bool:
    return precision.startswith(("float", "bfloat"))


def _mac_share(heavy: list[Row], quantized: list[Row]) -> float | None:
    if not heavy or any(entry["macs"] is None for entry in heavy):
        return None
    return sum(entry["macs"] for entry in quantized) / sum(entry["macs"] for entry in heavy)


def _pays(ratio: dict[str, Any] | None) -> bool | None:
    if ratio is None:
        return None
    low, high = ratio["interval"]
    return True if high < 1 else False if low > 1 else None


def _what_runs(judged: str, model: Path, precision: Precision, heavy: list[Row], share: float | None) -> str:
    counts = Counter(entry["precision"] for entry in heavy)
    total, name = len(heavy), model.name
    if not heavy:
        return f"{name} has no convolution and no matrix product"
    if judged == INT8:
        return f"all {total} convolutions and matrix products of {name} run in int8"
    if judged == PARTLY:
        part = "" if share is None else f", {share:.0%} of the multiply-adds"
        return f"{counts['int8']} of {total} convolutions and matrix products of {name} run in int8{part}"
    dynamic = counts.pop("dynamic-int8", 0)
    where = " and ".join(f"{count} in {kind}" for kind, count in sorted(counts.items()))
    if dynamic:
        rest = f", {where}" if where else ""
        parts = f"{dynamic} take float and quantize it on the way{rest}"
        return f"of {total} convolutions and matrix products of {name}, {parts}"
    said = f"{name} is said to be int8, but its" if precision == Precision.INT8 else f"{name}'s"
    where = next(iter(counts)) if len(counts) == 1 else f"float: {where}"
    return f"{said} {total} convolutions and matrix products run in {where}"


def _half_precision(engine: str, operators: list[Row]) -> str:
    """fp16 and bf16 are the engine's own choice for this processor, never the file's."""
    halves = Counter(each["precision"] for each in operators if each["precision"] in ("float16", "bfloat16"))
    if engine != "openvino" or not halves:
        return ""
    parts = " and ".join(f"{count} operators in {name}" for name, count in sorted(halves.items()))
    return f"; OpenVINO runs {parts} on this processor"


def _with(instructions: list[str]) -> str:
    if not instructions:
        return "; this processor has no int8 dot product"
    return f"; this processor has {' and '.join(instructions)} for it"


def _what_it_brings(pays: bool | None, ratio: dict[str, Any] | None) -> str:
    if ratio is None:
        return ""
    low, high = ratio["interval"]
    times = f"{ratio['time_ratio']:.2f} of float32's time ({low:.2f} to {high:.2f})"
    if pays is None:
        return f"; whether int8 pays here is open: it takes {times}"
    return f"; int8 pays here: it takes {times}" if pays else f"; int8 does not pay here: it takes {times}"
