"""Answers that come as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import attrs
import orjson
from aamc_models.dialects import (
    DIALECTS,
    answer_bytes,
    answer_to_chat,
    broken_off,
    broken_off_error,
    convert_answer,
    finish_reason,
    json_object,
    last_call,
    plain_answer,
    reasoning_bytes,
    reported_cost,
    usage_of,
)
from starlette.types import Send

from aamc_gateway.forwarding.answers.descriptions import cost_header, printable, with_requested_model
from aamc_gateway.forwarding.calls.upstreams import Prepared, UpstreamCall
from aamc_gateway.forwarding.exchange import Exchange
from aamc_gateway.requests.client_request import ClientRequest, Priced
from aamc_gateway.server.gateway import Gateway
from aamc_gateway.server.http.answers import JSON, send_body
from aamc_sdk.errors import DataError, ProviderError
from aamc_sdk.interfaces import WireReply

_READ_BYTES = 2**20
"""Maximum size of an answer that is read for the objects that it describes: the content of a file may be larger."""
_BILLED_BYTES = 2**26
"""Maximum size of an answer that is read for its usage: ten large images in JSON are smaller."""
_KEPT = ("request-id", "x-request-id", "retry-after")
"""Headers of an upstream's answer that are passed on."""
_INERT = ((b"content-security-policy", b"sandbox"), (b"x-content-type-options", b"nosniff"))
"""Headers for browsers: a page in a stored file must not run with the rights of the dashboard, which has the same origin."""


async def answer_whole(exchange: Exchange, send: Send) -> None:
    """Call the decided candidate, or the next allowed one while calls fail, and send the answer.

    Raises:
        UnservedError: No candidate answered.
        StoreError: The log refused the decision.
    """
    call, reply = await _first_answer(exchange)
    await exchange.commit()
    await exchange.note_response(call.upstream, _response_id(call.prepared, reply))
    await exchange.remember(call.upstream, _last_call(exchange.request.dialect, reply))
    if exchange.request.raw is not None:
        await note_objects(exchange.gateway, exchange.request, reply)
    await send_reply(send, reply, [*exchange.headers(call), *cost_header(exchange.figures.cost_usd)])
    exchange.end(reply.status)
    await exchange.infer_feedback()


