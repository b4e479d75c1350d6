"""Provider ``anthropic``: servers with Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar

import attrs

from aamc_models.dialects import DEFAULT_MAX_TOKENS, StreamConverter, StreamMonitor, answer_to_chat, from_chat, usage_of
from aamc_models.providers.chat import broken_event, chunks, completion
from aamc_models.transport.http import HttpProvider
from aamc_models.transport.options import EndpointOptions
from aamc_sdk import Candidate, option
from aamc_sdk.errors import DataError, ProviderError
from aamc_sdk.interfaces import Chunk, Completion, Message, WireRequest

ANTHROPIC_ADDRESS = "https://api.anthropic.com"
_VERSION = "2023-06-01"
"""The version of the API, see https://docs.anthropic.com/en/api/versioning."""


@attrs.frozen(kw_only=True)
class AnthropicOptions(EndpointOptions):
    """The options of an endpoint of the provider ``anthropic``."""

    base_url: str = option(ANTHROPIC_ADDRESS, "Address of the server, with or without /v1.")
    api_key_env: str = option("ANTHROPIC_API_KEY", "Environment variable with the API key; without the variable no key is sent.")
    max_output_tokens: int = option(
        DEFAULT_MAX_TOKENS, "Maximum tokens of an answer whose request does not limit them; the API requires a limit.", at_least=1
    )


class Anthropic(HttpProvider):
    """Calls a server with Anthropic's Messages API.

    ``send`` and ``events`` pass Anthropic's dialect on as it is. ``complete`` and ``stream`` take messages and options of OpenAI's dialect too, as
    routers, judges and agents use them, and answer in it.
    """

    Config = AnthropicOptions
    config: AnthropicOptions
    dialect = "anthropic"
    paths: ClassVar[Mapping[str, str]] = {"messages": "/messages", "count_tokens": "/messages/count_tokens"}

    def default_apis(self, addresses: Collection[str]) -> frozenset[str]:
        """Return the two APIs of the dialect."""
        return frozenset({"messages", "count_tokens"})

    def key_headers(self, key: str) -> Mapping[str, str]:
        """Return the headers that carry a key and the version."""
        return {"anthropic-version": _VERSION, **({"x-api-key": key} if key else {})}

    def address(self, base_url: str, api: str) -> str:
        """Return the address of an API; Anthropic's own clients leave ``/v1`` out of the server's address."""
        return super().address(base_url if base_url.endswith("/v1") else f"{base_url}/v1", api)

    async def complete(self, candidate: Candidate, messages: Sequence[Message], **options: Any) -> Completion:
        """Return the answer; its text is empty if it has none.

        Raises:
            ProviderError: No attempt was answered, or the answer is broken.
            DataError: A message or an option has a wrong form.
        """
        options.pop("stream", None)
        reply = await self.send(candidate, WireRequest(api="messages", body=self._body(messages, options)))
        try:
            answer = answer_to_chat("messages", reply.answer or {})
        except DataError as error:
            public = f"model {candidate.name!r} gave no usable answer"
            raise ProviderError(f"{public}: {error}; check the endpoint's base_url", kind="protocol", public=public) from error
        return attrs.evolve(completion(candidate, answer, reply.headers), usage=usage_of("messages", reply.answer or {}))

    async def stream(self, candidate: Candidate, messages: Sequence[Message], **options: Any) -> AsyncIterator[Chunk]:
        """Yield the answer piece by piece.

        Raises:
            ProviderError: No attempt was answered, or the answer was cut.
            DataError: A message or an option has a wrong form.
        """
        request = WireRequest(api="messages", body=self._body(messages, {**options, "stream": True}))
        monitor = StreamMonitor("messages")
        async with aclosing(self.events(candidate, request)) as events, aclosing(_as_chat(candidate, events, monitor)) as converted:
            async for chunk in chunks(candidate, converted):
                yield chunk if chunk.usage is None else attrs.evolve(chunk, usage=monitor.usage)

    def _body(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Mapping[str, Any]:
        body = {**options, "messages": list(messages)}
        if _is_anthropic(messages, options):
            return {"max_tokens": self.config.max_output_tokens, **body}
        return from_chat("messages", body, max_tokens=self.config.max_output_tokens).body


async def _as_chat(candidate: Candidate, events: AsyncGenerator[bytes, None], monitor: StreamMonitor) -> AsyncGenerator[bytes, None]:
    """Yield events as those of chat. The monitor reads them first: the usage of chat has no hours of a cache, and 0 for unknown counts."""
    converter = StreamConverter("messages", "chat")
    async for event in events:
        monitor.feed(event)
        try:
            chat = converter.feed(event)
        except DataError as error:
            raise broken_event(candidate, event) from error
        for converted in chat:
            yield converted
    for converted in converter.end():
        yield converted


_BLOCKS = frozenset({"document", "image", "redacted_thinking", "thinking", "tool_result", "tool_use"})
"""Types of blocks that only Anthropic's dialect has."""
_OPTIONS = frozenset({"stop_sequences", "system", "thinking", "top_k"})
"""Options that only Anthropic's dialect has."""


def _is_anthropic(messages: Sequence[Message], options: Mapping[str, Any]) -> bool:
    """Whether a request is of Anthropic's dialect; plain messages are the same in both, and then it does not matter."""
    if _OPTIONS & options.keys() or any("input_schema" in tool for tool in options.get("tools") or [] if isinstance(tool, Mapping)):
        return True
    contents = [message.get("content") for message in messages]
    blocks = [block for content in contents if isinstance(content, list) for block in content if isinstance(block, Mapping)]
    return any(block.get("type") in _BLOCKS for block in blocks)
