"""Whether a release works on this board, tried with its own Python and as the service's user, before it is switched to:
engines and golden vectors, frames from the camera, some seconds of bench."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fer_edge.devices import board_systemctl as systemctl
from fer_edge.devices.board_layout import Layout, write_durably, write_json_durably
from fer_edge.devices.board_payload import run_settings
from fer_edge.devices.board_process import Person, last_words, run
from fer_edge.devices.board_release import Release
from fer_edge.devices.board_user import ensure_state, fresh_folder, keep_private
from fer_edge.devices.errors import BoardError
from fer_edge.devices.machine import memory_bytes
from fer_edge.devices.systemd import camera_groups

RESULT = "selftest.json"
TRIAL, WORK = ".selftest.toml", ".selftest"
"""What it writes beside run.toml and below the state folder, while it lasts."""
_DOCTOR_LIMIT_S, _SPARE_S = 900.0, 300.0
_TENSORRT_LIMIT_S = 3600.0
"""TensorRT builds an engine for each of the bundle's files that are its own, and each may take ten minutes."""
_SMALL_BYTES = 768 << 20
"""Below this memory the service and what is tried do not run side by side."""
_FRAMES = 30
_SAMPLES = 50
"""Of bench at least: on a slow board it is the seconds that count, and not the 700 that a p99 takes."""
_OF_THE_BOARD = ("temperature", "camera")
"""What doctor finds of the board and not of the release: a hot board is no reason to keep the old release."""
_OUTPUTS = ("save", "jsonl", "csv", "rotate_mb", "rotate_keep", "aggregate", "show", "web", "web_token_file", "metrics")
"""Keys of run.toml that give something out, as all do that begin with mqtt."""


@dataclass(frozen=True, slots=True)
class Tested:
    """What the self-test saw; `camera` is None where no camera is set."""

    doctor: list[dict[str, Any]]
    camera: dict[str, Any] | None
    bench: dict[str, Any]

    @property
    def text(self) -> str:
        """In a line."""
        frames = f"{self.camera['frames']} frames from the camera" if self.camera else "no camera is set"
        median = median_ms(self.bench)
        speed = "no figure from bench" if median is None else f"{median:.2f} ms a face"
        return f"golden vectors hold, {frames}, {speed}"


def self_test(layout: Layout, release: Release, service_runs: bool) -> Tested:
    """Try a release that is in place, and write selftest.json beside it.

    Args:
        layout: of the board.
        release: whose folder holds venv, bundle and run.toml.
        service_runs: then the service is stopped before the camera is tried, which one program alone can hold, and on a
            board of little memory before anything is; whoever called starts it again.

    Raises:
        BoardError: an engine does not start, golden vectors differ, no frame came, or the bench broke off.
    """
    folder = layout.release(release.id)
    ensure_state(layout)
    if service_runs and is_small():
        systemctl.call("stop", systemctl.UNIT)
        service_runs = False
    with _work_folder(layout) as work:
        doctor = _doctor(layout, release)
        camera = None
        if has_camera(folder):
            if service_runs:
                systemctl.call("stop", systemctl.UNIT)
            camera = _camera(layout, release, work)
        report = bench(layout, folder, release.bench_s, work, only=f"{release.engine}/{release.precision}")
    tested = Tested(doctor, camera, report)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    write_json_durably(
        folder / RESULT,
        {"schema": 1, "at": at, "user": layout.user, "doctor": doctor, "camera": camera, "bench": report},
    )
    return tested


def is_small() -> bool:
    """Whether this board has so little memory that the service is stopped for whatever is measured."""
    memory = memory_bytes()
    return memory is not None and memory < _SMALL_BYTES


def has_camera(folder: Path) -> bool:
    """Whether the run of a release has something to look at."""
    return bool(run_settings(folder / "run.toml").get("source"))


