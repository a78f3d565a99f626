"""One operator of a model in the format that every engine's list has: type, multiply-adds, bytes, precision, time.

Owns the format and what follows from shapes and types alone. Must not know an engine or a file format.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = dict[str, Any]
"""`{"name", "type", "count", "time_us", "share", "macs", "bytes", "precision"}`; not measured or not known is None."""

_NAMES = {
    **dict.fromkeys(("f32", "float"), "float32"),
    **dict.fromkeys(("f16", "half"), "float16"),
    **dict.fromkeys(("bf16",), "bfloat16"),
    **dict.fromkeys(("f64", "double"), "float64"),
    **dict.fromkeys(("i8", "u8", "uint8", "int8"), "int8"),
    **{f"i{bits}": f"int{bits}" for bits in (4, 16, 32, 64)},
}
_VIEWS = {"RESHAPE", "SQUEEZE", "UNSQUEEZE", "EXPANDDIMS", "FLATTEN", "IDENTITY"}
_UNCOUNTED = re.compile(r"CONV(?!ERT)|LSTM|GRU|RNN|ATTENTION|EINSUM|MATMUL|GEMM|FULLY_?CONNECTED|SVDF", re.IGNORECASE)


@dataclass(frozen=True)
class Profile:
    """Rows with times, the time of a whole call in microseconds, and in words how the operators were timed."""

    rows: list[Row]
    whole_us: float
    how: str


def row(name: str, kind: str, macs: int | None, moved_bytes: int | None, precision: str) -> Row:
    """A row without its time. A view (reshape, squeeze) moves nothing, whatever its shapes say."""
    view = kind.upper().replace("_", "") in _VIEWS
    return {
        "name": name,
        "type": kind,
        "count": 1,
        "time_us": None,
        "share": None,
        "macs": macs,
        "bytes": 0 if view else moved_bytes,
        "precision": precision,
    }


def timed(rows: list[Row], times_us: Sequence[float | None]) -> list[Row]:
    """The rows with their times in microseconds, and each time's share of their sum."""
    total = sum(t for t in times_us if t is not None)
    return [
        entry | {"time_us": t, "share": t / total if t is not None and total else None}
        for entry, t in zip(rows, times_us, strict=True)
    ]


def is_heavy(entry: Row) -> bool:
    """Whether the operator multiplies and adds: a convolution or a matrix product, counted or not."""
    return entry["macs"] is None or entry["macs"] > 0


def other_macs(kind: str) -> int | None:
    """Multiply-adds of a type that has no formula here: none, or None where its name says that it is a product."""
    return None if _UNCOUNTED.search(kind) else 0


def product_macs(output: Iterable[int], terms: Iterable[int]) -> int:
    """Multiply-adds of a convolution or matrix product: each output element adds up one product a term.

    Terms are (k_h, k_w, in_channels / groups) for a convolution, (in,) for a dense layer. Padding counts, as is usual.
    """
    return math.prod(output) * math.prod(terms)


def tensor_bytes(shape: Iterable[int], type_name: str) -> int:
    """Size of a tensor; a type is a name with its bits, as float32, u8, int4; boolean is a byte."""
    bits = re.search(r"\d+", _NAMES.get(type_name, type_name))
    return math.ceil(math.prod(shape) * (int(bits.group()) if bits else 8) / 8)


def precision_name(type_name: str) -> str:
    """An engine's word for a type in ours: f32 is float32, u8 and i8 are int8."""
    word = type_name.lower()
    return _NAMES.get(word, word)


def data_precision(types: Iterable[str]) -> str:
    """What an operator that is no product computes in, from the types of its inputs and outputs.

    Float as soon as one is float: a cast or a quantization does its arithmetic there. Else int8; a type that is only
    found in shapes and indices counts where there is nothing else.
    """
    names = [precision_name(name) for name in types]
    for wanted in ("float", "bfloat", "int8"):
        for name in names:
            if name.startswith(wanted):
                return name
    return names[0] if names else "unknown"


def usual_ns(samples_ns: Sequence[int] | NDArray[np.int64]) -> float:
    """Mean of the fastest quarter of repeated timings: a neighbour only ever adds time, whole microseconds average."""
    ordered = np.sort(np.asarray(samples_ns))
    return float(ordered[: (len(ordered) + 3) // 4].mean())
