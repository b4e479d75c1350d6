"""``POST /v1/route``: decides and explains, and calls no model."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from functools import partial
from typing import Any

import attrs
from starlette.types import Receive, Scope, Send

from aamc_gateway.access.callers import Refused
from aamc_gateway.forwarding.exchange import Exchange
from aamc_gateway.forwarding.observed_request import ObservedRequest
from aamc_gateway.requests.bodies import header, read_json
from aamc_gateway.requests.client_request import ClientRequest
from aamc_gateway.requests.routing_arguments import ARENA, NAMES, ROUTE
from aamc_gateway.server.gateway import Gateway
from aamc_gateway.server.http.answers import send_json
from aamc_sdk.storage import plain


async def explain_route(gateway: Gateway, scope: Scope, receive: Receive, send: Send, /) -> None:
    """Answer with the document of ``aamc route --json`` and the classified text.

    The body is ``{"text": "..."}``, or the body of any request to a model in one of the dialects; the arguments of routing are given as there.
    """
    read = partial(_client_request, gateway, scope)
    request = await read_json(gateway.large_bodies, scope, receive, read, '{"text": "Hello"}')
    exchange = _UnansweredExchange(gateway, request, scope["route"])
    with ObservedRequest(gateway, exchange, scope, receive):
        await exchange.decide()
        decision = await exchange.commit()
        explanation = await asyncio.to_thread(gateway.controller.explain, decision.id)
        document = explanation.to_dict() | {"classified": _classified(request)}
        exchange.figures.cost_usd = exchange.spent_usd
        exchange.end(200)
    await send_json(send, plain(document), headers=exchange.headers())


class _UnansweredExchange(Exchange):
    """A request that is decided and not answered, so that a budget without room for an answer does not refuse it."""

    async def _admit(self) -> None:
        """Admit the request; with all candidates where no answer fits the budget. The cost of a router that asks a model is unknown: it must fit."""
        try:
            await super()._admit()
        except Refused as error:
            if error.kind != "budget" or self.gateway.controller.router.waits_for_calls:
                raise
            self._admission = await self.gateway.access.admit(self.request.caller, max_cost_usd=0.0, user=self.request.query.user)
            self._allowed = self._names


def _client_request(gateway: Gateway, scope: Scope, body: MutableMapping[str, Any], raw: bytes) -> ClientRequest:
    """Return the request that would be answered."""
    dialect = _dialect(scope, body)
    body.setdefault("model", ROUTE)
    request = gateway.reader.read(dialect, dialect, scope["headers"], body, raw, scope["caller"])
    if request.model not in (ROUTE, ARENA):
        raise Refused(f"the model {request.model!r:.200} is named, so nothing is decided; leave model out, or give {ROUTE!r}")
    return attrs.evolve(request, mode="route", stream=False)


def _dialect(scope: Scope, body: MutableMapping[str, Any]) -> str:
    """Return the dialect of a body; ``text`` becomes a chat."""
    if isinstance(body.get("text"), str) and (other := next((name for name in ("messages", "input", "prompt") if name in body), None)):
        raise Refused(f"the body has text and {other}; leave one of them out")
    if "messages" in body:
        return "messages" if "system" in body or header(scope["headers"], b"anthropic-version") else "chat"
    if "input" in body:
        return "responses"
    if "prompt" in body:
        return "completions"
    text = body.pop("text", None)
    if not isinstance(text, str):
        raise Refused('the body must have text, or messages, input or prompt as a request to a model, such as {"text": "Hello"}')
    if misplaced := [name for name in NAMES if name in body and name != "user"]:  # the dialects have a user of their own
        raise Refused(f'{misplaced[0]} belongs in the object "aamc", such as {{"text": "Hello", "aamc": {{"{misplaced[0]}": ...}}}}')
    body["messages"] = [{"role": "user", "content": text}]
    return "chat"


def _classified(request: ClientRequest) -> dict[str, Any]:
    query = request.query
    return {
        "text": query.text,
        "turns": [{"role": turn.role, "content": turn.content} for turn in query.turns],
        "needs": sorted(query.needs),
        "prompt_tokens": query.prompt_tokens,
        "side_request": request.side_request,
    }