def bench(layout: Layout, folder: Path, seconds: float, work: Path, *, only: str | None = None) -> dict[str, Any]:
    """`fer-edge bench` of a release's bundle, as the service's user; gives its report.

    Args:
        layout: of the board.
        folder: of the release.
        seconds: at least so long for each variant.
        work: a folder that the service's user may write.
        only: engine/precision to measure alone.

    Raises:
        BoardError: it broke off.
    """
    path = work / "bench.json"
    enough = ["--min-seconds", f"{seconds:g}", "--min-samples", str(_SAMPLES)]
    command = ["bench", "--bundle", folder / "bundle", *enough, "--json", path]
    limit_s = 20 * seconds + _SPARE_S  # every variant, and on a slow board the start of each
    done = _fer_edge(layout, folder, [*command, *(("--only", only) if only else ())], limit_s)
    if done.returncode:
        raise BoardError(f"bench failed: {last_words(done)}")
    return _json_of(path.read_text(encoding="utf-8"), dict, "bench")


@contextmanager
def _work_folder(layout: Layout) -> Iterator[Path]:
    work = fresh_folder(layout, WORK)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def bench_current(layout: Layout, folder: Path, seconds: float) -> dict[str, Any]:
    """`bench` of the release that runs."""
    ensure_state(layout)
    with _work_folder(layout) as work:
        return bench(layout, folder, seconds, work)


def median_ms(report: dict[str, Any]) -> float | None:
    """The median latency of a report's first variant; None where it has none."""
    try:
        value = report["variants"][0]["latency"]["p50"]["ms"]
    except (KeyError, IndexError, TypeError):
        return None
    return float(value)


def _doctor(layout: Layout, release: Release) -> list[dict[str, Any]]:
    folder = layout.release(release.id)
    limit_s = _TENSORRT_LIMIT_S if release.engine == "tensorrt" else _DOCTOR_LIMIT_S
    done = _fer_edge(layout, folder, ["doctor", folder / "bundle", "--json"], limit_s)
    if done.returncode not in (0, 1):
        raise BoardError(f"doctor failed: {last_words(done)}")
    findings: list[dict[str, Any]] = _json_of(done.stdout, list, "doctor", last_words(done))
    for finding in findings:
        if finding["state"] == "bad" and finding["subject"] not in _OF_THE_BOARD:
            raise BoardError(f"{finding['subject']}: {finding['text']}")
    wanted = f"{release.engine}/{release.precision}"
    states = {finding["subject"]: finding for finding in findings}
    if wanted not in states:
        raise BoardError(f"the bundle has no {wanted}, which the service is to run; choose another engine or precision")
    if states[wanted]["state"] != "ok":
        raise BoardError(f"{wanted}: {states[wanted]['text']}")
    return findings


def _camera(layout: Layout, release: Release, work: Path) -> dict[str, Any]:
    """Some frames by the release's own run.toml, with everything off that gives something out."""
    folder = layout.release(release.id)
    settings = run_settings(folder / "run.toml")
    kept = {key: value for key, value in settings.items() if key not in _OUTPUTS and not key.startswith("mqtt")}
    trial, seen = folder / TRIAL, work / "frames.jsonl"
    write_durably(trial, "".join(f"{key} = {json.dumps(value)}\n" for key, value in kept.items()), 0o600)
    keep_private(layout, trial)
    command = ["run", "--config", trial, "--max-frames", str(_FRAMES), "--quiet", "--jsonl", seen]
    try:
        done = _fer_edge(layout, folder, command, 2 * release.camera_timeout_s + _SPARE_S)
    finally:
        trial.unlink(missing_ok=True)
    if done.returncode:
        raise BoardError(f"the camera gives no frames: {last_words(done)}")
    frames = len(seen.read_text(encoding="utf-8").splitlines()) if seen.exists() else 0
    if frames == 0:
        raise BoardError(f"the camera gives no frames: {settings['source']} ended before its first")
    return {"source": release.camera, "frames": frames, "asked": _FRAMES}


def _fer_edge(layout: Layout, folder: Path, words: list[Any], limit_s: float) -> Any:
    environment = {
        "HOME": str(layout.state),
        "STATE_DIRECTORY": str(layout.state),
        "XDG_CACHE_HOME": str(layout.state / "cache"),
        "NO_COLOR": "1",
    }
    return run(
        [folder / "venv/bin/python", "-P", "-m", "fer_edge", *words],
        timeout_s=limit_s,
        env=environment,
        cwd=layout.state,
        person=Person(layout.user, camera_groups()),
    )


def _json_of(text: str, kind: type, who: str, instead: str | None = None) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, kind):
        raise BoardError(f"{who} gave no report{f': {instead}' if instead else ''}")
    return value
