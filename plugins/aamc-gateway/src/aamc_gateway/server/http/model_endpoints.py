"""The endpoints of the APIs that ask models."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aamc_gateway.requests.ask import Ask
from aamc_gateway.requests.bodies import interpret, parse_object, read_body
from aamc_gateway.requests.routing_arguments import ARENA, PREFIX, ROUTE
from aamc_gateway.server.http.answers import send_body, send_json
from aamc_gateway.server.interfaces import Receive, Refused, RouteEndpoint, Scope, Send
from aamc_sdk.types import CHARACTERS_PER_TOKEN

if TYPE_CHECKING:
    from aamc_gateway.server.gateway import Gateway


async def read_ask(gateway: Gateway, dialect: str, api: str, scope: Scope, receive: Receive) -> Ask:
    """Return a request; errors as of the functions that read its parts."""
    limits = gateway.settings.limits
    raw = await read_body(scope, receive, limits)

    def read() -> Ask:
        body = parse_object(raw, limits.nesting)
        return gateway.reader.read(dialect, api, scope["headers"], body, raw, scope["caller"])

    return await interpret(raw, read)


def ask_endpoint(dialect: str, api: str) -> RouteEndpoint:
    """Return the endpoint of an API that asks a model."""

    async def endpoint(gateway: Gateway, scope: Scope, receive: Receive, send: Send, /) -> None:
        ask = await read_ask(gateway, dialect, api, scope, receive)
        handler = gateway.handlers.get(ask.mode)
        if handler is None:
            raise Refused(f"{ask.model} is not served here", status=404, kind="not_found")
        await handler(gateway, ask, scope, receive, send)

    return endpoint


async def count_tokens(gateway: Gateway, scope: Scope, receive: Receive, send: Send, /) -> None:
    """Answer ``/v1/messages/count_tokens``: by the candidate that would be asked, else by the length of the request."""
    ask = await read_ask(gateway, "messages", "count_tokens", scope, receive)
    names = [ask.model] if ask.mode == "model" else list(gateway.upstreams)
    counting = next((gateway.upstreams[name] for name in names if name in gateway.upstreams and "count_tokens" in gateway.upstreams[name].apis), None)
    if counting is None:
        await send_json(send, {"input_tokens": max(1, ask.body_bytes // CHARACTERS_PER_TOKEN)})
        return
    reply = await counting.wire.send(counting.candidate, counting.prepare(ask).request)
    await send_body(send, reply.body, status=reply.status)


async def models(gateway: Gateway, scope: Scope, receive: Receive, send: Send, /) -> None:
    """Answer ``/v1/models`` in the form of both dialects."""
    entries = _entries(gateway, scope)
    await send_json(send, {"object": "list", "data": entries, "has_more": False, "first_id": entries[0]["id"], "last_id": entries[-1]["id"]})


async def model(gateway: Gateway, scope: Scope, receive: Receive, send: Send, /) -> None:
    """Answer ``/v1/models/NAME``."""
    name = scope["path_params"]["name"]
    found = next((entry for entry in _entries(gateway, scope) if entry["id"] == name), None)
    if found is None:
        raise Refused(f"there is no model {name!r:.200}; GET /v1/models lists them", status=404, kind="model_not_found")
    await send_json(send, found)


def _entries(gateway: Gateway, scope: Scope) -> list[dict[str, object]]:
    caller, names = scope["caller"], [ROUTE, *gateway.own_models, *gateway.upstreams]
    created = int(gateway.began)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created))
    return [
        {
            "id": name,
            "object": "model",
            "type": "model",
            "created": created,
            "created_at": stamp,
            "display_name": name,
            "owned_by": "aamc" if name.startswith(PREFIX) else gateway.upstreams[name].provider_name,
        }
        for name in names
        if name in (ROUTE, ARENA) or caller.may_use(name)
    ]
