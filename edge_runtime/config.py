"""Everything that `fer-edge run` can be told, as one value: flags and the TOML file say the same words.

A field here is a flag there; its name with dashes is the flag, with underscores the key of the file.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from fer_edge.devices.errors import FerEdgeError

_REPLAY = "replay:"
GIVE_UP_S = 30.0
"""Default time without a frame after which a run ends, so that its supervisor can act."""


class ConfigError(FerEdgeError):
    """A configuration that cannot be meant: an unknown key, a wrong type, a value out of its range."""


def _option(default: Any, text: str, low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"help": text, "min": low, "max": high})


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The effective configuration of one run. Checked when built.

    Raises:
        ConfigError: a value out of its range.
    """

    source: str = _option("", "Image, folder, clip, camera number, picamera2:, v4l2:, argus:, rtsp://, http://, "
                              "replay: or fake:.")  # fmt: skip
    bundle: Path | None = _option(None, "Bundle folder or .ferpack; flagship (by default) and tiny ship.")
    engine: str = _option("auto", "auto, tflite, onnx, openvino or tensorrt.")
    precision: str = _option("int8", "int8, float32, float16 or dynamic-int8: that, or an error.")
    threads: int | None = _option(None, "Of the engine; by default as many as help here, measured at the start.", 1, 64)
    detector: str | None = _option(None, "haar, yunet, region:X0,Y0,X1,Y1 or none (the frame is the face).")
    detector_model: Path | None = _option(None, "YuNet's .onnx, where it is not in the cache.")
    scan_every: int = _option(15, "Frames between full scans of a stream.", 1, 10_000)
    detect_width: int = _option(320, "Pixels that a stream's frame is shrunk to for a full scan.", 64, 8192)
    gate: bool = _option(True, "Call faces 'uncertain' that the bundle's gate doubts.")
    min_side: float | None = _option(None, "Of a face in pixels, in place of the bundle's.", 0, 10_000)
    min_brightness: float | None = _option(None, "Mean gray of a face, in place of the bundle's.", 0, 255)
    min_sharpness: float | None = _option(None, "In place of the bundle's.", 0, 1000)
    min_margin: float | None = _option(None, "Lead of the best emotion in probability, in place of the bundle's.", 0, 1)
    smoothing_s: float = _option(0.4, "Time constant of the average over a face's frames; 0: none.", 0, 60)
    hysteresis: float = _option(0.1, "Lead in probability that another label needs.", 0, 0.99)
    dwell_s: float = _option(0.3, "How long another label must lead before it is shown.", 0, 60)
    camera_timeout_s: float = _option(GIVE_UP_S, "Without a frame for so long the run ends with an error.", 1, 86_400)
    max_frames: int | None = _option(None, "Stop after so many frames.", 1)
    profile: bool = _option(True, "Take this device's profile, which tune wrote, for what is not given.")
    quiet: bool = _option(False, "Print the summary only.")
    show: bool = _option(False, "Open a window, where OpenCV has one.")
    save: Path | None = _option(None, "Write the annotated picture, clip, or folder of pictures.")
    jsonl: Path | None = _option(None, "Write a line of JSON a frame.")
    csv: Path | None = _option(None, "Write a row a face.")
    rotate_mb: float | None = _option(None, "Begin a new --jsonl or --csv file after so many megabytes.", 0.01, 1e6)
    rotate_keep: int = _option(5, "Rotated files to keep.", 1, 1000)
    aggregate: bool = _option(False, "Privacy: give out counts by minute and nothing about a single face.")
    mqtt: str | None = _option(None, "Broker: mqtt://[user@]host[:1883], or mqtts:// for TLS.")
    mqtt_topic: str | None = _option(None, "Topics begin with it; fer-edge/HOSTNAME by default.")
    mqtt_ca: Path | None = _option(None, "CA certificate of the broker; the system's by default.")
    mqtt_password_file: Path | None = _option(None, "File whose first line is the broker's password.")
    mqtt_discovery: bool = _option(True, "Announce the sensors to Home Assistant.")
    mqtt_heartbeat_s: float = _option(30.0, "Seconds between two statuses.", 1, 86_400)
    web: str | None = _option(None, "Serve the live page on this address, such as 127.0.0.1:8080.")
    web_token_file: Path | None = _option(None, "File whose first line opens the page; needed beyond loopback.")
    metrics: str | None = _option(None, "Serve Prometheus' metrics on this address, such as 127.0.0.1:9108.")

    def __post_init__(self) -> None:
        for f in fields(self):
            value, low, high = getattr(self, f.name), f.metadata["min"], f.metadata["max"]
            if value is None or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if (low is not None and value < low) or (high is not None and value > high) or value != value:
                bounds = f"{low:g} or more" if high is None else f"{low:g} to {high:g}"
                raise ConfigError(f"{f.name} is {value}; expected {bounds}")


def load_config(path: Path) -> dict[str, Any]:
    """The keys of a TOML file, each of its field's type; paths are relative to the file.

    Raises:
        ConfigError: it is not there, not TOML, or has a key or value that no flag has.
    """
    import difflib  # the two are needed by a file alone, and this module is on the path to the first label
    import tomllib

    try:
        words = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML ({error})") from error
    types = get_type_hints(RunConfig)
    given = {}
    for key, value in words.items():
        if key not in types:
            near = difflib.get_close_matches(key, types, 1, 0.4)
            meant = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(types)}"
            raise ConfigError(f"{path}: unknown key {key!r}{meant}")
        given[key] = _typed(path, key, value, types[key])
    return given


def _typed(path: Path, key: str, value: Any, annotation: Any) -> Any:
    allowed = [kind for kind in (get_args(annotation) or (annotation,)) if kind is not NoneType]
    for kind in allowed:
        if kind is Path and isinstance(value, str):
            if key == "bundle" and _ships(path.parent, value):
                return Path(value)
            return path.parent / _expanded(path, value)
        if key == "source" and isinstance(value, str):
            return _source(path.parent, value)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
    names = {Path: "a path in quotes", str: "a text in quotes", int: "a whole number", float: "a number"}
    expected = " or ".join(names.get(kind, "true or false") for kind in allowed)
    raise ConfigError(f"{path}: {key} is {value!r}; expected {expected}")


def _ships(folder: Path, name: str) -> bool:
    """Whether it is the name of a bundle that ships, and no path beside the file."""
    from fer_edge.edge_runtime.bundle import SHIPPED

    return name in SHIPPED and not (folder / name).exists()


def _source(folder: Path, value: str) -> str:
    """A file that lies in the configuration's folder by its whole path; any other source as it stands."""
    prefix, name = (_REPLAY, value.removeprefix(_REPLAY)) if value.startswith(_REPLAY) else ("", value)
    return f"{prefix}{folder / name}" if (folder / name.partition("?")[0]).exists() else value


def _expanded(path: Path, value: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError as error:  # ~somebody who is not there
        raise ConfigError(f"{path}: {value!r} is no path ({error})") from error


def as_toml(config: RunConfig) -> str:
    """The configuration as a file that `load_config` reads; what is not set stands there as a comment."""
    import json

    lines = []
    for f in fields(config):
        value = getattr(config, f.name)
        lines.append(f"# {f.metadata['help']}")
        # JSON's strings, numbers and booleans are TOML's, too.
        text = json.dumps(str(value) if isinstance(value, Path) else value)
        lines.append(f"# {f.name} =" if value is None else f"{f.name} = {text}")
    return "\n".join(lines) + "\n"
