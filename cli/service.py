"""`fer-edge service`: the run as a systemd service."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Run as a systemd service: ready, watchdog, reload.", no_args_is_help=True)

Config = Annotated[Path, typer.Option(help="The run's TOML file; see fer-edge run --print-config.")]
Name = Annotated[str, typer.Option(help="Of the service.")]
User = Annotated[str | None, typer.Option(help="Who runs it; by default a user that exists while it runs.")]


@app.command("print")
def print_(config: Config, name: Name = "fer-edge", user: User = None) -> None:
    """Print the service file."""
    print(_unit(config, name, user), end="")


@app.command()
def install(
    config: Config,
    name: Name = "fer-edge",
    user: User = None,
    folder: Annotated[Path | None, typer.Option(help="Where to write it; by default /etc/systemd/system.")] = None,
) -> None:
    """Write the service file and say how to start it."""
    from fer_edge.devices.systemd import UNIT_FOLDER, closed_folders, install_unit

    path = install_unit(_unit(config, name, user), name, folder or UNIT_FOLDER)
    print(f"wrote {path}; start it: systemctl daemon-reload && systemctl enable --now {name}")
    for closed in closed_folders(Path(sys.executable).absolute(), config.resolve()) if user is None else ():
        print(f"but {closed} is closed to others: give --user NAME who may enter it, or install below /opt")
    print(f"look at it: systemctl status {name}; journalctl -fu {name}; read {config} again: systemctl reload {name}")


def _unit(config: Path, name: str, user: str | None) -> str:
    from fer_edge.devices.errors import needs_extra
    from fer_edge.devices.systemd import camera_groups, service_unit
    from fer_edge.edge_runtime.config import ConfigError, RunConfig, load_config

    effective = RunConfig(**load_config(config))  # a wrong key is said now, not in the journal
    if not effective.source:
        raise ConfigError(f'{config} has no source; add one, such as source = "picamera2:0"')
    if find_spec("sdnotify") is None:  # the service would start, find no word for systemd, and end, for ever
        raise ConfigError(needs_extra("sdnotify", "service"))
    # The link in the environment's folder, not what it points to: the packages belong to the environment.
    python = Path(sys.executable).absolute()
    return service_unit(
        python,
        config.resolve(),
        name=name,
        user=user,
        groups=camera_groups(),
        timeout_s=effective.camera_timeout_s,
    )
