"""The exact cache, through a real gateway and the official clients."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import attrs
import httpx
import pytest
from aamc_gateway.access.callers import Caller
from aamc_gateway.access.settings import CacheSettings
from aamc_gateway.forwarding.answers.cache import AnswerCache, CachedAnswer
from aamc_gateway.requests.client_request import ClientRequest
from aamc_gateway.testing import GatewayProcess, stub_candidate
from aamc_models.testing import Script, StubServer
from anthropic import Anthropic
from forked_gateway import ForkedGateway
from openai import OpenAI

from aamc_sdk.types import ModelSpec, Preference, Prices, Query

MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def stub() -> Iterator[StubServer]:
    with StubServer() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(stub: StubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    candidates = [stub_candidate("m", f"{stub.url}/v1"), stub_candidate("cut", f"{stub.url}/v1")]
    with ForkedGateway(tmp_path_factory.mktemp("cache"), candidates, settings={"cache": {"enabled": True}}) as running:
        yield running


SEEDS = itertools.count(0, 1000)


@pytest.fixture
def seed() -> int:
    """A number that makes the requests of a test its own, also when the test runs again."""
    return next(SEEDS)


def ask(gateway: GatewayProcess, seed: int, path: str = "chat/completions", **fields: Any) -> httpx.Response:
    body = {"model": "m", "messages": MESSAGES, "max_tokens": 50, "temperature": 0, "seed": seed, **fields}
    return httpx.post(f"{gateway.url}/v1/{path}", json={name: value for name, value in body.items() if value is not None}, timeout=60)


def repeated(gateway: GatewayProcess, seed: int, **fields: Any) -> httpx.Response:
    """Ask until the answer has been kept, which happens just after it was sent."""
    first = ask(gateway, seed, **fields)
    assert first.status_code == 200
    assert "x-aamc-cache" not in first.headers
    end = time.monotonic() + 60
    while (again := ask(gateway, seed, **fields)).headers.get("x-aamc-cache") != "hit":
        assert time.monotonic() < end
    return again


def test_the_same_request_gets_the_same_answer_at_no_cost(gateway: GatewayProcess, seed: int, stub: StubServer) -> None:
    first = ask(gateway, seed)
    again = repeated(gateway, seed + 1)
    assert again.json()["choices"] == first.json()["choices"]
    assert again.headers["x-aamc-cost-usd"] == "0"
    assert again.headers["x-aamc-model"] == "m"
    calls = len(stub.requests)
    assert ask(gateway, seed + 1, user="somebody else").headers["x-aamc-cache"] == "hit"
    assert len(stub.requests) == calls


def test_feedback_on_a_hit_is_for_the_decision_that_gave_the_answer(gateway: GatewayProcess, seed: int) -> None:
    made, end = set(), time.monotonic() + 60
    while "x-aamc-cache" not in (headers := ask(gateway, seed, user="anna").headers):
        made.add(headers["x-aamc-decision-id"])
        assert time.monotonic() < end
    assert headers["x-aamc-decision-id"] in made
    judged = httpx.post(f"{gateway.url}/v1/feedback", json={"decision_id": headers["x-aamc-decision-id"], "quality": 1.0}, timeout=60)
    assert (judged.status_code, judged.json()["new"]) == (200, True)


def test_another_user_s_hit_has_no_decision_of_theirs(gateway: GatewayProcess, seed: int) -> None:
    repeated(gateway, seed, user="anna")
    hit = ask(gateway, seed, user="ben").headers
    assert hit["x-aamc-cache"] == "hit"
    assert "x-aamc-decision-id" not in hit
    _, chunks, headers = openai_stream(gateway, seed, user="ben")
    assert (headers["x-aamc-cache"], chunks[-1].aamc["decision_id"]) == ("hit", None)


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": None},
        {"temperature": 0.7},
        {"n": 2},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]},
        {"web_search_options": {"search_context_size": "low"}},
    ],
)
def test_what_may_differ_or_acts_is_never_cached(gateway: GatewayProcess, seed: int, fields: dict[str, Any]) -> None:
    for _ in range(3):
        assert "x-aamc-cache" not in ask(gateway, seed, **fields).headers


def test_another_request_has_another_answer(gateway: GatewayProcess, seed: int) -> None:
    repeated(gateway, seed)
    for fields in ({"max_tokens": 51}, {"model": "aamc/auto"}, {"stop": ["x"]}, {"messages": [*MESSAGES, *MESSAGES]}):
        assert "x-aamc-cache" not in ask(gateway, seed, **fields).headers


def key_of(pool: Sequence[ModelSpec] = (), **changes: Any) -> str | None:
    """Return the key of a request with some changes."""
    asked = ClientRequest(
        dialect="chat",
        api="chat",
        body={"messages": MESSAGES, "temperature": 0},
        body_bytes=100,
        caller=Caller(),
        mode="route",
        model="aamc/auto",
        query=Query("hi"),
    )
    cache = AnswerCache(CacheSettings(enabled=True), cast("Any", None), cast("Any", None), pool)
    return cache.key(attrs.evolve(asked, **changes))


def test_whatever_may_change_the_answer_changes_the_key() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"preference": Preference(0.1, 0.8, 0.1)},
        {"quality_floor": 0.5},
        {"budget_usd": 0.5},
        {"caller": Caller(tenant="acme")},
        {"caller": Caller(models=frozenset({"m"}))},
        {"headers": {"anthropic-beta": "x"}},
        {"pool": [ModelSpec("m")]},
        {"pool": [ModelSpec("m", parameters={"temperature": 0.0})]},
        {"pool": [ModelSpec("m", endpoint={"provider": "echo"})]},
        *({"api": "embeddings", "pool": [ModelSpec("m", prices=Prices(price, 0.0))]} for price in (1.0, 2.0)),  # the cheapest is asked
    ]
    assert len({key_of(**changed) for changed in changes} - {None}) == len(changes)
    for same in ({"caller": Caller(key_id="k")}, {"headers": {"traceparent": "x"}}, {"query": Query("hi", user="anna")}):
        assert key_of(**same) == key_of()


@pytest.mark.parametrize("changes", [{"body_bytes": 1_000_000}, {"foreign_state": frozenset({"thinking"})}, {"mode": "arena"}])
def test_a_request_with_state_of_a_model_or_of_great_length_has_no_key(changes: dict[str, Any]) -> None:
    assert key_of(**changes) is None


def openai_stream(gateway: GatewayProcess, seed: int, **fields: Any) -> tuple[str, list[Any], httpx.Headers]:
    client = OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)
    options: dict[str, Any] = {"model": "m", "messages": MESSAGES, "max_tokens": 50, "temperature": 0, "seed": seed, "stream": True, **fields}
    with client.chat.completions.with_streaming_response.create(**options) as response:
        chunks = list(response.parse())
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices), chunks, response.headers


@pytest.mark.parametrize("usage", [False, True])
def test_a_streamed_request_gets_a_whole_answer_as_a_stream(gateway: GatewayProcess, seed: int, usage: bool) -> None:
    whole = repeated(gateway, seed).json()
    options = {"stream_options": {"include_usage": True}} if usage else {}
    text, chunks, headers = openai_stream(gateway, seed, **options)
    assert headers["x-aamc-cache"] == "hit"
    assert text == whole["choices"][0]["message"]["content"]
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].aamc["cost_usd"] == 0
    assert (chunks[-1].usage is not None) == usage


def test_a_stream_is_kept_as_it_was(gateway: GatewayProcess, seed: int) -> None:
    first, chunks, headers = openai_stream(gateway, seed)
    assert "x-aamc-cache" not in headers
    assert chunks[-1].aamc["cost_usd"] > 0
    end = time.monotonic() + 60
    while True:
        text, again, headers = openai_stream(gateway, seed)
        if headers.get("x-aamc-cache") == "hit":
            break
        assert time.monotonic() < end
    assert text == first
    assert len(again) == len(chunks)
    made = chunks[-1].aamc["decision_id"]
    assert again[-1].aamc == {"decision_id": made, "model": "m", "cost_usd": 0.0, "cost_source": "priced", "cache": "hit"}


def test_anthropic_s_client_reads_a_cached_answer_as_a_stream(gateway: GatewayProcess, seed: int) -> None:
    client = Anthropic(base_url=gateway.url, api_key="none", max_retries=0)
    options: dict[str, Any] = {"model": "aamc/auto", "messages": MESSAGES, "max_tokens": seed % 1000 + 1000, "extra_body": {"temperature": 0}}
    whole = client.messages.create(**options)
    end = time.monotonic() + 60
    while client.messages.with_raw_response.create(**options).headers.get("x-aamc-cache") != "hit":
        assert time.monotonic() < end
    with client.messages.stream(**options) as stream:
        begun = next(event.message.usage for event in stream if event.type == "message_start").model_copy()
        final = stream.get_final_message()
        assert stream.response.headers["x-aamc-cache"] == "hit"
    assert (begun.input_tokens, begun.output_tokens) == (whole.usage.input_tokens, 0)
    assert final.content[0].text == whole.content[0].text  # type: ignore[union-attr]
    assert (final.model, final.stop_reason) == (whole.model, "end_turn") == ("aamc/auto", "end_turn")
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_the_responses_api_reads_a_cached_answer_as_a_stream(gateway: GatewayProcess, seed: int) -> None:
    client = OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)
    options: dict[str, Any] = {"model": "m", "input": f"Hello {seed}", "temperature": 0}
    whole = client.responses.create(**options)
    end = time.monotonic() + 60
    while client.responses.with_raw_response.create(**options).headers.get("x-aamc-cache") != "hit":
        assert time.monotonic() < end
    events = list(client.responses.create(**options, stream=True))
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == whole.output_text


def test_a_cut_answer_is_not_kept(gateway: GatewayProcess, seed: int, stub: StubServer) -> None:
    stub.scripts["cut"] = Script(fault="cut")
    body = {"model": "cut", "messages": MESSAGES, "max_tokens": 50, "temperature": 0, "seed": seed, "stream": True}
    for _ in range(3):
        answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=60)
        assert "x-aamc-cache" not in answer.headers
        assert '"error"' in answer.text


def test_a_hit_is_counted(gateway: GatewayProcess, seed: int) -> None:
    def hits() -> float:
        text = httpx.get(f"{gateway.url}/metrics").text
        return float(next(line for line in text.splitlines() if line.startswith("aamc_cache_hits_total")).split()[1])

    before = hits()
    repeated(gateway, seed)
    assert hits() == before + 1


def test_an_answer_that_a_budget_limited_is_not_given_to_others(tmp_path: Path) -> None:
    settings = {"cache": {"enabled": True}, "access": {"users": {"anna": {"usd_total": 100.0}}}, "limits": {"output_tokens": 4}}
    with StubServer() as stub, ForkedGateway(tmp_path, [stub_candidate("m", f"{stub.url}/v1")], settings=settings) as gateway:
        body = {"model": "m", "temperature": 0, "messages": [{"role": "user", "content": "Hello"}]}
        for user in ("anna", "ben"):
            headers = httpx.post(f"{gateway.url}/v1/chat/completions", json={**body, "user": user}, timeout=60).headers
            assert ("x-aamc-max-tokens" in headers, "x-aamc-cache" in headers) == (user == "anna", False)


def test_an_answer_beyond_the_maximum_size_is_not_kept(tmp_path: Path) -> None:
    with StubServer() as stub:
        candidates = [stub_candidate(name, f"{stub.url}/v1") for name in ("m", "long")]
        stub.scripts["long"] = Script(text="x" * 4000)
        with ForkedGateway(tmp_path, candidates, settings={"cache": {"enabled": True, "max_mb": 0.03}}) as gateway:
            for _ in range(3):
                assert "x-aamc-cache" not in ask(gateway, 0, model="long").headers
            repeated(gateway, 0)


@pytest.mark.parametrize(
    ("choice", "message"), [({}, {}), ({"logprobs": {"content": []}}, {}), ({}, {"refusal": "no"}), ({}, {"reasoning_content": "hm"})]
)
def test_only_an_answer_of_text_alone_becomes_a_stream(choice: dict[str, Any], message: dict[str, Any]) -> None:
    whole = {"choices": [{"index": 0, "finish_reason": "stop", **choice, "message": {"role": "assistant", "content": "a", **message}}]}
    answer = CachedAnswer("m", 0.1, None, None, json.dumps(whole).encode())

    async def get(place: str) -> bytes | None:
        return answer.to_bytes() if place == "key/whole" else None

    shared, request = SimpleNamespace(get=get), SimpleNamespace(stream=True, body={}, dialect="chat", query=Query("hi"))
    cache = AnswerCache(CacheSettings(enabled=True), cast("Any", shared), cast("Any", None), ())
    found = asyncio.run(cache.find("key", cast("Any", request)))
    assert (found is None) == bool(choice or message)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("value", [b"", b"\0" * 40, b'["m"]\n{}', b'"m"\n{}', b"3\n{}", b'["m", 0, null, null]\ncut o', b'["m", 0, null, null]\n[]'])
def test_a_damaged_answer_is_not_found(value: bytes, stream: bool) -> None:
    async def get(place: str) -> bytes | None:
        return None if place == "key/events" else value

    shared, request = SimpleNamespace(get=get), SimpleNamespace(stream=stream, body={}, dialect="openai", query=Query("hi"))
    cache = AnswerCache(CacheSettings(enabled=True), cast("Any", shared), cast("Any", None), ())
    found = asyncio.run(cache.find("key", cast("Any", request)))
    assert found is None or (not stream and value.startswith(b'["m", 0'))  # only its client reads the rest
