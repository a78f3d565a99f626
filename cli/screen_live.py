"""What `fer-edge run` shows while it runs: photos a block each, streams a live table, into a pipe a line a change.

Each is a sink, on a thread of its own, so that a slow terminal does not stall the loop. rich is imported by the live
table alone: photos and pipes are on the path to the first label.
"""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fer_edge.devices.frame import Frame
    from fer_edge.edge_runtime.status import Summary
    from fer_edge.edge_runtime.vocabulary import Observation, Prediction

_REDRAW_S = 0.1
_BAR_WIDTH = 20
_KEPT_TRACKS = 1000
_COLOURS = {
    "angry": "red", "disgust": "green", "fear": "magenta", "happy": "yellow", "neutral": "white", "sad": "blue",
    "surprise": "cyan", "uncertain": "bright_black",
}  # fmt: skip


class PhotoScreen:
    """A block a photo."""

    name, needs_pixels = "screen", False

    def put(self, observation: "Observation", frame: "Frame | None") -> None:
        """Print one photo's faces."""
        count = len(observation.predictions)
        lines = [f"{observation.name}: {count or 'no'} face{'s' if count != 1 else ''}"]
        for p in observation.predictions:
            x0, y0, x1, y1 = p.face.box_xyxy
            lines.append(f"  {p.label:<9} {_how_sure(p)}  at {x0},{y0} to {x1},{y1}")
        print("\n".join(lines), flush=True)

    def idle(self) -> None:
        """Nothing to do between photos."""

    def close(self) -> None:
        """Nothing to finish."""


class PipeScreen:
    """A line for each new face and each change of a label."""

    name, needs_pixels = "screen", False

    def __init__(self) -> None:
        self._shown: dict[int | None, str] = {}

    def put(self, observation: "Observation", frame: "Frame | None") -> None:
        """Print what changed."""
        for p in observation.predictions:
            track = p.face.track_id
            if self._shown.get(track) != p.label:
                print(f"frame {observation.frame_seq}: #{track} {p.label} {_how_sure(p).strip()}", flush=True)
                self._shown[track] = p.label
        while len(self._shown) > _KEPT_TRACKS:
            del self._shown[next(iter(self._shown))]

    def idle(self) -> None:
        """Nothing to do between frames."""

    def close(self) -> None:
        """Nothing to finish."""


class LiveScreen:
    """A table of the faces in sight, redrawn ten times a second, gone when the run ends.

    Args:
        status: see `Monitor.status`.
    """

    name, needs_pixels = "screen", False

    def __init__(self, status: Callable[[], dict[str, Any]]) -> None:
        self._status = status
        self._live: Any = None
        self._drawn_s = 0.0
        self._newest: Observation | None = None

    def put(self, observation: "Observation", frame: "Frame | None") -> None:
        """Show one frame, if the last drawing is old enough."""
        self._newest = observation
        if time.monotonic() - self._drawn_s >= _REDRAW_S:
            self.idle()

    def idle(self) -> None:
        """Draw; between frames, too, so that a camera that is away is seen to be."""
        from rich.live import Live

        self._drawn_s = time.monotonic()
        if self._live is None:
            self._live = Live(auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(self._drawing(), refresh=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._live is not None:
            self._live.stop()

    def _drawing(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        status = self._status()
        table = Table(box=None, pad_edge=False, show_header=False)
        for justify in ("right", "left", "left", "right"):
            table.add_column(justify=justify, no_wrap=True)
        predictions = self._newest.predictions if self._newest and status["state"] == "live" else ()
        for p in predictions:
            bar = "█" * round(p.confidence * _BAR_WIDTH)
            why = f"{p.label} ({p.reason})" if p.reason else p.label
            colour = _COLOURS[p.label]
            table.add_row(
                f"#{p.face.track_id}",
                Text(why, style=colour),
                Text(bar.ljust(_BAR_WIDTH), style=colour),
                f"{p.confidence:.0%}",
            )
        if not predictions:
            table.add_row("", "no face" if status["state"] == "live" else f"camera {status['state']}", "", "")
        return Group(table, Text(_caption(status), style="dim", no_wrap=True, overflow="ellipsis"))


def _caption(status: dict[str, Any]) -> str:
    def number(value: float | None, unit: str) -> str:
        return "–" if value is None else f"{value:.0f} {unit}"

    camera = status["camera"]
    parts = [number(status["fps"], "fps"), f"age {number(status['age_ms']['p50_ms'], 'ms')}"]
    parts += [f"{what} {camera[what]:,}" for what in ("dropped", "gaps") if camera[what]]
    health = status["health"]
    if health["temp_c"] is not None:
        parts.append(f"{health['temp_c']:.0f} °C")
    parts += health["throttled"] or []
    return "  ".join(parts)


def _how_sure(p: "Prediction") -> str:
    return f"{p.confidence:4.0%}" + (f" ({p.reason})" if p.reason else "")


def screen_sink(*, still: bool, status: Callable[[], dict[str, Any]]) -> PhotoScreen | PipeScreen | LiveScreen:
    """The one that fits the source and where stdout goes."""
    if still:
        return PhotoScreen()
    return LiveScreen(status) if sys.stdout.isatty() else PipeScreen()


def print_summary(summary: "Summary", *, still: bool, status: dict[str, Any], faces: bool = True) -> None:
    """Frames, faces, labels, steadiness, camera, percentiles by stage; `-` where there are too few frames for one."""
    rate = summary.frames_per_second()
    paced = still or status["camera"]["captured"] is not None
    text = f"{summary.frames:,} frames" + (f", {summary.faces:,} faces" if faces else "")
    print(text + (f", {rate:.0f} frames a second" if rate and not paced else ""))
    if summary.labels and faces:
        print("labels: " + ", ".join(f"{label} {count:,}" for label, count in summary.labels.most_common()))
    if faces:
        _print_steadiness(status["labels_changed"])
    if status["camera"]["captured"] is not None:
        c = status["camera"]
        print(
            f"camera: {c['captured']:,} frames, {c['dropped']:,} dropped for newer ones, {c['damaged']:,} damaged\n"
            f"        {c['gaps']:,} gaps of {c['gap_s']:.1f} s in all, reopened {c['reopened']:,} times"
        )
    lost = {name: s for name, s in status["sinks"].items() if s["dropped"] or s["failed"]}
    for name, s in lost.items():
        print(f"{name}: {s['written']:,} written, {s['dropped']:,} dropped, {s['failed']:,} failed")
    print(f"{'ms':>12} {'mean':>8} {'p50':>8} {'p90':>8} {'p95':>8} {'p99':>8}")
    rows = summary.stages()
    if status["camera"]["captured"] is not None:  # a clip's frames are only as old as they took
        rows["age"] = summary.age()
    for stage, row in rows.items():
        cells = (row[key] for key in ("mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms"))
        print(f"{stage:>12} " + " ".join(f"{'-' if c is None else format(c, '.2f'):>8}" for c in cells))


def _print_steadiness(changed: dict[str, float | None]) -> None:
    if changed["per_face_minute"] is None:
        return
    delay = changed["delay_ms"]
    late = "" if delay is None else f", shown {delay:.0f} ms late"
    print(
        f"label changes a face-minute: {changed['per_face_minute']:.1f}{late}; "
        f"frame by frame {changed['unsmoothed_per_face_minute']:.1f}"
    )
