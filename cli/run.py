"""`fer-edge run`: label the faces of a photo, a clip or a camera."""

import atexit
import contextlib
import gc
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

from fer_edge.devices.errors import FerEdgeError
from fer_edge.edge_runtime.config import RunConfig, as_toml, load_config

if TYPE_CHECKING:
    from fer_edge.edge_runtime.assembly import Outputs
    from fer_edge.edge_runtime.notify import Notifier
    from fer_edge.edge_runtime.runner import Runner


def run(config: Path | None = None, print_config: bool = False, **given: Any) -> None:
    """Find faces, label every one, print live; ends at the end of the source or at Ctrl-C, with a summary.

    Everything may stand in a TOML file, too (--config); a flag that is given wins over it.
    """
    flags = {name: value for name, value in given.items() if value is not None}
    if print_config:
        from fer_edge.edge_runtime.assembly import with_profile

        made, keys = _effective(config, flags)
        print(as_toml(with_profile(made, keys, _say)[0]), end="")
        return
    from fer_edge.edge_runtime.notify import Notifier

    if sys.stdout is None:  # closed by whoever started this
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for as long as the program runs
    signal.signal(signal.SIGTERM, _terminate)
    reload = _Reload(config, flags)
    notifier = Notifier()
    notifier.warn_of_watchdog(reload.effective.camera_timeout_s, _say)
    try:
        while _run_once(reload, notifier):
            notifier.reloading()
            gc.collect()  # what a client or an engine still holds of the run before
    except _Terminated:
        print("stopped", flush=True)
    except BrokenPipeError:
        os._exit(141)  # as a program that SIGPIPE ended; there is nobody left to tell
    finally:
        notifier.stopping()
    _leave_what_hangs(0)


class _Reload:
    """The configuration, and SIGHUP's wish to read it again."""

    def __init__(self, file: Path | None, flags: dict[str, Any]) -> None:
        self.file, self._flags = file, flags
        self.given: set[str] = set()
        self.effective = self._read()
        self._asked = self.has_new = False
        if file is not None:
            # A plain attribute: an Event takes a lock, which the handler may find taken by its own thread.
            signal.signal(signal.SIGHUP, lambda number, frame: setattr(self, "_asked", True))

    def heed(self) -> bool:
        """Whether the run is to end for another configuration; a wrong one is said, and the run goes on."""
        if not self._asked:
            return False
        self._asked = False
        try:
            self.effective = self._read()
        except (FerEdgeError, typer.BadParameter) as error:
            _say(f"{error}; going on with the configuration from before")
            return False
        self.has_new = True
        return True

    def _read(self) -> RunConfig:
        from fer_edge.edge_runtime.config_check import check_config

        made, given = _effective(self.file, self._flags)
        check_config(made, self.file)
        self.given = given
        return made


def _effective(config: Path | None, flags: dict[str, Any]) -> tuple[RunConfig, set[str]]:
    """The configuration, and the names of what was given."""
    given = (load_config(config) if config else {}) | flags
    if "source" not in given:
        raise typer.BadParameter("give a photo, clip or camera here, or source = … in the file of --config",
                                 param_hint="source")  # fmt: skip
    return RunConfig(**given), set(given)


def _run_once(reload: _Reload, notifier: "Notifier") -> bool:
    """One run; whether it ended because there is a new configuration."""
    from fer_edge.devices.fresh import FreshFrames
    from fer_edge.edge_runtime.assembly import Outputs, open_pipeline, with_profile
    from fer_edge.edge_runtime.runner import Runner

    def say(text: str) -> None:
        _say(text)
        notifier.say(text)

    config, bundle = with_profile(reload.effective, reload.given, say)
    reload.has_new = False
    runner = Runner(open_pipeline(config, say, bundle), say, notifier)
    source = runner.pipeline.source
    if isinstance(source, FreshFrames):
        source.ends_when = reload.heed  # while no frame comes, there is nobody else to ask
    outputs = Outputs(config, runner, append=reload.file is not None)
    ended: BaseException | None = None
    try:
        ended = _label(runner, outputs, config, reload)
    finally:
        status = runner.monitor.status()  # before it says that all is over
        try:
            runner.close(hurry=isinstance(ended, KeyboardInterrupt))
        finally:
            outputs.close()
    status["sinks"] = runner.monitor.status()["sinks"]
    _report(runner, outputs, config, status, ended)
    return reload.has_new and ended is None


