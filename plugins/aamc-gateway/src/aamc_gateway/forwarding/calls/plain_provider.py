"""Providers without a wire, such as ``echo``, as ones whose requests and answers are OpenAI's chat completions."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Collection, Mapping
from typing import Any

import orjson
from aamc_models.dialects import DONE, chat_head, error_body, event_of, usage_object

from aamc_sdk.errors import ProviderError
from aamc_sdk.interfaces import Chunk, Completion, Provider, Usage, WireReply, WireRequest, without_replaced_limits
from aamc_sdk.messages import check_type
from aamc_sdk.types import Candidate


class PlainWire:
    """Answers chat completions with a provider that knows only messages and completions."""

    apis: Collection[str] = frozenset(("chat",))

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def send(self, candidate: Candidate, request: WireRequest) -> WireReply:
        """Return the whole answer as a chat completion."""
        messages, options = _parts(candidate, request)
        given = await self._provider.complete(candidate, messages, **options)
        answer = check_type(given, Completion, "complete must return aamc_sdk.Completion")
        choice = {"index": 0, "message": {"role": "assistant", **answer.message}, "finish_reason": answer.finish_reason, "logprobs": None}
        usage = _usage(answer.usage) | ({} if math.isnan(answer.cost_usd) else {"cost": answer.cost_usd})
        body = {**chat_head(candidate.name, "chat.completion"), "choices": [choice], "usage": usage}
        return WireReply(status=200, headers={"content-type": "application/json"}, body=orjson.dumps(body))

    async def events(self, candidate: Candidate, request: WireRequest) -> AsyncGenerator[bytes, None]:
        """Yield the events of a streamed chat completion."""
        messages, options = _parts(candidate, request)
        head, first = chat_head(candidate.name, "chat.completion.chunk"), True
        chunks = self._provider.stream(candidate, messages, **options)
        try:
            async for piece in chunks:
                chunk = check_type(piece, Chunk, "stream must yield aamc_sdk.interfaces.Chunk objects")
                delta: dict[str, Any] = {"content": chunk.content} if chunk.content or chunk.finish_reason is None else {}
                delta |= {"reasoning_content": chunk.reasoning} if chunk.reasoning else {}
                if first:
                    delta, first = {"role": "assistant", **delta}, False
                choice = {"index": 0, "delta": delta, "finish_reason": chunk.finish_reason}
                yield event_of({**head, "choices": [choice]})
                if chunk.usage is not None:
                    yield event_of({**head, "choices": [], "usage": _usage(chunk.usage)})
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
        yield DONE


def _parts(candidate: Candidate, request: WireRequest) -> tuple[list[Any], dict[str, Any]]:
    """Return messages and options of a request."""
    if not isinstance(request.body, Mapping):
        raise ProviderError(f"{candidate.name!r} takes only JSON", kind="request", status=400)
    options = {**without_replaced_limits(getattr(candidate, "parameters", {}), request.body), **request.body}
    for name in ("model", "stream", "stream_options"):
        options.pop(name, None)
    messages = options.pop("messages", None)
    if not isinstance(messages, list) or not all(isinstance(message, Mapping) for message in messages):
        message = "messages must be a list of objects with role and content"
        raise ProviderError(message, kind="request", status=400, body=orjson.dumps(error_body("chat", message, "request", 400)))
    return messages, options


def _usage(usage: Usage) -> dict[str, Any]:
    """Return the usage of a chat completion without unknown counts, which are then estimated."""
    unknown = {name for name, count in (("prompt_tokens", usage.prompt_tokens), ("completion_tokens", usage.output_tokens)) if count is None}
    return {name: count for name, count in usage_object("chat", usage).items() if not unknown or name not in (*unknown, "total_tokens")}
