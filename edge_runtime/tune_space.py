"""What `tune` chooses from: the settings that this device and this bundle allow, and why others are left out.

Two halves that cost time one after the other: how faces are looked for, and how the model runs. Measures nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fer_edge.devices.errors import EngineError
from fer_edge.edge_runtime.bench_pipeline_lane import Setup
from fer_edge.edge_runtime.bundle import Bundle, Variant
from fer_edge.edge_runtime.engines import ENGINES, refused
from fer_edge.edge_runtime.vocabulary import Precision

DETECTORS = ("yunet", "haar")
"""Those that look, the better one first."""
THREADS = (1, 2, 4)
WIDTHS = (160, 240, 320, 480, 640)
CADENCES = (1, 5, 10, 15, 30)
USUAL_WIDTH, USUAL_CADENCE = 320, 15
"""Of `run` without a profile."""
MOST_POINTS_LOST = 0.5
"""Percentage points that a variant may be less accurate than its float variant, unless a floor is given."""
LONGEST_WAIT_S = 1.0
"""A new face is found by the next full scan; no cadence is offered that would let it wait longer."""


@dataclass(frozen=True, slots=True)
class Looking:
    """How faces are looked for."""

    detector: str
    detector_model: Path | None
    detect_width: int
    scan_every: int

    def __str__(self) -> str:
        return f"{self.detector} {self.detect_width} wide, every {self.scan_every}"


@dataclass(frozen=True, slots=True)
class Running:
    """How the model runs."""

    engine: str
    precision: str
    threads: int | None
    """None: as many as `run` finds to help."""

    @property
    def variant(self) -> str:
        """`tflite/int8` and the like."""
        return f"{self.engine}/{self.precision}"

    def __str__(self) -> str:
        return f"{self.variant}, {threads_text(self.threads)}"


def threads_text(threads: int | None) -> str:
    """`2 threads`."""
    return "as many threads as help" if threads is None else f"{threads} thread{'s' if threads > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A whole setting."""

    running: Running
    looking: Looking

    def __str__(self) -> str:
        return f"{self.running}; {self.looking}"

    def setup(self) -> Setup:
        """As a lane is opened with it."""
        r, k = self.running, self.looking
        return Setup(
            r.engine, r.precision, r.threads, k.detector, k.detector_model, k.detect_width, k.scan_every
        )  # fmt: skip

    def settings(self) -> dict[str, Any]:
        """As `RunConfig` calls them; what is None is `run`'s own default."""
        setup = self.setup()
        return {name: getattr(setup, name) for name in Setup.__slots__}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What to choose between; None is all that is here."""

    engines: Sequence[str] | None = None
    precisions: Sequence[str] | None = None
    threads: Sequence[int] | None = None
    detectors: Sequence[str] | None = None
    widths: Sequence[int] | None = None
    cadences: Sequence[int] | None = None
    min_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Here:
    """What is here: `why_not` gives a sentence for an engine or detector that cannot be used, None for one that can."""

    cores: int
    frame_width: int
    fps: float
    detector_model: Path | None
    why_not: Callable[[str], str | None]
    is_sample: bool = False


@dataclass(frozen=True, slots=True)
class Space:
    """All combinations of `runnings` and `lookings`; `accuracy` and its floor by variant; why others are left out."""

    runnings: tuple[Running, ...]
    lookings: tuple[Looking, ...]
    accuracy: dict[str, float]
    floors: dict[str, float]
    left_out: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.runnings) * len(self.lookings)


def space_of(bundle: Bundle, here: Here, wishes: Wishes) -> Space:
    """What may be chosen.

    Raises:
        EngineError: nothing is left, or a wish that nothing answers; one sentence that says why.
    """
    _check_words("engine", wishes.engines, tuple(ENGINES))
    _check_words("precision", wishes.precisions, tuple(Precision))
    _check_words("detector", wishes.detectors, DETECTORS)
    _check_asked(bundle, here, wishes)
    left_out: dict[str, str] = {}
    accuracy, floors = {}, {}
    for variant in bundle.variants:
        why, floor = _why_not(bundle, variant, here, wishes)
        if why is not None:
            left_out[variant.name] = why
        elif variant.accuracy is not None and floor is not None:
            accuracy[variant.name], floors[variant.name] = variant.accuracy, floor
    counts = _chosen("threads", THREADS, wishes.threads, lambda n: n <= here.cores) or [1]
    runnings = [
        Running(v.engine, str(v.precision), count) for v in bundle.variants if v.name in accuracy for count in counts
    ]
    lookings = _lookings(here, wishes, left_out)
    if not runnings:
        raise EngineError(f"nothing to choose from: {'; '.join(f'{name}: {why}' for name, why in left_out.items())}")
    return Space(tuple(runnings), tuple(lookings), accuracy, floors, left_out)


def accuracy_floor(bundle: Bundle, variant: Variant, min_accuracy: float | None) -> float | None:
    """The least accuracy, a fraction, that a variant needs; None where neither a floor nor a float variant is known.

    Args:
        bundle: with the accuracies that were judged when it was made.
        variant: of it.
        min_accuracy: the floor for all; None is `MOST_POINTS_LOST` under the float variant of the same engine, or of
            any engine where that one has none: they come from one network.
    """
    if min_accuracy is not None:
        return min_accuracy
    floats = {v.engine: v.accuracy for v in bundle.variants if v.precision == Precision.FLOAT32 and v.accuracy}
    base = floats.get(variant.engine, max(floats.values(), default=None))
    return None if base is None else base - MOST_POINTS_LOST / 100


def _why_not(bundle: Bundle, variant: Variant, here: Here, wishes: Wishes) -> tuple[str | None, float | None]:
    if wishes.engines is not None and variant.engine not in wishes.engines:
        return "not asked for", None
    if wishes.precisions is not None and variant.precision not in wishes.precisions:
        return "not asked for", None
    if (why := here.why_not(variant.engine) or refused(variant.engine, variant.precision)) is not None:
        return why, None
    if variant.accuracy is None:
        return "its accuracy was never measured", None
    floor = accuracy_floor(bundle, variant, wishes.min_accuracy)
    if floor is None:
        return "the bundle has no float accuracy to compare with; give --min-accuracy", None
    if variant.accuracy < floor - 1e-9:  # one that lies on the floor is not under it
        return f"accuracy {variant.accuracy:.4f} is under the floor of {floor:.4f}", None
    return None, floor


def _lookings(here: Here, wishes: Wishes, left_out: dict[str, str]) -> list[Looking]:
    asked = wishes.detectors or DETECTORS
    detectors = []
    for name in asked:
        if (why := here.why_not(name)) is None:
            detectors.append(name)
        else:
            left_out[name] = why
    if not detectors:
        raise EngineError(f"no face detector to choose from: {'; '.join(left_out[name] for name in asked)}")
    return [
        Looking(name, here.detector_model if name == "yunet" else None, width, cadence)
        for name in detectors
        for width in _widths(here, wishes)
        for cadence in _cadences(here, wishes)
    ]


def _widths(here: Here, wishes: Wishes) -> list[int]:
    """Those under the frame's width, and the first that takes the frame as it is.

    The sample clip shows one near face, which says nothing about small ones: on it nothing narrower is tried than what
    `run` does anyway.
    """
    if wishes.widths is not None:
        return _chosen("widths", (), wishes.widths, bool)
    offered = [width for width in WIDTHS if not here.is_sample or width >= USUAL_WIDTH]
    whole = [width for width in offered if width >= here.frame_width]
    return [width for width in offered if width < here.frame_width] + whole[:1]


def _cadences(here: Here, wishes: Wishes) -> list[int]:
    """Those that let a new face wait a second at most; on the sample clip, where nobody comes, no rarer than usual."""
    longest = USUAL_CADENCE if here.is_sample else max(1, int(here.fps * LONGEST_WAIT_S))
    return _chosen("cadences", CADENCES, wishes.cadences, lambda n: n <= longest) or [1]


def _check_words(what: str, wished: Sequence[str] | None, known: Sequence[str]) -> None:
    for word in wished or ():
        if word not in known:
            raise EngineError(f"tune knows no {what} {word!r}; choose among {', '.join(known)}")


def _check_asked(bundle: Bundle, here: Here, wishes: Wishes) -> None:
    """What was asked for by name must be there; it is not left out with a shrug."""
    asked = [*(wishes.engines or ()), *(wishes.detectors or ()), *(["yunet"] if here.detector_model else [])]
    for name in asked:
        if (why := here.why_not(name)) is not None:
            raise EngineError(why)
    have = {v.engine for v in bundle.variants}
    for engine in wishes.engines or ():
        if engine not in have:
            raise EngineError(f"bundle {bundle.name!r} has no variant for {engine}; it has {', '.join(sorted(have))}")


def _chosen(what: str, offered: Sequence[int], wished: Sequence[int] | None, fits: Callable[[int], bool]) -> list[int]:
    if wished is None:
        return [n for n in offered if fits(n)]
    if not wished or min(wished) < 1:
        raise EngineError(f"{what} are {', '.join(map(str, wished)) or 'empty'}; expected numbers from 1")
    return sorted(set(wished))
