"""Starts one variant in a process of its own and prints what happened as JSON.

A runtime built for another processor dies with SIGILL at import, which cannot be caught: so `doctor` and `bench` ask a
subprocess. It is also the only honest way to read one variant's start-up time and peak memory.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fer_edge.edge_runtime.engines import ENGINES

_TIMEOUT_S = 120


def probe(bundle: Path, engine: str, precision: str, threads: int | None = None) -> dict[str, Any]:
    """Start a variant elsewhere.

    Returns:
        `{"ok": True, "version", "import_ms", "load_ms", "first_ms", "peak_memory_bytes", "golden": {...}}`, or
        `{"ok": False, "why"}` with one sentence.
    """
    done = _run(["-m", __name__, str(bundle), engine, precision, str(threads or 0)], engine)
    if isinstance(done, str):
        return {"ok": False, "why": done}
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return {"ok": False, "why": f"{engine} failed: {_last_line(done.stderr)}"}
    return answer


def probe_import(engine: str) -> str | None:
    """Import an engine's library elsewhere; None when it starts, else one sentence."""
    done = _run(["-c", f"import {ENGINES[engine].module}"], engine)
    if isinstance(done, str):
        return done
    return None if done.returncode == 0 else f"{engine} failed: {_last_line(done.stderr)}"


def _run(arguments: list[str], engine: str) -> subprocess.CompletedProcess[str] | str:
    """Python elsewhere: what it said, or one sentence when it crashed or hung."""
    # -P: the folder that a user happens to stand in is no place to import from.
    command = [sys.executable, "-P", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"{engine} did not start within {_TIMEOUT_S} s"
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        hint = "; it was built for another processor: install another version" if name == "SIGILL" else ""
        return f"{engine} crashed with {name}{hint}"
    return done


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1][:200]


def _main(bundle_path: str, engine: str, precision: str, threads: str) -> dict[str, Any]:
    from importlib import import_module

    from fer_edge.devices.errors import FerEdgeError
    from fer_edge.devices.machine import peak_memory_bytes
    from fer_edge.edge_runtime import golden
    from fer_edge.edge_runtime.bundle import Bundle
    from fer_edge.edge_runtime.engines import check_known, start
    from fer_edge.edge_runtime.vocabulary import Precision

    try:
        bundle = Bundle.open(bundle_path)
        variant = bundle.find(engine, Precision(precision))
        vectors = bundle.golden()
        check_known(engine)
        begun = time.perf_counter_ns()
        import_module(ENGINES[engine].module)
        imported = time.perf_counter_ns()
        started = start(engine, bundle.file(variant), variant.precision, int(threads) or None)
        loaded = time.perf_counter_ns()
        started.infer(vectors.faces[:1])
        first = time.perf_counter_ns()
        peak = peak_memory_bytes()
        import numpy as np

        got = np.concatenate([started.infer(face[None]) for face in vectors.faces])
    except FerEdgeError as error:
        return {"ok": False, "why": str(error)}
    answer = {
        "ok": True,
        "version": started.spec.version,
        "device": started.spec.device,
        "threads": started.spec.threads,
        "import_ms": (imported - begun) / 1e6,
        "load_ms": (loaded - imported) / 1e6,
        "first_ms": (first - loaded) / 1e6,
        "peak_memory_bytes": peak,
        "golden": None,
    }
    if variant.name in vectors.logits:
        replay = golden.compare(variant, vectors.logits[variant.name], got)
        answer["golden"] = {
            "holds": replay.holds,
            "faces": replay.faces,
            "labels_differing": replay.labels_differing,
            "max_difference": replay.max_difference,
            "tolerance": replay.tolerance,
        }
    return answer


if __name__ == "__main__":
    print(json.dumps(_main(*sys.argv[1:])))
