"""`fer-edge package`: the same release that `deploy` sends, as one file for a board without ssh."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fer_edge.devices.deploy_plan import System

_BundleArg = Annotated[
    Path | None, typer.Argument(help="Bundle folder or .ferpack; flagship (by default) and tiny ship.")
]
_For = Annotated[str | None, typer.Option("--for", help="Profile of the board, such as pi4; see fer-edge devices.")]
_System = Annotated[
    str | None, typer.Option(help="What runs there: bookworm, trixie or ubuntu-24.04; by default the profile's newest.")
]
_Camera = Annotated[str | None, typer.Option(help="What the board reads; by default the profile's.")]
_Config = Annotated[Path | None, typer.Option(help="The run's TOML file; files that it names go along.")]
_Engine = Annotated[str | None, typer.Option(help="tflite, onnx, openvino or tensorrt; by default the profile's.")]
_Precision = Annotated[str | None, typer.Option(help="int8 or float32; by default the profile's.")]
_Sign = Annotated[Path | None, typer.Option(help="Private ed25519 key.")]
_NewKey = Annotated[Path | None, typer.Option(metavar="FILE", help="Make a key for --sign, and leave.")]
_BenchS = Annotated[float, typer.Option(help="Seconds of bench in the self-test.", min=1, max=600)]
_Out = Annotated[Path | None, typer.Option(help="The archive; fer-edge-PROFILE-ID.tar by default.")]
_Force = Annotated[bool, typer.Option("--force", help="Replace the archive if it exists.")]


def package(
    bundle: _BundleArg = None, board: _For = None, system: _System = None, camera: _Camera = None,
    config: _Config = None, engine: _Engine = None, precision: _Precision = None, sign: _Sign = None,
    new_key: _NewKey = None, bench_s: _BenchS = 10.0, out: _Out = None, force: _Force = False,
) -> None:  # fmt: skip
    """Put program, packages, bundle and settings into one file that installs itself on the board, offline."""
    if new_key is not None:
        _make_key(new_key)
        return
    if board is None:
        raise typer.BadParameter("give --for PROFILE, such as --for pi4")
    from fer_edge.cli.deploy_order import Order, make
    from fer_edge.cli.screen import refuse_existing
    from fer_edge.devices.archive import write_archive
    from fer_edge.devices.deploy_plan import plan_unseen

    order = Order(bundle, camera, board, config, engine, precision, sign, bench_s=bench_s)
    opened, given = order.opened(), order.given()
    plan, told = plan_unseen(board, system, order.wish(given))
    if out is not None:
        refuse_existing(out, force=force)
    payload = make(order.payload_order(plan, opened, given), print)
    path = out or Path(f"fer-edge-{board}-{payload.id}.tar")
    refuse_existing(path, force=force)
    write_archive(payload, path)
    _tell(path, payload.id, plan.match.profile.title, told)


def _make_key(path: Path) -> None:
    from fer_edge.devices.signing import create_key

    public = create_key(path)
    print(f"written: {path}; keep it secret, and keep it: boards that took it take nothing else")
    print(public, end="")


def _tell(path: Path, name: str, title: str, system: "System") -> None:
    print(f"written: {path}, {path.stat().st_size / 1e6:.1f} MB, for a {title} with {system.title}")
    print(f"on the board: tar xf {path.name} && sudo sh fer-edge-{name}/install")
