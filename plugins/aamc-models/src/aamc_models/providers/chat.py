"""Completions by an API of conversations, in OpenAI's dialect."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, ClassVar

from aamc_models.dialects import answer_to_chat, broken_off, broken_off_error, reported_cost, usage_of, with_usage
from aamc_models.dialects.chat import ChatReader, reasoning_of
from aamc_models.dialects.content import choice_number, text_of
from aamc_models.dialects.conversions import reader_of
from aamc_models.dialects.error_bodies import error_in, error_of_choice
from aamc_models.dialects.events import object_of
from aamc_models.dialects.fields import object_or_empty, objects_or_empty
from aamc_models.transport.options import shown_address
from aamc_sdk import Candidate, Services
from aamc_sdk.errors import DataError, ProviderError
from aamc_sdk.interfaces import Chunk, Completion, Message, WireProvider, WireReply, WireRequest

logger = logging.getLogger(__name__)


class ChatProvider(WireProvider):
    """A provider whose ``complete`` and ``stream`` ask an API of conversations, and answer in OpenAI's dialect.

    Attributes:
        api: The API; its dialect has the same name.
    """

    api: ClassVar[str] = "chat"

    def __init__(self, config: Any, services: Services) -> None:
        super().__init__(config, services)
        self._warned: set[tuple[str, ...]] = set()

    async def complete(self, candidate: Candidate, messages: Sequence[Message], **options: Any) -> Completion:
        """Return the answer; its text is empty if the first choice has none.

        Raises:
            ProviderError: No attempt was answered, or the answer cannot be used.
            DataError: A message or an option has a wrong form.
        """
        options.pop("stream", None)
        reply = await self.send(candidate, WireRequest(api=self.api, body=self._body(candidate, messages, options)))
        return _completion(candidate, self.api, reply)

    async def stream(self, candidate: Candidate, messages: Sequence[Message], **options: Any) -> AsyncIterator[Chunk]:
        """Yield the answer piece by piece.

        Raises:
            ProviderError: No attempt was answered, or the answer was cut.
            DataError: A message or an option has a wrong form.
        """
        body = with_usage(self.api, self._body(candidate, messages, {**options, "stream": True}))
        reader, finished = reader_of(self.api), False
        async with aclosing(self.events(candidate, WireRequest(api=self.api, body=body))) as events:
            async for event in events:
                for chunk in _chunks(candidate, reader, event):
                    finished = finished or chunk.finish_reason is not None
                    yield chunk
        if not finished:
            raise ProviderError(f"model {candidate.name!r} cut its answer: the stream ended without a finish_reason", kind="protocol")

    def _body(self, candidate: Candidate, messages: Sequence[Message], options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the body of a request in the API's dialect."""
        body = {**options, "messages": list(messages)}
        self._warn(candidate, tuple(self.dropped(candidate, WireRequest(api=self.api, body=body))))
        return body

    def _warn(self, candidate: Candidate, dropped: tuple[str, ...]) -> None:
        """Log the fields that a request lost, once for the same ones; the gateway reports them in each answer instead."""
        if dropped and dropped not in self._warned:
            self._warned.add(dropped)
            text = "options left out of requests for model %r, or changed, as its API lacks or rejects them: %s"
            logger.warning(text, candidate.name, ", ".join(dropped))


def _completion(candidate: Candidate, api: str, reply: WireReply) -> Completion:
    """Return a whole answer; the error of one that failed has its usage and cost, which are billed."""
    try:
        return _read_completion(candidate, api, reply)
    except ProviderError as error:
        answer = reply.answer or {}
        error.reported = Chunk(usage=usage_of(api, answer), cost_usd=reported_cost(answer, reply.headers))
        raise


def _read_completion(candidate: Candidate, api: str, reply: WireReply) -> Completion:
    answer = reply.answer or {}
    if (broken := broken_off(answer)) is not None:
        raise broken_off_error(candidate.name, broken)
    try:
        chat = answer if api == "chat" else answer_to_chat(api, answer)
    except DataError as error:
        public = f"model {candidate.name!r} gave no usable answer"
        raise ProviderError(f"{public}: {error}; check the endpoint's base_url", kind="protocol", public=public) from error
    choices = chat.get("choices")
    if not isinstance(choices, list) or not choices:
        name, problem, endpoint = f"model {candidate.name!r}", "answered without a choice", getattr(candidate, "endpoint", None)
        base_url = None if endpoint is None else endpoint.options.get("base_url")
        place = f" at {shown_address(base_url)}" if base_url else ""
        advice = f"its server sent {dict(answer)!r:.120}; check the endpoint's base_url, and that it is a chat model"
        raise ProviderError(f"{name}{place} {problem}: {advice}", kind="protocol", public=f"{name} {problem}")
    choice = object_or_empty(choices[0])
    message, reason = object_or_empty(choice.get("message")), choice.get("finish_reason")
    return Completion(
        message={"role": "assistant", **message, "content": _text_of(message.get("content"))},
        usage=usage_of(api, answer),
        finish_reason=reason if isinstance(reason, str) and reason else "stop",
        cost_usd=reported_cost(answer, reply.headers),
    )


def _chunks(candidate: Candidate, reader: ChatReader, event: bytes) -> Iterator[Chunk]:
    """Yield the usage in an event of a streamed answer, its pieces of text and reasoning, and its end.

    The usage comes first: a call that is left in between has it.

    Raises:
        ProviderError: The event is an error, or cannot be read: without it the answer would have a gap.
    """
    known = reader.usage.tokens, reader.usage.cost_usd
    try:
        data = object_of(event)
        pieces = [] if data is None else list(reader.read(data))
    except DataError as error:
        public = f"model {candidate.name!r} sent a broken event"
        problem = f"{public}: its data must be a JSON object of the API, not {event!r:.80}; check the server"
        raise ProviderError(problem, kind="protocol", public=public) from error
    if known != (reader.usage.tokens, reader.usage.cost_usd):
        yield Chunk(usage=reader.usage.tokens, cost_usd=reader.usage.cost_usd)
    for piece in pieces:
        reported = error_in(piece)
        if reported is not None:
            raise broken_off_error(candidate.name, reported, body=event)
        choices = objects_or_empty(piece.get("choices"))
        choice = next((choice for choice in choices if choice_number(choice) == 0), {})  # with n above 1 the parts of all answers come in turns
        if (broken := error_of_choice(choice)) is not None:
            raise broken_off_error(candidate.name, broken, body=event)
        delta, reasoning = object_or_empty(choice.get("delta")), ""
        content = _text_of(delta.get("content"))
        with suppress(DataError):  # the answer goes on without reasoning that cannot be read
            reasoning = reasoning_of(delta)
        reason = choice.get("finish_reason")
        if content or reasoning or reason is not None:
            yield Chunk(content=content, reasoning=reasoning, finish_reason=reason)


def _text_of(content: object) -> str:
    """Return the text of an answer, which Mistral's models that reason give in parts; ``""`` of content that cannot be read."""
    try:
        return text_of(content, "content")
    except DataError:
        return ""
