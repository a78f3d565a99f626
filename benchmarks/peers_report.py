"""What the report of peers.py says: ratios, and the table for people."""

from typing import Any

import numpy as np
from scipy.stats import bootstrap

from fer_edge.edge_runtime.bench_stats import MIN_ROUNDS, paired_ratio
from fer_edge.edge_runtime.vocabulary import EMOTIONS


def ratio(theirs: list[list[int]], base: list[list[int]]) -> dict[str, Any] | None:
    """The ratio of times, paired by round; None where one of the two was not measured."""
    if not theirs or not base:
        return None
    rounds = list(zip(theirs, base, strict=False))
    return paired_ratio([float(np.median(a)) for a, _ in rounds], [float(np.median(b)) for _, b in rounds], 0)


def whole_ratio(theirs: list[list[int]], base: list[list[int]]) -> dict[str, Any] | None:
    """The ratio of whole times with its 95% interval by rounds, as `ratio` gives it; None where one is missing.

    For frames, some of which cost far more than most: a full scan every 15 is no part of a median frame.
    """
    if not theirs or not base:
        return None
    rounds = list(zip(theirs, base, strict=False))
    mine, other = (np.array([sum(turn[side]) for turn in rounds], dtype=float) for side in (0, 1))

    def over(a: Any, b: Any, axis: int = -1) -> Any:
        return a.sum(axis=axis) / b.sum(axis=axis)

    interval = None
    if len(rounds) >= MIN_ROUNDS:
        found = bootstrap((mine, other), over, paired=True, method="percentile", random_state=0).confidence_interval
        interval = [float(found.low), float(found.high)]
    return {"time_ratio": float(over(mine, other)), "interval": interval, "rounds": len(rounds)}


def row(turns: Any, labels: np.ndarray, base: Any | None, size: int) -> dict[str, Any]:
    """What the report says of one peer."""
    right = np.array([EMOTIONS.index(w) if w in EMOTIONS else -1 for w in turns.labels]) == labels[: len(turns.labels)]

    def median_ms(taken: list[list[int]]) -> float | None:
        return float(np.median(np.concatenate(taken))) / 1e6 if taken else None

    return {
        "status": "measured",
        "faces": len(right),
        "accuracy": float(right.mean()),
        "face_p50_ms": median_ms(turns.face_ns),
        "face_over_ours": ratio(turns.face_ns, base.face_ns) if base else None,
        "frames": len(turns.found) or None,
        "frames_with_a_face": float(np.mean(np.array(turns.found) > 0)) if turns.found else None,
        "frame_p50_ms": median_ms(turns.frame_ns),
        "frame_mean_ms": float(np.mean(np.concatenate(turns.frame_ns))) / 1e6 if turns.frame_ns else None,
        "frame_over_ours": whole_ratio(turns.frame_ns, base.frame_ns) if base else None,
        "first_label_ms": turns.start["first_label_ms"],
        "peak_memory_bytes": turns.peak_memory_bytes,
        "installed_bytes": size,
        "requirements": ["fer-edge, this checkout" if "/" in r else r for r in turns.peer.requirements],
    }


def as_markdown(report: dict[str, Any]) -> str:
    """The table for people; `-` is what a peer does not do, a sentence is why one has no figures."""
    head = (
        "| package | top-1, PublicTest | a face, ms | of ours | a frame, ms | of ours | frames with a face "
        "| first label, s | memory, MB | installed, MB |"
    )
    lines, absent = [head, "|---" * 10 + "|"], []
    for name, r in report["peers"].items():
        if r["status"] != "measured":
            absent.append(f"- {name}: {r['status']}")
            continue
        cells = [
            name, f"{r['accuracy']:.1%}", f"{r['face_p50_ms']:.2f}", _times(r["face_over_ours"]),
            _plain(r["frame_mean_ms"]), _times(r["frame_over_ours"]), _share(r["frames_with_a_face"]),
            f"{r['first_label_ms'] / 1000:.2f}", f"{r['peak_memory_bytes'] / 1e6:,.0f}",
            f"{r['installed_bytes'] / 1e6:,.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *absent]).strip() + "\n"


def _times(found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    interval = "" if found["interval"] is None else f" ({found['interval'][0]:.2f} to {found['interval'][1]:.2f})"
    return f"{found['time_ratio']:.2f}{interval}"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
