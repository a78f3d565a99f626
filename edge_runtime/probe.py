"""Starts one model in a process of its own and prints what happened as JSON.

A runtime built for another processor dies with SIGILL at import, which cannot be caught: so `doctor` and `bench` ask a
subprocess. It is also the only honest way to read one variant's start-up time and peak memory.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fer_edge.edge_runtime.engine_cache import BUILD
from fer_edge.edge_runtime.engines import ENGINES

_TIMEOUT_S = 120
_BUILD_TIMEOUT_S = 600
"""TensorRT tries kernels for each layer; on a small board that takes minutes."""


def probe(
    bundle: Path, engine: str, precision: str, threads: int | None = None, *, build: bool = False
) -> dict[str, Any]:
    """Start a bundle's variant elsewhere, and replay its golden vectors.

    Args:
        bundle, engine, precision, threads: what to start.
        build: let an engine compile for this machine what it then finds at every start.

    Returns:
        As of `probe_file`, and `"golden": {...}` or None.
    """
    return _answer("golden", engine, str(bundle), engine, precision, str(threads or 0), build=build)


def probe_file(
    engine: str, model: Path, precision: str, threads: int, batch: int | None, *, faces: bool
) -> dict[str, Any]:
    """Start a model file elsewhere, and run it once.

    Args:
        engine, model, precision, threads: what to start.
        batch: faces or samples of the first run; None is the model's own, or 1.
        faces: whether it takes our faces, so that our engine runs it.

    Returns:
        `{"ok": True, "version", "device", "threads", "import_ms", "load_ms", "first_ms", "peak_memory_bytes"}`, or
        `{"ok": False, "why"}` with one sentence.
    """
    words = (engine, str(model), precision, str(threads), str(batch or 0), str(int(faces)))
    return _answer("file", engine, *words)


def _answer(what: str, engine: str, *words: str, build: bool = False) -> dict[str, Any]:
    done = _run(["-m", __name__, what, *words], engine, build=build)
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


def _run(arguments: list[str], engine: str, *, build: bool = False) -> subprocess.CompletedProcess[str] | str:
    """Python elsewhere: what it said, or one sentence when it crashed or hung."""
    # -P: the folder that a user happens to stand in is no place to import from.
    command = [sys.executable, "-P", *arguments]
    limit_s = _BUILD_TIMEOUT_S if build else _TIMEOUT_S
    env = os.environ | ({BUILD: "1"} if build else {})
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, env=env, check=False)
    except subprocess.TimeoutExpired:
        return f"{engine} did not start within {limit_s} s"
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        hint = "; it was built for another processor: install another version" if name == "SIGILL" else ""
        return f"{engine} crashed with {name}{hint}"
    return done


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1][:200]


def _main(what: str, *words: str) -> dict[str, Any]:
    from fer_edge.devices.errors import FerEdgeError

    try:
        return _golden(*words) if what == "golden" else _file(*words)[1]
    except FerEdgeError as error:
        return {"ok": False, "why": str(error)}


def _golden(bundle_path: str, engine: str, precision: str, threads: str) -> dict[str, Any]:
    import numpy as np

    from fer_edge.edge_runtime import golden
    from fer_edge.edge_runtime.bundle import Bundle
    from fer_edge.edge_runtime.vocabulary import Precision

    bundle = Bundle.open(bundle_path)
    variant = bundle.find(engine, Precision(precision))
    vectors = bundle.golden()
    started, answer = _file(engine, str(bundle.file(variant)), precision, threads, "0", "1")
    answer["golden"] = None
    if variant.name in vectors.logits:
        got = np.concatenate([started(face[None]) for face in vectors.faces])
        replay = golden.compare(variant, vectors.logits[variant.name], got)
        answer["golden"] = {
            "holds": replay.holds,
            "faces": replay.faces,
            "labels_differing": replay.labels_differing,
            "max_difference": replay.max_difference,
            "tolerance": replay.tolerance,
        }
    return answer


def _file(
    engine: str, model: str, precision: str, threads: str, batch: str, faces: str
) -> tuple[Callable[[Any], Any], dict[str, Any]]:
    """What runs the started model, and how the start went."""
    from importlib import import_module

    import numpy as np

    from fer_edge.devices.machine import peak_memory_bytes
    from fer_edge.edge_runtime.bare_model import open_bare
    from fer_edge.edge_runtime.engines import check_known, default_threads, start
    from fer_edge.edge_runtime.vocabulary import FACE_SIDE, Precision

    check_known(engine)
    path, kind, count, size = Path(model), Precision(precision), int(threads) or default_threads(), int(batch) or None
    black = np.zeros((size or 1, FACE_SIDE, FACE_SIDE), np.uint8)
    begun = time.perf_counter_ns()
    import_module(ENGINES[engine].module)
    imported = time.perf_counter_ns()
    started: Any
    if int(faces):
        started = start(engine, path, kind, count)
        run, value = started.infer, black
    else:
        started = open_bare(engine, path, kind, count, size)
        run, value = started.run, started.inputs[0]
    loaded = time.perf_counter_ns()
    run(value)
    first = time.perf_counter_ns()
    return run, {
        "ok": True,
        "version": started.spec.version,
        "device": started.spec.device,
        "threads": started.spec.threads,
        "import_ms": (imported - begun) / 1e6,
        "load_ms": (loaded - imported) / 1e6,
        "first_ms": (first - loaded) / 1e6,
        "peak_memory_bytes": peak_memory_bytes(),
    }


if __name__ == "__main__":
    print(json.dumps(_main(*sys.argv[1:])))
