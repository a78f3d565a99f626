"""The configuration of a run on another board: what it names here travels along, what it writes goes where it may.

On a board the program's folder cannot be written and the user's home is another one, so a path in a configuration
means nothing there as it stands.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fer_edge.edge_runtime.config import ConfigError, RunConfig

CARRIED = "files"
"""Folder of a release for files that the configuration names."""
STATE = PurePosixPath("/var/lib/fer-edge")
"""What the service may write; see devices/systemd.py."""
_INPUTS = ("detector_model", "mqtt_ca", "mqtt_password_file", "web_token_file")
_OUTPUTS = ("save", "jsonl", "csv")
_REPLAY = "replay:"


@dataclass(frozen=True, slots=True)
class BoardConfig:
    """A configuration for a board: its TOML, the files it needs by name in the release, and its checked values."""

    toml: str
    carried: dict[str, Path]
    values: RunConfig


def board_config(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> BoardConfig:
    """The configuration for a board.

    Args:
        given: keys as of `load_config`: the user's own, paths as they are here.
        defaults: the board's, for what is not given; None is left to the run.

    Raises:
        ConfigError: a value out of its range, a file that is not there, or one that no service can have.
    """
    words = {name: value for name, value in defaults.items() if value is not None} | dict(given)
    words.pop("bundle", None)
    words = _with_detector(words)
    if words.get("show"):
        raise ConfigError("show opens a window, and a service has no screen; leave it away")
    carried: dict[str, Path] = {}
    for name in _INPUTS:
        if words.get(name) is not None:
            words[name] = _carry(name, Path(words[name]), carried)
    words["source"] = _carried_source(str(words.get("source", "")), carried)
    for name in _OUTPUTS:
        if words.get(name) is not None:
            path = PurePosixPath(Path(words[name]).name)
            words[name] = str(STATE / path)
    words |= {"bundle": "bundle", "quiet": True}
    typed: dict[str, Any] = {name: Path(v) if name in _PATHS and v is not None else v for name, v in words.items()}
    return BoardConfig(_toml(words), carried, RunConfig(**typed))


_PATHS = (*_INPUTS, *_OUTPUTS, "bundle")


def _with_detector(words: dict[str, Any]) -> dict[str, Any]:
    from fer_edge.edge_runtime.detector_models import MODELS, cached_path

    detector = words.get("detector")
    if detector not in MODELS or words.get("detector_model") is not None:
        return words
    path = cached_path(detector)
    if not path.is_file():
        raise ConfigError(f"{detector}'s model is not here to be sent along; run: fer-edge models fetch {detector}")
    return words | {"detector_model": path}


def _carry(name: str, path: Path, carried: dict[str, Path]) -> str:
    if not path.is_file():
        raise ConfigError(f"{name} names {path}, which is not there to be sent along")
    inside = f"{CARRIED}/{path.name}"
    if carried.setdefault(inside, path) != path:
        raise ConfigError(f"{path} and {carried[inside]} have the same name; rename one of them")
    return inside


def _carried_source(source: str, carried: dict[str, Path]) -> str:
    """A clip of this machine is sent along, too; anything else is the board's to open."""
    prefix = _REPLAY if source.startswith(_REPLAY) else ""
    name, question, options = source.removeprefix(prefix).partition("?")
    if not Path(name).is_file():
        return source
    return f"{prefix}{_carry('source', Path(name), carried)}{question}{options}"


def _toml(words: Mapping[str, Any]) -> str:
    lines = ["# Written by fer-edge deploy; a deployment writes it anew. All keys: fer-edge run --print-config"]
    for name, value in words.items():
        if value is not None:
            lines.append(f"{name} = {json.dumps(str(value) if isinstance(value, Path) else value)}")
    return "\n".join(lines) + "\n"
