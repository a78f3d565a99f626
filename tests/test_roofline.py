"""Peaks from products that come out right, and a model's share of them worked out by hand. No time is measured here."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fer_edge.devices.errors import EngineError
from fer_edge.edge_runtime import engines, roofline
from fer_edge.edge_runtime.operator_row import row
from fer_edge.edge_runtime.roofline import attained, last_cache_bytes, measure_peaks, peak_for
from fer_edge.edge_runtime.roofline_models import Product
from fer_edge.edge_runtime.vocabulary import Precision

INT8, FLOAT32 = Precision.INT8, Precision.FLOAT32
ENGINES = ["tflite", "onnx", "openvino"]
PEAK = {
    "engine": "tflite", "precision": "int8", "threads": 1, "peak_gops": 100.0, "bandwidth_gb_s": 10.0,
    "cache_bandwidth_gb_s": 40.0, "cache_bytes": 2_000_000, "matrix": "", "note": "",
}  # fmt: skip
CONVOLUTION = row("c", "CONV_2D", 50_000_000, 400_000, "int8")  # 1 ms at the peak, 0.01 ms from the cache
DENSE = row("d", "FULLY_CONNECTED", 1_000_000, 1_200_000, "int8")  # 0.02 ms at the peak, 0.03 ms from the cache
POOLING = row("p", "MAX_POOL_2D", 0, 80_000, "int8")  # 0.002 ms from the cache


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("precision", [INT8, FLOAT32])
@pytest.mark.parametrize("shape", [(1, 300, 70), (20, 130, 50)])
def test_the_product_is_right_and_runs_in_its_precision(engine: str, precision: Precision, shape) -> None:
    product = Product(*shape, precision)
    started = roofline._start(engine, product, 1)
    started.run()
    expected, got = product.expected(), started.result()
    assert got.shape == expected.shape == shape[::2]
    # Half a step of the output, and a hair for the order of the sums.
    np.testing.assert_allclose(
        got, expected, rtol=1e-4, atol=product.output_scale * 0.51 if precision == INT8 else 1e-4
    )
    # Numbers that come out all alike, or at the ends of the range, would prove nothing.
    assert expected.std() > 4 * product.output_scale
    assert np.abs(expected).max() < 127 * product.output_scale
    assert started.ran_in == str(precision)


def test_a_product_knows_its_size() -> None:
    product = Product(144, 2304, 256, FLOAT32)
    assert (product.name, product.macs, product.weight_bytes) == ("144x2304x256", 84_934_656, 2_359_296)
    assert Product(1, 8, 4, INT8).weight_bytes == 32
    assert np.abs(Product(1, 999, 999, INT8).weights).max() == 63
    rows = Product(1, 300, 700, INT8).weights
    assert len(np.unique(rows, axis=0)) == 700


def fake_machine(monkeypatch: pytest.MonkeyPatch, ran_in: str = "", cache: int | None = 1 << 20) -> list[tuple]:
    """An engine with a clock of its own: 100 multiply-adds a ns, weights at 8 bytes a ns, 32 out of the cache."""
    now, started = [0], []

    def start(engine: str, product: Product, threads: int) -> Any:
        started.append((engine, product, threads))
        per_ns = 32 if cache and product.weight_bytes <= cache else 8
        least = max(product.macs / 100, product.weight_bytes / per_ns if product.rows == 1 else 0)
        # Every third call is disturbed.
        calls = iter(range(10**9))

        def run() -> None:
            now[0] += int(least * (5 if next(calls) % 3 == 0 else 1))

        return SimpleNamespace(run=run, ran_in=ran_in or str(product.precision), result=None)

    monkeypatch.setattr(roofline, "_start", start)
    monkeypatch.setattr(roofline, "last_cache_bytes", lambda: cache)
    monkeypatch.setattr(roofline.time, "perf_counter_ns", lambda: now[0])
    return started


def test_peaks_are_those_of_the_fastest_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    started = fake_machine(monkeypatch)
    subjects = [("tflite", FLOAT32, 2), ("tflite", Precision.FLOAT16, 2), ("onnx", INT8, 1)]
    first, second = measure_peaks(subjects, seconds=0.01)
    assert (first["engine"], first["precision"], first["threads"]) == ("tflite", "float32", 2)
    assert (second["engine"], second["precision"], second["threads"]) == ("onnx", "int8", 1)
    for peak in (first, second):
        assert peak["peak_gops"] == pytest.approx(200, rel=1e-3)
        assert peak["bandwidth_gb_s"] == pytest.approx(8, rel=1e-3)
        assert peak["cache_bandwidth_gb_s"] == pytest.approx(32, rel=1e-3)
        assert peak["cache_bytes"] == 1 << 20
    # At least sixteen megabytes from memory, a quarter of the cache from the cache.
    sizes = {product.weight_bytes for engine, product, _ in started if engine == "onnx" and product.rows == 1}
    assert sizes == {16 << 20, 1 << 18}
    assert second["note"] == "fastest of 4 products; weights of 17 MB from memory"
    assert peak_for([first, second], "onnx", Precision.DYNAMIC_INT8, 1) is second
    assert peak_for([first, second], "tflite", Precision.FLOAT16, 2) is first
    assert peak_for([first, second], "tflite", FLOAT32, 1) is None


def test_what_is_not_as_it_should_be_is_in_the_note(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_machine(monkeypatch, ran_in="float16", cache=None)
    (peak,) = measure_peaks([("openvino", INT8, 1)], seconds=0)
    assert peak["note"] == (
        "fastest of 4 products; weights of 67 MB from memory; the size of this processor's cache is not known; "
        "openvino multiplies int8 in float16 on this processor"
    )
    assert (peak["cache_bandwidth_gb_s"], peak["cache_bytes"]) == (None, None)

    fake_machine(monkeypatch, cache=256 << 20)
    monkeypatch.setattr(roofline, "_available_bytes", lambda: 4 << 30)
    (peak,) = measure_peaks([("tflite", INT8, 1)], seconds=0)
    assert "only 2.0 times the last cache: part of them may stay there" in peak["note"]


def test_a_small_board_is_not_filled_with_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "_available_bytes", lambda: 80 << 20)
    assert roofline._beyond_bytes(512 << 10) == 10 << 20
    monkeypatch.setattr(roofline, "_available_bytes", lambda: None)
    assert roofline._beyond_bytes(512 << 10) == 16 << 20
    assert roofline._beyond_bytes(32 << 20) == 128 << 20
    assert roofline._beyond_bytes(1 << 30) == 512 << 20


def test_an_engine_that_is_not_there_has_no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match="unknown engine 'ncnn'"):
        measure_peaks([("ncnn", INT8, 1)])
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    with pytest.raises(EngineError, match="onnxruntime is not installed; run: pip install"):
        measure_peaks([("onnx", INT8, 1)])


def test_the_predecessor_of_litert_has_no_writer_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name="ai_edge_litert.schema_py_generated")

    monkeypatch.setattr(roofline, "import_module", without)
    with pytest.raises(EngineError, match=r"ai-edge-litert is not installed, .*; run: pip install ai-edge-litert"):
        measure_peaks([("tflite", INT8, 1)])


def test_the_ceiling_is_the_sum_of_each_operators_own() -> None:
    got = attained([CONVOLUTION, DENSE, POOLING], 2.0, 1, PEAK)
    assert got is not None
    assert got["gops"] == pytest.approx(102e6 / 2e6)
    assert got["intensity"] == pytest.approx(102e6 / 1_680_000)
    assert got["attainable_gops"] == pytest.approx(102e6 / (1_000_000 + 30_000 + 2_000))  # ns
    assert got["share"] == pytest.approx(1.032 / 2)
    assert (got["bound"], got["bytes_from"]) == ("compute", "cache")
    assert got["attainable_gops"] < min(100, 40 * got["intensity"])


def test_what_the_cache_does_not_hold_comes_from_memory() -> None:
    got = attained([DENSE, DENSE | {"name": "e"}], 0.5, 1, PEAK)
    assert got is not None
    assert got["attainable_gops"] == pytest.approx(4e6 / 240_000)  # 2.4 MB at 10 bytes a ns
    assert got["attainable_gops"] == pytest.approx(10 * got["intensity"])
    assert (got["bound"], got["bytes_from"], got["share"]) == ("memory", "memory", pytest.approx(0.48))
    # Where the cache is not known, nothing is known to stay there.
    unknown = PEAK | {"cache_bytes": None, "cache_bandwidth_gb_s": None}
    assert attained([DENSE], 0.5, 1, unknown)["bytes_from"] == "memory"


def test_a_call_of_several_faces_does_as_many_times_the_work() -> None:
    one, eight = (attained([CONVOLUTION, POOLING], 2.0 * faces, faces, PEAK) for faces in (1, 8))
    assert one == pytest.approx(eight)


@pytest.mark.parametrize("rows", [[], [POOLING], [CONVOLUTION, row("l", "LSTM", None, 8, "int8")]])
def test_no_share_without_a_count_of_the_work(rows) -> None:
    assert attained(rows, 1.0, 1, PEAK) is None


def test_the_last_cache_is_read_from_the_kernel(tmp_path: Path) -> None:
    assert last_cache_bytes(tmp_path) is None
    for index, (level, size) in enumerate([("1", "48K"), ("1", "32K"), ("2", "1024K"), ("3", "32M")]):
        folder = tmp_path / f"sys/devices/system/cpu/cpu0/cache/index{index}"
        folder.mkdir(parents=True)
        (folder / "level").write_text(level + "\n")
        (folder / "size").write_text(size + "\n")
    assert last_cache_bytes(tmp_path) == 32 << 20
