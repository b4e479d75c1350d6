"""The endpoints of the dashboard: its files, which hold no figures, so that anyone may load them; and its figures, ``/admin/...``."""

from __future__ import annotations

import asyncio
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from aamc_gateway.access.callers import Refused
from aamc_gateway.dashboard.learned_state import posteriors_document
from aamc_gateway.dashboard.log_reader import RECENT
from aamc_gateway.dashboard.overview import PERIODS
from aamc_gateway.server.gateway import Gateway
from aamc_gateway.server.http.answers import send_safe_body, send_safe_json
from aamc_sdk.errors import DataError
from aamc_sdk.messages import one_of

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


async def overview_figures(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``GET /admin/overview?period=day&baseline=NAME``."""
    period = _argument(scope, "period", "day")
    if period not in PERIODS:
        raise DataError(f"period must be one of {one_of(PERIODS)}, not {period!r:.80}")
    await send_safe_json(send, await gateway.overview.of_period(period, _argument(scope, "baseline", "")))


async def recent_decisions(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``GET /admin/decisions?limit=100``."""
    limit = _argument(scope, "limit", "100")
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= RECENT:
        raise DataError(f"limit must be an integer from 1 to {RECENT}, not {limit!r:.80}")
    await send_safe_json(send, await gateway.overview.recent(int(limit)))


async def decision_figures(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``GET /admin/decisions/ID``: the document of ``aamc explain --json``, with the prompt where the log keeps it."""

    def explain() -> dict[str, Any]:
        found = gateway.controller.explain(scope["path_params"]["id"])
        return {**found.to_dict(), "text": found.record.query.text}

    await send_safe_json(send, await asyncio.to_thread(explain))


async def posterior_figures(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``GET /admin/posteriors``."""
    controller = gateway.controller
    found = await asyncio.to_thread(posteriors_document, controller.router, controller.router_name, controller.pool)
    await send_safe_json(send, {**found, "router": controller.router_name})


async def trial_figures(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``GET /admin/trials``."""
    await send_safe_json(send, await gateway.overview.trials())


async def spending_figures(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``GET /admin/spending``."""
    await send_safe_json(send, {"schema": 1, "spending": await gateway.access.spending()})


def _argument(scope: Scope, name: str, default: str) -> str:
    given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get(name)
    return given[-1] if given else default
