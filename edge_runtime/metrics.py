"""The status as Prometheus metrics, made at each scrape. What was not measured is left out, never 0."""

from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fer_edge.devices.errors import OutputError

_EXAMPLE = "127.0.0.1:9108"
_QUANTILES = {"p50_ms": "0.5", "p90_ms": "0.9", "p95_ms": "0.95", "p99_ms": "0.99"}
_CAMERA = {
    "dropped": ("dropped_frames", "Frames that the camera gave and nobody took"),
    "gaps": ("gaps", "Times that the camera was away"),
    "gap_s": ("gap_seconds", "Seconds that the camera was away"),
    "reopened": ("reopened", "Times that the camera was opened again"),
}
_SINKS = {
    "written": "Observations that the output took",
    "dropped": "Observations that never reached the output, because it was too slow",
    "failed": "Observations that the output refused",
}
_INFO = ("version", "bundle", "bundle_sha256", "engine", "detector")


def registry(status: Callable[[], dict[str, Any]], *, faces: bool = True) -> CollectorRegistry:
    """A registry with this project's metrics and the process's own.

    Args:
        status: called at each scrape, on the scraping thread.
        faces: with counts of faces and labels; False in privacy mode, where frequent scrapes would follow one face.
    """
    metrics = CollectorRegistry()
    metrics.register(_StatusCollector(status, faces=faces))
    ProcessCollector(registry=metrics)
    return metrics


class MetricsServer:
    """Answers `GET /metrics` on a thread of its own until it is closed; `port` is the one that it got."""

    def __init__(self, server: WSGIServer) -> None:
        self._server, self.port = server, int(server.server_port)

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


def metrics_server(address: str, status: Callable[[], dict[str, Any]], *, faces: bool = True) -> MetricsServer:
    """Serve the metrics at `address`, `HOST:PORT`; port 0 takes a free one. The rest is as in `registry`.

    Raises:
        OutputError: the address is no such thing, or the port is in use.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise OutputError(f"metrics address {address!r}: expected HOST:PORT, such as {_EXAMPLE}")
    try:
        server, _ = start_http_server(int(port), host.strip("[]"), registry(status, faces=faces))
    except OSError as error:
        raise OutputError(
            f"cannot serve metrics on {address}: {error.strerror}; end what uses it, or choose another HOST:PORT"
        ) from error
    return MetricsServer(server)


class _StatusCollector(Collector):
    def __init__(self, status: Callable[[], dict[str, Any]], *, faces: bool) -> None:
        self._status, self._faces = status, faces

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        for family in _families(status, faces=self._faces):
            if family.samples:
                yield family


def _families(status: dict[str, Any], *, faces: bool) -> Iterator[Metric]:
    yield _counter("frames", "Frames that were labelled", status.get("frames"))
    if faces:
        yield _counter("faces", "Faces that were labelled, frame by frame", status.get("faces"))
        yield _counters("label_frames", "Faces by label, frame by frame", "label", status.get("labels"))
    yield from _of_camera(status)
    yield _gauge("fps", "Frames labelled a second", status.get("fps"))
    yield from _of_latency(status)
    yield from _of_machine(status)
    yield _gauge("scan_every_frames", "The whole picture is searched for faces every so many", status.get("scan_every"))
    yield _counter("full_scans", "Searches of the whole picture", status.get("full_scans"))
    yield from _of_sinks(status)
    yield _info(status)
    yield _gauge("uptime_seconds", "Seconds since the run began", status.get("uptime_s"))


def _of_camera(status: dict[str, Any]) -> Iterator[Metric]:
    camera = status.get("camera") or {}
    for key, (name, text) in _CAMERA.items():
        yield _counter(f"camera_{name}", text, camera.get(key))
    state = status.get("state")
    yield _gauge("camera_up", "1 while frames come", None if state is None else state == "live")


def _of_latency(status: dict[str, Any]) -> Iterator[Metric]:
    age = GaugeMetricFamily("fer_edge_age_seconds", "From sensor to label", labels=["quantile"])
    _add_quantiles(age, [], status.get("age_ms"))
    yield age
    stages = GaugeMetricFamily("fer_edge_stage_seconds", "Time a stage takes", labels=["stage", "quantile"])
    for stage, latency in (status.get("stages") or {}).items():
        _add_quantiles(stages, [stage], latency)
    yield stages


def _of_machine(status: dict[str, Any]) -> Iterator[Metric]:
    health = status.get("health") or {}
    throttled, clock_mhz = health.get("throttled"), health.get("clock_mhz")
    yield _gauge("temperature_celsius", "Temperature of the processor", health.get("temp_c"))
    yield _gauge("throttled", "1 while the board holds back", None if throttled is None else bool(throttled))
    yield _gauge("cpu_hertz", "Clock of the processor", None if clock_mhz is None else clock_mhz * 1e6)


def _of_sinks(status: dict[str, Any]) -> Iterator[Metric]:
    sinks = status.get("sinks") or {}
    for key, text in _SINKS.items():
        yield _counters(f"sink_{key}", text, "sink", {name: counts.get(key) for name, counts in sinks.items()})


def _info(status: dict[str, Any]) -> Metric:
    bundle = status.get("bundle") or {}
    own = status | {"bundle": bundle.get("name"), "bundle_sha256": bundle.get("sha256")}
    info = GaugeMetricFamily("fer_edge_build_info", "What runs; always 1", labels=_INFO)
    info.add_metric([str(own.get(key) or "") for key in _INFO], 1)
    return info


def _gauge(name: str, text: str, value: float | None) -> Metric:
    return GaugeMetricFamily(f"fer_edge_{name}", text, value=None if value is None else float(value))


def _counter(name: str, text: str, value: float | None) -> Metric:
    return CounterMetricFamily(f"fer_edge_{name}", text, value=value)


def _counters(name: str, text: str, label: str, values: dict[str, float | None] | None) -> Metric:
    family = CounterMetricFamily(f"fer_edge_{name}", text, labels=[label])
    for key, value in (values or {}).items():
        if value is not None:
            family.add_metric([key], value)
    return family


def _add_quantiles(family: GaugeMetricFamily, labels: list[str], latency: dict[str, Any] | None) -> None:
    for key, quantile in _QUANTILES.items():
        value_ms = (latency or {}).get(key)
        if value_ms is not None:
            family.add_metric([*labels, quantile], value_ms / 1e3)
