"""Providers without a wire, such as ``echo``, as ones whose requests and answers are OpenAI's chat completions."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
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
        choice, usage = await self._answer(candidate, request)
        body = {**chat_head(candidate.name, "chat.completion"), "choices": [{**choice, "logprobs": None}], "usage": usage}
        return WireReply(status=200, headers={"content-type": "application/json"}, body=orjson.dumps(body))

    async def _answer(self, candidate: Candidate, request: WireRequest) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the choice and the usage of the whole answer."""
        messages, options = _parts(candidate, request)
        given = await self._provider.complete(candidate, messages, **options)
        answer = check_type(given, Completion, "complete must return aamc_sdk.Completion")
        choice = {"index": 0, "message": {"role": "assistant", **answer.message}, "finish_reason": answer.finish_reason}
        return choice, _usage(answer.usage, answer.cost_usd)

    async def events(self, candidate: Candidate, request: WireRequest) -> AsyncGenerator[bytes, None]:
        """Yield the events of a streamed chat completion; the answer of a request with tools at once, since a Chunk has no tool calls."""
        head = chat_head(candidate.name, "chat.completion.chunk")
        if isinstance(request.body, Mapping) and request.body.get("tools"):
            choice, usage = await self._answer(candidate, request)
            delta = choice.pop("message")
            if calls := delta.get("tool_calls"):
                delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(calls)]
            yield event_of({**head, "choices": [{**choice, "delta": delta}]})
            yield event_of({**head, "choices": [], "usage": usage})
        else:
            async with aclosing(self._events(candidate, request, head)) as events:
                async for event in events:
                    yield event
        yield DONE

    async def _events(self, candidate: Candidate, request: WireRequest, head: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
        """Yield the events of the provider's chunks."""
        messages, options = _parts(candidate, request)
        first, reported = True, dict[str, Any]()
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
                if found := _usage(chunk.usage, chunk.cost_usd):
                    reported |= found
                    yield event_of({**head, "choices": [], "usage": reported})
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()


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


def _usage(usage: Usage | None, cost_usd: float) -> dict[str, Any]:
    """Return the usage of a chat completion with its cost, without what is unknown, which is then estimated."""
    found = {} if math.isnan(cost_usd) else {"cost": cost_usd}
    if usage is None:
        return found
    unknown = {name for name, count in (("prompt_tokens", usage.prompt_tokens), ("completion_tokens", usage.output_tokens)) if count is None}
    return {name: count for name, count in usage_object("chat", usage).items() if not unknown or name not in (*unknown, "total_tokens")} | found
