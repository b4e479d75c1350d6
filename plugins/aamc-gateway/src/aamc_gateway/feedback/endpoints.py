"""``POST /v1/feedback``, and ``/admin/feedback`` for the dashboard."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aamc_gateway.dashboard.json_http import read_json, send_safe_json
from aamc_gateway.feedback.judgements import EXAMPLE, add_judgement
from aamc_gateway.server.interfaces import Receive, Scope, Send

if TYPE_CHECKING:
    from aamc_gateway.server.gateway import Gateway


async def feedback(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 200 once the judgement is in the log, 202 if it waits there for its decision."""
    body = await read_json(gateway, scope, receive, EXAMPLE)
    document = await asyncio.to_thread(add_judgement, gateway.controller, body, scope["caller"])
    await send_safe_json(send, document, 202 if document["waits"] else 200)
