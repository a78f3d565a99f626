"""From a configuration to a running whole: the pipeline, its sinks, its servers. Imports only what is asked for."""

import os
import socket
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import EngineError
from fer_edge.devices.sources import ImageSource
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.config import ConfigError, RunConfig
from fer_edge.edge_runtime.labeller import Labeller
from fer_edge.edge_runtime.pipeline import Pipeline
from fer_edge.edge_runtime.quality import Gate
from fer_edge.edge_runtime.runner import Runner
from fer_edge.edge_runtime.sink import Sink
from fer_edge.edge_runtime.steady import Steadiness
from fer_edge.edge_runtime.vocabulary import Observation, Precision

_PASSWORD = "FER_EDGE_MQTT_PASSWORD"


if TYPE_CHECKING:
    from fer_edge.edge_runtime.sink_video import SaveSink


class _Server(Protocol):
    def close(self) -> None: ...


def with_profile(
    config: RunConfig, given: Collection[str], say: Callable[[str], None]
) -> tuple[RunConfig, Bundle | None]:
    """The configuration with this device's profile in it, where there is one, and the bundle if that was opened.

    Args:
        config: as flags and file say it.
        given: names of the settings that these gave; the profile touches none of them.
        say: called with one line about what is taken or why it is not.

    Raises:
        BundleError: there are profiles, and the bundle that one would be for cannot be opened.
    """
    if not config.profile:
        return config, None
    from fer_edge.edge_runtime.state_folder import has_profiles

    if not has_profiles():
        return config, None
    from fer_edge.edge_runtime.device_profile import apply_profile

    bundle = Bundle.open(config.bundle)
    return apply_profile(config, given, bundle, say), bundle


def open_pipeline(config: RunConfig, say: Callable[[str], None], bundle: Bundle | None = None) -> Pipeline:
    """The pipeline that the configuration asks for.

    Args:
        config: what is asked for.
        say: see Pipeline.
        bundle: the configuration's, where it is open already.

    Raises:
        FerEdgeError: anything of it that is not there.
    """
    if config.precision not in list(Precision):
        raise EngineError(f"unknown precision {config.precision!r}; choose one of {', '.join(Precision)}")
    bundle = bundle or Bundle.open(config.bundle)
    return Pipeline(
        config.source,
        bundle,
        engine=config.engine,
        precision=config.precision,
        threads=config.threads,
        detector=config.detector,
        detector_model=config.detector_model,
        gate=_gate(config, bundle.gate),
        steadiness=Steadiness(config.smoothing_s, config.hysteresis, config.dwell_s),
        scan_every=config.scan_every,
        detect_width=config.detect_width,
        give_up_s=config.camera_timeout_s,
        say=say,
    )


def _gate(config: RunConfig, stored: Gate | None) -> Gate | bool:
    own = {
        "min_side_px": config.min_side,
        "min_brightness": config.min_brightness,
        "min_sharpness": config.min_sharpness,
        "min_margin": config.min_margin,
    }
    given = [name for name, value in own.items() if value is not None]
    if not config.gate:
        if given:
            raise ConfigError(f"gate is off, and {', '.join(given)} given; leave one of them away")
        return False
    return (stored or Gate()).with_overrides(**own)


