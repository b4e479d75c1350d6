"""The handler of requests that are routed or name their model."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.types import Receive, Scope, Send

from aamc_gateway.forwarding.answers.cache import CachedAnswer, user_hash
from aamc_gateway.forwarding.answers.descriptions import cost_header, model_header
from aamc_gateway.forwarding.answers.streams import StreamedAnswer
from aamc_gateway.forwarding.answers.whole_answers import answer_whole
from aamc_gateway.forwarding.exchange import Exchange
from aamc_gateway.forwarding.observed_request import ObservedRequest
from aamc_gateway.requests.client_request import ClientRequest
from aamc_gateway.server.gateway import Gateway


async def serve(gateway: Gateway, request: ClientRequest, scope: Scope, receive: Receive, send: Send) -> None:
    """Decide and answer a request, or answer it from the cache."""
    exchange = Exchange(gateway, request, scope["route"])
    with ObservedRequest(gateway, exchange, scope, receive):
        key, recording = gateway.cache.key(request), None
        if key is not None:
            if (found := await gateway.cache.find(key, request)) is not None:
                await _send_again(exchange, found, send)
                return
            send = recording = _Recording(send, gateway.cache.max_answer)
        await exchange.decide()
        if request.stream:
            await StreamedAnswer(exchange, send).run()
        else:
            await answer_whole(exchange, send)
        if recording is not None and key is not None:
            await recording.keep(exchange, key)


async def _send_again(exchange: Exchange, answer: CachedAnswer, send: Send) -> None:
    """Send an answer of the cache, at no cost."""
    await exchange.admit_cached(answer)
    kind = b"text/event-stream; charset=utf-8" if exchange.request.stream else b"application/json"
    headers = [(b"content-type", kind), (b"x-aamc-cache", b"hit"), model_header(answer.candidate)]
    if answer.decision_id is not None:
        headers.append((b"x-aamc-decision-id", answer.decision_id.encode()))
    if not exchange.request.stream:
        headers += [*cost_header(0.0), (b"content-length", b"%d" % len(answer.content))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer.content})
    exchange.end(200)


class _Recording:
    """Passes an answer on, and keeps its body for the cache unless it is larger than a number of bytes."""

    def __init__(self, send: Send, at_most: int) -> None:
        self._send, self._at_most = send, at_most
        self._parts: list[bytes] = []
        self._size = 0

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        """Send a message."""
        if message["type"] == "http.response.body" and self._size <= self._at_most:
            body = message.get("body", b"")
            self._parts.append(body)
            self._size += len(body)
            if self._size > self._at_most:
                self._parts.clear()
        await self._send(message)

    async def keep(self, exchange: Exchange, key: str) -> None:
        """Keep the answer of a request that has ended well."""
        figures = exchange.figures
        if figures.status == 200 and not figures.error_kind and figures.candidate and self._parts and not exchange.was_limited:
            user = user_hash(exchange.request)
            answer = CachedAnswer(figures.candidate, figures.cost_usd, figures.decision_id, user, b"".join(self._parts))
            await exchange.gateway.cache.keep(key, exchange.request, answer, exchange.record)