async def send_reply(send: Send, reply: WireReply, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send an answer, with further headers."""
    kind = JSON if reply.answer is not None else printable(reply.headers.get("content-type", "application/json"))  # official clients require it
    kept = [(name.encode(), printable(reply.headers[name])) for name in _KEPT if name in reply.headers]
    await send_body(send, reply.body, kind, reply.status, [*headers, *kept, *(_INERT if reply.answer is None else ())])


async def note_objects(gateway: Gateway, request: ClientRequest, reply: WireReply) -> None:
    """Remember the tenant of the objects that an answer which passes through describes."""
    if reply.status < 400:
        await gateway.owners.note_answer(request.caller, request.model, request.api, _passed_answer(reply, _READ_BYTES))


async def _first_answer(exchange: Exchange) -> tuple[UpstreamCall, WireReply]:
    """Return the first answer of the allowed candidates in the client's dialect, with its call."""
    while True:
        call = await exchange.next_call()
        try:
            async with call:
                reply = await call.upstream.wire.send(call.upstream.candidate, call.request)
                bill_reply(call, reply, exchange.request.priced)
                reply = _in_dialect(exchange.request, call, reply)
        except ProviderError as error:
            exchange.call_ended(call, error)
            continue
        except BaseException:  # such as the client that has left
            exchange.call_ended(call, cancelled=True)
            raise
        exchange.call_answered(call)
        return call, reply


def bill_reply(call: UpstreamCall, reply: WireReply, priced: Priced) -> None:
    """Set usage and cost of a call from its answer.

    Raises:
        ProviderError: The answer is not a JSON object, broke off with an error, or has no choice.
    """
    api = call.prepared.request.api
    if api in DIALECTS:
        answer = answer_of(reply)

        def size() -> tuple[int, int]:
            try:
                chat = answer_to_chat(api, answer)
                return answer_bytes(chat), reasoning_bytes(chat)
            except DataError:  # it passes unread, as a response that goes on in the background
                return 0, 0

        error, cost_usd = broken_off(answer), reported_cost(answer, reply.headers)
        finished = error is None or bool(answer.get("usage")) or not math.isnan(cost_usd)  # of one that failed without these only what came is paid
        call.bill(usage_of(api, answer), cost_usd, size, finished=finished)
        call.figures.finish_reason = finish_reason(api, answer)
        if error is not None:
            call.note_reported_error()
            raise broken_off_error(call.upstream.name, error, status=reply.status)
        if api in ("chat", "completions") and not answer.get("choices"):
            raise ProviderError(f"model {call.upstream.name!r} answered without a choice", kind="protocol", status=reply.status)
    elif api == "embeddings":
        answer = reply.answer or json_object(reply.body) or {}
        call.bill(usage_of("embeddings", answer), reported_cost(answer, reply.headers), lambda: (0, 0), finished=True)
    elif api.startswith("/"):
        _bill_passed(call, reply, priced)


def _bill_passed(call: UpstreamCall, reply: WireReply, priced: Priced) -> None:
    """Bill an answer that passed through: by the cost or the tokens that it reports, else by the price of a request; unknown without one."""
    answer = _passed_answer(reply, _BILLED_BYTES)
    found = usage_of("responses", answer)
    call.block.cost_usd = 0.0 if priced == "nothing" else reported_cost(answer, reply.headers)
    is_counted = found.prompt_tokens is not None or found.output_tokens is not None
    prices = call.upstream.candidate.prices
    if is_counted or (priced == "tokens" and prices is not None and prices.request > 0):
        call.block.usage = attrs.evolve(found, prompt_tokens=found.prompt_tokens or 0, output_tokens=found.output_tokens or 0)


def _passed_answer(reply: WireReply, max_bytes: int) -> Mapping[str, Any]:
    """Return the JSON of an answer that passed through, of a stream that of the last event with usage; empty without, or if the answer is larger."""
    kind, body = reply.headers.get("content-type", ""), reply.body
    if len(body) > max_bytes:
        return {}
    if "event-stream" in kind:
        events = (line[5:] for line in reversed(body.splitlines()) if line.startswith(b"data:") and b'"usage"' in line)
        return json_object(next(events, b"")) or {}
    return ("json" in kind and json_object(body)) or {}


def answer_of(reply: WireReply) -> Mapping[str, Any]:
    """Return an answer as a JSON object."""
    found = json_object(reply.body) if reply.answer is None else reply.answer
    if found is None:
        raise ProviderError("the answer is not a JSON object", kind="protocol", status=reply.status)
    return found


def _in_dialect(request: ClientRequest, call: UpstreamCall, reply: WireReply) -> WireReply:
    """Return an answer in the client's dialect."""
    api, name = call.prepared.request.api, call.upstream.name
    if call.becomes_plain and reply.answer is not None:
        with suppress(DataError):  # the client may be able to read it
            plain = plain_answer(reply.answer)
            return reply if plain is reply.answer else attrs.evolve(reply, body=orjson.dumps(plain), answer=plain)
    if api == request.api and (api != "messages" or reply.answer is None):
        return reply
    try:
        answer = answer_of(reply)
        converted = answer if api == request.api else convert_answer(api, request.dialect, answer, name, request.known_tools)
    except DataError as error:
        raise ProviderError(f"the answer of {name!r} cannot be read: {error}", kind="protocol", status=reply.status) from error
    named = with_requested_model(request, converted)
    return attrs.evolve(reply, headers={**reply.headers, "content-type": "application/json"}, body=orjson.dumps(named), answer=named)


def _response_id(prepared: Prepared, reply: WireReply) -> str | None:
    """Return the id of an answer that its server keeps."""
    if prepared.request.api != "responses" or reply.answer is None:
        return None
    found = reply.answer.get("id")
    return found if isinstance(found, str) else None


def _last_call(dialect: str, reply: WireReply) -> str | None:
    """Return the id of the last tool call in an answer."""
    answer = reply.answer or {}
    if dialect == "messages":
        return last_call(dialect, [answer])
    found = answer.get("output" if dialect == "responses" else "choices")
    entries = found if isinstance(found, list) else []
    return last_call(dialect, entries if dialect == "responses" else [each.get("message") for each in entries if isinstance(each, dict)])
