"""Camera to label: the iterator behind `fer-edge run` and the public Python API.

    with Pipeline("clip.mp4") as pipeline:
        for observation in pipeline:
            print([p.label for p in observation.predictions])

Prints nothing; does not know who consumes its observations.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fer_edge.devices.frame import Closing, Frame, FrameSource
from fer_edge.devices.sources import open_source
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.config import GIVE_UP_S
from fer_edge.edge_runtime.engines import choose
from fer_edge.edge_runtime.labeller import Labeller
from fer_edge.edge_runtime.quality import Gate
from fer_edge.edge_runtime.steady import Steadiness
from fer_edge.edge_runtime.vocabulary import Observation, Precision


class Pipeline(Closing):
    """Yields one Observation a frame.

    Args:
        source: a path, a camera's word (see `open_source`), or any FrameSource of your own.
        bundle: a bundle or its path; None is the one that ships.
        steadiness: of a stream's labels; None labels each frame by itself.
        give_up_s: seconds without a frame after which iterating raises SourceError.
        say: called with one line when the camera goes away and when it is back.
        engine, precision, threads, detector, detector_model, gate, scan_every, detect_width: see Labeller.

    Raises:
        SourceError, BundleError, EngineError: before the first frame, in one sentence.
    """

    def __init__(
        self,
        source: str | Path | FrameSource,
        bundle: Bundle | str | Path | None = None,
        *,
        engine: str = "auto",
        precision: Precision | str = Precision.INT8,
        threads: int | None = None,
        detector: str | None = None,
        detector_model: Path | None = None,
        gate: Gate | bool = True,
        steadiness: Steadiness | None = Steadiness(),
        scan_every: int = 15,
        detect_width: int = 320,
        give_up_s: float = GIVE_UP_S,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        choose(self.bundle, engine, Precision(precision))  # an engine that is not there is said before a camera opens
        self.source: FrameSource = (
            open_source(str(source), give_up_s=give_up_s, say=say) if isinstance(source, str | Path) else source
        )
        try:
            self.labeller = Labeller(
                self.bundle,
                still=self.source.still,
                engine=engine,
                precision=precision,
                threads=threads,
                detector=detector,
                detector_model=detector_model,
                gate=gate,
                steadiness=steadiness,
                scan_every=scan_every,
                detect_width=detect_width,
            )
        except BaseException:
            self.source.__exit__(None, None, None)
            raise
        self.engine, self.detector = self.labeller.engine, self.labeller.detector

    def __iter__(self) -> Iterator[Observation]:
        return (observation for _, observation in self.with_frames())

    def with_frames(self) -> Iterator[tuple[Frame, Observation]]:
        """Each frame with what was seen in it, for those who draw. Its pixels are used again once nobody holds it."""
        with self.source as source:
            start = time.perf_counter_ns()
            for frame in source:
                yield frame, self.labeller.observe(frame, start)
                del frame  # else its buffers count as in use while the next one is read
                start = time.perf_counter_ns()

    def close(self) -> None:
        """Give camera and engine back; harmless twice."""
        self.source.__exit__(None, None, None)
        self.labeller.close()
