"""Answers that come as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import orjson
from aamc_models.dialects import DIALECTS, answer_to_chat, convert_answer, reported_cost, usage_of

from aamc_gateway.forwarding.exchange import Exchange, HeaderList
from aamc_gateway.forwarding.served_requests import cost_header
from aamc_gateway.forwarding.upstreams import Prepared, Upstream
from aamc_gateway.forwarding.usage import answer_bytes
from aamc_gateway.requests.ask import Priced
from aamc_gateway.server.http.answers import send_body
from aamc_sdk.errors import DataError, ProviderError
from aamc_sdk.interfaces import Usage, WireReply

if TYPE_CHECKING:
    from aamc_gateway.server.interfaces import Send
    from aamc_sdk.serving import Call

_READ_BYTES = 2**20
"""Maximum size of an answer that is read although it only passes through: an image in JSON is larger."""
_KEPT = ("request-id", "x-request-id", "retry-after")
"""Headers of an upstream's answer that are passed on."""


async def answer_whole(exchange: Exchange, send: Send) -> None:
    """Call the decided candidate, or the next allowed one while calls fail, and send the answer.

    Raises:
        UnservedError: No candidate answered.
        StoreError: The log refused the decision.
    """
    upstream, prepared, reply = await first_answer(exchange)
    await exchange.commit()
    await exchange.remember(upstream, _response_id(prepared, reply))
    await send_reply(send, reply, [*exchange.headers(upstream, prepared), *cost_header(exchange.served.cost_usd)])
    exchange.end(reply.status)
    await exchange.infer_feedback()


async def send_reply(send: Send, reply: WireReply, headers: HeaderList | None = None) -> None:
    """Send an answer, with further headers."""
    kind = reply.headers.get("content-type", "application/json").encode("latin-1")
    kept = [(name.encode(), reply.headers[name].encode("latin-1")) for name in _KEPT if name in reply.headers]
    await send_body(send, reply.body, kind, reply.status, [*(headers or ()), *kept])


async def first_answer(exchange: Exchange) -> tuple[Upstream, Prepared, WireReply]:
    """Return the first answer of the allowed candidates in the client's dialect, with the candidate and the request that it got.

    Raises:
        UnservedError: No candidate answered.
        DataError: The request cannot be converted for any candidate.
    """
    while True:
        upstream, prepared, call = await exchange.next_call()
        try:
            async with call:
                reply = await upstream.wire.send(upstream.candidate, prepared.request)
                bill_reply(exchange, call, upstream, prepared, reply)
                reply = _in_dialect(exchange, upstream, prepared, reply)
        except ProviderError as error:
            exchange.charge(call, upstream, error, own_dialect=prepared.dialect == exchange.ask.api)
            continue
        except BaseException:  # such as the client that has left
            exchange.cancelled(call)
            raise
        exchange.charge(call, upstream)
        return upstream, prepared, reply


def bill_reply(exchange: Exchange, call: Call, upstream: Upstream, prepared: Prepared, reply: WireReply) -> None:
    """Set usage and cost of a call from its answer.

    Raises:
        ProviderError: The answer is not a JSON object, or has no choice.
    """
    dialect = prepared.dialect
    if dialect in DIALECTS:
        answer = answer_of(reply)

        def text_bytes() -> int:
            return answer_bytes(answer if dialect in ("chat", "completions") else answer_to_chat(dialect, answer))

        cost_usd = reported_cost(dialect, answer, reply.headers)
        exchange.bill(call, upstream, prepared, usage_of(dialect, answer), cost_usd, text_bytes, finished=True)
        if dialect in ("chat", "completions") and not answer.get("choices"):
            raise ProviderError(f"model {upstream.name!r} answered without a choice", kind="protocol", status=reply.status)
    elif dialect == "embeddings":
        usage = usage_of("completions", answer_of(reply, required=False))
        counted_usage = Usage(prompt_tokens=usage.prompt_tokens, output_tokens=0)
        exchange.bill(call, upstream, prepared, counted_usage, reported_cost("completions", {}, reply.headers), lambda: 0, finished=True)
    elif prepared.request.api.startswith("/"):
        _bill_passed(call, reply, exchange.ask.priced, upstream)


def _bill_passed(call: Call, reply: WireReply, priced: Priced, upstream: Upstream) -> None:
    """Bill an answer that passed through: by the cost or the tokens that it reports, else by the price of a request; unknown without one."""
    answer = answer_of(reply, required=False) if "json" in reply.headers.get("content-type", "") and len(reply.body) < _READ_BYTES else {}
    found = usage_of("responses", answer)
    call.cost_usd = 0.0 if priced == "nothing" else reported_cost("responses", answer, reply.headers)
    is_counted = found.prompt_tokens is not None or found.output_tokens is not None
    if is_counted or (priced == "tokens" and upstream.has_request_price):
        call.usage = attrs.evolve(found, prompt_tokens=found.prompt_tokens or 0, output_tokens=found.output_tokens or 0)


def answer_of(reply: WireReply, *, required: bool = True) -> Mapping[str, Any]:
    """Return an answer as a JSON object.

    Raises:
        ProviderError: It is something else.
    """
    if reply.answer is not None:
        return reply.answer
    try:
        found = orjson.loads(reply.body)
    except orjson.JSONDecodeError as error:
        if not required:
            return {}
        raise ProviderError(f"the answer is not JSON: {error}", kind="protocol", status=reply.status) from error
    if not isinstance(found, dict):
        raise ProviderError("the answer is not a JSON object", kind="protocol", status=reply.status)
    return found


def _in_dialect(exchange: Exchange, upstream: Upstream, prepared: Prepared, reply: WireReply) -> WireReply:
    """Return an answer in the client's dialect.

    Raises:
        ProviderError: It cannot be converted, since it does not have the form of its own dialect.
    """
    if prepared.dialect == exchange.ask.api:
        return reply
    try:
        answer = convert_answer(prepared.dialect, exchange.ask.dialect, answer_of(reply), upstream.name)
    except DataError as error:
        raise ProviderError(f"the answer of {upstream.name!r} cannot be read: {error}", kind="protocol", status=reply.status) from error
    return attrs.evolve(reply, headers={**reply.headers, "content-type": "application/json"}, body=orjson.dumps(answer), answer=answer)


def _response_id(prepared: Prepared, reply: WireReply) -> str | None:
    """Return the id of an answer that its server keeps."""
    if prepared.dialect != "responses" or reply.answer is None:
        return None
    found = reply.answer.get("id")
    return found if isinstance(found, str) else None
