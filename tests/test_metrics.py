"""The Prometheus page, read back by Prometheus' own parser."""

import socket
import urllib.request
from typing import Any

import pytest

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fer_edge.devices.errors import OutputError
from fer_edge.edge_runtime.metrics import metrics_server, registry

LATENCY = {
    "count": 700,
    "mean_ms": 30.0,
    "min_ms": 20.0,
    "p50_ms": 30.0,
    "p90_ms": 40.0,
    "p95_ms": 45.0,
    "p99_ms": 50.0,
}
STATUS: dict[str, Any] = {
    "state": "live",
    "version": "1.2",
    "source": "0",
    "bundle": {"name": "mini", "sha256": "ab12"},
    "engine": "tflite/int8",
    "detector": "yunet",
    "uptime_s": 12.5,
    "frames": 300,
    "faces": 200,
    "labels": {"happy": 150, "uncertain": 50},
    "fps": 24.5,
    "age_ms": LATENCY,
    "stages": {"detect": LATENCY},
    "camera": {"captured": 310, "dropped": 10, "gaps": 1, "gap_s": 2.5, "reopened": 1},
    "scan_every": 5,
    "full_scans": 60,
    "health": {"temp_c": 61.5, "throttled": ["under-voltage"], "clock_mhz": 1800.0},
    "labels_changed": {"per_face_minute": 3.0, "unsmoothed_per_face_minute": 20.0, "delay_ms": 200.0},
    "sinks": {"jsonl": {"written": 300, "dropped": 0, "failed": 2, "error": None}},
}
NOTHING: dict[str, Any] = dict.fromkeys(STATUS) | {
    "state": "starting",
    "version": "1.2",
    "age_ms": dict.fromkeys(LATENCY) | {"count": 0},
    "stages": {"detect": dict.fromkeys(LATENCY) | {"count": 0}},
    "camera": {"captured": None, "dropped": None, "gaps": None, "gap_s": None, "reopened": None},
    "health": {"temp_c": None, "throttled": None, "clock_mhz": None},
    "sinks": {},
}


def samples(text: str) -> dict[str, float]:
    """Value by `name{label="value"}` of this project's metrics."""
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("fer_edge_")
    }


def page(status: dict[str, Any], *, faces: bool = True) -> str:
    return generate_latest(registry(lambda: status, faces=faces)).decode()


def test_every_metric() -> None:
    assert samples(page(STATUS)) == {
        "fer_edge_frames_total": 300,
        "fer_edge_faces_total": 200,
        "fer_edge_label_frames_total label=happy": 150,
        "fer_edge_label_frames_total label=uncertain": 50,
        "fer_edge_camera_dropped_frames_total": 10,
        "fer_edge_camera_gaps_total": 1,
        "fer_edge_camera_gap_seconds_total": 2.5,
        "fer_edge_camera_reopened_total": 1,
        "fer_edge_camera_up": 1,
        "fer_edge_fps": 24.5,
        **{f"fer_edge_age_seconds quantile={q}": v for q, v in QUANTILES.items()},
        **{f"fer_edge_stage_seconds quantile={q} stage=detect": v for q, v in QUANTILES.items()},
        "fer_edge_temperature_celsius": 61.5,
        "fer_edge_throttled": 1,
        "fer_edge_cpu_hertz": 1.8e9,
        "fer_edge_scan_every_frames": 5,
        "fer_edge_full_scans_total": 60,
        "fer_edge_sink_written_total sink=jsonl": 300,
        "fer_edge_sink_dropped_total sink=jsonl": 0,
        "fer_edge_sink_failed_total sink=jsonl": 2,
        "fer_edge_build_info bundle=mini bundle_sha256=ab12 detector=yunet engine=tflite/int8 version=1.2": 1,
        "fer_edge_uptime_seconds": 12.5,
    }


QUANTILES = {"0.5": 0.03, "0.9": 0.04, "0.95": 0.045, "0.99": 0.05}


def test_what_is_not_measured_is_left_out() -> None:
    assert samples(page(NOTHING)) == {
        "fer_edge_camera_up": 0,
        "fer_edge_build_info bundle= bundle_sha256= detector= engine= version=1.2": 1,
    }
    assert "HELP fer_edge_fps" not in page(NOTHING)


def test_zero_is_measured() -> None:
    found = samples(page(STATUS | {"frames": 0, "fps": 0.0, "state": "away", "health": {"throttled": []}}))
    assert found["fer_edge_frames_total"] == found["fer_edge_fps"] == found["fer_edge_camera_up"] == 0
    assert found["fer_edge_throttled"] == 0


def test_privacy_mode_counts_no_faces() -> None:
    found = samples(page(STATUS, faces=False))
    assert not [name for name in found if "faces" in name or "label" in name]
    assert found["fer_edge_frames_total"] == 300


def test_a_scrape_reads_the_status_of_that_moment() -> None:
    status = dict(STATUS)
    server = metrics_server("127.0.0.1:0", lambda: status)
    try:
        for frames in (300, 301):
            status["frames"] = frames
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10) as answer:
                text = answer.read().decode()
            assert samples(text)["fer_edge_frames_total"] == frames
        assert "process_resident_memory_bytes" in text
    finally:
        server.close()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10)


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OutputError, match=f"cannot serve metrics on {address}: Address already in use; end what"):
            metrics_server(address, lambda: STATUS)


@pytest.mark.parametrize("address", ["", "9108", ":9108", "localhost:", "localhost:http", "localhost:70000"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(OutputError, match=r"metrics address .*: expected HOST:PORT, such as 127\.0\.0\.1:9108"):
        metrics_server(address, lambda: STATUS)
