"""The endpoints of votes: for the holder of the key that asked, and for admins on the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aamc_gateway.arena.ballots import blind
from aamc_gateway.dashboard.json_http import read_json, send_safe_json
from aamc_gateway.dashboard.sign_in import admin_caller
from aamc_gateway.server.interfaces import Caller, Receive, Scope, Send

if TYPE_CHECKING:
    from aamc_gateway.server.gateway import Gateway


async def match(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``GET /v1/arena/ID``: the answers of a decision, blind."""
    found = await gateway.ballots.find(scope["path_params"]["id"], scope["caller"])
    await send_safe_json(send, {"schema": 1, **blind(found)})


async def vote(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``POST /v1/arena/ID/vote``: ``{"winner": "A"}``."""
    await _vote(gateway, scope, receive, send, scope["caller"])


async def next_match(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``GET /admin/arena``: the match that has waited longest for a vote."""
    await admin_caller(gateway, scope)
    found, waiting = await gateway.ballots.next()
    await send_safe_json(send, {"schema": 1, "match": found, "waiting": waiting})


async def admin_vote(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``POST /admin/arena/ID/vote``: as ``POST /v1/arena/ID/vote``, for the dashboard's cookie."""
    await _vote(gateway, scope, receive, send, await admin_caller(gateway, scope))


async def _vote(gateway: Gateway, scope: Scope, receive: Receive, send: Send, caller: Caller) -> None:
    body = await read_json(gateway, scope, receive, '{"winner": ...}')
    await send_safe_json(send, await gateway.ballots.vote(scope["path_params"]["id"], body.get("winner"), caller))
