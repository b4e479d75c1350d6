"""The handler of requests that are routed or name their model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aamc_gateway.forwarding.cached_answers import Recording, answer_from_cache
from aamc_gateway.forwarding.exchange import Exchange
from aamc_gateway.forwarding.served_requests import ObservedRequest
from aamc_gateway.forwarding.streams import StreamedAnswer
from aamc_gateway.forwarding.whole_answers import answer_whole
from aamc_gateway.requests.client_request import ClientRequest
from aamc_gateway.server.interfaces import Receive, Scope, Send

if TYPE_CHECKING:
    from aamc_gateway.server.gateway import Gateway


async def serve(gateway: Gateway, request: ClientRequest, scope: Scope, receive: Receive, send: Send) -> None:
    """Decide and answer a request.

    Raises:
        AamcError: It is refused, or no candidate answered.
        ClientLeft: The client left.
    """
    key = gateway.cache.key(request)
    recording = None
    if key is not None:
        if await answer_from_cache(gateway, request, scope, send, key):
            return
        send = recording = Recording(send, gateway.cache.max_answer)
    exchange = Exchange(gateway, request, scope["route"])
    with gateway.watch.of(receive) as client, ObservedRequest(gateway, exchange, scope, client):
        await exchange.decide()
        if request.stream:
            await StreamedAnswer(exchange, send).run()
        else:
            await answer_whole(exchange, send)
        if recording is not None and key is not None:
            await recording.keep(exchange, key)
