"""Looks the machine, the engines, the cameras and a bundle over; each finding comes with its fix. Prints nothing."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fer_edge.devices import machine
from fer_edge.devices.board_facts import read_facts
from fer_edge.devices.errors import BundleError, DataError, install_command
from fer_edge.devices.health import HOT_C
from fer_edge.devices.profiles import Cannot, Match, recognise
from fer_edge.edge_runtime.bundle import Bundle, Variant
from fer_edge.edge_runtime.engines import ENGINES, is_installed, refused
from fer_edge.edge_runtime.probe import probe, probe_import

_CAMERA_CODE = """
import sys
from fer_edge.devices.sources import open_source
with open_source(sys.argv[1]) as source:
    frame = next(iter(source))
print(frame.gray.shape[1], frame.gray.shape[0], source.fps or 0)
"""
_CAMERA_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """`ok`, `note` (nothing is wrong, but worth knowing) or `bad` (makes the exit code 1), with the fix."""

    subject: str
    state: Literal["ok", "note", "bad"]
    text: str
    fix: str | None = None


def examine(bundle_path: Path | None) -> Iterator[Finding]:
    """All findings, one by one as they are made."""
    match, why_none = _recognised()
    limit_c = match.profile.throttle_from_c if match else None
    yield from _machine(HOT_C if limit_c is None else limit_c)
    if match is None:
        yield Finding("profile", "note", why_none, "fer-edge devices --record FILE, for whoever adds this board")
    else:
        yield Finding("profile", "ok", f"{match.profile.name} ({match.profile.title}): {match.because[0]}")
    yield from _cameras()
    bundle = None
    try:
        bundle = Bundle.open(bundle_path)
        size = sum(f.bytes for v in bundle.variants for f in v.files)
        count = len(bundle.variants)
        yield Finding("bundle", "ok", f"{bundle.name}: {count} variants, {size / 1e6:.1f} MB, all hashes hold")
    except BundleError as error:
        yield Finding("bundle", "bad", str(error), "copy the bundle again, or make it: fer-edge convert RUN --int8")
    for engine in ENGINES:
        for finding in _engine(engine, bundle):
            yield _as_known(finding, match)
    if bundle is not None and match is not None:
        yield from ruled_out(match, bundle)
    for variant in bundle.variants if bundle else ():
        if variant.engine not in ENGINES:
            yield Finding(variant.name, "bad", "this version knows no such engine", "update fer-edge")


def _recognised() -> tuple[Match | None, str]:
    """What board this is, or why there is no saying."""
    try:
        return recognise(read_facts()), ""
    except DataError as error:
        return None, str(error)


def ruled_out(match: Match, bundle: Bundle) -> Iterator[Finding]:
    """What this board cannot do of what the bundle holds; that it cannot is no fault of either."""
    affected: dict[str, tuple[Cannot, list[str]]] = {}
    for variant in bundle.variants:
        why_not = match.why_not(variant.engine, variant.precision)
        # What the engine itself refuses has its own finding.
        if why_not is not None and refused(variant.engine, variant.precision) is None:
            affected.setdefault(why_not.what, (why_not, []))[1].append(variant.name)
    for why_not, names in affected.values():
        text = f"this board cannot {why_not.what}: {why_not.reason} ({', '.join(names)})"
        yield Finding(match.profile.name, "note", text, why_not.fix)


def _as_known(finding: Finding, match: Match | None) -> Finding:
    """A variant that fails where its board is known not to run it is worth a note: nothing is wrong with the board."""
    engine, slash, precision = finding.subject.partition("/")
    if finding.state == "bad" and slash and match is not None and match.why_not(engine, precision) is not None:
        return replace(finding, state="note")
    return finding


def _machine(limit_c: float) -> Iterator[Finding]:
    facts = machine.describe_machine()
    memory = facts["memory_bytes"]
    size = "memory unknown" if memory is None else f"{memory / 2**30:.1f} GiB"
    board = facts["board"] or "unknown board"
    text = f"{board}: {facts['cpu']}, {facts['machine']}, {facts['usable_cores']} cores, {size}"
    yield Finding("machine", "ok", text)
    yield Finding("system", "ok", f"{facts['system']}, {facts['libc']}, Python {facts['python']}")
    if machine.is_32bit_userland():
        yield Finding(
            "userland", "bad", "Python is 32-bit; no int8 runtime is built for it", "install the 64-bit system"
        )
    features = ", ".join(facts["int8_features"])
    if features:
        yield Finding("int8", "ok", f"this processor has {features}: int8 should be faster than float32")
    else:
        yield Finding(
            "int8", "note", "no dot-product instructions: int8 saves memory, and time only a little", "fer-edge bench"
        )
    temperature = facts["temp_c"]
    if temperature is None:
        yield Finding("temperature", "note", "no sensor can be read here")
    elif temperature >= limit_c:
        text = f"{temperature:.0f} °C: such a board throttles from {limit_c:g}"
        yield Finding("temperature", "bad", text, "cool the board")
    else:
        yield Finding("temperature", "ok", f"{temperature:.0f} °C")
    if facts["governor"] is not None:
        yield Finding("governor", "ok", facts["governor"])


def _cameras() -> Iterator[Finding]:
    nodes = sorted(Path("/dev").glob("video*"))
    if not nodes:
        fix = "plug one in, or use a clip or an address; a Pi's CSI camera under libcamera is no /dev/video0 for OpenCV"
        yield Finding("camera", "note", "none at /dev/video*", fix)
    for node in nodes:
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-c", _CAMERA_CODE, str(node)],
                capture_output=True, text=True, timeout=_CAMERA_TIMEOUT_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            yield Finding("camera", "note", f"{node} gave no frame within {_CAMERA_TIMEOUT_S} s", "is it in use?")
            continue
        if done.returncode == 0:
            width, height, rate = done.stdout.split()
            yield Finding("camera", "ok", f"{node} gives {width}x{height} at {float(rate):g} frames a second")
        else:
            yield Finding(
                "camera", "note", f"{node} gives no frame (many such nodes are no cameras)", "try another node"
            )


def _engine(engine: str, bundle: Bundle | None) -> Iterator[Finding]:
    variants = [v for v in bundle.variants if v.engine == engine] if bundle else []
    if not is_installed(engine):
        if engine == "tflite":
            yield Finding(engine, "bad", "ai_edge_litert is not installed", "pip install --force-reinstall fer-edge")
        elif ENGINES[engine].extra is not None:
            yield Finding(engine, "note", "not installed", install_command(engine))
        elif variants:  # boards without its hardware need not hear of it
            yield Finding(engine, "note", "not installed", "docs/jetson.md says which package holds it")
    elif not variants:
        why = probe_import(engine)
        if why is None:
            yield Finding(engine, "ok", "starts; no variant here to run on it")
        else:
            yield Finding(engine, "bad", why, f"reinstall {engine}, or use another --engine")
    elif bundle is not None:
        for variant in variants:
            why_not = refused(engine, variant.precision)
            if why_not is None:
                yield _replay(variant, probe(bundle.path, engine, variant.precision, build=True))
            else:
                yield Finding(variant.name, "note", f"not offered here: {why_not}", "another --engine or --precision")


def _replay(variant: Variant, answer: dict) -> Finding:
    if not answer["ok"]:
        return Finding(variant.name, "bad", answer["why"], f"reinstall {variant.engine}, or use another --engine")
    started = f"{answer['version']}, starts in {answer['import_ms'] + answer['load_ms']:.0f} ms"
    golden = answer["golden"]
    if golden is None:
        return Finding(variant.name, "note", f"{started}; the bundle has no golden vectors for it")
    seen = f"largest difference {golden['max_difference']:.4f}, allowed {golden['tolerance']:.4f}"
    if golden["holds"]:
        return Finding(variant.name, "ok", f"{started}; {golden['faces']} golden vectors come out ({seen})")
    text = f"{started}; golden vectors differ: {golden['labels_differing']} labels of {golden['faces']}, {seen}"
    return Finding(variant.name, "bad", text, "do not trust this engine here; use another --engine, and report it")
