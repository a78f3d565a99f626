"""The roofline: what this machine could do through an engine, and how far a model stays from it.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore architectures",
2009. Peaks are measured, not looked up: the fastest of large matrix products is the compute peak, and a matrix times a
vector, which touches each weight once, shows how fast weights come from memory or from the last cache. Both go through
the engine under test, so a peak says what its kernels make of this processor. Must not know an engine's format: each
has a file for that.
"""

import time
from importlib import import_module
from pathlib import Path
from typing import Any

from fer_edge.devices.errors import EngineError
from fer_edge.devices.machine import read_text
from fer_edge.edge_runtime.engines import check_known
from fer_edge.edge_runtime.operator_row import Row
from fer_edge.edge_runtime.roofline_models import Product, StartedProduct
from fer_edge.edge_runtime.vocabulary import Precision

_PRODUCTS = {
    "tflite": ("fer_edge.edge_runtime.roofline_tflite", "TfliteProduct"),
    "onnx": ("fer_edge.edge_runtime.roofline_onnx", "OnnxProduct"),
    "openvino": ("fer_edge.edge_runtime.roofline_openvino", "OpenvinoProduct"),
}
_SHAPES = ((144, 2304, 256), (256, 1024, 1024), (384, 2048, 512), (512, 512, 512))
"""Rows, inner, columns: as of a convolution of 3x3 over 256 channels, and dense ones; which is fastest depends on the
kernels' tiles."""
_INNER = 4096
_BEYOND, _WITHIN = 4, 0.25
"""Size of the weights that come from memory, and of those that come from the last cache, in caches."""
_UNKNOWN_CACHE_BEYOND, _LEAST_BEYOND, _MOST_BEYOND = 64 << 20, 16 << 20, 512 << 20
_MEMORY_SHARE = 8
"""An engine holds the weights up to four times while it repacks them; the rest of the machine is not ours."""
_MIN_CALLS = 3


def measure_peaks(subjects: list[tuple[str, Precision, int]], seconds: float = 1.0) -> list[dict[str, Any]]:
    """Measure the compute peak and the bandwidths of each engine, precision and number of threads.

    Args:
        subjects: engine, precision, threads. float16 is measured as float32 and dynamic-int8 as int8, which is what
            they multiply in; what is the same is measured once.
        seconds: for the compute peak, and again for the bandwidths; a call is made three times at least.

    Returns:
        `{"engine", "precision": "int8" or "float32", "threads", "peak_gops": 10^9 operations a second, two a
        multiply-add, "bandwidth_gb_s": from memory, "cache_bandwidth_gb_s": from the last cache or None where its size
        is not known, "cache_bytes", "matrix", "note"}` each. The note says what was measured, and when the engine
        multiplies in another precision than asked for.

    Raises:
        EngineError: an engine is not installed, or does not take the product.
    """
    wanted = list(dict.fromkeys((engine, _multiplied(precision), threads) for engine, precision, threads in subjects))
    return [_peak(*subject, seconds) for subject in wanted]


def peak_for(peaks: list[dict[str, Any]], engine: str, precision: Precision, threads: int) -> dict[str, Any] | None:
    """The peak that a variant is held against, or None where it was not measured."""
    key = (engine, _multiplied(precision), threads)
    return next((peak for peak in peaks if (peak["engine"], peak["precision"], peak["threads"]) == key), None)


def attained(operators: list[Row], median_ms: float, batch: int, peak: dict[str, Any]) -> dict[str, Any] | None:
    """What a model makes of the machine.

    The ceiling is the sum of each operator's own: none takes less than its operations at the peak, nor than its bytes
    at the bandwidth. That is lower, and closer to what can be had, than the one min(peak, bandwidth x intensity) of the
    whole, which supposes that the pooling's bytes move while the convolutions compute. A model whose weights,
    inputs and outputs fit into the last cache stays there from call to call, so its bytes come at the cache's
    bandwidth; a larger one's at the memory's.

    Padding counts as multiply-adds, as is usual; an engine that skips it, as OpenVINO does, can exceed a peak on small
    images. A share over 1 by more than that and the noise means that one of the two was measured badly.

    Args:
        operators: as of `operators.list_operators`.
        median_ms: of one call.
        batch: faces in that call.
        peak: as of `measure_peaks`, for the variant's engine, precision and threads.

    Returns:
        `{"gops": attained, "intensity": operations a byte, "attainable_gops", "share": attained / attainable, "bound":
        "compute" or "memory", by which of the two most of the least time goes to, "bytes_from": "cache" or "memory"}`;
        None where the multiply-adds of an operator are not known, or there are none.
    """
    if any(entry["macs"] is None or entry["bytes"] is None for entry in operators):
        return None
    work = [(2 * entry["macs"] * batch, entry["bytes"] * batch) for entry in operators]
    operations, moved = (sum(column) for column in zip(*work, strict=True)) if work else (0, 0)
    if not operations or not moved:
        return None
    cached = peak["cache_bandwidth_gb_s"] is not None and moved / batch <= peak["cache_bytes"]
    bandwidth = peak["cache_bandwidth_gb_s"] if cached else peak["bandwidth_gb_s"]
    least = [(ops / peak["peak_gops"], size / bandwidth) for ops, size in work]  # ns, as GOPS are operations a ns
    least_ns = sum(max(pair) for pair in least)
    computing_ns = sum(compute for compute, memory in least if compute >= memory)
    gops, attainable = operations / (median_ms * 1e6), operations / least_ns
    return {
        "gops": gops,
        "intensity": operations / moved,
        "attainable_gops": attainable,
        "share": gops / attainable,
        "bound": "compute" if 2 * computing_ns >= least_ns else "memory",
        "bytes_from": "cache" if cached else "memory",
    }


