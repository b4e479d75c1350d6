"""The endpoints of the APIs that ask models."""

from __future__ import annotations

import time
from typing import Any

from starlette.types import Receive, Scope, Send

from aamc_gateway.arena.arena_handler import is_for_arena, serve_arena
from aamc_gateway.forwarding.calls.upstreams import Upstream
from aamc_gateway.forwarding.failures import UnservedError, unserved
from aamc_gateway.forwarding.model_handler import serve
from aamc_gateway.forwarding.observed_request import WatchedBlock
from aamc_gateway.orchestrations.orchestrator_handler import serve_orchestrator
from aamc_gateway.requests.bodies import read_json
from aamc_gateway.requests.client_request import ClientRequest
from aamc_gateway.requests.request_reader import unknown_model
from aamc_gateway.requests.routing_arguments import PREFIX, ROUTE
from aamc_gateway.server.gateway import Gateway
from aamc_gateway.server.http.answers import RouteEndpoint, send_body, send_json
from aamc_sdk.errors import ProviderError
from aamc_sdk.interfaces import WireReply
from aamc_sdk.types import CHARACTERS_PER_TOKEN


async def read_request(gateway: Gateway, dialect: str, api: str, scope: Scope, receive: Receive) -> ClientRequest:
    """Return a request; errors as of the functions that read its parts."""
    read = gateway.reader.read
    return await read_json(gateway.large_bodies, scope, receive, lambda body, raw: read(dialect, api, scope["headers"], body, raw, scope["caller"]))


def ask_endpoint(dialect: str, api: str) -> RouteEndpoint:
    """Return the endpoint of an API that asks a model."""

    async def endpoint(gateway: Gateway, scope: Scope, receive: Receive, send: Send, /) -> None:
        request = await read_request(gateway, dialect, api, scope, receive)
        if request.mode == "orchestrator":
            await serve_orchestrator(gateway, request, scope, receive, send)
        elif is_for_arena(gateway, request):
            await serve_arena(gateway, request, scope, receive, send)
        else:
            await serve(gateway, request, scope, receive, send)

    return endpoint


async def count_tokens(gateway: Gateway, scope: Scope, receive: Receive, send: Send, /) -> None:
    """Answer ``/v1/messages/count_tokens``: by a candidate that can count, else by the length of the request."""
    request = await read_request(gateway, "messages", "count_tokens", scope, receive)
    names = [request.model] if request.mode == "model" else [name for name in gateway.upstreams if request.caller.may_use(name)]
    counting = next((gateway.upstreams[name] for name in names if name in gateway.upstreams and "count_tokens" in gateway.upstreams[name].apis), None)
    reply = None
    async with gateway.access.admitted(request.caller, request.query.user):
        try:
            if counting is not None:
                reply = await free_reply(counting, request, receive)
        except UnservedError as error:
            if error.kind == "request":
                raise
    if reply is not None:
        await send_body(send, reply.body, status=reply.status)
    else:
        await send_json(send, {"input_tokens": max(1, request.prompt_tokens(CHARACTERS_PER_TOKEN))})


async def free_reply(upstream: Upstream, request: ClientRequest, receive: Receive) -> WireReply:
    """Return a candidate's answer to a request that costs nothing, without a decision.

    Raises:
        UnservedError: The call failed.
    """
    try:
        with WatchedBlock(receive):
            return await upstream.wire.send(upstream.candidate, upstream.prepare(request).request)
    except ProviderError as error:
        raise unserved([(error, True)]) from error


async def models(gateway: Gateway, scope: Scope, receive: Receive, send: Send, /) -> None:
    """Answer ``/v1/models`` in the form of both dialects."""
    entries = _entries(gateway, scope)
    await send_json(send, {"object": "list", "data": entries, "has_more": False, "first_id": entries[0]["id"], "last_id": entries[-1]["id"]})


async def model(gateway: Gateway, scope: Scope, receive: Receive, send: Send, /) -> None:
    """Answer ``/v1/models/NAME``."""
    name = scope["path_params"]["name"]
    entries = {entry["id"]: entry for entry in _entries(gateway, scope)}
    if name not in entries:
        raise unknown_model(name, entries)
    await send_json(send, entries[name])


def _entries(gateway: Gateway, scope: Scope) -> list[dict[str, Any]]:
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
            "owned_by": "aamc" if name.startswith(PREFIX) else gateway.upstreams[name].endpoint.provider,
        }
        for name in names
        if name == ROUTE or caller.may_use(name)
    ]
