"""The endpoints of votes: for the holder of the key that asked, and for admins on the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aamc_gateway.arena.ballots import blind
from aamc_gateway.requests.bodies import read_json
from aamc_gateway.server.http.answers import send_safe_json
from aamc_gateway.server.interfaces import Receive, Scope, Send
from aamc_sdk.errors import DataError, unknown_name

if TYPE_CHECKING:
    from aamc_gateway.server.gateway import Gateway


async def match(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``GET /v1/arena/ID``: the answers of a decision, blind."""
    found = await gateway.ballots.find(scope["path_params"]["id"], scope["caller"])
    await send_safe_json(send, {"schema": 1, **blind(found)})


async def next_match(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``GET /admin/arena``: the match that has waited longest for a vote."""
    found, waiting = await gateway.ballots.next()
    await send_safe_json(send, {"schema": 1, "match": found, "waiting": waiting})


async def vote(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``POST /v1/arena/ID/vote``, and ``/admin/arena/ID/vote`` for the dashboard: ``{"winner": "A"}``."""
    body = await read_json(gateway, scope, receive, '{"winner": ...}')
    if unknown := body.keys() - {"winner"}:
        raise DataError(unknown_name("a vote has no field", min(unknown), ["winner"]))
    await gateway.commits.written()
    await send_safe_json(send, await gateway.ballots.vote(scope["path_params"]["id"], body.get("winner"), scope["caller"]))
