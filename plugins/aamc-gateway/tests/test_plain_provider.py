"""A provider that knows only messages and completions, behind the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aamc_gateway.forwarding.calls.plain_provider import PlainWire

from aamc_sdk import Completion, ModelSpec, Provider
from aamc_sdk.interfaces import Chunk, Usage, WireRequest

REQUEST = WireRequest(api="chat", body={"messages": [{"role": "user", "content": "hi"}]})


class Scripted(Provider):
    def __init__(self, answer: Any, *chunks: Any) -> None:
        self._answer, self._chunks = answer, chunks

    async def complete(self, *arguments: Any, **options: Any) -> Any:
        self.options = options
        return self._answer

    async def stream(self, *arguments: Any, **options: Any) -> AsyncIterator[Chunk]:
        for chunk in self._chunks:
            yield chunk


async def sent(wire: PlainWire) -> Any:
    return await wire.send(ModelSpec("a"), REQUEST)


async def streamed(wire: PlainWire) -> list[bytes]:
    return [event async for event in wire.events(ModelSpec("a"), REQUEST)]


def test_an_answer_of_another_type_is_described() -> None:
    with pytest.raises(TypeError, match=r"complete must return aamc_sdk.Completion, not 'hello'"):
        asyncio.run(sent(PlainWire(Scripted("hello"))))
    with pytest.raises(TypeError, match=r"stream must yield aamc_sdk.interfaces.Chunk objects, not None"):
        asyncio.run(streamed(PlainWire(Scripted(None, None))))


def test_a_message_without_a_role_is_the_assistants() -> None:
    reply = asyncio.run(sent(PlainWire(Scripted(Completion(message={"content": "hello"})))))
    assert b'"message":{"role":"assistant","content":"hello"}' in reply.body


def test_reasoning_is_passed_on() -> None:
    first, *_ = asyncio.run(streamed(PlainWire(Scripted(None, Chunk(reasoning="hm")))))
    assert b'"delta":{"role":"assistant","content":"","reasoning_content":"hm"}' in first


def test_a_reported_cost_is_that_of_the_stream() -> None:
    chunks = (Chunk(content="a", cost_usd=0.25), Chunk(content="b", usage=Usage(prompt_tokens=3, output_tokens=2), finish_reason="stop"))
    events = asyncio.run(streamed(PlainWire(Scripted(None, *chunks, Chunk(cost_usd=0.5)))))
    usages = [usage for event in events if b'"usage"' in event for usage in [orjson.loads(event[6:])["usage"]]]
    assert [usage.get("cost") for usage in usages] == [0.25, 0.25, 0.5]
    assert (usages[-1]["prompt_tokens"], usages[-1]["completion_tokens"]) == (3, 2)


def test_the_stream_of_a_request_with_tools_has_the_tool_calls_of_the_whole_answer() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer = Completion(message={"content": None, "tool_calls": [call, {**call, "id": "c2"}]}, finish_reason="tool_calls", cost_usd=0.5)
    request = WireRequest(api="chat", body={**REQUEST.body, "tools": [{"type": "function", "function": {"name": "f"}}]})

    async def events() -> list[Any]:
        return [event async for event in PlainWire(Scripted(answer)).events(ModelSpec("a"), request)]

    first, usage, end = asyncio.run(events())
    (choice,) = orjson.loads(first[6:])["choices"]
    delta = {"role": "assistant", "content": None, "tool_calls": [{"index": 0, **call}, {"index": 1, **call, "id": "c2"}]}
    assert choice == {"index": 0, "delta": delta, "finish_reason": "tool_calls"}
    assert (orjson.loads(usage[6:])["usage"]["cost"], end) == (0.5, b"data: [DONE]\n\n")


def test_a_requests_limit_replaces_the_candidates() -> None:
    provider = Scripted(Completion(message={"content": "hello"}))
    request = WireRequest(api="chat", body={**REQUEST.body, "max_completion_tokens": 50})
    asyncio.run(PlainWire(provider).send(ModelSpec("a", parameters={"max_tokens": 4000, "seed": 1}), request))
    assert provider.options == {"max_completion_tokens": 50, "seed": 1}
