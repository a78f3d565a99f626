"""`fer-edge`: puts the commands together, turns expected errors into one line and an exit code.

A command file imports nothing heavier than typer at its top; what it needs it imports when it is called, so that
`fer-edge run` never loads what `fer-edge train` needs.
"""

import errno
import os
import sys
from typing import Annotated

import typer

from fer_edge import __version__
from fer_edge.cli import (
    bench,
    calibrate,
    compare,
    compare_models,
    convert,
    data,
    demo,
    deploy,
    devices,
    doctor,
    evaluate,
    models,
    package,
    run,
    service,
    sweep,
    train,
    train_worker,
    tune,
)
from fer_edge.devices.errors import FerEdgeError, needs_extra

app = typer.Typer(
    name="fer-edge",
    help="Facial emotions at the edge: train on FER-2013, quantize to a verified int8, run from camera to label.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a bug keeps its plain traceback
    add_completion=False,
)
for _group in (data, models, service, bench, calibrate):
    app.add_typer(_group.app, name=_group.__name__.rsplit(".", 1)[-1])
for _command in (
    demo,
    train,
    sweep,
    evaluate,
    compare_models,
    convert,
    compare,
    run,
    tune,
    doctor,
    devices,
    deploy,
    package,
):
    app.command()(getattr(_command, _command.__name__.rsplit(".", 1)[-1]))
app.command(hidden=True)(train_worker.train_worker)

_EXTRA_OF = {
    **dict.fromkeys(("tensorflow", "keras", "sklearn", "scipy"), "train"),
    **dict.fromkeys(("jax", "jaxlib"), "distributed"),
    "matplotlib": "report",
    **dict.fromkeys(("onnx", "tf2onnx", "nncf", "sympy"), "convert"),
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "paho": "mqtt",
    "prometheus_client": "metrics",
    **dict.fromkeys(("fastapi", "uvicorn", "starlette", "multipart", "python_multipart"), "web"),
    "sdnotify": "service",
    "ray": "sweep",
    "cryptography": "sign",
    "yaml": "deploy",
}
"""The base install is the edge side alone: what a command needs beyond it, and the extra that brings it."""


def _version(asked: bool) -> None:
    if asked:
        print(f"fer-edge {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; exit 0 when well, 1 on an error the user can mend, 2 on wrong arguments, 130 on Ctrl-C.

    `bench diff` leaves with 3 where something became slower.
    """
    try:
        app(standalone_mode=True)
    except FerEdgeError as error:
        print("fer-edge:", " ".join(str(error).splitlines()), file=sys.stderr)  # a file name may hold a line break
        sys.exit(1)
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in _EXTRA_OF:
            raise
        print(f"fer-edge: {needs_extra(missing, _EXTRA_OF[missing])}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("fer-edge: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print("fer-edge: standard output cannot be written: its disk is full", file=sys.stderr, flush=True)
        os._exit(1)  # at its own end the interpreter would try once more, and complain
