"""What `fer-edge deploy` and `package` print: a plan, steps as they come, a fleet's summary, a board's status."""

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fer_edge.devices.deploy import Step
    from fer_edge.devices.deploy_plan import Plan
    from fer_edge.devices.fleet import Outcome

_SIGN = {"ok": "ok  ", "failed": "BAD ", "note": "note"}
_WIDTH = 12
_LOCK = threading.Lock()


def steps(prefix: str = "") -> "Callable[[Step], None]":
    """Prints a line for each step that ended; with a prefix where several boards speak at once."""

    def say(step: "Step") -> None:
        if step.state == "begin":
            return
        took = f" ({step.seconds:.1f} s)" if step.seconds is not None else ""
        name = f"{step.name:<{_WIDTH}}" if step.name else ""
        with _LOCK:
            print(f"{prefix}{_SIGN.get(step.state, step.state)}  {name}{step.text}{took}".rstrip(), flush=True)

    return say


def print_plan(plan: "Plan", bundle: str, where: str) -> None:
    """What was found and what will be done.

    Args:
        plan: of one board that was asked.
        bundle: its name.
        where: the packages come from, in words.
    """
    from fer_edge.devices.frame import redacted

    probe, match = plan.probe, plan.match
    assert probe is not None, "a plan without a board is not shown"
    system = probe.os.get("PRETTY_NAME", "unknown system")
    memory = "memory unknown" if probe.memory_bytes is None else f"{probe.memory_bytes / 2**30:.1f} GiB"
    disk = "disk unknown" if probe.disk_free_bytes is None else f"{probe.disk_free_bytes / 1e9:.1f} GB free"
    glibc = f"glibc {probe.glibc[0]}.{probe.glibc[1]}" if probe.glibc else "glibc unknown"
    model = match.facts.model or "a board without a name"
    limit = match.memory_max_bytes
    service = f"systemd {probe.systemd}" if probe.systemd is not None else "no systemd"
    lines = {
        "board": f"{model}: {system}, {probe.machine}, Python {probe.python}, {glibc}",
        "": f"{memory}, {disk}, {service}, cameras: {', '.join(probe.cameras) or 'no /dev/video*'}",
        "profile": f"{match.profile.name}, because {'; '.join(match.because)}",
        "now there": probe.current or "nothing",
        "bundle": bundle,
        "runs": f"{plan.engine}/{plan.precision} on frames of {redacted(plan.camera)}",
        "packages": f"{where}, with {', '.join(plan.wheels.extras)}" + (", NumPy 1" if plan.wheels.numpy1 else ""),
        "service": f"fer-edge.service, at most {limit >> 20} MB" if limit else "fer-edge.service, no limit of memory",
    }
    for name, text in lines.items():
        print(f"{name:<{_WIDTH}}{text}")
    for note in plan.notes:
        print(f"{'note':<{_WIDTH}}{note}")
    for each in match.cannot:
        print(f"{'cannot':<{_WIDTH}}{each.what}: {each.reason}")


def print_status(host: str, status: dict[str, Any]) -> None:
    """A board's state."""
    current, service, machine = status.get("current"), status.get("service") or {}, status.get("machine") or {}
    if current is None:
        print(f"{host}: nothing is deployed")
        return
    memory = service.get("memory_bytes")
    temperature = machine.get("temp_c")
    free = status.get("disk_free_bytes")
    bundle = current.get("bundle") or {}
    used = "memory unknown" if memory is None else f"{memory / 1e6:.0f} MB"
    state = f"{service.get('active') or 'unknown'} ({service.get('sub') or '-'}) since {service.get('since') or '-'}"
    lines = {
        "board": f"{host}: {machine.get('board') or 'unknown board'}, {machine.get('cpu') or 'unknown processor'}",
        "release": f"{current['id']}, installed {current.get('installed_at') or 'at an unknown time'}",
        "bundle": f"{bundle.get('name')} ({str(bundle.get('sha256'))[:8]})",
        "service": f"{state}, restarts {_or_dash(service.get('restarts'))}, {used}",
        "says": service.get("status_text") or "-",
        "temperature": "no sensor" if temperature is None else f"{temperature:.0f} °C",
        "disk": "unknown" if free is None else f"{free / 1e9:.1f} GB free",
        "others": ", ".join(each["id"] for each in status.get("releases", []) if not each.get("current")) or "none",
    }
    for name, text in lines.items():
        print(f"{name:<{_WIDTH}}{text}")
    if status.get("journal"):
        print(f"{'note':<{_WIDTH}}an operation was interrupted there; deploy again, and it is finished or undone")


def print_summary(outcomes: "Sequence[Outcome]", columns: Sequence[str], row: Callable[[Any], Sequence[str]]) -> None:
    """A line a board."""
    from fer_edge.cli.screen import table

    rows = []
    for outcome in outcomes:
        told = row(outcome.result) if outcome.state == "ok" else [outcome.why, *[""] * (len(columns) - 1)]
        rows.append([outcome.host.name, outcome.state, *told])
    table("boards", ["board", "state", *columns], rows, texts=range(2 + len(columns)))


def _or_dash(value: Any) -> str:
    return "-" if value is None else str(value)