def last_cache_bytes(root: Path = Path("/")) -> int | None:
    """Size of the first processor's last cache, as the kernel gives it. `root` is for tests."""
    found = []
    for index in (root / "sys/devices/system/cpu/cpu0/cache").glob("index*"):
        level, size = read_text(index / "level"), read_text(index / "size")
        if level and size and size[:-1].isdigit() and size[-1] in "KM":
            found.append((int(level), int(size[:-1]) << (10 if size[-1] == "K" else 20)))
    return max(found)[1] if found else None


def _multiplied(precision: Precision) -> Precision:
    return Precision.INT8 if precision in (Precision.INT8, Precision.DYNAMIC_INT8) else Precision.FLOAT32


def _start(engine: str, product: Product, threads: int) -> StartedProduct:
    check_known(engine)
    if engine not in _PRODUCTS:
        raise EngineError(f"there is no roofline of {engine}; leave --roofline out, or give --only another engine")
    name, class_name = _PRODUCTS[engine]
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0].replace("_", "-")
        raise EngineError(
            f"{missing} is not installed, and a product for {engine} needs it; run: pip install {missing}"
        ) from error
    started: StartedProduct = getattr(module, class_name)(product, threads)
    return started


def _peak(engine: str, precision: Precision, threads: int, seconds: float) -> dict[str, Any]:
    products = [Product(*shape, precision) for shape in _SHAPES]
    rates, ran_in = [], str(precision)
    for product in products:
        started = _start(engine, product, threads)
        ran_in = started.ran_in
        rates.append(2 * product.macs / _fastest_ns(started, seconds / len(products)))
    best = max(range(len(rates)), key=rates.__getitem__)
    cache = last_cache_bytes()
    beyond = _vector(_beyond_bytes(cache), precision)
    within = None if cache is None else _vector(int(cache * _WITHIN), precision)
    note = f"fastest of {len(products)} products; weights of {beyond.weight_bytes / 1e6:.0f} MB from memory"
    if cache is None:
        note += "; the size of this processor's cache is not known"
    elif beyond.weight_bytes < _BEYOND * cache * 0.9:
        note += f", only {beyond.weight_bytes / cache:.1f} times the last cache: part of them may stay there"
    if ran_in != str(precision):
        note += f"; {engine} multiplies {precision} in {ran_in} on this processor"
    return {
        "engine": engine,
        "precision": str(precision),
        "threads": threads,
        "peak_gops": rates[best],
        "bandwidth_gb_s": _bandwidth(engine, beyond, threads, seconds / 2),
        "cache_bandwidth_gb_s": within and _bandwidth(engine, within, threads, seconds / 2),
        "cache_bytes": cache,
        "matrix": products[best].name,
        "note": note,
    }


def _bandwidth(engine: str, product: Product, threads: int, seconds: float) -> float:
    """10^9 bytes of weights a second."""
    return product.weight_bytes / _fastest_ns(_start(engine, product, threads), seconds)


def _vector(size_bytes: int, precision: Precision) -> Product:
    """A vector by a matrix of about this size."""
    width = 1 if precision == Precision.INT8 else 4
    return Product(1, _INNER, max(16, size_bytes // (_INNER * width)), precision)


def _beyond_bytes(cache: int | None) -> int:
    """Size of weights that the last cache cannot hold and the memory can."""
    wanted = _UNKNOWN_CACHE_BEYOND if cache is None else min(max(_BEYOND * cache, _LEAST_BEYOND), _MOST_BEYOND)
    available = _available_bytes()
    return wanted if available is None else min(wanted, available // _MEMORY_SHARE)


def _available_bytes() -> int | None:
    for line in (read_text("/proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _fastest_ns(started: StartedProduct, seconds: float) -> int:
    """The fastest call: a peak is what the machine can do when nothing comes in between."""
    clock = time.perf_counter_ns
    taken: list[int] = []
    started.run()
    end = clock() + int(seconds * 1e9)
    while len(taken) < _MIN_CALLS or clock() < end:
        begun = clock()
        started.run()
        taken.append(clock() - begun)
    return min(taken)
