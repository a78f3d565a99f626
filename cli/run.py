"""`fer-edge run`: label the faces of a photo, a clip or a camera."""

import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from fer_edge.cli.screen_live import Live

if TYPE_CHECKING:
    from fer_edge.edge_runtime.sinks import Summary


def run(
    source: Annotated[str, typer.Argument(help="Image, folder, clip, camera number, /dev/videoN, rtsp:// or http://.")],
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle folder or .ferpack; by default the one that ships.")
    ] = None,
    engine: Annotated[str, typer.Option(help="auto, tflite, onnx or openvino.")] = "auto",
    precision: Annotated[str, typer.Option(help="int8, float32, float16 or dynamic-int8: that, or an error.")] = "int8",
    detector_model: Annotated[
        Path | None, typer.Option(help="YuNet's .onnx; without it OpenCV's Haar cascade finds the faces.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=64, help="Of the engine; by default up to 4.")] = None,
    min_confidence: Annotated[float, typer.Option(min=0, max=1, help="Below it a face is 'uncertain'.")] = 0.0,
    jsonl: Annotated[Path | None, typer.Option(help="Write a line of JSON a frame.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the annotated picture, clip, or folder of pictures.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Open a window, where OpenCV has one.")] = False,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the summary only.")] = False,
) -> None:
    """Find faces, label every one, print live; ends at the end of the source or at Ctrl-C, with a summary."""
    from fer_edge.devices.errors import EngineError, SourceError
    from fer_edge.devices.sources import ImageSource
    from fer_edge.edge_runtime.pipeline import Pipeline
    from fer_edge.edge_runtime.sinks import JsonlSink, SaveSink, Summary
    from fer_edge.edge_runtime.vocabulary import Precision
    from fer_edge.edge_runtime.window import Window

    if precision not in list(Precision):
        raise EngineError(f"unknown precision {precision!r}; choose one of {', '.join(Precision)}")
    _refuse_overwriting(source, save, jsonl)
    pipeline = Pipeline(
        source,
        bundle,
        engine=engine,
        precision=precision,
        detector_model=detector_model,
        threads=threads,
        min_confidence=min_confidence,
    )
    window = Window() if show else None
    lines = JsonlSink(jsonl) if jsonl else None
    photos = len(pipeline.source) if isinstance(pipeline.source, ImageSource) else 1
    pictures = SaveSink(save, still=pipeline.source.still, fps=pipeline.source.fps, photos=photos) if save else None
    summary, live = Summary(), Live(still=pipeline.source.still, quiet=quiet)
    signal.signal(signal.SIGTERM, _as_interrupt)
    live.start(pipeline)
    ended: BaseException | None = None
    try:
        for frame, observation in pipeline.with_frames():
            summary.put(observation)
            for sink in (lines, pictures):
                if sink:
                    sink.put(frame, observation)
            live.put(frame, observation, summary)
            closed = window is not None and not window.put(frame, observation)
            if closed or summary.frames == max_frames:
                break
    except (KeyboardInterrupt, SourceError, BrokenPipeError) as error:
        ended = error  # a stop, a lost camera or a reader who left: what was seen so far is kept
    except BaseException:
        if pictures:
            pictures.discard()
        raise
    finally:
        pipeline.close()
    for sink in (lines, pictures):  # files before words: a terminal that is gone must not cost them
        if sink:
            sink.close()
    _finish(live, summary, save, ended)


def _finish(live: Live, summary: "Summary", save: Path | None, ended: BaseException | None) -> None:
    """Say how it went; an end that was not asked for is raised again, for the exit code."""
    if isinstance(ended, KeyboardInterrupt):
        live.note("stopped")
        ended = None
    if summary.frames:
        live.summary(summary)
        if save:
            live.note(f"wrote {save}")
    if ended is not None:
        raise ended


def _refuse_overwriting(source: str, *outputs: Path | None) -> None:
    from fer_edge.devices.errors import OutputError

    taken = [Path(source).resolve()]
    for output in outputs:
        if output is not None:
            if output.resolve() in taken:
                raise OutputError(f"{output} is the source or another output; writing it would destroy that")
            taken.append(output.resolve())


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
