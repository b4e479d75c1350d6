"""The handler of the arena's requests: those for ``aamc/arena``, and a share of those for ``aamc/auto``."""

from __future__ import annotations

import asyncio
import random
from contextlib import nullcontext
from typing import TYPE_CHECKING

from aamc_models.dialects import DIALECTS, answer_events, convert_answer, wants_usage

from aamc_gateway.arena.aggregation import aggregate, is_unknown
from aamc_gateway.arena.match_exchange import MatchExchange, MatchReply
from aamc_gateway.forwarding.event_sender import EventSender
from aamc_gateway.forwarding.failures import unserved
from aamc_gateway.forwarding.served_requests import ObservedRequest, cost_header
from aamc_gateway.requests.client_request import ClientRequest
from aamc_gateway.server.http.answers import send_json
from aamc_gateway.server.interfaces import Receive, Scope, Send
from aamc_sdk.errors import AamcError

if TYPE_CHECKING:
    from aamc_gateway.server.gateway import Gateway

_random = random.SystemRandom()


def is_for_arena(gateway: Gateway, request: ClientRequest) -> bool:
    """Return whether the arena answers a request: one for it, or of a share of those for ``aamc/auto``; not one with state of a single candidate."""
    if request.mode not in ("arena", "route") or request.api not in DIALECTS or request.foreign_state or len(gateway.upstreams) < 2:
        return False
    if request.mode == "arena":
        return True
    settings = gateway.settings.arena
    if not settings.share or request.side_request or (request.stream and not settings.share_streams) or request.body.get("tools"):
        return False
    return _random.random() < settings.share


async def serve_arena(gateway: Gateway, request: ClientRequest, scope: Scope, receive: Receive, send: Send) -> None:
    """Let several candidates answer a request; one answer is sent, and all are offered for a vote."""
    exchange = MatchExchange(gateway, request, scope["route"])
    sender = EventSender(send, request.dialect, gateway.settings.streams.keep_alive_s, gateway.metrics.stream_event)
    try:
        with ObservedRequest(gateway, exchange, scope, receive):
            await exchange.decide()
            await exchange.commit()
            sender.headers = exchange.headers()
            with sender if request.stream else nullcontext():
                served, replies = await _played(exchange)
                await _send(exchange, request, served, replies, send, sender)
    except AamcError as error:
        if not sender.has_begun:
            raise
        await sender.fail(error)


async def _played(exchange: MatchExchange) -> tuple[MatchReply, list[MatchReply]]:
    """Return the answer to serve, and all answers."""
    from aamc_bandit.arena import draw_entrants

    assert exchange.record is not None
    settings, gateway = exchange.settings, exchange.gateway
    entrants = draw_entrants(exchange.record, settings.candidates, gateway.controller.seed)
    calls = [asyncio.ensure_future(exchange.call(name, exchange.request)) for name in entrants if name in gateway.upstreams]
    try:
        replies = list(await asyncio.gather(*calls))
    except BaseException:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        raise
    answered = [reply for reply in replies if reply.error is None]
    called = [reply for reply in replies if reply.prepared is not None]  # the others' dialects cannot express the request
    if not called:
        raise unserved([(reply.error, False) for reply in replies if reply.error is not None])
    if not answered or (settings.on_error == "fail" and len(answered) < len(called)):
        raise exchange.final_error()
    served = await aggregate(exchange, answered)
    exchange.serve(served, is_unknown([*answered, served]))
    return served, answered


async def _send(
    exchange: MatchExchange, request: ClientRequest, served: MatchReply, replies: list[MatchReply], send: Send, sender: EventSender
) -> None:
    gateway, name, decision = exchange.gateway, served.upstream.name, exchange.decision
    assert decision is not None
    assert exchange.record is not None
    answers = [(reply.upstream.name, reply.text) for reply in replies]
    vote = f"/v1/arena/{decision.id}" if await gateway.ballots.offer(exchange.record, request.query.text, answers, request.caller) else ""
    headers = [*exchange.headers(served.upstream, served.prepared), *([(b"x-aamc-vote", vote.encode())] if vote else [])]
    await exchange.remember(served.upstream)
    if request.stream:
        sender.headers = headers
        document = {**exchange.document(served.prepared), **({"vote": vote} if vote else {})}
        await sender.end(answer_events(served.answer, request.dialect, name, document, shows_usage=wants_usage(request.body)))
    else:
        answer = convert_answer("chat", request.dialect, served.answer, name)
        await send_json(send, answer, headers=[*headers, *cost_header(exchange.served.cost_usd)])
    exchange.end(200)
    await exchange.infer_feedback()
