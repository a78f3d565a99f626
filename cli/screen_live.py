"""Live results of `fer-edge run`: photos a block each, streams one line that is redrawn (into a file, a line a change).

Plain text rather than rich: it is on the path to the first label.
"""

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fer_edge.devices.frame import Frame
    from fer_edge.edge_runtime.pipeline import Pipeline
    from fer_edge.edge_runtime.sinks import Summary
    from fer_edge.edge_runtime.vocabulary import Observation

_REDRAW_S = 0.1


class Live:
    """Prints to stdout; `quiet` keeps only the summary."""

    def __init__(self, *, still: bool, quiet: bool) -> None:
        self._still, self._quiet = still, quiet
        self._terminal = sys.stdout.isatty()
        self._drawn_at = 0.0
        self._shown: dict[int | None, str] = {}
        self._line_open = False

    def start(self, pipeline: "Pipeline") -> None:
        """Say what runs."""
        spec = pipeline.engine.spec
        self.note(
            f"{pipeline.source.name}: {pipeline.bundle.name} {spec.precision} on {spec.version} ({spec.device}), "
            f"{spec.threads} thread{'s' if spec.threads > 1 else ''}; faces by {pipeline.detector.name}"
        )

    def put(self, frame: "Frame", observation: "Observation", summary: "Summary") -> None:
        """Show one frame."""
        if self._quiet:
            return
        if self._still:
            self._photo(frame, observation)
        elif self._terminal:
            self._redraw(observation, summary)
        else:
            self._changes(observation)

    def note(self, text: str) -> None:
        """A line of its own."""
        self._end_line()
        print(text, flush=True)

    def summary(self, summary: "Summary") -> None:
        """Frames, faces, labels, and percentiles by stage; `-` where there are too few frames for a percentile."""
        self._end_line()
        rate = summary.frames_per_second()
        text = f"{summary.frames:,} frames, {summary.faces:,} faces"
        print(text + (f", {rate:.0f} frames a second" if rate and not self._still else ""))
        if summary.labels:
            print("labels: " + ", ".join(f"{label} {count:,}" for label, count in summary.labels.most_common()))
        print(f"{'ms':>12} {'mean':>8} {'p50':>8} {'p90':>8} {'p95':>8} {'p99':>8}")
        for stage, row in summary.stages().items():
            cells = (row[key] for key in ("mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms"))
            print(f"{stage:>12} " + " ".join(f"{'-' if c is None else format(c, '.2f'):>8}" for c in cells))

    def _photo(self, frame: "Frame", observation: "Observation") -> None:
        count = len(observation.predictions)
        print(f"{frame.name}: {count or 'no'} face{'s' if count != 1 else ''}")
        for p in observation.predictions:
            x0, y0, x1, y1 = p.face.box_xyxy
            print(f"  {p.label:<9} {p.confidence:4.0%}  at {x0},{y0} to {x1},{y1}", flush=True)

    def _redraw(self, observation: "Observation", summary: "Summary") -> None:
        now = time.monotonic()
        if now - self._drawn_at < _REDRAW_S:
            return
        self._drawn_at = now
        faces = "  ".join(f"#{p.face.track_id} {p.label} {p.confidence:.0%}" for p in observation.predictions)
        rate = summary.frames_per_second()
        line = f"frame {observation.frame_seq}  {rate or 0:.0f} fps  {faces or 'no face'}"
        print(f"\r\x1b[K{line[:118]}", end="", flush=True)
        self._line_open = True

    def _changes(self, observation: "Observation") -> None:
        seen = {p.face.track_id: p for p in observation.predictions}
        for track, p in seen.items():
            if self._shown.get(track) != p.label:
                print(f"frame {observation.frame_seq}: #{track} {p.label} {p.confidence:.0%}", flush=True)
        self._shown = {track: p.label for track, p in seen.items()}

    def _end_line(self) -> None:
        if self._line_open:
            print()
            self._line_open = False
