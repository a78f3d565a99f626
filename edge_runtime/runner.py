"""Drives a pipeline into its outlets, keeps systemd informed, and lowers the cadence of scans before frames drop."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from fer_edge.devices.frame import Frame
from fer_edge.devices.health import HealthSampler
from fer_edge.edge_runtime.notify import Notifier
from fer_edge.edge_runtime.pipeline import Pipeline
from fer_edge.edge_runtime.sink import CLOSE_S, Outlet, Sink
from fer_edge.edge_runtime.status import Monitor
from fer_edge.edge_runtime.vocabulary import Observation

_CHECK_EVERY = 30
"""Frames from one look at the board's health to the next."""
_HOT_FACTOR = 4


class ScanCadence:
    """Full scans four times as rare while the board is hot: they are the dearest part, and faces are followed anyway.

    Args:
        pipeline: whose follower is told.
        say: called with one line when the cadence changes.
    """

    def __init__(self, pipeline: Pipeline, say: Callable[[str], None]) -> None:
        self._follower, self._say = pipeline.labeller.follower, say
        self._normal = self._follower.scan_every
        self._hot = False

    def heed(self, health: HealthSampler) -> None:
        """Change the cadence where the board's heat asks for it."""
        hot = health.latest.is_hot(self._hot)
        if hot == self._hot or self._normal == 1:  # every frame is scanned: that was asked for
            return
        self._hot = hot
        self._follower.scan_every = self._normal * (_HOT_FACTOR if hot else 1)
        temp = health.latest.temp_c
        why = ", ".join(health.latest.throttled or ()) or ("no temperature" if temp is None else f"{temp:.0f} °C")
        self._say(f"{'hot' if hot else 'cool again'} ({why}): a full scan every {self._follower.scan_every} frames")


class Runner:
    """One run from first frame to last.

    Args:
        pipeline: what gives observations; closed at the end.
        say: called with one line about what an operator should know; from any thread.
        notifier: systemd's ear.
    """

    def __init__(self, pipeline: Pipeline, say: Callable[[str], None], notifier: Notifier | None = None) -> None:
        self.pipeline, self.say = pipeline, say
        self._notifier = notifier or Notifier()
        self._health = HealthSampler()
        self._outlets: list[Outlet] = []
        self.monitor = Monitor(pipeline, self._health.as_dict, self._sink_counts)

    def add(self, sinks: Iterable[Sink]) -> None:
        """Give these what is seen, each on a thread of its own."""
        lossless = not self.pipeline.source.live
        self._outlets += [Outlet(sink, lossless=lossless, say=self.say) for sink in sinks]

    def run(
        self, *, max_frames: int | None = None, go_on: Callable[[Frame, Observation], bool] = lambda f, o: True
    ) -> None:
        """Label until the source ends, `max_frames` are done, or `go_on` says no.

        Raises:
            SourceError: the camera is lost for good.
            OutputError: a clip's or photo's output cannot be written.
        """
        cadence = ScanCadence(self.pipeline, self.say)
        summary = self.monitor.summary
        for frame, observation in self.pipeline.with_frames():
            summary.put(observation)
            for outlet in self._outlets:
                outlet.put(observation, frame)
            self._notifier.frame(f"{summary.frames:,} frames")
            if summary.frames % _CHECK_EVERY == 0:
                cadence.heed(self._health)
            if not go_on(frame, observation) or summary.frames == max_frames:
                break
            del frame  # else its buffers count as in use while the next one is read

    def close(self, *, hurry: bool = False) -> None:
        """End everything; every outlet is closed even where one of them fails.

        Args:
            hurry: somebody asked the run to end: wait a second for outlets, not until a clip's are done.

        Raises:
            FerEdgeError: the first outlet that could not finish; a bug in one is raised as it came.
        """
        self.monitor.ended = True
        for outlet in self._outlets:
            outlet.finish()
        self.pipeline.close()
        self._health.close()
        failed: BaseException | None = None
        until_s = time.monotonic() + CLOSE_S
        for outlet in self._outlets:
            try:
                outlet.close(until_s - time.monotonic() if hurry or self.pipeline.source.live else None)
            except BaseException as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def stuck(self) -> list[str]:
        """Names of the sinks that did not come back when they were closed."""
        return [outlet.sink.name for outlet in self._outlets if outlet.stuck]

    def _sink_counts(self) -> dict[str, Any]:
        return {outlet.sink.name: outlet.as_dict() for outlet in self._outlets}
