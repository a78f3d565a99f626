"""Who may talk to the web page: checks Host, Origin and the token before any route, and sets the security headers.

Host names are checked because a stranger's page can point its own name at this machine (DNS rebinding) and so read
what is meant for this network only; an address that is a number cannot be rebound.
"""

import base64
import hashlib
import hmac
import ipaddress
import re
import socket
from collections.abc import Collection
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "fer_edge_session"
_COOKIE_S = 30 * 24 * 3600
_LONGEST_LOGIN = 4096
_OPEN_PATHS = ("/healthz",)
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware in front of every route.

    Args:
        app: what answers those who may pass.
        token: the secret; None lets everybody in whose Host and Origin are right.
        hosts: names under which the page may be asked for, besides this machine's own and every IP address.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, hosts: Collection[str] = ()) -> None:
        self._app, self._token = app, token
        self._hosts = own_names() | {host.lower() for host in hosts}
        self._login = LoginPage()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand the request on."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        refusal = await self._refusal(request)
        await (refusal or self._app)(scope, receive, _with_headers(send))

    async def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if not self._is_ours(host):
            return sentence(421, "this page does not go by that name; open it by its address, such as 127.0.0.1")
        if not _same_origin(request.headers, host):
            return sentence(403, "requests from pages of other sites are refused")
        if self._token is None or request.scope["path"] in _OPEN_PATHS:
            return None
        return await self._unknown(request, self._token)

    def _is_ours(self, host_header: str) -> bool:
        name = host_name(host_header)
        return name is not None and (name in self._hosts or _is_address(name))

    async def _unknown(self, request: Request, token: str) -> Response | None:
        """None for those who have shown the token, else what they get."""
        if request.scope["path"] == "/login" and request.method == "POST":
            given = await _token_in_form(request)
            return _let_in(token, "/", request) if _same(given, token) else self._login.page(401, wrong=True)
        if "token" in request.query_params and request.method == "GET":
            if _same(request.query_params["token"], token):
                return _let_in(token, _without_token(request), request)
            return self._login.page(401, wrong=True)
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(given.strip(), token):
            return None
        if _same(request.cookies.get(COOKIE, ""), session_of(token)):
            return None
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            return self._login.page(401)
        return sentence(401, "a token is needed: send Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})


class LoginPage:
    """The one page that those without the token see; it carries its style and script, so that nothing else is open."""

    def __init__(self) -> None:
        html = (Path(__file__).parent / "web" / "login.html").read_text(encoding="utf-8")
        # Nothing but what this file holds may run: each block is allowed by its hash.
        style, script = (_hash(re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)[0]) for tag in ("style", "script"))
        self._html = html
        self._headers = {
            "Content-Security-Policy": f"default-src 'none'; style-src {style}; script-src {script}; img-src data:; "
            "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            # With no-referrer a form's Origin would be null, and its request refused.
            "Referrer-Policy": "same-origin",
        }

    def page(self, status: int, *, wrong: bool = False) -> Response:
        """The form; `wrong` says that what was given is not the token."""
        html = self._html.replace('id="wrong" hidden', 'id="wrong"') if wrong else self._html
        return HTMLResponse(html, status, self._headers)


def sentence(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """An error as every route gives it: `{"error": "one sentence"}`."""
    return JSONResponse({"error": text}, status, headers)


def session_of(token: str) -> str:
    """The cookie's value: shows that its owner knew the token, and is not the token."""
    return hmac.new(token.encode(), b"fer-edge web session v1", hashlib.sha256).hexdigest()


def own_names() -> set[str]:
    """Lower-case names that this machine is called by."""
    name = socket.gethostname().lower()
    short = name.partition(".")[0]
    return {"localhost", name, short, f"{short}.local"}


def host_name(header: str) -> str | None:
    """The name or address in a Host header, lower-case, without brackets and port; None for nonsense."""
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::\d{1,5})?", header)
    return (found[1] or found[2]).lower().removesuffix(".") if found else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same_origin(headers: Headers, host: str) -> bool:
    """Whether a page of this server asks, or none. Browsers always name the page with what changes something."""
    if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == host.lower()


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


async def _token_in_form(request: Request) -> str:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_LOGIN:
            return ""
    return dict(parse_qsl(body.decode(errors="replace"))).get("token", "").strip()


def _without_token(request: Request) -> str:
    rest = [(key, value) for key, value in request.query_params.multi_items() if key != "token"]
    # A path that begins with // would lead to another host.
    path = "/" + quote(request.scope["path"].lstrip("/\\"))
    return f"{path}?{urlencode(rest)}" if rest else path


def _let_in(token: str, path: str, request: Request) -> Response:
    response = RedirectResponse(path, 303)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, session_of(token), _COOKIE_S, httponly=True, samesite="strict", secure=secure)
    return response


def _hash(block: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()}'"


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
