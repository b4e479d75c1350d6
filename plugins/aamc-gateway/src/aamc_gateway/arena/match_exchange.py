"""A request that several candidates answer: their calls and total cost."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import attrs
from aamc_models.dialects import answer_to_chat, conversation_of, convert_answer, plain_answer, text_of

from aamc_gateway.access.callers import Refused
from aamc_gateway.access.max_cost import DENSE_BYTES_PER_TOKEN
from aamc_gateway.forwarding.answers.whole_answers import answer_of, bill_reply
from aamc_gateway.forwarding.calls.upstreams import UpstreamCall
from aamc_gateway.forwarding.exchange import Exchange
from aamc_gateway.requests.client_request import ClientRequest
from aamc_gateway.requests.media import Media
from aamc_gateway.server.gateway import Gateway
from aamc_gateway.server.settings import CHOOSE, SYNTHESIZE
from aamc_sdk import Attempt
from aamc_sdk.errors import AamcError, DataError, ProviderError
from aamc_sdk.interfaces import WireReply
from aamc_sdk.types import check_text

_INSTRUCTION_TOKENS = 300
"""Maximum tokens of a judge's or writer's prompt besides the request and the answers."""


@attrs.frozen(kw_only=True)
class MatchReply:
    """A candidate's answer.

    Attributes:
        call: Its call, which has ended.
        answer: The answer as a chat completion.
        text: The text of the answer, and of its tool calls.
        attempt: The attempt to log.
    """

    call: UpstreamCall
    answer: Mapping[str, Any]
    text: str
    attempt: Attempt

    @property
    def name(self) -> str:
        """The candidate's name."""
        return self.call.upstream.name


