"""Several boards at once: canaries first, a few side by side, no further after too many failures."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from fer_edge.devices.errors import FerEdgeError
from fer_edge.devices.inventory import Host


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one board: `state` is ok, failed or not tried; `result` is the work's own answer."""

    host: Host
    state: str
    why: str = ""
    result: Any = None


@dataclass(frozen=True, slots=True)
class RollOut:
    """How a fleet is worked through.

    Args:
        parallel: boards at a time.
        canary: so many first boards go ahead, one after the other; if one fails, no other is tried.
        max_failures: after so many failures no further board is begun; those under way are finished.
    """

    parallel: int = 4
    canary: int = 0
    max_failures: int = 1


def roll_out(hosts: Sequence[Host], work: Callable[[Host], Any], how: RollOut) -> list[Outcome]:
    """Do `work` for every host; an error that a user can mend is the host's failure, any other is raised.

    Returns:
        An outcome a host, in the order of `hosts`.
    """
    done: dict[Host, Outcome] = {}
    for host in hosts[: how.canary]:
        done[host] = _tried(host, work)
        if done[host].state != "ok":
            why = f"the canary {host.name} failed"
            return [done.get(each) or Outcome(each, "not tried", why) for each in hosts]
    _side_by_side(hosts[how.canary :], work, how, done)
    why = f"{how.max_failures} failed before"
    return [done.get(each) or Outcome(each, "not tried", why) for each in hosts]


def _side_by_side(hosts: Sequence[Host], work: Callable[[Host], Any], how: RollOut, done: dict[Host, Outcome]) -> None:
    waiting, running = list(hosts), set[Future[Outcome]]()
    failures = 0
    with ThreadPoolExecutor(how.parallel) as pool:
        while running or (waiting and failures < how.max_failures):
            while waiting and len(running) < how.parallel and failures < how.max_failures:
                running.add(pool.submit(_tried, waiting.pop(0), work))
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for each in finished:
                outcome = each.result()
                done[outcome.host] = outcome
                failures += outcome.state == "failed"


def _tried(host: Host, work: Callable[[Host], Any]) -> Outcome:
    try:
        return Outcome(host, "ok", result=work(host))
    except FerEdgeError as error:
        return Outcome(host, "failed", str(error))
