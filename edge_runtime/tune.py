"""`fer-edge tune` without its command line: finds this device's best settings for a clip and says how.

Puts the parts together: what may be chosen (tune_space), what is best (tune_score), how it is found (tune_search), what
measures (tune_meter) and remembers (tune_store). Prints nothing; writes nothing but measurements.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from fer_edge.devices.errors import EngineError, SourceError
from fer_edge.devices.files import sha256_of
from fer_edge.devices.machine import describe_machine, usable_cores, versions
from fer_edge.devices.sources import find_camera
from fer_edge.edge_runtime.bench_pipeline_pictures import USUAL_FPS, open_pictures, pictures_of
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.detect import open_detector
from fer_edge.edge_runtime.device_profile import made_for
from fer_edge.edge_runtime.engines import check_known, choose
from fer_edge.edge_runtime.probe import probe_import
from fer_edge.edge_runtime.sample_clip import SAMPLE_PHOTO
from fer_edge.edge_runtime.tune_meter import DeviceMeter
from fer_edge.edge_runtime.tune_report import report
from fer_edge.edge_runtime.tune_score import Aim
from fer_edge.edge_runtime.tune_search import Meter, Plan, Search
from fer_edge.edge_runtime.tune_space import (
    DETECTORS,
    USUAL_CADENCE,
    USUAL_WIDTH,
    Candidate,
    Here,
    Looking,
    Running,
    Space,
    Wishes,
    space_of,
)
from fer_edge.edge_runtime.tune_store import Remembering, Store
from fer_edge.edge_runtime.vocabulary import Precision

_ARRIVING_S = 5.2
"""At 25 frames a second the 130 frames that a p95 needs."""
_LIBRARIES = ("fer-edge", "ai-edge-litert", "onnxruntime", "openvino", "numpy", "opencv-python-headless")


class Measuring(Meter, Protocol):
    """A meter that can also let frames arrive."""

    def arriving(self, candidate: Candidate, fps: float, seconds: float) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Clip:
    """What is looked at: `path`, its name for people, `identity` by which the same clip is known again."""

    path: str
    name: str
    identity: str
    frame_width: int
    frame_height: int
    fps: float
    is_sample: bool


@contextmanager
def opened_clip(source: str | None, step: Callable[[str], None]) -> Iterator[Clip]:
    """The clip to tune on; None is the sample clip, which is drawn.

    Raises:
        SourceError: not a clip, which alone can be played again and again.
    """
    if source is not None and find_camera(source) is not None:
        raise SourceError(f"tune plays the same frames again and again; record {source} and give the clip")
    with tempfile.TemporaryDirectory(prefix="fer-edge-") as folder:
        path, name = pictures_of(source, Path(folder), 0, step)
        with open_pictures(path) as pictures:
            if pictures.still:
                raise SourceError(f"{path} is no clip; tune needs one, such as camera.mp4")
            height, width = pictures.take_any().gray.shape
            fps = pictures.fps or USUAL_FPS
        identity = sha256_of(SAMPLE_PHOTO if source is None else Path(path))
        yield Clip(path, name, identity, width, height, fps, source is None)


def why_not_here(detector_model: Path | None) -> Callable[[str], str | None]:
    """A function that says why an engine or a detector cannot be used on this device; None where it can.

    An engine is imported in a process of its own, because one that was built for another processor dies.
    """

    def why_not(name: str) -> str | None:
        try:
            if name in DETECTORS:
                open_detector(name, detector_model if name == "yunet" else None)
                return None
            check_known(name)
        except EngineError as error:
            return str(error)
        return probe_import(name)

    known: dict[str, str | None] = {}

    def remembered(name: str) -> str | None:
        if name not in known:
            known[name] = why_not(name)
        return known[name]

    return remembered


def tune(
    bundle: Bundle, source: str | None, *, detector_model: Path | None, step: Callable[[str], None], **how: Any
) -> tuple[dict[str, Any], Store]:
    """Search on this device; see `tune_on` for `how` and for what comes back.

    Args:
        bundle: what runs.
        source: a clip; None is the sample clip.
        detector_model: YuNet's file, where it is not in the cache.
        step: told what is being done.

    Raises:
        SourceError: no clip, or one that cannot be read.
        EngineError, OutputError: see `tune_on`.
    """
    with opened_clip(source, step) as clip:
        here = Here(
            usable_cores(), clip.frame_width, clip.fps, detector_model, why_not_here(detector_model), clip.is_sample
        )
        return tune_on(bundle, clip, here, step=step, **how)


def tune_on(
    bundle: Bundle,
    clip: Clip,
    here: Here,
    *,
    wishes: Wishes,
    aim: Aim,
    plan: Plan,
    max_frames: int,
    restart: bool,
    step: Callable[[str], None],
    meter: Measuring | None = None,
    state_folder: Path | None = None,
) -> tuple[dict[str, Any], Store]:
    """Search, or go on with a search that was interrupted.

    Args:
        bundle, clip: what runs on what.
        here: what this device has.
        wishes: what to choose between.
        aim: what is best.
        plan: how measurements are spent, and the floor of faces found.
        max_frames: of the clip that faces are compared on.
        restart: forget what an interrupted search measured.
        step: told what is being done.
        meter: measures; None is this device.
        state_folder: of the measurements; None is the user's state folder.

    Returns:
        The report (docs/tune.md), and the store of what was measured, which the caller removes once all is done.

    Raises:
        EngineError: nothing to choose from, or no setting finds enough faces.
        OutputError: another `tune` is at work, or the state folder cannot be written.
    """
    aim = replace(aim, clip_fps=clip.fps)
    space = space_of(bundle, here, wishes)
    best = next(name for name in DETECTORS if here.why_not(name) is None)
    best_model = here.detector_model if best == "yunet" else None
    engines = {running.engine for running in space.runnings}
    bound_to = made_for(bundle, engines)
    key = {
        "bound_to": bound_to,
        "fer_edge": versions("fer-edge"),
        "clip": clip.identity,
        "max_frames": max_frames,
        "reference": best,
        "detector_model": None if here.detector_model is None else sha256_of(here.detector_model),
        "cores": here.cores,
    }
    measuring: Measuring = meter or DeviceMeter(clip.path, bundle, (best, best_model), max_frames=max_frames)
    store = Store(key, restart=restart, folder=state_folder)
    try:
        if store.found:
            step(f"going on: {store.found} measurements are there already")
        remembering = Remembering(measuring, store)
        outcome = Search(space, remembering, aim, plan, _baseline(bundle, here, space), step).find()
        fps = aim.fps or clip.fps
        step(f"frames arriving at {fps:g} a second: {outcome.winner}")
        arrived = store.get(
            f"arriving {fps:g} {outcome.winner}", lambda: measuring.arriving(outcome.winner, fps, _ARRIVING_S)
        )
        made = report(space, outcome, aim, plan, remembering.reference(), arrived, best)
    except BaseException:
        store.close()
        raise
    made["bundle"] = {"name": bundle.name, "sha256": bundle.sha256, "path": bundle.path.name}
    made["source"] = {
        "name": clip.name,
        "sha256": clip.identity,
        "frame_size": [clip.frame_width, clip.frame_height],
        "fps": clip.fps,
        "is_sample": clip.is_sample,
    }
    made["bound_to"] = bound_to
    made["machine"] = describe_machine()
    made["versions"] = versions(*_LIBRARIES)
    made["resumed"] = store.found > 0
    return made, store


def _baseline(bundle: Bundle, here: Here, space: Space) -> Candidate | None:
    """What `run` does without a profile and without flags; None where it cannot."""
    if here.why_not("haar") is not None:
        return None
    try:
        engine = choose(bundle, "auto", Precision.INT8)
    except EngineError:
        return None
    if here.why_not(engine) is not None:
        return None
    return Candidate(Running(engine, Precision.INT8, None), Looking("haar", None, USUAL_WIDTH, USUAL_CADENCE))
