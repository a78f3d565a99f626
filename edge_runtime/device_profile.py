"""This device's profile: the settings that `fer-edge tune` found best here, which `fer-edge run` takes by default.

A TOML file in the user's state folder, one a bundle. It counts for the bundle, board and engine versions that it was
measured with and for no others. A setting that is given, as a flag or in the configuration file, always wins.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fer_edge.devices.files import replacing_file
from fer_edge.devices.machine import board_name, cpu_info, versions
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.config import ConfigError, RunConfig
from fer_edge.edge_runtime.engines import ENGINES
from fer_edge.edge_runtime.state_folder import profiles_folder

SCHEMA = 1
MODEL_SETTINGS = ("engine", "precision", "threads")
LOOK_SETTINGS = ("detector", "detector_model", "detect_width", "scan_every")
SETTINGS = MODEL_SETTINGS + LOOK_SETTINGS
_DECIDE = {"engine", "precision", "detector", "detector_model"}
"""A setting of these that is given otherwise makes the others of its half a measurement of something else."""
_AGAIN = "run: fer-edge tune"


def profile_path(bundle_sha256: str) -> Path:
    """Where the profile for a bundle lies, or would."""
    return profiles_folder() / f"{bundle_sha256[:16]}.toml"


def made_for(bundle: Bundle, engines: Collection[str]) -> dict[str, Any]:
    """What a profile is bound to: the bundle, this board and its processor, the versions of the engines and OpenCV."""
    import cv2

    known = {"opencv": cv2.__version__} | {name: engine_version(name) for name in sorted(engines)}
    return {
        "bundle": bundle.name,
        "bundle_sha256": bundle.sha256,
        "board": board_name(),
        "cpu": cpu_info()[0],
        "versions": {name: version for name, version in known.items() if version is not None},
    }


def engine_version(engine: str) -> str | None:
    """The installed version of an engine's library; None where none is installed."""
    libraries = ENGINES[engine].libraries if engine in ENGINES else ()
    found = versions(*(library.replace("_", "-") for library in libraries))
    return next((version for version in found.values() if version is not None), None)


def write_profile(
    bound_to: Mapping[str, Any], settings: Mapping[str, Any], measured: Mapping[str, Any], made_at: str
) -> Path:
    """Write this device's profile for a bundle, whole or not at all; gives its path.

    Args:
        bound_to: see `made_for`.
        settings: values by name out of `SETTINGS`; None is left out.
        measured: plain values that say how; for people.
        made_at: ISO 8601.

    Raises:
        OutputError: the folder cannot be written.
    """
    path = profile_path(bound_to["bundle_sha256"])
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    flat = {name: value for name, value in bound_to.items() if name != "versions"}
    text = "# Written by `fer-edge tune`; `fer-edge run` takes these settings where none are given.\n"
    text += _lines({"schema": SCHEMA, "made_at": made_at})
    tables = {"settings": plain, "made_for": flat, "made_for.versions": bound_to["versions"], "measured": measured}
    for name, values in tables.items():
        text += f"\n[{name}]\n{_lines(values)}"
    with replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def apply_profile(config: RunConfig, given: Collection[str], bundle: Bundle, say: Callable[[str], None]) -> RunConfig:
    """The configuration with the profile's settings in place of those that nobody gave.

    Args:
        config: as flags and file say it.
        given: names of the settings that these gave.
        bundle: what will run.
        say: called with one line: what is taken from the profile, or why nothing is.
    """
    path = profile_path(bundle.sha256)
    if not path.is_file():
        others = [name for other in sorted(profiles_folder().glob("*.toml")) if (name := _bundle_of(other))]
        if others:
            mine = _bundle_name(bundle.name, bundle.sha256)
            say(f"the profile here is for bundle {', '.join(others)}, not for this one, {mine}; {_AGAIN}")
        return config
    profile = _read(path)
    why = f"{path} is damaged" if profile is None else _why_not(profile, bundle)
    if profile is None or why is not None:
        say(f"the profile is not applied: {why}; {_AGAIN}")
        return config
    settings = profile["settings"]
    taken = _taken(settings, given, config)
    if not taken:
        if any(getattr(config, name) != value for name, value in settings.items()):
            say("nothing is taken from the profile: its settings are given")
        return config
    try:
        made = replace(config, **taken)
    except ConfigError as error:
        say(f"the profile is not applied: {path} is damaged ({error}); {_AGAIN}")
        return config
    say(f"profile of {str(profile['made_at'])[:10]}: {settings_text(taken)} (--no-profile ignores it)")
    return made


