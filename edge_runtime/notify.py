"""Words to systemd: ready, status, and the watchdog that is petted from the loop after a fresh frame."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_PET_EVERY_S = 1.0


class Notifier:
    """Says nothing where systemd does not listen (no NOTIFY_SOCKET)."""

    def __init__(self) -> None:
        self._systemd: Any = None
        self._ready = False
        self._petted_s = 0.0
        if os.environ.get("NOTIFY_SOCKET"):
            from sdnotify import SystemdNotifier

            # Without debug it swallows every exception while it sends, a KeyboardInterrupt too.
            with suppress(OSError):  # a socket that is not there any more
                self._systemd = SystemdNotifier(debug=True)

    def warn_of_watchdog(self, camera_timeout_s: float, say: Callable[[str], None]) -> None:
        """Say it where systemd's watchdog would bite a run that still waits for its camera."""
        watchdog_s = int(os.environ.get("WATCHDOG_USEC") or 0) / 1e6
        if 0 < watchdog_s <= camera_timeout_s:
            say(
                f"systemd's WatchdogSec ({watchdog_s:g} s) is not over camera_timeout_s ({camera_timeout_s:g} s): it "
                "kills a run that waits for its camera; run fer-edge service install again"
            )

    def _send(self, words: str) -> None:
        if self._systemd is not None:
            with suppress(OSError):  # systemd restarts itself now and then
                self._systemd.notify(words)

    def frame(self, status: str) -> None:
        """A frame was labelled: ready on the first, then the watchdog and the status line about once a second."""
        if self._systemd is None:
            return
        now = time.monotonic()
        if not self._ready:
            self._ready = True
            self._send("READY=1")
        if now - self._petted_s >= _PET_EVERY_S:
            self._petted_s = now
            self._send(f"WATCHDOG=1\nSTATUS={status}")

    def say(self, text: str) -> None:
        """A status line between frames: the camera is away."""
        self._send(f"STATUS={text}")

    def reloading(self) -> None:
        """The configuration is read again; ready comes with the next frame."""
        self._ready = False
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The run ends."""
        self._send("STOPPING=1")