class MatchExchange(Exchange):
    """A request that several candidates answer. The log gets its calls at the end, that of the answer last: it is the one that served.

    Attributes:
        settings: The settings of the arena for this request.
        entrants: The maximum number of candidates that are asked at once; None for all.
    """

    def __init__(self, gateway: Gateway, request: ClientRequest, route: str) -> None:
        whole = {name: value for name, value in request.body.items() if name not in ("stream", "stream_options")}
        super().__init__(gateway, attrs.evolve(request, stream=False, body=whole), route)
        self.figures.streamed = request.stream
        settings = gateway.settings.arena
        if settings.aggregate == SYNTHESIZE:
            said = conversation_of(request.dialect, request.body)
            if said.tools or said.json or request.answers > 1:
                settings = attrs.evolve(settings, aggregate=CHOOSE)  # a written answer is one free text
        self.settings, self.entrants = settings, settings.candidates
        self._limit = asyncio.Semaphore(settings.max_concurrent) if settings.max_concurrent else nullcontext()

    async def _admit(self) -> None:
        """Admit the request; one of a share of ordinary requests goes to a single candidate if its limits do not allow a match."""
        try:
            await super()._admit()
        except Refused:
            if self.request.mode == "arena":
                raise
            self.entrants = 1
            await super()._admit()

    def _demand(self) -> dict[str, Any]:
        """Return the maximum cost of the answers of all candidates that may take part, and of judging or writing the answer; no less is enough."""
        if self.entrants == 1:
            return super()._demand()
        costs_usd = self._max_costs
        count = len(costs_usd) if self.entrants is None else min(self.entrants, len(costs_usd))
        aggregating = self._aggregating_costs(count)
        most = [*_most_expensive(costs_usd.values())[:count], *aggregating]
        return {"max_cost_usd": math.fsum(most), "calls": len(most)}

    def _aggregating_costs(self, count: int) -> Sequence[float]:
        """Return the maximum cost of each call that judges answers or writes one from them, whose prompts hold the answers."""
        settings, upstreams, names = self.settings, self.gateway.upstreams, self._names
        if settings.aggregate == SYNTHESIZE:
            models, calls, shown, limit = [settings.synthesizer] if settings.synthesizer else names, 1, count, self.request.max_tokens
        elif settings.judge:
            models, calls, shown, limit = [settings.judge], count * (count - 1), 2, None
        else:
            return ()
        longest = max((upstreams[name].max_cost.output_tokens(self.request) for name in names), default=0)
        tokens = self.request.prompt_tokens(DENSE_BYTES_PER_TOKEN) + shown * longest + _INSTRUCTION_TOKENS
        prompt = attrs.evolve(prompt_request(self.request, "", limit), body_bytes=tokens * DENSE_BYTES_PER_TOKEN)
        return calls * _most_expensive([upstreams[name].max_cost.usd(prompt) for name in models])[:1]

    def participants(self, names: Sequence[str]) -> Sequence[str]:
        """Return the candidates that can be called now, for which alone something is reserved; all where none can."""
        return [name for name in names if self.gateway.upstreams[name].retry_after_s is None] or names

    def reserves(self, entrants: Collection[str]) -> Sequence[str]:
        """Return the candidates to call if all entrants fail, the best first: those that the request would be sent to outside the arena."""
        return [name for name in self._fallbacks if name not in entrants]

    async def call(self, name: str, request: ClientRequest) -> MatchReply | ProviderError | DataError:
        """Return a candidate's answer to a request, or the error of the call: a DataError if the candidate's dialect cannot express the request."""
        upstream = self.gateway.upstreams[name]
        try:
            prepared = upstream.prepare(request, strip="all", limits_answer=self.admission.limits_cost(name))
        except DataError as wrong:
            return wrong
        async with self._limit:
            try:
                call = await self.begin(upstream, prepared, request)
            except Refused as error:
                self.add_refusal(error)
                return ProviderError(str(error), kind="rate_limit")
            return await self._reply(call)

    async def _reply(self, call: UpstreamCall) -> MatchReply | ProviderError:
        error: ProviderError | None = None
        try:
            async with call:
                reply = await self._sent(call)
                bill_reply(call, reply, self.request.priced)
                answer = plain_answer(self.request.known_tools.adapt(answer_to_chat(call.prepared.request.api, answer_of(reply))))
                convert_answer("chat", self.request.dialect, answer)  # one that the client's dialect cannot express has failed
                check_text(json.dumps(answer, ensure_ascii=False), "the answer")  # as one that cannot be kept for the vote
            text = _text(answer)
        except ProviderError as failed:
            error = failed
        except AamcError as failed:
            error = ProviderError(str(failed), kind="protocol")
        except BaseException:  # the client has left
            self.call_ended(call, cancelled=True)
            raise
        self.call_ended(call, error)
        # Nothing has run since the block's end recorded the attempt.
        return error or MatchReply(call=call, answer=answer, text=text, attempt=self._attempts[-1])

    async def _record(self, attempt: Attempt) -> None:
        """Keep a call until the log gets all."""
        self._attempts.append(attempt)

    async def _sent(self, call: UpstreamCall) -> WireReply:
        upstream, seconds = call.upstream, self.settings.timeout_seconds
        try:
            return await asyncio.wait_for(upstream.wire.send(upstream.candidate, call.request), seconds)
        except asyncio.TimeoutError:
            raise ProviderError(f"model {upstream.name!r} gave no answer in {seconds:g} s", kind="timeout") from None

    def serve(self, reply: MatchReply) -> None:
        """Note the answer that is served, and log the calls: a vote may come as soon as the client has the answers."""
        if reply.attempt in self._attempts:
            self._attempts.remove(reply.attempt)
            self._attempts.append(reply.attempt)
        self._log_attempts(ended=True)
        unknown = any(not call.error_kind and math.isnan(call.cost_usd) for call in self.figures.calls)  # a failed call without a cost was free
        self.note_answer(reply.call, math.nan if unknown else self.spent_usd)


def prompt_request(request: ClientRequest, prompt: str, max_tokens: int | None = None) -> ClientRequest:
    """Return a request of one prompt, for the caller of another request."""
    body: dict[str, Any] = {"model": "", "messages": [{"role": "user", "content": prompt}]}
    if max_tokens:
        body["max_tokens"] = max_tokens
    return attrs.evolve(
        request,
        dialect="chat",
        api="chat",
        body=body,
        body_bytes=len(prompt.encode(errors="replace")),
        has_media=False,
        media=Media(),
        foreign_state=frozenset(),
        headers={},
        max_tokens=max_tokens,
        answers=1,
        caches_for_an_hour=False,
    )


def _text(answer: Mapping[str, Any]) -> str:
    """Return the text of an answer and of its tool calls."""
    parts = []
    for choice in answer.get("choices") or ():
        message = choice.get("message") or {}
        parts.append(text_of(message.get("content"), "content"))
        parts += [_described(call) for call in message.get("tool_calls") or ()]
    return "\n".join(part for part in parts if part)


def _described(call: Mapping[str, Any]) -> str:
    """Return a tool call as text."""
    function = call.get("function") or call.get("custom") or {}
    return f"{function.get('name')}({function.get('arguments', function.get('input'))})"


def _most_expensive(costs: Iterable[float]) -> list[float]:
    """Return costs in descending order, unknown ones first."""
    return sorted(costs, key=lambda cost: (not math.isnan(cost), -cost))
