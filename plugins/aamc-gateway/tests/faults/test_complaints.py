"""What users of other gateways complain of, one test each."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import aiohttp
import pytest
from aamc_models.testing import Script, StubServer
from faults.conftest import BRISK, ask_all, chat, entries
from faults.test_clients_that_leave import resident_mb

TOOLS = [{"name": "weather", "description": "The weather of a city.", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}]
THINKING = {"type": "enabled", "budget_tokens": 1024}


async def message(session: aiohttp.ClientSession, url: str, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, Any, str]:
    async with session.post(f"{url}/v1/messages", json=body, headers=headers) as answer:
        return answer.status, await answer.json(), answer.headers.get("x-aamc-model", "")


def cost_of(gateway: Any) -> float:
    return sum(attempt["cost_usd"] for attempt in entries(gateway, "attempt"))


def test_streamed_spend_is_not_counted_as_0(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(prompt_tokens=1000, output_tokens=100)
    gateway = serve({"good": {"input_price": 1.0, "output_price": 2.0}})
    ask_all(gateway.url, [chat(stream=True)] * 5)
    assert cost_of(gateway) == pytest.approx(5 * (1000 + 2 * 100) / 1e6)


def test_usage_in_a_last_chunk_with_choices_is_not_lost(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(prompt_tokens=1000, output_tokens=100, usage="with_choices")
    gateway = serve({"good": {"input_price": 1.0, "output_price": 2.0}})
    ((_, _, content),) = ask_all(gateway.url, [chat(stream=True)])
    assert b'"finish_reason":"stop"' in content
    assert cost_of(gateway) == pytest.approx((1000 + 2 * 100) / 1e6)


@pytest.mark.parametrize("hour", [0, 400], ids=["five minutes", "an hour"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_cache_writes_are_billed_at_their_price(serve: Any, stub: StubServer, streamed: bool, hour: int) -> None:
    stub.scripts["good"] = Script(prompt_tokens=1000, cached_tokens=300, cache_write_tokens=600, cache_write_1h_tokens=hour, output_tokens=100)
    gateway = serve({"good": {"provider": "anthropic", "base_url": stub.url, "input_price": 1.0, "output_price": 2.0}})

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            body = {**chat(stream=streamed), "max_tokens": 500}
            async with session.post(f"{gateway.url}/v1/messages", json=body) as answer:
                assert answer.status == 200
                await answer.read()

    asyncio.run(main())
    assert cost_of(gateway) == pytest.approx((100 + 300 * 0.1 + (600 - hour) * 1.25 + hour * 2 + 2 * 100) / 1e6)


def test_parallel_requests_do_not_race_past_a_budget(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(output_tokens=100, prompt_tokens=10, first_ms=100)
    gateway = serve({"good": {"input_price": 0.0, "output_price": 10_000.0}}, settings={"access": {"limits": {"usd_total": 3.0}}})
    ask_all(gateway.url, [chat(max_tokens=100, stream=number % 2 == 0) for number in range(20)])
    assert stub.counts("good").output_tokens / 100 <= 3


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_thinking_is_not_replayed_to_another_model(serve: Any, stub: StubServer, streamed: bool) -> None:
    """Two-turn tool loops with thinking, then a new question, over two strict models between which the router draws."""
    strict = Script(thinking="Let me think.", strict=True)
    stub.scripts.update(alpha=strict, beta=strict)
    models = {name: {"provider": "anthropic", "base_url": stub.url} for name in ("alpha", "beta")}
    gateway = serve(models, router="random")

    async def main() -> list[tuple[int, list[str]]]:
        async with aiohttp.ClientSession() as session:
            return list(await asyncio.gather(*(tool_loop(session, gateway.url, str(number), streamed) for number in range(20))))

    loops = asyncio.run(main())
    assert {status for status, _ in loops} == {200}
    assert stub.counts("alpha").refused == stub.counts("beta").refused == 0
    assert all(models[0] == models[1] for _, models in loops), "a model changed in the middle of tool calls"
    assert len({model for _, models in loops for model in models}) == 2


async def tool_loop(session: aiohttp.ClientSession, url: str, name: str, streamed: bool) -> tuple[int, list[str]]:
    """Ask, answer the tool call, and ask again; return the last status that was not 200, else 200, and each turn's model."""
    headers = {"x-aamc-session": f"loop-{name}"}
    messages: list[dict[str, Any]] = [{"role": "user", "content": f"How is the weather in town {name}?"}]
    models = []
    for turn in range(3):
        body = {"model": "aamc/auto", "max_tokens": 2000, "thinking": THINKING, "tools": TOOLS, "messages": messages, "stream": streamed}
        async with session.post(f"{url}/v1/messages", json=body, headers=headers) as answer:
            raw = await answer.read()
            if answer.status != 200:
                return answer.status, models
            models.append(answer.headers["x-aamc-model"])
        content = blocks_of(raw) if streamed else json.loads(raw)["content"]
        messages.append({"role": "assistant", "content": content})
        calls = [block["id"] for block in content if block["type"] == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": call, "content": "It rains."} for call in calls]
        messages.append({"role": "user", "content": results or f"And on day {turn}?"})
    return 200, models


def blocks_of(stream: bytes) -> list[dict[str, Any]]:
    """Put together the content blocks of a stream, as a client does."""
    blocks: list[dict[str, Any]] = []
    for line in stream.decode().splitlines():
        event = json.loads(line[6:]) if line.startswith("data: {") else {}
        if event.get("type") == "content_block_start":
            blocks.append({**event["content_block"], "partial": ""})
        if event.get("type") == "content_block_delta":
            delta, block = event["delta"], blocks[-1]
            for name in ("text", "thinking", "signature"):
                if name in delta:
                    block[name] = block.get(name, "") + delta[name]
            block["partial"] += delta.get("partial_json", "")
    for block in blocks:
        partial = block.pop("partial")
        if block["type"] == "tool_use":
            block["input"] = json.loads(partial or "{}")
    return blocks


def test_thinking_of_a_model_that_went_down_is_taken_out_for_the_next(serve: Any, stub: StubServer) -> None:
    strict = Script(thinking="Let me think.", strict=True)
    stub.scripts.update(alpha=strict, beta=strict)
    gateway = serve({name: {"provider": "anthropic", "base_url": stub.url} for name in ("alpha", "beta")})

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            body: dict[str, Any] = {"model": "aamc/auto", "max_tokens": 2000, "thinking": THINKING, **chat()}
            status, first, model = await message(session, gateway.url, body, {})
            assert (status, model) == (200, "alpha")
            stub.scripts["alpha"] = Script(fault="status", status=500)
            body["messages"] += [{"role": "assistant", "content": first["content"]}, {"role": "user", "content": "And of Spain?"}]
            status, second, model = await message(session, gateway.url, body, {})
            assert (status, model) == (200, "beta"), second

    asyncio.run(main())
    assert stub.counts("beta").refused == 0
    kept = [block["type"] for block in stub.requests[-1].body["messages"][1]["content"]]
    assert kept == ["text"]


def test_reasoning_in_plain_text_stays_with_its_model(serve: Any, stub: StubServer) -> None:
    """Some models want it back, and servers of others refuse it."""
    gateway = serve({"alpha": {}, "beta": {}})
    body = chat()
    body["messages"] += [{"role": "assistant", "content": "Paris.", "reasoning_content": "Hm."}, {"role": "user", "content": "And of Spain?"}]
    ask_all(gateway.url, [chat()])
    for model, fields in (("alpha", {"role", "content", "reasoning_content"}), ("beta", {"role", "content"})):
        ((status, headers, _),) = ask_all(gateway.url, [body])
        assert (status, headers["x-aamc-model"]) == (200, model)
        assert fields == stub.requests[-1].body["messages"][1].keys()
        stub.scripts["alpha"] = Script(fault="status", status=500)
    body["messages"] += [{"role": "assistant", "content": "Madrid.", "reasoning_content": "Hm."}, {"role": "user", "content": "And of Italy?"}]
    ask_all(gateway.url, [body])
    assert "reasoning_content" not in stub.requests[-1].body["messages"][1]


def test_memory_does_not_grow(serve: Any, stub: StubServer) -> None:
    """3,000 requests here; ``benchmarks/gateway_soak.py`` makes 100,000."""
    gateway = serve({"good": {}}, router="thompson")

    def thousand() -> float:
        for at in range(0, 1000, 50):
            bodies = [chat(text=f"Question {at + i}", stream=i % 2 == 0, user=f"user {at + i}") for i in range(50)]
            assert {status for status, _, _ in ask_all(gateway.url, bodies)} == {200}
        return resident_mb(gateway.process.pid)

    thousand()
    after_warm_up = thousand()
    assert thousand() - after_warm_up < 8


@pytest.mark.parametrize("fault", ["error_event", "hang_stream", "bad_json"])
def test_a_stream_falls_back_after_its_first_event(serve: Any, stub: StubServer, fault: str) -> None:
    stub.scripts["broken"] = Script(fault=fault)
    gateway = serve({"broken": BRISK, "backup": {}})
    ((status, headers, content),) = ask_all(gateway.url, [chat(stream=True)])
    assert (status, headers["x-aamc-model"]) == (200, "backup")
    assert content.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(("path", "api"), [("chat/completions", "chat"), ("messages", "messages"), ("responses", "responses")])
@pytest.mark.parametrize("fault", ["cut", "half"])
def test_a_cut_stream_does_not_look_finished(serve: Any, stub: StubServer, fault: str, path: str, api: str) -> None:
    stub.scripts["broken"] = Script(fault=fault)
    gateway = serve({"broken": {"apis": ["chat", "responses"]}, "backup": {}})
    body = chat(stream=True, max_tokens=100)
    if api == "responses":
        body = {"model": "aamc/auto", "stream": True, "input": "Hello"}

    async def main() -> bytes:
        async with aiohttp.ClientSession() as session, session.post(f"{gateway.url}/v1/{path}", json=body) as answer:
            return await answer.read()

    content = asyncio.run(main())
    *_, last = [line for line in content.decode().splitlines() if line.startswith("data: ")]
    assert "error" in json.loads(last[6:])
    for finish in (b"message_stop", b'"finish_reason":"', b"response.completed", b"[DONE]"):
        assert finish not in content


def test_a_stream_with_its_last_event_but_no_finish_does_not_look_finished(serve: Any) -> None:
    """Clients stop reading at ``[DONE]``, so an error after it would not be seen."""

    class Unfinished(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            chunk = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Par"}, "finish_reason": None}]}
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n")

        def log_message(self, *args: Any) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Unfinished) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        gateway = serve({"broken": {"base_url": f"http://127.0.0.1:{server.server_port}/v1"}})
        ((status, _, content),) = ask_all(gateway.url, [chat(stream=True)])
        server.shutdown()
    assert status == 200
    *_, last = [line for line in content.decode().splitlines() if line.startswith("data: ")]
    assert "its stream ended before the answer did" in json.loads(last[6:])["error"]["message"]
    assert b"Par" in content
    assert b"[DONE]" not in content


@pytest.mark.parametrize("model", ["aamc/auto", "aamc/auto?preference=0.9,0.08,0.02", "aamc/auto?preference=0.2,0.7,0.1"])
def test_a_conversation_does_not_bounce_between_models(serve: Any, stub: StubServer, model: str) -> None:
    """The models are equally good, and there is no feedback; a switch would lose the cached prompt of a long conversation."""
    stub.scripts["good"] = stub.scripts["other"] = Script(cached_tokens=0)
    gateway = serve(
        {"good": {"input_price": 5.0, "output_price": 10.0}, "other": {"input_price": 5.0, "output_price": 10.0}},
        router="thompson",
    )

    async def talk(session: aiohttp.ClientSession, name: int) -> list[str]:
        messages = [{"role": "user", "content": f"Conversation {name}. " + "Some context. " * 2000}]
        models = []
        for turn in range(6):
            body = {"model": model, "messages": messages}
            async with session.post(f"{gateway.url}/v1/chat/completions", json=body, headers={"x-aamc-session": f"talk {name}"}) as answer:
                assert answer.status == 200
                said = (await answer.json())["choices"][0]["message"]["content"]
                models.append(answer.headers["x-aamc-model"])
            messages += [{"role": "assistant", "content": said}, {"role": "user", "content": f"Go on with point {turn}."}]
        return models

    async def main() -> list[list[str]]:
        async with aiohttp.ClientSession() as session:
            return [await talk(session, name) for name in range(12)]

    talks = asyncio.run(main())
    switches = sum(a != b for models in talks for a, b in itertools.pairwise(models))
    assert switches <= 12, f"{switches} switches in 60 further turns, of which a coin makes 30: {talks}"
    assert len({models[0] for models in talks}) == 2, "all conversations go to one model"


def test_text_of_any_split_arrives_whole(serve: Any, stub: StubServer) -> None:
    """An upstream may cut its events anywhere between packets, and a letter in the middle."""
    text = "".join(random.Random(3).choices("añ漢🦊 ", k=2000))
    stub.scripts["good"] = Script(text=text, chunks=701)
    gateway = serve({"good": {}})
    ((_, _, content),) = ask_all(gateway.url, [chat(stream=True)])
    events = [json.loads(line[6:]) for line in content.decode().splitlines() if line.startswith("data: {")]
    assert "".join(event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"]) == text
