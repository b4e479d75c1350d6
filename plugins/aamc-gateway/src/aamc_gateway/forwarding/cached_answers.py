"""Answers from the exact cache, and for it."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from aamc_gateway.access.cache import CachedAnswer
from aamc_gateway.forwarding.served_requests import CLIENT_LEFT, cost_header, served_request

if TYPE_CHECKING:
    from aamc_gateway.forwarding.exchange import Exchange
    from aamc_gateway.requests.client_request import ClientRequest
    from aamc_gateway.server.gateway import Gateway
    from aamc_gateway.server.interfaces import Scope, Send


async def answer_from_cache(gateway: Gateway, request: ClientRequest, scope: Scope, send: Send, key: str) -> bool:
    """Send the answer that the cache has for a request, at no cost; return whether it has one.

    Raises:
        Refused: The caller is over its limits.
    """
    served = served_request(request, scope["route"])
    found = await gateway.cache.find(key, request)
    if found is None:
        return False
    admission = await gateway.access.admit(request.caller, max_cost_usd=0.0, least_cost_usd=0.0, user=request.query.user)
    admission.settle(0.0, 0)
    gateway.metrics.started(scope["route"])
    gateway.metrics.trace(served, scope["headers"])
    served.candidate, served.cached = found.candidate, True
    served.cost_usd, served.saved_usd = 0.0, found.cost_usd
    status, error_kind = CLIENT_LEFT, "cancelled"
    try:
        kind = b"text/event-stream; charset=utf-8" if request.stream else b"application/json"
        headers = [(b"content-type", kind), (b"x-aamc-cache", b"hit"), (b"x-aamc-model", found.candidate.encode(errors="replace"))]
        if not request.stream:
            headers += [*cost_header(0.0), (b"content-length", b"%d" % len(found.content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": found.content})
        status, error_kind = 200, ""
    finally:
        served.end(status, error_kind)
        gateway.metrics.served(served)
    return True


class Recording:
    """Passes an answer on and keeps its body for the cache.

    Args:
        send: Sends to the client.
        at_most: Size in bytes beyond which the body is not kept.
    """

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
        served = exchange.served
        if served.status == 200 and not served.error_kind and served.candidate and self._parts and not exchange.was_limited:
            answer = CachedAnswer(served.candidate, served.cost_usd, b"".join(self._parts))
            await exchange.gateway.cache.keep(key, exchange.request, answer, exchange.record, exchange.gateway.erasable)
