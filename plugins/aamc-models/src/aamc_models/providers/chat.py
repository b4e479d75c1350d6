"""Completions by OpenAI's chat API."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from aamc_models.dialects import reported_cost, usage_of, with_usage
from aamc_models.dialects.error_bodies import error_in
from aamc_models.dialects.events import DONE, data_of
from aamc_models.dialects.fields import json_object
from aamc_models.transport.failures import kind_of
from aamc_sdk import Candidate
from aamc_sdk.errors import ProviderError
from aamc_sdk.interfaces import Chunk, Completion, Message, WireProvider, WireRequest

_DONE = data_of(DONE)


class ChatProvider(WireProvider):
    """A provider whose ``complete`` and ``stream`` ask the API ``chat``."""

    async def complete(self, candidate: Candidate, messages: Sequence[Message], **options: Any) -> Completion:
        """Return the answer; its text is empty if the first choice has none.

        Raises:
            ProviderError: No attempt was answered, or the answer has no list of choices.
        """
        options.pop("stream", None)
        reply = await self.send(candidate, WireRequest(api="chat", body={**options, "messages": list(messages)}))
        return completion(candidate, reply.answer or {}, reply.headers)

    async def stream(self, candidate: Candidate, messages: Sequence[Message], **options: Any) -> AsyncIterator[Chunk]:
        """Yield the answer piece by piece.

        Raises:
            ProviderError: No attempt was answered, or the answer was cut.
        """
        body = with_usage("chat", {**options, "messages": list(messages), "stream": True})
        async with aclosing(self.events(candidate, WireRequest(api="chat", body=body))) as events:
            async for chunk in chunks(candidate, events):
                yield chunk


def completion(candidate: Candidate, answer: Mapping[str, Any], headers: Mapping[str, str]) -> Completion:
    """Return the completion in a server's answer; its text is empty if the first choice has none.

    Raises:
        ProviderError: The answer has no list of choices.
    """
    choice = _first(answer.get("choices"))
    if not isinstance(answer.get("choices"), list):
        public = f"model {candidate.name!r} answered without choices"
        raise ProviderError(f"{public}: its server sent {dict(answer)!r:.120}; check the endpoint's base_url", kind="protocol", public=public)
    message, reason = choice.get("message"), choice.get("finish_reason")
    message = message if isinstance(message, dict) else {}
    if not isinstance(message.get("content"), str):
        message = {**message, "content": ""}
    return Completion(
        message={"role": "assistant", **message},
        usage=usage_of("chat", answer),
        finish_reason=reason if isinstance(reason, str) and reason else "stop",
        cost_usd=reported_cost("chat", answer, headers),
    )


async def chunks(candidate: Candidate, events: AsyncIterator[bytes]) -> AsyncIterator[Chunk]:
    """Yield the pieces of text in the events of a streamed answer.

    Raises:
        ProviderError: An event is broken or an error, or the answer has no end.
    """
    finished = False
    async for event in events:
        data = data_of(event)
        if not data or data == _DONE:
            continue
        piece = json_object(data)
        if piece is None:
            raise broken_event(candidate, event)
        error = error_in(piece)
        if error is not None:
            public = f"model {candidate.name!r} broke its answer off with an error"
            raise ProviderError(f"{public}: {error.get('message') or error}", kind=kind_of(error), body=event, public=public)
        choice = _first_answer(piece.get("choices"))
        delta = choice.get("delta")
        content = delta.get("content") if isinstance(delta, dict) else None
        reason = choice.get("finish_reason")
        finished = finished or reason is not None
        usage = usage_of("chat", piece) if piece.get("usage") else None
        if content or usage is not None or reason is not None:
            cost_usd = math.nan if usage is None else reported_cost("chat", piece)
            yield Chunk(content=content if isinstance(content, str) else "", usage=usage, finish_reason=reason, cost_usd=cost_usd)
    if not finished:
        raise ProviderError(f"model {candidate.name!r} cut its answer: the stream ended without a finish_reason", kind="protocol")


def broken_event(candidate: Candidate, event: bytes) -> ProviderError:
    """Return the error of an event that cannot be read: without it the answer would have a gap."""
    public = f"model {candidate.name!r} sent a broken event"
    return ProviderError(f"{public}: its data must be a JSON object of the API, not {event!r:.80}; check the server", kind="protocol", public=public)


def _first(choices: object) -> Mapping[str, Any]:
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def _first_answer(choices: object) -> Mapping[str, Any]:
    """Return the part of the first answer in a chunk's choices: with ``n`` above 1 the parts of all answers come in turns."""
    found = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    return next((choice for choice in found if choice.get("index") in (0, None)), {})
