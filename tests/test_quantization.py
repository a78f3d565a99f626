"""Rounding, saturation, softmax and percentiles, in integers and fractions written out."""

import numpy as np
import pytest

from fer_edge.edge_runtime.latency import MIN_SAMPLES, percentile_ms, summarize
from fer_edge.edge_runtime.quantization import Quantization, dequantize, pixel_table, quantize
from fer_edge.edge_runtime.vocabulary import softmax

UNIT = Quantization(1.0, 0)


@pytest.mark.parametrize(
    ("q", "real", "expected"),
    [
        (UNIT, [0.5, 1.5, 2.5, -0.5, -1.5, -2.5], [0, 2, 2, 0, -2, -2]),  # half to even
        (UNIT, [0.49, 0.51, -0.49, -0.51], [0, 1, 0, -1]),
        (UNIT, [126.5, 127.0, 127.5, 128.0, 200.0, 1e9, np.inf], [126, 127, 127, 127, 127, 127, 127]),
        (UNIT, [-127.5, -128.0, -128.5, -129.0, -200.0, -1e9, -np.inf], [-128] * 7),
        (Quantization(0.5, 10), [0.0, 1.0, -1.0, 58.5, 59.0, -69.0, -70.0], [10, 12, 8, 127, 127, -128, -128]),
        (Quantization(1.0, -128), [0.0, 1.0, 127.0, 128.0, 200.0, 255.0, 256.0], [-128, -127, -1, 0, 72, 127, 127]),
        (Quantization(1 / 255, -128), [0.0, 100 / 255, 1.0], [-128, -28, 127]),
    ],
)
def test_quantize_rounds_half_to_even_then_saturates(q: Quantization, real: list[float], expected: list[int]) -> None:
    got = quantize(np.array(real), q)
    assert got.dtype == np.int8
    assert got.tolist() == expected


def test_200_saturates_and_does_not_wrap_to_minus_56() -> None:
    assert int(quantize(np.array(200.0), UNIT)) == 127


def test_quantize_keeps_the_shape() -> None:
    assert quantize(np.zeros((2, 3, 4)), UNIT).shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("q", "stored", "real"),
    [
        (UNIT, [-128, -1, 0, 127], [-128.0, -1.0, 0.0, 127.0]),
        (Quantization(0.5, 10), [-128, 10, 12, 127], [-69.0, 0.0, 1.0, 58.5]),
        (Quantization(0.25, -128), [-128, 0, 127], [0.0, 32.0, 63.75]),
    ],
)
def test_dequantize(q: Quantization, stored: list[int], real: list[float]) -> None:
    got = dequantize(np.array(stored, np.int8), q)
    assert got.dtype == np.float32
    assert got.tolist() == real


@pytest.mark.parametrize("scale", [1.0, 0.5, 1 / 255, 0.0478515, 3.7])
@pytest.mark.parametrize("zero_point", [-128, -7, 0, 127])
def test_what_was_dequantized_quantizes_back(scale: float, zero_point: int) -> None:
    q = Quantization(scale, zero_point)
    every = np.arange(-128, 128).astype(np.int8)
    np.testing.assert_array_equal(quantize(dequantize(every, q), q), every)


def test_the_pixel_table_of_raw_pixels_is_a_flipped_sign_bit() -> None:
    pixels = np.arange(256, dtype=np.uint8)
    table = pixel_table(Quantization(1.0, -128))
    assert table.dtype == np.int8
    np.testing.assert_array_equal(table, (pixels ^ 0x80).view(np.int8))


@pytest.mark.parametrize(
    ("q", "at", "expected"),
    [
        (Quantization(1.0, 0), [0, 127, 128, 255], [0, 127, 127, 127]),
        (Quantization(2.0, -128), [0, 1, 2, 3, 255], [-128, -128, -127, -126, 0]),
        (Quantization(0.5, -128), [0, 1, 127, 128, 255], [-128, -126, 126, 127, 127]),
    ],
)
def test_the_pixel_table_of_other_scales(q: Quantization, at: list[int], expected: list[int]) -> None:
    assert pixel_table(q).shape == (256,)
    assert pixel_table(q)[at].tolist() == expected


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_not_positive_is_an_error(scale: float) -> None:
    with pytest.raises(ValueError, match=rf"^expected a positive scale, got {scale}$"):
        Quantization(scale, 0)


@pytest.mark.parametrize("zero_point", [-129, 128, 255, 0.5])
def test_a_zero_point_outside_int8_is_an_error(zero_point: float) -> None:
    with pytest.raises(ValueError, match=rf"^expected a zero point in -128\.\.127, got {zero_point}$"):
        Quantization(1.0, zero_point)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([0.0] * 7, [1 / 7] * 7),
        ([1e4, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0]),
        ([-1e4, 0, 0, 0, 0, 0, 0], [0, *[1 / 6] * 6]),
        ([1e4, 1e4, -1e4, -1e4, -1e4, -1e4, -1e4], [0.5, 0.5, 0, 0, 0, 0, 0]),
        ([np.log(2), 0, 0, 0, 0, 0, 0], [2 / 8, *[1 / 8] * 6]),
    ],
)
def test_softmax(logits: list[float], expected: list[float]) -> None:
    got = softmax(np.array(logits, np.float32))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)


def test_softmax_takes_each_row_by_itself() -> None:
    rows = np.array([[0.0] * 7, [1e4, *[0.0] * 6]], np.float32)
    np.testing.assert_allclose(softmax(rows), [[1 / 7] * 7, [1, *[0] * 6]], rtol=1e-6, atol=1e-7)


def test_samples_that_each_percentile_needs() -> None:
    assert MIN_SAMPLES == {50: 11, 90: 64, 95: 130, 99: 662}


@pytest.mark.parametrize(("percent", "needs"), [(50, 11), (90, 64), (95, 130), (99, 662)])
def test_a_percentile_is_none_until_the_sample_supports_it(percent: int, needs: int) -> None:
    samples = [2_000_000] * needs
    assert percentile_ms(samples[1:], percent) is None
    assert percentile_ms(samples, percent) == 2.0
    assert summarize(samples[1:])[f"p{percent}_ms"] is None
    assert summarize(samples)[f"p{percent}_ms"] == 2.0


def test_a_summary_in_milliseconds() -> None:
    assert summarize([k * 1_000_000 for k in range(1, 12)]) == {
        "count": 11,
        "mean_ms": 6.0,
        "min_ms": 1.0,
        "p50_ms": 6.0,
        "p90_ms": None,
        "p95_ms": None,
        "p99_ms": None,
    }


def test_percentiles_of_1001_samples() -> None:
    summary = summarize(np.arange(1001, dtype=np.int64)[::-1] * 1_000_000)
    assert {name: summary[name] for name in ("min_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms")} == {
        "min_ms": 0.0,
        "p50_ms": 500.0,
        "p90_ms": 900.0,
        "p95_ms": 950.0,
        "p99_ms": 990.0,
    }


def test_a_summary_of_nothing_measured() -> None:
    assert summarize([]) == {
        "count": 0,
        "mean_ms": None,
        "min_ms": None,
        "p50_ms": None,
        "p90_ms": None,
        "p95_ms": None,
        "p99_ms": None,
    }
