"""`fer-edge deploy`: a bundle and this program to a board, as a service, in one command, and undone in one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fer_edge.devices.deploy import Board, Step
    from fer_edge.devices.deploy_probe import Probe
    from fer_edge.devices.inventory import Host


def _opt(panel: str, text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, **more)


_WHAT, _HOW, _ELSE, _FLEET = "What is deployed", "How", "Instead of deploying", "Several boards"
_Host = Annotated[str | None, typer.Argument(help="An alias of your ssh configuration, or user@address.")]
_Bundle = Annotated[Path | None, _opt(_WHAT, "Bundle folder or .ferpack; flagship (by default) and tiny ship.")]
_Camera = Annotated[str | None, _opt(_WHAT, "What the board reads, such as picamera2:0; by default the profile's.")]
_Profile = Annotated[str, _opt(_WHAT, "Of the board, such as pi4; see fer-edge devices.")]
_Config = Annotated[Path | None, _opt(_WHAT, "The run's TOML file; files that it names are sent along.")]
_Engine = Annotated[str | None, _opt(_WHAT, "tflite, onnx, openvino or tensorrt; by default the profile's.")]
_Precision = Annotated[str | None, _opt(_WHAT, "int8 or float32; by default the profile's.")]
_Sign = Annotated[Path | None, _opt(_WHAT, "Private ed25519 key; see fer-edge package --new-key.")]
_DryRun = Annotated[bool, _opt(_HOW, "Ask the board, say what would be done, and stop.", "--dry-run")]
_Online = Annotated[bool, _opt(_HOW, "Let the board's pip fetch the packages; else it needs no internet.", "--online")]
_BenchS = Annotated[float, _opt(_HOW, "Seconds of bench in the self-test.", min=1, max=600)]
_SshConfig = Annotated[Path | None, _opt(_HOW, "ssh configuration in place of yours.")]
_SshOption = Annotated[list[str] | None, _opt(_HOW, "Further -o option for ssh, such as Port=2222; may be repeated.")]
_Rollback = Annotated[bool, _opt(_ELSE, "Go back to the release before.", "--rollback")]
_Status = Annotated[bool, _opt(_ELSE, "Say what runs there.", "--status")]
_Logs = Annotated[bool, _opt(_ELSE, "Print the service's journal.", "--logs")]
_Follow = Annotated[bool, _opt(_ELSE, "With --logs: go on as lines come.", "--follow")]
_Lines = Annotated[int, _opt(_ELSE, "With --logs: how many.", min=1)]
_Remove = Annotated[bool, _opt(_ELSE, "Stop the service and remove all of it.", "--remove")]
_Purge = Annotated[bool, _opt(_ELSE, "With --remove: what the service kept, too.", "--purge")]
_Bench = Annotated[bool, _opt(_ELSE, "Measure there and bring the report home.", "--bench")]
_Json = Annotated[bool, _opt(_ELSE, "Print the result as JSON and nothing else.", "--json")]
_Out = Annotated[Path | None, _opt(_ELSE, "With --bench: file of the report; bench-HOST.json by default.")]
_Inventory = Annotated[Path | None, _opt(_FLEET, "hosts.toml, or an Ansible inventory as INI or YAML.")]
_Limit = Annotated[str | None, _opt(_FLEET, "Of the inventory: these boards or groups, comma-separated.")]
_Parallel = Annotated[int, _opt(_FLEET, "Boards at a time.", min=1, max=64)]
_Canary = Annotated[int, _opt(_FLEET, "So many boards go ahead, one by one; if one fails, no other is tried.", min=0)]
_MaxFailures = Annotated[int, _opt(_FLEET, "Begin no further board after so many failures.", min=1)]


def deploy(
    host: _Host = None, bundle: _Bundle = None, camera: _Camera = None, profile: _Profile = "auto",
    config: _Config = None, engine: _Engine = None, precision: _Precision = None, sign: _Sign = None,
    dry_run: _DryRun = False, online: _Online = False, bench_s: _BenchS = 10.0, ssh_config: _SshConfig = None,
    ssh_option: _SshOption = None, rollback: _Rollback = False, status: _Status = False, logs: _Logs = False,
    follow: _Follow = False, lines: _Lines = 50, remove: _Remove = False, purge: _Purge = False, bench: _Bench = False,
    as_json: _Json = False, out: _Out = None, inventory: _Inventory = None, limit: _Limit = None,
    parallel: _Parallel = 4, canary: _Canary = 1, max_failures: _MaxFailures = 1,
) -> None:  # fmt: skip
    """Install program and bundle on a board over ssh as a service that labels faces, after a self-test there.

    Whatever fails leaves the release that was there running. Run again after an interruption: it finishes or undoes.
    """
    from fer_edge.cli.deploy_order import Order
    from fer_edge.devices.fleet import RollOut

    asked = {"--rollback": rollback, "--status": status, "--logs": logs, "--remove": remove, "--bench": bench}
    others = [name for name, given in asked.items() if given]
    if len(others) > 1:
        raise typer.BadParameter(f"{' and '.join(others)} are two things; give one of them")
    for name, given, needs in (
        ("--purge", purge, "--remove"),
        ("--follow", follow, "--logs"),
        ("--out", out, "--bench"),
    ):
        if given and needs not in others:
            raise typer.BadParameter(f"{name} goes with {needs}")
    if (host is None) == (inventory is None):
        raise typer.BadParameter("give one HOST, or --inventory FILE")
    if limit is not None and inventory is None:
        raise typer.BadParameter("--limit goes with --inventory")
    hosts = _hosts(host, inventory, limit)
    ssh = [word for option in ssh_option or () for word in ("-o", option)]
    order = Order(bundle, camera, profile, config, engine, precision, sign, dry_run, online, bench_s)
    if follow and len(hosts) > 1:
        raise typer.BadParameter("--follow shows one board; choose it by --limit")
    words = {
        "--rollback": lambda board, *_: board.ask("rollback"),
        "--status": lambda board, *_: board.ask("status"),
        "--remove": lambda board, *_: board.remove(purge=purge),
        "--bench": lambda board, *_: board.ask("bench", "--seconds", f"{bench_s:g}"),
    }
    if logs:
        for each in hosts:
            _on(
                each, ssh_config, ssh, lambda step: None, lambda board, *_: board.logs(lines, follow=follow, show=print)
            )
        return
    how = RollOut(
        parallel, 0 if others or dry_run else min(canary, len(hosts) - 1), len(hosts) if others else max_failures
    )
    work = words[others[0]] if others else order.deploy
    _all(hosts, how, work, ssh_config, ssh, what=others[0] if others else "deploy", out=out, as_json=as_json)


def _hosts(host: str | None, inventory: Path | None, limit: str | None) -> "list[Host]":
    from fer_edge.devices.inventory import Host, chosen, read_inventory

    return chosen(read_inventory(inventory), limit) if inventory else [Host(str(host), str(host))]


_Work = Callable[["Board", "Probe", "Host", "Callable[[Step], None]"], Any]


def _on(host: "Host", config: Path | None, options: list[str], say: "Callable[[Step], None]", work: _Work) -> Any:
    """Connect, ask what the board is, work."""
    from fer_edge.devices.deploy import Board
    from fer_edge.devices.deploy_probe import probe
    from fer_edge.devices.ssh import Ssh

    with Ssh(host.address, (*host.options, *options), config) as ssh:
        answered = probe(ssh)
        return work(Board(ssh, answered, say), answered, host, say)


def _all(
    hosts: "list[Host]", how: Any, work: _Work, config: Path | None, options: list[str], *, what: str,
    out: Path | None, as_json: bool,
) -> None:  # fmt: skip
    from fer_edge.cli.deploy_screen import print_summary, steps
    from fer_edge.devices.fleet import roll_out

    one = len(hosts) == 1

    def on(host: "Host") -> Any:
        say = (lambda step: None) if as_json else steps("" if one else f"{host.name}: ")
        return _on(host, config, options, say, work)

    if one:
        result = on(hosts[0])  # an error is the command's own
        _show(what, hosts[0].name, result, out, as_json=as_json)
        return
    outcomes = roll_out(hosts, on, how)
    if as_json:
        told = [
            {"host": each.host.name, "state": each.state, "why": each.why or None, "result": each.result}
            for each in outcomes
        ]
        print(json.dumps(told, indent=2))
    else:
        if what == "--bench":
            for each in outcomes:
                if each.state == "ok":
                    _show(what, each.host.name, each.result, None, as_json=False)
        print_summary(outcomes, *_SUMMARY[what])
    if any(each.state != "ok" for each in outcomes):
        raise typer.Exit(1)


def _release_of(result: dict[str, Any]) -> list[str]:
    return [str(result.get("id") or "-")]


def _state_of(result: dict[str, Any]) -> list[str]:
    current, service, machine = result.get("current") or {}, result.get("service") or {}, result.get("machine") or {}
    temperature = machine.get("temp_c")
    name = (current.get("bundle") or {}).get("name")
    return [
        str(current.get("id") or "nothing"), str(name or "-"), str(service.get("active") or "-"),
        "-" if temperature is None else f"{temperature:.0f}",
    ]  # fmt: skip


_SUMMARY: dict[str, tuple[list[str], Callable[[dict[str, Any]], list[str]]]] = {
    "deploy": (["release"], _release_of),
    "--rollback": (["release"], _release_of),
    "--remove": (["what"], lambda result: ["removed"]),
    "--bench": (["what"], lambda result: ["measured"]),
    "--status": (["release", "bundle", "service", "°C"], _state_of),
}


def _show(what: str, host: str, result: dict[str, Any], out: Path | None, *, as_json: bool) -> None:
    """One board's result."""
    from fer_edge.cli.deploy_screen import print_status
    from fer_edge.devices.files import write_json

    if what == "--bench":
        from fer_edge.cli.bench_screen import print_bench

        name = "".join(c if c.isalnum() or c in "-_." else "-" for c in host)
        path = out or Path(f"bench-{name}.json")
        write_json(path, result["report"])
        if not as_json:
            print_bench(result["report"])
            print(f"written: {path}; as a page: fer-edge bench page {path} bench.html")
    if as_json:
        print(json.dumps(result, indent=2))
    elif what == "--status":
        print_status(host, result)
    elif what == "--rollback":
        print(f"{host} runs {result.get('id')}")
    elif what == "--remove":
        kept = result.get("state")
        print(f"{host}: removed" + (f"; {kept} is kept (--purge removes it, too)" if kept else ""))
    elif what == "deploy" and result.get("id"):
        print(f"{host} runs {result['id']}; look at it: fer-edge deploy {host} --status, or --logs --follow")