class Outputs:
    """The sinks and servers of a run."""

    def __init__(self, config: RunConfig, runner: Runner, *, append: bool = False) -> None:
        self._config, self._runner, self._append = config, runner, append
        self._servers: list[_Server] = []
        self._photos: Labeller | None = None
        self._saved: SaveSink | None = None

    @property
    def saved(self) -> bool:
        """Whether `save` was written, once the runner is closed."""
        return self._saved is not None and self._saved.saved

    def open(self) -> list[str]:
        """Start them all; gives a line for each server that says where it is.

        Files come last, since opening one may empty it.

        Raises:
            OutputError: a file, address or broker that cannot be used.
            ConfigError: minutes of photos.
        """
        c, status = self._config, self._runner.monitor.status
        if c.aggregate and self._runner.pipeline.source.still:
            raise ConfigError("aggregate counts the minutes of a camera or clip; photos have none")
        sinks: list[Any] = []
        told = []
        if c.save:
            sinks.append(self._save(c.save))
        if c.metrics:
            from fer_edge.edge_runtime.metrics import metrics_server

            server = metrics_server(c.metrics, status, faces=not c.aggregate)
            self._servers.append(server)
            told.append(f"metrics: http://{c.metrics.rpartition(':')[0]}:{server.port}/metrics")
        if c.web:
            sink, url = self._web(c.web, status)
            sinks.append(sink)
            told.append(f"page: {url}")
        records: list[Any] = [_mqtt(c, status, self._runner.say)] if c.mqtt else []
        records += self._files()
        if c.aggregate:
            from fer_edge.edge_runtime.aggregate import Aggregated

            records = [Aggregated(sink, live=self._runner.pipeline.source.live) for sink in records]
        self._runner.add(sinks + records)
        return told

    def _files(self) -> list[Any]:
        c, files = self._config, list[Any]()
        max_bytes = round(c.rotate_mb * 1e6) if c.rotate_mb else None
        if c.csv:
            from fer_edge.edge_runtime.sink_csv import CsvSink

            files.append(
                CsvSink(c.csv, max_bytes=max_bytes, keep=c.rotate_keep, append=self._append, aggregate=c.aggregate)
            )
        if c.jsonl:
            from fer_edge.edge_runtime.sink_jsonl import JsonlSink

            files.append(JsonlSink(c.jsonl, max_bytes=max_bytes, keep=c.rotate_keep, append=self._append))
        return files

    def close(self) -> None:
        """Stop the servers; the runner closes the sinks."""
        for server in self._servers:
            server.close()
        if self._photos is not None:
            self._photos.close()

    def _save(self, path: Path) -> Sink:
        from fer_edge.edge_runtime.sink_video import SaveSink

        source = self._runner.pipeline.source
        photos = len(source) if isinstance(source, ImageSource) else 1
        self._saved = SaveSink(path, still=source.still, live=source.live, fps=source.fps, photos=photos)
        return self._saved

    def _web(self, address: str, status: Callable[[], dict[str, Any]]) -> tuple[Sink, str]:
        from fer_edge.edge_runtime.web_app import build_app
        from fer_edge.edge_runtime.web_server import WebServer, parse_address, token_for
        from fer_edge.edge_runtime.web_sink import WebSink

        host, port = parse_address(address)
        token = token_for(host, self._config.web_token_file)
        faces = not self._config.aggregate
        sink = WebSink(pictures=faces)
        app = build_app(sink, status, self._label_photo, token=token, show_faces=faces, hosts=(host,))
        server = WebServer(app, host, port)
        self._servers.append(server)
        return sink, server.url

    def _label_photo(self, bgr: NDArray[np.uint8]) -> Observation:
        """An uploaded photo by the same bundle, engine and gate; its engine starts with the first upload."""
        import time

        from fer_edge.devices.source_images import photo_frame

        if self._photos is None:
            c = self._config
            self._photos = Labeller(
                self._runner.pipeline.bundle,
                still=True,
                engine=c.engine,
                precision=c.precision,
                threads=c.threads,
                # A region is a place in the camera's picture, and none in a photo.
                detector=None if (c.detector or "").startswith("region:") else c.detector,
                detector_model=c.detector_model,
                gate=self._runner.pipeline.labeller.gate,
            )
        return self._photos.observe(photo_frame(bgr, 0, time.monotonic_ns(), None))


def _mqtt(config: RunConfig, status: Callable[[], dict[str, Any]], say: Callable[[str], None]) -> Any:
    from fer_edge.edge_runtime.sink_mqtt import MqttSink

    password = os.environ.get(_PASSWORD)
    if config.mqtt_password_file:
        try:
            password = config.mqtt_password_file.read_text(encoding="utf-8").splitlines()[0]
        except (OSError, IndexError, UnicodeDecodeError):
            raise ConfigError(f"{config.mqtt_password_file} holds no password that can be read") from None
    assert config.mqtt is not None
    return MqttSink(
        config.mqtt,
        topic=config.mqtt_topic or f"fer-edge/{socket.gethostname()}",
        status=status,
        ca=config.mqtt_ca,
        password=password,
        discovery=config.mqtt_discovery,
        heartbeat_s=config.mqtt_heartbeat_s,
        faces=not config.aggregate,
        say=say,
    )
