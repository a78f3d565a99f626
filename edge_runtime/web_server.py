"""Serves an application over HTTP on a thread of its own: addresses, tokens, start and end. Knows no routes."""

import asyncio
import errno
import ipaddress
import logging
import os
import re
import socket
import threading
from contextlib import suppress
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from fer_edge.devices.errors import OutputError

_MIN_TOKEN = 16
_CONNECTIONS = 64
_SEND_BUFFER = 128 * 1024
_END_S = 0.6
_FORCED_END_S = 0.3


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:8080`, `[::1]:8080` or `name:8080`; port 0 takes a free one.

    Raises:
        OutputError: it is none of these.
    """
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})", text.strip())
    if found is None or int(found[3]) > 65535 or (found[1] and ":" not in found[1]):
        raise OutputError(f"--web takes HOST:PORT such as 127.0.0.1:8080 or [::1]:8080, got {text!r}")
    return found[1] or found[2], int(found[3])


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def token_for(host: str, token_file: Path | None) -> str | None:
    """The secret that the page asks for; None where none is needed: loopback without a file.

    Raises:
        OutputError: `host` can be reached from outside and there is no file, or the file cannot be read, is open to
            others, or its first line has fewer than 16 characters.
    """
    if token_file is None:
        if is_loopback(host):
            return None
        raise OutputError(
            f"--web {host} is not loopback: give --web-token-file FILE; "
            "make one: (umask 077; openssl rand -hex 24 > FILE)"
        )
    try:
        with token_file.open(encoding="utf-8") as file:
            found = os.fstat(file.fileno())
            token = file.readline(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise OutputError(f"cannot read the token file {token_file}: {reason}") from None
    # root may let one group read it, as deploy does for the service's user; a user's own groups have others in them.
    open_to = found.st_mode & 0o077
    if open_to and not (open_to == 0o040 and found.st_uid == 0 and os.geteuid() != 0):
        raise OutputError(f"others may read the token file {token_file}; run: chmod 600 {token_file}")
    if len(token) < _MIN_TOKEN:
        raise OutputError(
            f"the first line of {token_file} has {len(token)} characters and a token needs {_MIN_TOKEN} or more; "
            f"make one: (umask 077; openssl rand -hex 24 > {token_file})"
        )
    return token


class _Server(uvicorn.Server):
    """Hangs up at its end on clients that take nothing any more, for their streams cannot end by themselves."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(_END_S / 2, self._hang_up)
        await super().shutdown(sockets)

    def _hang_up(self) -> None:
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()


class WebServer:
    """Listens as soon as it is made, on a daemon thread; the process's signals stay as they are.

    Args:
        app: as `build_app` makes it; `app.state.close_streams`, where there is one, is called at the end.
        host: an address of this machine or a name of one.
        port: 0 takes a free one.

    Raises:
        OutputError: the address cannot be had.
    """

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        self._app, self._host = app, host
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._server = _Server(
            uvicorn.Config(
                app,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                limit_concurrency=_CONNECTIONS,
                timeout_keep_alive=20,
                backlog=_CONNECTIONS,
            )
        )
        logging.getLogger("uvicorn.error").addFilter(_is_no_cancelling)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="web", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where a browser finds it; for all addresses at once, the one that others on the network see."""
        host = _seen_from_outside(self._host) if self._host in ("0.0.0.0", "::") else self._host
        return f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"

    def close(self) -> None:
        """End streams and stop listening, within a second; harmless twice."""
        self._server.should_exit = True
        if close_streams := getattr(self._app.state, "close_streams", None):
            close_streams()
        self._thread.join(_END_S)
        if self._thread.is_alive():  # a photo is being labelled
            self._server.force_exit = True
            self._thread.join(_FORCED_END_S)
        with suppress(OSError):
            self._socket.close()


def _is_no_cancelling(record: logging.LogRecord) -> bool:
    """What is cut off when the server ends is no error."""
    return not (record.exc_info and record.exc_info[0] is asyncio.CancelledError)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise OutputError(f"cannot listen on {host}: {_reason(error)}; try --web 127.0.0.1:{port}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Pictures that wait in a buffer are old when a slow client gets them; connections inherit this.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        listener.bind(address)
        listener.listen(_CONNECTIONS)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise OutputError(f"{host}:{port} is already in use; choose another port for --web") from None
        raise OutputError(f"cannot listen on {host}:{port}: {_reason(error)}") from None
    return listener


def _reason(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "not permitted; ports below 1024 are root's"
    return str(getattr(error, "strerror", None) or error).lower()


def _seen_from_outside(unspecified: str) -> str:
    """The address from which this machine would reach others; connecting a datagram socket sends nothing."""
    family, far = (socket.AF_INET6, "2001:db8::1") if ":" in unspecified else (socket.AF_INET, "192.0.2.1")
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((far, 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "::1" if ":" in unspecified else "127.0.0.1"
