"""A release to one board: sends what is missing, lets the board's agent install it, asks it for all else it can do."""

import json
import shlex
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_edge.devices.board_layout import SERVICE, STATE
from fer_edge.devices.board_zipapp import write_agent
from fer_edge.devices.deploy_probe import HOME, Probe
from fer_edge.devices.errors import DeployError
from fer_edge.devices.payload import AGENT, MANIFEST, Payload
from fer_edge.devices.ssh import Ssh
from fer_edge.devices.systemd import UNIT_FOLDER

_CHUNK = 1 << 20
_AGENT = f"{HOME}/{AGENT}"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the agent, or of sending: `state` is begin, ok, failed or note."""

    name: str
    state: str
    text: str = ""
    seconds: float | None = None


Say = Callable[[Step], None]


class Board:
    """A host's agent, as functions.

    Args:
        ssh: the connection.
        probe: what the host answered.
        say: called with every step.
    """

    def __init__(self, ssh: Ssh, probe: Probe, say: Say) -> None:
        self._ssh, self._probe, self._say = ssh, probe, say

    def install(self, payload: Payload, *, force: bool = False) -> dict[str, Any]:
        """Send what the board lacks and install it there; gives the agent's result.

        Raises:
            DeployError: the connection broke, or a step failed: then the old release runs on.
        """
        incoming = f"{HOME}/incoming/{payload.id}"
        self._send(payload.folder, incoming, [AGENT, *payload.head()])
        agent = f"{incoming}/{AGENT}"
        asked = self._ask(agent, ["missing"], stdin=(payload.folder / MANIFEST).read_bytes())
        if asked.get("installed") and not force:
            self._say(Step("send", "ok", "the release is there already"))
        else:
            missing = [name for name in asked["missing"] if name != AGENT]
            self._send(payload.folder, incoming, missing, told=True)
        return self._ask(agent, ["install", incoming])

    def ask(self, *words: str) -> dict[str, Any]:
        """Let the agent of the newest release do something; gives its result.

        Raises:
            DeployError: nothing is deployed there, or what was asked for failed.
        """
        if not self._has(_AGENT):
            raise DeployError(f"nothing is deployed on {self._ssh.host}; run: fer-edge deploy {self._ssh.host}")
        return self._ask(_AGENT, list(words))

    def remove(self, *, purge: bool) -> dict[str, Any]:
        """Take everything off the board, with `purge` also what an earlier removal left; gives the agent's result.

        Raises:
            DeployError: nothing is there, or it cannot be removed.
        """
        left = purge and not self._has(_AGENT) and self._has(str(STATE))
        if not left or self._has(str(UNIT_FOLDER / f"{SERVICE}.service")):  # that one was installed by hand
            return self.ask("remove", *(["--purge"] if purge else []))
        incoming = f"{HOME}/incoming/remove"
        with tempfile.TemporaryDirectory() as folder:  # the board's own agent went with the rest
            write_agent(Path(folder) / AGENT)
            self._send(Path(folder), incoming, [AGENT])
        return self._ask(f"{incoming}/{AGENT}", ["remove", "--purge"])

    def _has(self, path: str) -> bool:
        return self._ssh.run(["test", "-e", path]).code == 0

    def logs(self, lines: int, *, follow: bool, show: Callable[[str], None]) -> None:
        """The service's journal.

        Raises:
            DeployError: the host cannot be reached, or it has no journal.
        """
        words = [
            *self._probe.as_root,
            "journalctl",
            "-u",
            "fer-edge",
            "-n",
            str(lines),
            "-o",
            "short-iso",
            "--no-pager",
        ]
        answer = self._ssh.stream([*words, *(("-f",) if follow else ())], show)
        if answer.code:
            raise DeployError(f"{self._ssh.host} has no journal of the service: {answer.why}")

    def _send(self, folder: Path, to: str, names: list[str], *, told: bool = False) -> None:
        if not names:
            return
        size = sum((folder / name).stat().st_size for name in names)
        if told:
            self._say(Step("send", "begin", _amount(names, size)))
        # Nobody else may read what is under way: a configuration may hold passwords.
        script = f"mkdir -p {HOME} && umask 077 && mkdir -p {shlex.quote(to)} && tar -x -m -C {shlex.quote(to)}"
        command = [*self._probe.as_root, "sh", "-c", script]
        answer = self._ssh.stream(command, lambda line: None, chunks=_tar(folder, names))
        if answer.code:
            raise DeployError(f"{self._ssh.host} cannot store the release: {answer.why}")
        if told:
            self._say(Step("send", "ok", _amount(names, size)))

    def _ask(self, agent: str, words: list[str], *, stdin: bytes = b"") -> dict[str, Any]:
        """Run the agent; its steps are told on as they come."""
        result: dict[str, Any] = {}
        failed: list[str] = []

        def hear(line: str) -> None:
            event = _event(line)
            if event.get("event") == "step":
                step = Step(event["step"], event["state"], str(event.get("text") or ""), event.get("seconds"))
                if step.state == "failed":
                    failed.append(f"{step.name}: {step.text}")
                self._say(step)
            elif event.get("event") == "note":
                self._say(Step("", "note", str(event.get("text") or "")))
            elif event.get("event") == "result":
                result.update(event)

        command = [*self._probe.as_root, self._probe.python_path, agent, *words]
        answer = self._ssh.stream(command, hear, chunks=[stdin])
        if result.get("ok"):
            return result
        why = result.get("why") or result.get("text") or "; ".join(failed) or answer.why
        raise DeployError(f"{self._ssh.host}: {why}")


def _amount(names: list[str], size_bytes: int) -> str:
    return f"{len(names)} file{'s' if len(names) != 1 else ''}, {size_bytes / 1e6:.1f} MB"


def _event(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {"event": "note", "text": line}
    return value if isinstance(value, dict) else {}


def _tar(folder: Path, names: list[str]) -> Iterator[bytes]:
    """The files as a tar, made as it is read: a stock image has no rsync, and no second copy is needed here."""
    for name in names:
        info = tarfile.TarInfo(name)
        info.size, info.mode = (folder / name).stat().st_size, 0o644
        yield info.tobuf(tarfile.PAX_FORMAT)
        with (folder / name).open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
        yield b"\0" * (-info.size % tarfile.BLOCKSIZE)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)
