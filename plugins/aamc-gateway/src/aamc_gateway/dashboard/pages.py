"""The dashboard's files. They hold no figures, so anyone may load them; the figures need an admin."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.types import Receive, Scope, Send

from aamc_gateway.access.callers import Refused
from aamc_gateway.server.http.answers import send_safe_body

if TYPE_CHECKING:
    from aamc_gateway.server.gateway import Gateway

POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""The Content-Security-Policy: nothing from elsewhere, and nothing inline."""
_KINDS = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_HEADERS = ((b"content-security-policy", POLICY), (b"x-frame-options", b"DENY"), (b"cache-control", b"no-cache"))


@cache
def static_files() -> dict[str, bytes]:
    """Return the files by name."""
    folder = files("aamc_gateway.dashboard") / "static"
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}


async def index(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``GET /dashboard``: the page."""
    await _send(send, "index.html")


async def root(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``GET /``: leads browsers to the dashboard, and says where else to go."""
    text = b"This is the gateway of the AAMC SDK. API: /v1 (see /v1/models). Dashboard: /dashboard. Health: /healthz and /readyz.\n"
    await send_safe_body(send, text, b"text/plain; charset=utf-8", 307, headers=((b"location", b"/dashboard"), *_HEADERS))


async def static_file(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``GET /dashboard/static/NAME``: a file of the page."""
    name = scope["path_params"]["name"]
    if name not in static_files():
        raise Refused(f"the dashboard has no file {name!r:.80}", status=404, kind="not_found")
    await _send(send, name)


async def _send(send: Send, name: str) -> None:
    await send_safe_body(send, static_files()[name], _KINDS[name[name.rindex(".") :]], headers=_HEADERS)