def _label(runner: "Runner", outputs: "Outputs", config: RunConfig, reload: _Reload) -> BaseException | None:
    """Label until the end; gives what ended it early: a stop, a lost camera, or a reader who left. What was seen so
    far is kept then."""
    from fer_edge.devices.errors import SourceError
    from fer_edge.edge_runtime.window import Window

    try:
        window = Window() if config.show else None
        urls = outputs.open()
        if not config.quiet:
            _announce(runner, urls)
            _add_screen(runner, config)

        def go_on(frame: Any, observation: Any) -> bool:
            return not reload.heed() and (window is None or window.put(frame, observation))

        runner.run(max_frames=config.max_frames, go_on=go_on)
    except (KeyboardInterrupt, SourceError, BrokenPipeError) as error:
        return error
    return None


def _report(
    runner: "Runner", outputs: "Outputs", config: RunConfig, status: dict[str, Any], ended: BaseException | None
) -> None:
    """Say how it went; an end that was not asked for is raised again, for the exit code."""
    from fer_edge.cli.screen_live import print_summary
    from fer_edge.devices.errors import OutputError, SourceError

    stopped = isinstance(ended, KeyboardInterrupt)
    if "screen" in runner.stuck():  # whoever reads stdout has stopped reading; a summary would wait for him, too
        _leave_what_hangs(0 if stopped else 1)
    if stopped:
        print("stopped", flush=True)
    if runner.monitor.summary.frames:
        still = runner.pipeline.source.still
        print_summary(runner.monitor.summary, still=still, status=status, faces=not config.aggregate)
        if config.save and outputs.saved:
            print(f"wrote {config.save}")
        elif config.save and ended is None:
            raise OutputError(f"{config.save} was not written")
    if isinstance(ended, SourceError):
        _leave_what_hangs(1, str(ended))
    if ended is not None and not stopped:
        raise ended


def _add_screen(runner: "Runner", config: RunConfig) -> None:
    from fer_edge.cli.screen_live import screen_sink

    if not config.aggregate:  # what scrolls by on a terminal is about single faces
        runner.add([screen_sink(still=runner.pipeline.source.still, status=runner.monitor.status)])


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


def _leave_what_hangs(code: int, last_words: str | None = None) -> None:
    """Leave now where a thread sits in a driver or a write that does not come back: it cannot be ended, and the
    interpreter would go down under it."""
    # Not imported: a run that is stopped while it still loads has no such thread, and NumPy loads only once.
    fresh = sys.modules.get("fer_edge.devices.fresh")
    capture = getattr(fresh, "CAPTURE_THREAD", None)
    names = [thread.name for thread in threading.enumerate()]
    if not any(name == capture or name.startswith("sink-") for name in names):
        return
    if last_words:
        _say(last_words)
    if "sink-screen" not in names:  # else its thread holds stdout's lock
        sys.stdout.flush()
    os._exit(code)


def _say(text: str) -> None:
    print(f"fer-edge: {text}", file=sys.stderr, flush=True)


_END_WITHIN_S = 2.0


class _Terminated(KeyboardInterrupt):
    """SIGTERM: how a service is asked to end, so it is no failure, wherever it comes."""


def _terminate(number: int, frame: FrameType | None) -> None:
    # Last words may wait for a reader of stdout who has stopped reading; they are not waited for.
    signal.signal(signal.SIGALRM, lambda number, frame: os._exit(0))
    signal.setitimer(signal.ITIMER_REAL, _END_WITHIN_S)
    atexit.register(_disarm)
    raise _Terminated


def _disarm() -> None:
    """All is said. Python goes down without handlers of ours, and an alarm would then kill a run that ended well."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    signal.setitimer(signal.ITIMER_REAL, 0)


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
        option = typer.Option(help=text, min=f.metadata["min"], max=f.metadata["max"], show_default=False)
        parameters.append(_parameter(f.name, Annotated[kind | None, option]))
    return inspect.Signature(parameters)


def _parameter(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


run.__signature__ = _signature()  # type: ignore[attr-defined]
run.__annotations__ = {p.name: p.annotation for p in run.__signature__.parameters.values()}  # type: ignore[attr-defined]
