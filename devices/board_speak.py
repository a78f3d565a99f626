"""What the agent says: lines of JSON on stdout, for whoever started it, perhaps over ssh."""

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from fer_edge.devices.errors import BoardError, FerEdgeError


class InterruptionError(FerEdgeError):
    """A signal, or nobody who listens any more: what was begun is undone.

    It is no BoardError: where the agent can do without something that fails, this must not pass for such a failure.
    """


def check_listener() -> None:
    """See that somebody still listens, while a program runs that may take minutes.

    Raises:
        InterruptionError: whoever started this is gone, and what was begun is to be undone.
    """
    if _speaker is not None and not _speaker.deaf and _is_closed(1):
        raise InterruptionError("whoever started this does not listen any more")


def _is_closed(stream: int) -> bool:
    """Whether a pipe has no reader; a file or a terminal always has one."""
    poll = select.poll()
    poll.register(stream, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


@dataclass(slots=True)
class Step:
    """A step under way; `text` is what it says when it ends well."""

    name: str
    text: str = ""


class Speaker:
    """Speaks, and hears signals: SIGHUP (a cut ssh with a terminal), SIGTERM, SIGINT, and a closed pipe (a cut ssh
    without one) raise `InterruptionError` where the work is. While the speaker is deaf none of them does."""

    def __init__(self, *, plain: bool = False) -> None:
        self.deaf, self._plain = False, plain
        self.failed_step: str | None = None
        global _speaker
        _speaker = self
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)

    def note(self, text: str) -> None:
        """Something worth knowing."""
        self.say({"event": "note", "text": text})

    def result(self, *, ok: bool, **more: Any) -> None:
        """The last line."""
        self.deaf = True
        self.say({"event": "result", "ok": ok, **more})

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """One step: its beginning and its end are said; what the system refuses becomes a sentence.

        Raises:
            BoardError: the disk is full, a folder cannot be written, and the like.
        """
        began, step = time.monotonic(), Step(name)
        self._step(name, "begin")
        try:
            yield step
        except FerEdgeError as error:
            self._fail(name, str(error))
            raise
        except OSError as error:
            text = f"{name}: {error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
            self._fail(name, text)
            raise BoardError(text) from error
        self._step(name, "ok", text=step.text, seconds=round(time.monotonic() - began, 2))

    def skip(self, name: str, why: str) -> None:
        """A step that has nothing to do here."""
        self._step(name, "skipped", text=why)

    def _step(self, name: str, state: str, **more: Any) -> None:
        self.say({"event": "step", "step": name, "state": state, **more})

    def _fail(self, name: str, text: str) -> None:
        if self.failed_step is None:
            self.failed_step = name
        was_deaf, self.deaf = self.deaf, True  # what is failing already is not interrupted by its own words
        try:
            self._step(name, "failed", text=text)
        finally:
            self.deaf = was_deaf

    def say(self, event: dict[str, Any]) -> None:
        """One line, of JSON or for people; a beginning is nothing to them."""
        line = _plainly(event) if self._plain else json.dumps(event, allow_nan=False)
        if line is None:
            return
        try:
            print(line, flush=True)
        except BrokenPipeError:
            with contextlib.suppress(OSError):  # or the interpreter complains about the pipe when it leaves
                sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - until the end
            if not self.deaf:
                raise InterruptionError("whoever started this does not listen any more") from None

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if not self.deaf:
            raise InterruptionError(f"interrupted by {signal.Signals(number).name}")


_speaker: Speaker | None = None


def _plainly(event: dict[str, Any]) -> str | None:
    if event["event"] == "note":
        return f"note  {event['text']}"
    if event["event"] == "result":
        text = event.get("text") or event.get("id") or "done"
        return f"ok    {text}" if event["ok"] else f"failed: {text}"
    if event["state"] == "begin":
        return None
    sign = {"ok": "ok  ", "failed": "BAD "}.get(event["state"], event["state"])
    return f"{sign}  {event['step']:<12}{event.get('text') or ''}".rstrip()
