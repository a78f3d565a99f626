"""One host over ssh: the system's OpenSSH with the user's keys and configuration, host keys checked, no passwords."""

import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fer_edge.devices.errors import DeployError

SSH_FAILED = 255
"""Exit code of ssh itself; any other is the remote command's."""
_ASKS_NOTHING = (
    *("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"),
)
_HINTS = {
    "Host key verification failed": "its host key is not the known one; look at it with your own eyes: ssh {host}",
    "Permission denied": "it takes none of your keys; bring one there: ssh-copy-id {host}",
    "Could not resolve hostname": "no such name is known; is the board in this network?",
    "Connection refused": "nothing listens there; is ssh on? (raspi-config, or an empty file `ssh` on the card)",
    "Connection timed out": "it does not answer; is the board on, and in this network?",
    "No route to host": "it cannot be reached; is the board on, and in this network?",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a remote command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def why(self) -> str:
        """The last line that it complained with."""
        return ([line for line in (self.err or self.out).splitlines() if line.strip()] or [f"exit code {self.code}"])[
            -1
        ]


class Ssh:
    """A connection that several commands share; a context manager.

    Args:
        host: as ssh takes it: an alias of the user's configuration, or user@address.
        options: further words for ssh, such as ("-p", "2222").
        config: an ssh configuration file in place of the user's.

    Raises:
        DeployError: there is no ssh on this machine, or the host's name is none.
    """

    def __init__(self, host: str, options: Sequence[str] = (), config: Path | None = None) -> None:
        if not host or host.startswith("-") or any(c.isspace() for c in host):
            raise DeployError(f"{host!r} is no host; expected an address or an alias of your ssh configuration")
        if shutil.which("ssh") is None:
            raise DeployError("ssh is not installed here; run: apt install openssh-client")
        self.host = host
        # The path of a control socket has to be short, so it lies in the system's temporary folder.
        self._folder = Path(tempfile.mkdtemp(prefix="fer-edge-ssh-"))
        shared = ("-o", "ControlMaster=auto", "-o", f"ControlPath={self._folder}/%C", "-o", "ControlPersist=30")
        self._words = ["ssh", *(("-F", str(config)) if config else ()), *_ASKS_NOTHING, *shared, *options]

    def __enter__(self) -> "Ssh":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the shared connection; harmless twice."""
        if self._folder.exists():
            subprocess.run(
                [*self._words, "-O", "exit", self.host], capture_output=True, stdin=subprocess.DEVNULL, check=False
            )
            shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, command: str | Sequence[str], *, stdin: str = "", timeout_s: float = 120) -> Answer:
        """Run a command there; a sequence of words is quoted, a text goes to the remote shell as it is.

        Raises:
            DeployError: the host cannot be reached, or the command takes longer than `timeout_s`.
        """
        try:
            done = subprocess.run(
                self._command(command), input=stdin, capture_output=True, text=True, errors="replace",
                timeout=timeout_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise DeployError(f"{self.host}: a command took longer than {timeout_s:g} s: {_short(command)}") from error
        answer = Answer(done.returncode, done.stdout, done.stderr)
        self._check(answer)
        return answer

    def stream(
        self, command: str | Sequence[str], on_line: Callable[[str], None], *, chunks: Iterable[bytes] = ()
    ) -> Answer:
        """Run a command there that is fed `chunks` and whose lines are handed on as they come; `out` stays empty.

        Raises:
            DeployError: the host cannot be reached, or the connection breaks.
        """
        process = subprocess.Popen(
            self._command(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        complaints: list[bytes] = []
        # Three pipes of one process: each needs somebody who waits for it alone, or a full one blocks the others.
        helpers = [
            threading.Thread(target=_feed, args=(process, chunks), daemon=True),
            threading.Thread(target=lambda: complaints.extend(process.stderr or ()), daemon=True),
        ]
        for helper in helpers:
            helper.start()
        try:
            for line in process.stdout or ():
                on_line(line.decode("utf-8", "replace").rstrip("\n"))
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        for helper in helpers:
            helper.join(5)
        answer = Answer(code, "", b"".join(complaints).decode("utf-8", "replace"))
        self._check(answer)
        return answer

    def _command(self, command: str | Sequence[str]) -> list[str]:
        return [*self._words, "--", self.host, command if isinstance(command, str) else shlex.join(command)]

    def _check(self, answer: Answer) -> None:
        if answer.code != SSH_FAILED:
            return
        for said, hint in _HINTS.items():
            if said in answer.err:
                raise DeployError(f"cannot reach {self.host}: {hint.format(host=self.host)}")
        if not answer.err.strip():  # ssh says nothing when what it started there was killed
            raise DeployError(f"the connection to {self.host} broke, or what ran there was killed; run it again")
        raise DeployError(f"cannot reach {self.host}: {answer.why}")


def _feed(process: subprocess.Popen[bytes], chunks: Iterable[bytes]) -> None:
    assert process.stdin is not None
    try:
        for chunk in chunks:
            process.stdin.write(chunk)
    except BrokenPipeError:
        pass  # the command ended early; what it said is told
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()


def _short(command: str | Sequence[str]) -> str:
    text = command if isinstance(command, str) else shlex.join(command)
    return text.strip().splitlines()[0][:60]