def settings_text(settings: Mapping[str, Any]) -> str:
    """Settings as a line for people, those that are there."""
    s = settings
    words = [
        "/".join(s[name] for name in ("engine", "precision") if name in s),
        f"{s['threads']} thread{'s' if s['threads'] > 1 else ''}" if "threads" in s else "",
        str(s.get("detector", "")),
        f"{s['detect_width']} wide" if "detect_width" in s else "",
        f"a scan every {s['scan_every']}" if "scan_every" in s else "",
    ]
    return ", ".join(word for word in words if word)


def _taken(settings: Mapping[str, Any], given: Collection[str], config: RunConfig) -> dict[str, Any]:
    taken: dict[str, Any] = {}
    for half in (MODEL_SETTINGS, LOOK_SETTINGS):
        if any(name in given and getattr(config, name) != settings.get(name) for name in _DECIDE.intersection(half)):
            continue
        taken |= {name: settings[name] for name in half if name in settings and name not in given}
    return taken


def _read(path: Path) -> dict[str, Any] | None:
    """The profile, its settings of the types that `RunConfig` wants; None where it does not hold."""
    import tomllib

    types = {"threads": int, "detect_width": int, "scan_every": int}
    try:
        profile = tomllib.loads(path.read_text(encoding="utf-8"))
        settings = profile["settings"]
        whole = (
            profile["schema"] == SCHEMA
            and {"engine", "precision", "detector"} <= set(settings) <= set(SETTINGS)
            and all(type(value) is types.get(name, str) for name, value in settings.items())
            and isinstance(profile["made_for"]["versions"], dict)
            and isinstance(profile["made_at"], str)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not whole:
        return None
    if "detector_model" in settings:
        settings["detector_model"] = Path(settings["detector_model"])
    return profile


def _why_not(profile: Mapping[str, Any], bundle: Bundle) -> str | None:
    """Why a whole profile does not count here."""
    bound = profile["made_for"]
    if bound.get("bundle_sha256") != bundle.sha256:
        return f"it was tuned for another bundle ({bound.get('bundle')})"
    here = made_for(bundle, [name for name in bound["versions"] if name in ENGINES])
    for what in ("board", "cpu"):
        if bound.get(what) != here[what]:
            return f"it was tuned on another {what} ({bound.get(what)}), this one is {here[what]}"
    for name, version in bound["versions"].items():
        if here["versions"].get(name) != version:
            return f"it was tuned with {name} {version}, here is {here['versions'].get(name, 'none')}"
    model = _detector_file(profile["settings"])
    if model is not None and not model.is_file():
        return f"its face detector's file {model} is gone"
    return None


def _detector_file(settings: Mapping[str, Any]) -> Path | None:
    from fer_edge.edge_runtime.detector_models import MODELS, cached_path

    own: Path | None = settings.get("detector_model")
    return own or (cached_path(settings["detector"]) if settings["detector"] in MODELS else None)


def _bundle_of(path: Path) -> str | None:
    profile = _read(path)
    bound = None if profile is None else profile["made_for"]
    return None if bound is None else _bundle_name(bound.get("bundle"), str(bound.get("bundle_sha256")))


def _bundle_name(name: Any, sha256: str) -> str:
    return f"{name} ({sha256[:8]})"


def _lines(values: Mapping[str, Any]) -> str:
    # JSON's strings, numbers, booleans and lists of them are TOML's, too.
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items() if value is not None)
