"""`fer-edge run`: label the faces of a photo, a clip or a camera."""

import inspect
import os
import signal
import sys
import threading
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from fer_edge.edge_runtime.config import ConfigError, RunConfig, as_toml, load_config

if TYPE_CHECKING:
    from fer_edge.edge_runtime.notify import Notifier
    from fer_edge.edge_runtime.runner import Runner


def run(config: Path | None = None, print_config: bool = False, **given: Any) -> None:
    """Find faces, label every one, print live; ends at the end of the source or at Ctrl-C, with a summary.

    Everything may stand in a TOML file, too (--config); a flag that is given wins over it.
    """
    flags = {name: value for name, value in given.items() if value is not None}
    if print_config:
        print(as_toml(_effective(config, flags)), end="")
        return
    from fer_edge.edge_runtime.notify import Notifier

    signal.signal(signal.SIGTERM, _terminate)
    reload = _on_hangup() if config is not None else threading.Event()
    effective = _effective(config, flags)
    notifier = Notifier()
    try:
        while _run_once(effective, reload, notifier):
            reload.clear()
            notifier.reloading()
            try:
                effective = _effective(config, flags)
            except ConfigError as error:
                _say(f"{error}; going on with the configuration from before")
    except _Terminated:
        print("stopped", flush=True)
    finally:
        notifier.stopping()
    _leave_if_a_driver_hangs(0)


def _effective(config: Path | None, flags: dict[str, Any]) -> RunConfig:
    given = (load_config(config) if config else {}) | flags
    if "source" not in given:
        raise typer.BadParameter("give a photo, clip or camera here, or source = … in the file of --config",
                                 param_hint="source")  # fmt: skip
    return RunConfig(**given)


def _run_once(config: RunConfig, reload: threading.Event, notifier: "Notifier") -> bool:
    """One run; whether it ended because the configuration is to be read again."""
    from fer_edge.cli.screen_live import print_summary, screen_sink
    from fer_edge.devices.errors import SourceError
    from fer_edge.edge_runtime.assembly import Outputs, open_pipeline
    from fer_edge.edge_runtime.runner import Runner
    from fer_edge.edge_runtime.window import Window

    Outputs.check(config)
    pipeline = open_pipeline(config, _say)
    runner = Runner(pipeline, _say, notifier)
    still, status = pipeline.source.still, runner.monitor.status
    ended: BaseException | None = None
    outputs = Outputs(config, runner)
    try:
        window = Window() if config.show else None
        urls = outputs.open()
        if not config.quiet:
            _announce(runner, urls)
            runner.add([screen_sink(still=still, status=status)])

        def go_on(frame: Any, observation: Any) -> bool:
            return not reload.is_set() and (window is None or window.put(frame, observation))

        runner.run(max_frames=config.max_frames, go_on=go_on)
    except (KeyboardInterrupt, SourceError, BrokenPipeError) as error:
        ended = error  # a stop, a lost camera or a reader who left: what was seen so far is kept
    finally:
        final = runner.monitor.status()
        try:
            runner.close()
        finally:
            outputs.close()
    if isinstance(ended, KeyboardInterrupt):
        print("stopped", flush=True)
    if runner.monitor.summary.frames:
        print_summary(runner.monitor.summary, still=still, status=final | {"sinks": runner.monitor.status()["sinks"]})
        if config.save:
            print(f"wrote {config.save}")
    if ended is not None and not isinstance(ended, KeyboardInterrupt):
        if isinstance(ended, SourceError) and _a_driver_hangs():
            _say(str(ended))
            notifier.stopping()
            _leave_if_a_driver_hangs(1)
        raise ended
    return reload.is_set() and ended is None


def _announce(runner: "Runner", urls: list[str]) -> None:
    p = runner.pipeline
    spec = p.engine.spec
    print(
        f"{p.source.name}: {p.bundle.name} {spec.precision} on {spec.version} ({spec.device}), "
        f"{spec.threads} thread{'s' if spec.threads > 1 else ''}; faces by {p.detector.name}",
        flush=True,
    )
    for url in urls:
        print(url, flush=True)


def _leave_if_a_driver_hangs(code: int) -> None:
    """A thread that sits in a driver's read cannot be ended, and the interpreter would go down under it."""
    if _a_driver_hangs():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _a_driver_hangs() -> bool:
    from fer_edge.devices.fresh import CAPTURE_THREAD

    return any(thread.name == CAPTURE_THREAD for thread in threading.enumerate())


def _say(text: str) -> None:
    print(f"fer-edge: {text}", file=sys.stderr, flush=True)


class _Terminated(KeyboardInterrupt):
    """SIGTERM: how a service is asked to end, so it is no failure, wherever it comes."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def _on_hangup() -> threading.Event:
    """Set by SIGHUP, which asks services to read their configuration again."""
    asked = threading.Event()
    signal.signal(signal.SIGHUP, lambda number, frame: asked.set())
    return asked


def _signature() -> inspect.Signature:
    """Typer reads a command's options from its signature; here they are the configuration's fields."""
    types = get_type_hints(RunConfig)
    parameters = [
        _parameter("config", Annotated[Path | None, typer.Option(help="TOML file with any of the options below.")]),
        _parameter(
            "print_config",
            Annotated[bool, typer.Option("--print-config", help="Show the effective configuration and leave.")],
            False,
        ),
    ]
    for f in fields(RunConfig):
        text, kind = f.metadata["help"], types[f.name]
        if f.name == "source":
            parameters.append(_parameter(f.name, Annotated[str | None, typer.Argument(help=text, show_default=False)]))
            continue
        if f.default is not None and kind is not bool:
            text += f" Default: {f.default}."
        flags = [f"--{f.name.replace('_', '-')}"] if kind is bool and not f.default else []
        option = typer.Option(*flags, help=text, min=f.metadata["min"], max=f.metadata["max"], show_default=False)
        parameters.append(_parameter(f.name, Annotated[kind | None, option]))
    return inspect.Signature(parameters)


def _parameter(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


run.__signature__ = _signature()  # type: ignore[attr-defined]
run.__annotations__ = {p.name: p.annotation for p in run.__signature__.parameters.values()}  # type: ignore[attr-defined]
