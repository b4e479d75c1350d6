"""A request that no candidate can answer now is a 503 that says when to come again; one that none can ever answer is a 400."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aamc_gateway.server.processes.launch import Launch
from aamc_gateway.testing import stub_candidate
from aamc_models.testing import Script, StubServer, playback

from aamc_sdk.errors import ConflictError, DataError, StoreError
from aamc_sdk.interfaces import EndpointState

from .conftest import Running, running

BREAKER = {"breaker_failures": 1, "breaker_rest_s": 100.0}
ASK = [{"role": "user", "content": "hi"}]
ONE_A_MINUTE = {"requests_per_minute": 1}


def refusal(gateway: Any) -> Any:
    """Ask until the router knows the state of the pool, which is looked at every 10 ms."""
    for _ in range(20):
        answer = gateway.chat()
        if answer.status == 503:
            break
    return answer


def test_candidates_over_the_gateway_s_limits(serve: Callable[..., Any]) -> None:
    gateway = serve({"access": {"models": {"good": ONE_A_MINUTE, "other": ONE_A_MINUTE}}}, good=Script(), other=Script())
    statuses = []
    while 503 not in statuses and len(statuses) < 6:  # a minute may end between two requests
        refused = gateway.chat()
        statuses.append(refused.status)
        gateway.gateway.access._full = (-1e9, {})
    assert statuses[-1] == 503
    assert 1 <= int(refused.headers["retry-after"]) <= 121
    assert "x-should-retry" not in refused.headers
    assert "good" in refused.json["error"]["message"]


@pytest.mark.parametrize("limits", [{"requests_per_minute": 1}, {"tokens_per_minute": 1}])
def test_candidates_over_the_limits_of_their_endpoints(serve: Callable[..., Any], limits: dict[str, int]) -> None:
    barred = {"access": {"models": {"other": {"usd_total": 0}}}}
    gateway = serve(barred, {"good": limits}, good=Script(), other=Script())
    assert gateway.chat().status == 200
    refused = refusal(gateway)
    assert refused.status == 503
    assert 1 <= int(refused.headers["retry-after"]) <= 60


def test_candidates_whose_servers_rest(serve: Callable[..., Any]) -> None:
    barred = {"access": {"models": {"other": {"usd_total": 0}}}}
    gateway = serve(barred, {"good": BREAKER}, good=Script(fault="status", status=500), other=Script())
    assert gateway.chat().status == 502
    refused = refusal(gateway)
    assert refused.status == 503
    assert 1 <= int(refused.headers["retry-after"]) <= 100


@pytest.mark.parametrize("stream", [False, True])
def test_a_named_model_whose_server_rests_says_so_and_until_when(serve: Callable[..., Any], stream: bool) -> None:
    gateway = serve(None, {"good": BREAKER}, good=Script(fault="status", status=500), other=Script())
    assert gateway.chat(model="good", stream=stream).status == 502
    refused = gateway.chat(model="good", stream=stream)
    assert refused.status == 503
    assert re.fullmatch(r"model 'good' is not called for now, after failures; try again in (100|99) s", refused.json["error"]["message"])
    assert 99 <= int(refused.headers["retry-after"]) <= 100


def test_all_servers_rest(serve: Callable[..., Any]) -> None:
    gateway = serve(None, {"good": BREAKER}, good=Script(fault="status", status=500))
    assert gateway.chat().status == 502
    refused = refusal(gateway)
    assert (refused.status, 1 <= int(refused.headers["retry-after"]) <= 100) == (503, True)


def test_a_budget_that_is_never_renewed_gives_no_time(serve: Callable[..., Any]) -> None:
    gateway = serve({"access": {"models": {"good": {"usd_total": 0}}}}, good=Script())
    refused = gateway.chat()
    assert (refused.status, refused.headers["x-should-retry"], refused.headers.get("retry-after")) == (402, "false", None)
    assert refused.json["error"]["message"] == "no candidate can answer now: good has no budget of its own left, or requests in progress reserve it"


def test_used_up_budgets_of_all_candidates_are_refused_as_a_budget(serve: Callable[..., Any]) -> None:
    own = {"good": {"usd_per_day": 0}, "other": {"usd_total": 0}}
    refused = serve({"access": {"models": own}}, good=Script(), other=Script()).chat()
    assert (refused.status, refused.json["error"]["code"]) == (402, "insufficient_quota")
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400
    assert refused.json["error"]["message"].endswith("try again later")


def test_a_budget_and_a_limit_that_passes_are_refused_for_now(serve: Callable[..., Any]) -> None:
    own = {"good": {"usd_total": 0}, "other": ONE_A_MINUTE}
    gateway = serve({"access": {"models": own}}, good=Script(), other=Script())
    for _ in range(3):
        refused = gateway.chat()
        gateway.gateway.access._full = (-1e9, {})
    assert (refused.status, "retry-after" in refused.headers) == (503, True)


def test_what_no_candidate_can_do_stays_a_request_to_change(serve: Callable[..., Any]) -> None:
    gateway = serve(None, {"good": {"context_window": 100, **BREAKER}}, good=Script())
    refused = gateway.chat("word " * 1000)
    assert (refused.status, refused.headers.get("retry-after")) == (400, None)


IMAGE = [{"type": "image_url", "image_url": {"url": "https://images.test/cat.png"}}]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
PNG = {"type": "base64", "media_type": "image/png"}
SMALL = {"context_window": 1000, "abilities": ["vision"]}
ABLE = {"abilities": ["tools", "json"]}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (
            {"messages": [{"role": "user", "content": "word " * 1000}], "tools": [TOOL]},
            "able: its expected cost is above budget_usd (0); small: the request is longer than its context window, it takes no tools",
        ),
        (
            {"messages": [{"role": "user", "content": IMAGE}], "response_format": {"type": "json_object"}},
            "able: it takes no images, its expected cost is above budget_usd (0); small: it has no JSON mode",
        ),
    ],
)
def test_the_refusal_of_a_request_that_no_candidate_can_answer_is_in_its_own_words(serve: Callable[..., Any], fields: Any, why: str) -> None:
    running = serve(None, {"small": {**SMALL, "input_price": 0.0, "output_price": 0.0}, "able": ABLE}, small=Script(), able=Script())
    refused = running.chat(aamc={"budget_usd": 0}, **fields)
    assert refused.status == 400
    assert refused.json["error"]["message"] == f"no model can answer this request ({why}); change the request"


def test_a_request_that_its_model_cannot_answer_is_refused_whatever_others_could(serve: Callable[..., Any]) -> None:
    running = serve(None, {"small": SMALL, "able": ABLE}, small=Script(), able=Script())
    refused = running.chat("word " * 1000, model="small")
    why = "model 'small' cannot answer this request: the request is longer than its context window; change the request, or ask another model"
    assert (refused.status, refused.json["error"]["message"]) == (400, why)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"messages": [{"role": "user", "content": IMAGE}]}, "it takes no images"),
        ({"tools": [TOOL], "response_format": {"type": "json_object"}}, "it has no JSON mode, it takes no tools"),
    ],
)
def test_a_named_model_gets_no_request_that_needs_an_ability_it_lacks(serve: Callable[..., Any], stub: StubServer, fields: Any, why: str) -> None:
    running = serve(None, {"plain": {"abilities": ["code"]}, "able": {"abilities": ["tools", "vision", "json"]}}, plain=Script(), able=Script())
    refused = running.chat(model="plain", **fields)
    message = f"model 'plain' cannot answer this request: {why}; change the request, or ask another model"
    assert (refused.status, refused.json["error"]["message"]) == (400, message)
    assert stub.counts("plain").calls == 0
    assert running.chat(model="able", **fields).status == 200


@pytest.mark.parametrize(
    "part",
    [
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "a" * 20_000}},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": {**PNG, "data": "a" * 20_000}}]},
    ],
)
def test_the_bytes_of_documents_and_images_are_no_words_of_a_context_window(serve: Callable[..., Any], part: Any) -> None:
    running = serve(None, {"small": {"context_window": 1000}}, small=Script())
    call = {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "t", "name": "look", "input": {}}] if part["type"] == "tool_result" else "Hello.",
    }
    body = {"model": "small", "max_tokens": 9, "messages": [call, {"role": "user", "content": [part, {"type": "text", "text": "What is this?"}]}]}
    answer = running.ask("/v1/messages", body)
    assert answer.status == 200, answer.body


@pytest.mark.parametrize("kind", ["audio_url", "video_url"])
def test_the_bytes_of_recordings_are_no_words_of_a_context_window(serve: Callable[..., Any], kind: str) -> None:
    running = serve(None, {"small": {"context_window": 1000}}, small=Script())
    part = {"type": kind, kind: {"url": "data:video/mp4;base64," + "a" * 20_000}}
    answer = running.chat(model="small", messages=[{"role": "user", "content": [part, {"type": "text", "text": "What is this?"}]}])
    assert answer.status == 200, answer.body


def test_an_image_that_a_model_drew_earlier_is_no_text_of_a_context_window(serve: Callable[..., Any]) -> None:
    running = serve(None, {"small": {"context_window": 1000}}, small=Script())
    drawn = {"role": "assistant", "content": "", "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "a" * 20_000}}]}
    ask = {"role": "user", "content": "Make it blue."}
    answer = running.ask("/v1/chat/completions", {"model": "small", "max_tokens": 9, "messages": [ask, drawn, ask]})
    assert answer.status == 200, answer.body
    item = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "a" * 20_000}
    answer = running.ask("/v1/responses", {"model": "small", "max_output_tokens": 9, "input": [ask, item, ask]})
    assert answer.status == 200, answer.body


def test_the_text_of_a_request_with_an_image_counts_for_the_context_window_and_the_budget(serve: Callable[..., Any]) -> None:
    running = serve(None, {"small": {"context_window": 10_000}}, small=Script())
    messages = [{"role": "system", "content": "word " * 10_000}, {"role": "user", "content": IMAGE}]
    refused = running.chat(model="small", messages=messages).json["error"]
    assert ("longer than its context window" in refused["message"], refused["code"]) == (True, "context_length_exceeded")
    refused = running.ask("/v1/messages", {"model": "small", "max_tokens": 9, "messages": [{"role": "user", "content": "word " * 10_000}]})
    assert refused.json["error"]["message"].startswith("prompt is too long: ")  # Claude Code then shortens the conversation
    running = serve(None, {"large": {"input_price": 1.0}}, large=Script())
    assert "above budget_usd" in running.chat(messages=messages, aamc={"budget_usd": 0.012}).json["error"]["message"]
    assert running.chat(messages=messages, aamc={"budget_usd": 0.017}).status == 200


@pytest.mark.parametrize("inputs", [["word " * 100] * 100, [[1] * 300] * 40])
@pytest.mark.parametrize(("path", "field"), [("/v1/embeddings", "input"), ("/v1/completions", "prompt")])
def test_each_of_several_inputs_has_the_whole_context_window(serve: Callable[..., Any], path: str, field: str, inputs: Any) -> None:
    running = serve(None, {"small": {"context_window": 1000, "apis": ["completions", "embeddings"]}}, small=Script())
    assert running.ask(path, {"model": "small", field: inputs}).status == 200
    refused = running.ask(path, {"model": "small", field: [*inputs, "word " * 1000]})
    assert "longer than its context window" in refused.json["error"]["message"]


def test_an_ability_that_no_model_declares_is_left_to_the_server(serve: Callable[..., Any]) -> None:
    running = serve(None, {"plain": {"abilities": ["code"]}}, plain=Script())
    assert running.chat(model="plain", tools=[TOOL]).status == 200


def test_metrics_have_the_status_that_the_client_got(serve: Callable[..., Any]) -> None:
    gateway = serve(None, {"good": {"context_window": 100}}, good=Script())
    assert gateway.chat("word " * 1000).status == 400
    assert (
        gateway.ask("/v1/messages", {"model": "good", "max_tokens": 9, "tool_choice": 5, "messages": [{"role": "user", "content": "x"}]}).status
        == 400
    )
    counted = [line for line in gateway.ask("/metrics", method="GET").body.decode().splitlines() if line.startswith("aamc_requests_total{")]
    assert len(counted) == 2
    assert all('status="400"' in line for line in counted), counted


def test_metrics_count_every_request_that_reaches_a_route_of_the_api(serve: Callable[..., Any]) -> None:
    running = serve(good=Script())
    hello = [{"role": "user", "content": "x"}]
    requests: list[tuple[str, str, Any, str, int]] = [
        ("GET", "/v1/files?model=good", None, "/v1/files", 200),
        ("GET", "/v1/files/file-1?model=nobody", None, "/v1/files/{rest:path}", 404),
        ("POST", "/v1/messages/count_tokens", {"model": "good", "messages": hello}, "/v1/messages/count_tokens", 200),
        ("POST", "/v1/chat/completions", b"no JSON", "/v1/chat/completions", 400),
        ("POST", "/v1/chat/completions", {"model": "good", "messages": hello}, "/v1/chat/completions", 200),
        ("POST", "/v1/feedback", {"decision_id": 5}, "/v1/feedback", 400),
        ("GET", "/v1/models", None, "/v1/models", 200),
        ("GET", "/v1/nowhere", None, "", 404),
    ]
    for method, path, body, _, status in requests:
        assert running.ask(path, body, method=method).status == status, path
    counted = re.findall(r"aamc_requests_total{(.*)} (.*)", running.ask("/metrics", method="GET").body.decode())
    expected = {
        (f'model="{"good" if "chat" in route and status == 200 else ""}",route="{route}",status="{status}"', "1.0")
        for *_, route, status in requests
        if route
    }
    assert expected == set(counted)


@pytest.fixture
def echoing(tmp_path: Path) -> Iterator[Running]:
    """A gateway with the candidate ``plain`` of the provider ``echo``, and ``other``, which has no endpoint."""
    candidates = [{"name": "plain", "endpoint": {"provider": "echo"}}, {"name": "other", "abilities": ["tools"]}]
    file = tmp_path / "serve.yaml"
    file.write_text(yaml.safe_dump({"pool": {"candidates": candidates}}), encoding="utf-8")
    with running(Launch(config=str(file), store=f"sqlite:{tmp_path / 'log.db'}")) as gateway:
        yield gateway


def test_the_state_of_a_provider_without_a_wire_counts_as_it_does_in_routing(echoing: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = echoing.gateway
    upstream = gateway.upstreams["plain"]
    monkeypatch.setattr(gateway.models.provider(upstream.candidate), "state", lambda: EndpointState(available=False, retry_after_s=7.0))
    ready = echoing.ask("/readyz", method="GET")
    assert (ready.status, ready.json["problems"]) == (503, ["no candidate can be called: all circuit breakers are open, after failures"])
    assert upstream.retry_after_s == 7.0


def test_readyz_believes_a_log_that_knows_that_its_server_is_away(echoing: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(echoing.gateway.controller.store), "is_away", True)
    ready = echoing.ask("/readyz", method="GET")
    assert (ready.status, ready.json) == (200, {"status": "degraded", "problems": ["the decision log cannot be reached"]})
    assert echoing.chat(model="plain").status == 200


def test_readyz_believes_in_a_log_that_has_refused_one_entry(echoing: Running) -> None:
    watch = echoing.gateway.log_watch

    async def refuse() -> None:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(ConflictError("two entries of one batch have the same id"))
        await watch.wait(future)

    with pytest.raises(ConflictError):
        asyncio.run(refuse())
    assert echoing.ask("/readyz", method="GET").status == 200
    assert not watch.is_suspect


def test_readyz_is_not_ready_where_a_log_without_a_server_cannot_be_read(echoing: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def position() -> int:
        raise StoreError("disk I/O error")

    monkeypatch.setattr(echoing.gateway.controller.store, "position", position)
    ready = echoing.ask("/readyz", method="GET")
    assert (ready.status, ready.json) == (503, {"status": "not ready", "problems": ["the decision log cannot be reached"]})


def test_readyz_tells_a_router_that_has_stopped_learning_from_a_log_that_cannot_be_written(echoing: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = echoing.gateway.controller.learner
    assert learner is not None
    monkeypatch.setattr(learner, "error", DataError("an entry that it cannot learn"))
    stopped = "the router failed to learn from the log, and has stopped"
    ready = echoing.ask("/readyz", method="GET")
    assert (ready.status, ready.json) == (200, {"status": "degraded", "problems": [stopped]})
    monkeypatch.setattr(echoing.gateway.log_watch, "is_away", lambda: True)
    ready = echoing.ask("/readyz", method="GET")
    assert (ready.status, ready.json) == (503, {"status": "not ready", "problems": ["the decision log cannot be written", stopped]})


def test_a_candidate_without_an_endpoint_is_no_model(echoing: Running) -> None:
    refused = echoing.chat(model="other")
    assert (refused.status, refused.json["error"]["code"]) == (404, "model_not_found")
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    assert echoing.chat(tools=[tool]).status == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"model": "aamc/auto", "input": "x"}),
        ("/v1/embeddings", {"model": "plain", "input": "x"}),
        ("/v1/images/generations", {"model": "plain", "prompt": "x"}),
    ],
)
def test_an_api_that_no_provider_has_is_refused_before_a_decision(echoing: Running, path: str, body: dict[str, str]) -> None:
    refused = echoing.ask(path, body)
    assert refused.status == 400
    assert " no API '" in refused.json["error"]["message"]
    assert len(echoing.log().decisions) == 0


@pytest.fixture
def misspelt(tmp_path: Path, stub: StubServer) -> Iterator[Running]:
    """A gateway with the candidate ``good``, and ``bad``, whose provider does not exist."""
    candidates = [stub_candidate("good", f"{stub.url}/v1"), {"name": "bad", "endpoint": {"provider": "opneai"}}]
    file = tmp_path / "serve.yaml"
    file.write_text(yaml.safe_dump({"pool": {"candidates": candidates}}), encoding="utf-8")
    with running(Launch(config=str(file), store=f"sqlite:{tmp_path / 'log.db'}")) as gateway:
        yield gateway


@pytest.mark.parametrize("stream", [False, True])
def test_a_named_model_whose_provider_cannot_be_made_is_a_failed_call(misspelt: Running, stream: bool) -> None:
    refused = misspelt.chat(model="bad", stream=stream)
    assert refused.status == 502
    assert refused.json["error"]["message"] == "model 'bad' cannot be called: its provider cannot be made"
    (attempt,) = misspelt.log().attempts
    assert "did you mean 'openai'?" in attempt.error


def test_a_provider_that_cannot_be_made_keeps_no_other_model_from_what_passes_through(misspelt: Running) -> None:
    assert misspelt.ask("/v1/files?model=good", method="GET").status == 200
    assert misspelt.ask("/v1/images/generations", {"model": "good", "prompt": "A cat"}).status == 200
    refused = misspelt.ask("/v1/images/generations", {"model": "bad", "prompt": "A cat"})
    assert (refused.status, "its provider cannot be made" in refused.json["error"]["message"]) == (502, True)
    assert misspelt.ask("/v1/files?model=bad", method="GET").status == 400


def test_embeddings_without_a_model_that_has_them_are_refused_beside_a_provider_that_cannot_be_made(tmp_path: Path, stub: StubServer) -> None:
    candidates = [stub_candidate("chat", f"{stub.url}/v1", apis=["chat"]), {"name": "bad", "endpoint": {"provider": "opneai"}}]
    file = tmp_path / "serve.yaml"
    file.write_text(yaml.safe_dump({"pool": {"candidates": candidates}}), encoding="utf-8")
    with running(Launch(config=str(file), store=f"sqlite:{tmp_path / 'log.db'}")) as gateway:
        refused = gateway.ask("/v1/embeddings", {"model": "aamc/auto", "input": "x"})
        assert refused.status == 400, refused.json


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", ["chat", "responses", "completions", "messages"])
def test_clients_of_openais_dialects_get_the_code_of_a_refusal(serve: Callable[..., Any], monkeypatch: Any, dialect: str, stream: bool) -> None:
    told = {"message": "Too long.", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}
    monkeypatch.setattr(playback, "error_answer", lambda *_: {"error": told})
    gateway = serve(good=Script(fault="status", status=400))
    path, question = {
        "chat": ("chat/completions", {"messages": ASK}),
        "responses": ("responses", {"input": "hi"}),
        "completions": ("completions", {"prompt": "hi"}),
        "messages": ("messages", {"messages": ASK, "max_tokens": 9}),
    }[dialect]
    refused = gateway.ask(f"/v1/{path}", {"model": "good", "stream": stream, **question})
    own = {"type": "invalid_request_error", "message": "model 'good' refused the request (400 Bad Request): Too long."}
    assert (refused.status, refused.json["error"]) == (400, own if dialect == "messages" else told)
