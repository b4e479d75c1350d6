"""A provider that knows only messages and completions, behind the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aamc_gateway.forwarding.calls.plain_provider import PlainWire

from aamc_sdk import Completion, ModelSpec, Provider
from aamc_sdk.interfaces import Chunk, WireRequest

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


def test_a_requests_limit_replaces_the_candidates() -> None:
    provider = Scripted(Completion(message={"content": "hello"}))
    request = WireRequest(api="chat", body={**REQUEST.body, "max_completion_tokens": 50})
    asyncio.run(PlainWire(provider).send(ModelSpec("a", parameters={"max_tokens": 4000, "seed": 1}), request))
    assert provider.options == {"max_completion_tokens": 50, "seed": 1}
