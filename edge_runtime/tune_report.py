"""What a search found, as JSON: every setting that ran, the front, the winner and why. docs/tune.md describes it."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fer_edge.edge_runtime.bench_pipeline_lane import ROUND_FRAMES
from fer_edge.edge_runtime.latency import distribution
from fer_edge.edge_runtime.tune_score import Aim, compared, cpu_ms
from fer_edge.edge_runtime.tune_search import Looked, Outcome, Plan
from fer_edge.edge_runtime.tune_space import Candidate, Looking, Running, Space
from fer_edge.edge_runtime.vocabulary import Face

SCHEMA = 1


def report(
    space: Space,
    outcome: Outcome,
    aim: Aim,
    plan: Plan,
    wanted: Sequence[Sequence[Face]],
    arrived: dict[str, Any],
    best_detector: str,
) -> dict[str, Any]:
    """The outcome as JSON of schema 1; times in milliseconds, samples in nanoseconds."""
    tried = sorted(outcome.tried, key=lambda c: (-outcome.tried[c].rungs, aim.score(outcome.tried[c].rounds)))
    return {
        "schema": SCHEMA,
        "aim": {"text": str(aim), "fps": aim.fps, "clip_fps": aim.clip_fps},
        "floors": {"accuracy": space.floors, "found": plan.min_found},
        "reference": {"detector": best_detector, "frames": len(wanted), "faces": sum(map(len, wanted))},
        "space": {"settings": len(space), "models": len(space.runnings), "lookings": len(space.lookings)},
        "left_out": space.left_out,
        "hopeless": {str(looking): why for looking, why in outcome.hopeless.items()},
        "inferred": [
            _running(running) | {"face": distribution(taken.service_ns), "cpu_ms": cpu_ms([taken])}
            for running, taken in outcome.inferred.items()
        ],
        "looked": [_looking(looking) | _found(looked) for looking, looked in outcome.looked.items()],
        "tried": [_tried(candidate, space, outcome, aim) for candidate in tried],
        "front": [str(candidate) for candidate in outcome.front],
        "baseline": None if outcome.baseline is None else str(outcome.baseline),
        "winner": _winner(space, outcome, aim, arrived),
        "measured": _measured(space, outcome, plan, wanted, arrived),
    }


def _tried(candidate: Candidate, space: Space, outcome: Outcome, aim: Aim) -> dict[str, Any]:
    tried = outcome.tried[candidate]
    samples = [ns for taken in tried.rounds for ns in taken.service_ns]
    missed, figure = aim.score(tried.rounds)
    return {
        "id": str(candidate),
        **_running(candidate.running),
        **_looking(candidate.looking),
        "accuracy": space.accuracy.get(candidate.running.variant),
        **_found(outcome.looked[candidate.looking]),
        "rungs": tried.rungs,
        "rounds": len(tried.rounds),
        "service": distribution(samples),
        "cpu_ms": cpu_ms(tried.rounds),
        "score": {"missed": missed, "ms": figure},
        "over_winner": asdict(outcome.over_winner[candidate]),
        "samples_ns": samples,
    }


def _winner(space: Space, outcome: Outcome, aim: Aim, arrived: dict[str, Any]) -> dict[str, Any]:
    winner, difference = outcome.winner, outcome.against_runner_up
    return {
        "id": str(winner),
        "settings": {
            name: None if value is None else str(value) if name == "detector_model" else value
            for name, value in winner.settings().items()
        },
        "accuracy": space.accuracy[winner.running.variant],
        "found": outcome.looked[winner.looking].found,
        "reached": outcome.missed == 0,
        "runner_up": None if outcome.runner_up is None else str(outcome.runner_up),
        "over_runner_up": None if difference is None else asdict(difference),
        "over_baseline": _over_baseline(outcome, aim),
        "why": why(space, outcome, aim),
        "open": {
            "fps": arrived["fps"],
            "frames": arrived["frames"],
            "dropped": arrived["dropped"],
            "late": arrived["late"],
            "age": distribution(arrived["age_ns"]),
            "age_samples_ns": arrived["age_ns"],
            "utilisation": arrived["utilisation"],
        },
    }


def _over_baseline(outcome: Outcome, aim: Aim) -> dict[str, Any] | None:
    if outcome.baseline is None:
        return None
    winner, baseline = outcome.tried[outcome.winner], outcome.tried[outcome.baseline]
    return asdict(compared(aim, winner.by_number, baseline.by_number))


def why(space: Space, outcome: Outcome, aim: Aim) -> str:
    """One sentence for people."""
    figure = "p90 latency" if aim.fps is None else "CPU time"
    difference, second = outcome.against_runner_up, outcome.runner_up
    if outcome.missed:
        rate = aim.fps or aim.clip_fps
        return f"no setting keeps up with {rate:g} frames a second; this one drops the fewest, {outcome.missed:.0%}"
    if difference is None or second is None:
        return "it is the only setting that holds the floors"
    known = difference.low is not None and difference.high is not None
    interval = f"({difference.low:.2f} to {difference.high:.2f})" if known else "(too few rounds for an interval)"
    between = f"it takes {difference.ratio:.2f} {interval} of the {figure} of {second}"
    if difference.differs and difference.ratio < 1:
        return between
    mine, theirs = space.accuracy[outcome.winner.running.variant], space.accuracy[second.running.variant]
    found, other = outcome.looked[outcome.winner.looking].found, outcome.looked[second.looking].found
    better = "is more accurate" if mine > theirs else "finds more faces" if found > other else "takes less CPU time"
    return f"{between}: about the same, and this one {better}"


def _running(running: Running) -> dict[str, Any]:
    return {"engine": running.engine, "precision": str(running.precision), "threads": running.threads}


def _looking(looking: Looking) -> dict[str, Any]:
    return {
        "detector": looking.detector,
        "detect_width": looking.detect_width,
        "scan_every": looking.scan_every,
    }


def _found(looked: Looked) -> dict[str, Any]:
    return {"found": looked.found, "recall": looked.agreement.recall, "precision_of_faces": looked.agreement.precision}


def _measured(
    space: Space, outcome: Outcome, plan: Plan, wanted: Sequence[Sequence[Face]], arrived: dict[str, Any]
) -> dict[str, Any]:
    """How many frames were looked at, and how many an exhaustive search of the same length would have needed."""
    whole = sum(len(tried.rounds) for tried in outcome.tried.values()) * ROUND_FRAMES
    short = len(space.lookings) * min(plan.short_frames, len(wanted))
    looked = len(outcome.looked) * len(wanted)
    return {
        "frames": whole + short + looked + len(wanted) + arrived["frames"],
        "frames_labelled": whole,
        "exhaustive_frames": len(space) * plan.rungs[-1][1] * ROUND_FRAMES,
        "faces_inferred": sum(len(taken.service_ns) for taken in outcome.inferred.values()),
    }
