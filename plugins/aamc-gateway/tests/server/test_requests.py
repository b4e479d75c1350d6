"""Requests: routing by model name, header and body; what is logged and told."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import math
import threading
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock
from urllib.parse import unquote

import pytest
import yaml
from aamc_gateway.access.callers import Caller
from aamc_gateway.access.settings import Limits
from aamc_gateway.forwarding.answers.whole_answers import send_reply
from aamc_gateway.forwarding.calls.upstreams import Upstream
from aamc_gateway.observe.request_figures import RequestFigures
from aamc_models.testing import Script, StubServer
from server.conftest import key

from aamc_sdk.interfaces import WireReply


def test_a_routed_answer_says_what_happened_and_is_in_the_log(serve: Any) -> None:
    running = serve(good=Script(prompt_tokens=100, output_tokens=10))
    answer = running.chat()
    log = running.log()
    (decision,), (attempt,) = log.decisions, log.attempts
    assert answer.status == 200
    assert answer.headers["x-aamc-decision-id"] == decision.id == attempt.decision_id
    assert (answer.headers["x-aamc-model"], answer.headers["x-aamc-propensity"]) == ("good", "1")
    assert float(answer.headers["x-aamc-cost-usd"]) == pytest.approx((100 * 1 + 10 * 2) / 1e6)
    assert attempt.cost_usd == pytest.approx(float(answer.headers["x-aamc-cost-usd"]))
    assert (attempt.cost_source, attempt.prompt_tokens, attempt.output_tokens) == ("priced", 100, 10)


@pytest.mark.parametrize("stream", [False, True])
def test_a_concrete_name_goes_straight_to_its_model(serve: Any, stream: bool) -> None:
    running = serve(one=Script(), two=Script())
    for name in ("one", "two"):
        assert running.chat(model=name, stream=stream).headers["x-aamc-model"] == name


@pytest.mark.parametrize(
    ("model", "headers", "body", "weights"),
    [
        ("aamc/auto?preference=0.7,0.2,0.1", {}, {}, (0.7, 0.2, 0.1)),
        ("aamc/auto?preference=0.7,0.2,0.1", {"x_aamc_preference": "0.5,0.5,0"}, {}, (0.5, 0.5, 0.0)),
        ("aamc/auto", {"x_aamc_preference": "0.5,0.5,0"}, {"preference": [1, 0, 0]}, (1.0, 0.0, 0.0)),
        ("aamc/auto", {}, {"preference": {"cost": 1}}, (0.0, 1.0, 0.0)),
    ],
)
def test_a_preference_comes_with_the_name_the_header_or_the_body(serve: Any, model: str, headers: Any, body: Any, weights: Any) -> None:
    running = serve(good=Script())
    assert running.chat(model=model, headers=headers, **({"aamc": body} if body else {})).status == 200
    (decision,) = running.log().decisions
    assert (decision.preference.quality, decision.preference.cost, decision.preference.latency) == pytest.approx(weights)


def test_the_gateways_own_fields_do_not_reach_the_model_and_unknown_ones_do(serve: Any, stub: StubServer) -> None:
    serve(good=Script()).chat(aamc={"user": "anna", "session": "s1"}, own_field={"a": 1})
    (received,) = stub.requests
    assert "aamc" not in received.body
    assert received.body["own_field"] == {"a": 1}
    assert received.body["model"] == "good"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "must be a JSON object such as"),
        (b" null", "not null"),
        (b'{"model": "god", "messages": [{"role": "user", "content": "hi"}]}', "did you mean 'good'"),
        (b'{"model": "aamc/auto", "aamc": {"preferense": 1}, "messages": [{"role": "user", "content": "hi"}]}', "did you mean 'preference'"),
        (b'{"model": "aamc/auto", "aamc": {"quality_floor": 2}, "messages": [{"role": "user", "content": "hi"}]}', "from 0 to 1"),
        (b'{"model": "aamc/auto"}', "no messages"),
        (b'{"model": "aamc/auto", "messages": [{"role": "user"}]}', "messages[0].content must be a text or a list of parts"),
        (b'{"model": "aamc/auto", "messages": [{"role": "user", "content": null}]}', "messages[0].content must be a text or a list of parts"),
        (b'{"model": "aamc/auto", "stream": 1, "messages": [{"role": "user", "content": "hi"}]}', "stream must be true or false, not 1"),
        (
            b'{"model": "aamc/auto", "stream": true, "stream_options": 5, "messages": [{"role": "user", "content": "hi"}]}',
            'stream_options must be an object such as {"include_usage": true}, not 5',
        ),
        (
            b'{"model": "aamc/auto", "stream_options": {"include_usage": "no"}, "messages": [{"role": "user", "content": "hi"}]}',
            "stream_options.include_usage must be true or false, not 'no'",
        ),
        (
            b'{"model": "aamc/auto", "messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}',
            "messages[0].content[0].text must be a string, not 5",
        ),
        (b'{"messages": [{"role": "user", "content": "hi"}]}', "the request has no model; add it, such as 'aamc/auto'"),
        (b'{"model": "aamc/auto", "messages": [{}]}', "messages[0] has no role; add it, such as user"),
        (b'{"model": "aamc/auto", "messages": [{"role": "user", "content": "hi"}, 5]}', "messages[1] must be an object with role and content, not 5"),
        (b'{"model": "aamc/auto", "messages": "hi"}', "messages must be a list of at least one object with role and content, not 'hi'"),
        (
            b'{"model": "aamc/auto", "messages": [{"role": "user", "content": [{"type": "text"}]}]}',
            "messages[0].content[0].text must be a string; it is missing or null",
        ),
        (b'{"model": "aamc/auto", "messages": [{"role": ["user"], "content": "hi"}]}', "messages[0].role must be a text such as user, not ['user']"),
        (b'{"model": "aamc/auto", "tools": 5, "messages": [{"role": "user", "content": "hi"}]}', "tools must be a list of objects, not 5"),
        (
            b'{"model": "aamc/auto", "tools": ["look"], "messages": [{"role": "user", "content": "hi"}]}',
            "tools must be a list of objects, not ['look']",
        ),
        (b'{"model": "aamc/auto", "messages": ' + b"[" * 300 + b"]" * 300 + b"}", "nested deeper"),
    ],
)
def test_a_bad_request_says_what_is_wrong(serve: Any, body: bytes, message: str) -> None:
    answer = serve(good=Script()).ask("/v1/chat/completions", body)
    assert 400 <= answer.status < 500
    assert message in answer.json["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": [{"role": "", "content": "hi"}]}, "messages[0].role must be a text such as user, not ''"),
        ({"tools": {"name": "look"}}, "tools must be a list of objects, not {'name': 'look'}"),
    ],
)
def test_a_request_that_no_server_takes_is_refused_in_anthropics_dialect(serve: Any, stub: StubServer, path: str, fields: Any, message: str) -> None:
    body = {"model": "good", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields}
    answer = serve(good=Script()).ask(path, body)
    assert (answer.status, answer.json["type"], answer.json["error"]["type"]) == (400, "error", "invalid_request_error")
    assert message in answer.json["error"]["message"]
    assert stub.counts("good").calls == 0


def test_a_role_of_a_servers_own_and_null_in_place_of_tools_reach_the_model(serve: Any, stub: StubServer) -> None:
    running = serve(good=Script())
    roles = ("system", "developer", "user", "assistant", "tool", "function", "ipython")
    messages = [{"role": role, "content": "hi", "tool_call_id": "a", "name": "look"} for role in roles]
    assert running.chat(messages=messages, tools=None).status == 200
    anthropic = [{"role": role, "content": "hi"} for role in ("user", "assistant", "system", "user")]
    assert running.ask("/v1/messages", {"model": "good", "max_tokens": 9, "messages": anthropic}).status == 200
    assert stub.counts("good").calls == 2


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/feedback", "/v1/images/generations"])
def test_a_compressed_body_is_refused_with_the_reason(serve: Any, path: str) -> None:
    body = gzip.compress(b'{"model": "good", "messages": [{"role": "user", "content": "hi"}]}')
    answer = serve(good=Script()).ask(path, body, content_encoding="gzip")
    assert answer.status == 415
    assert answer.json["error"]["message"] == "the body has the Content-Encoding 'gzip'; send it uncompressed"


def test_a_body_that_says_it_is_not_compressed_is_served(serve: Any) -> None:
    assert serve(good=Script()).chat(headers={"content-encoding": "identity"}).status == 200


@pytest.mark.parametrize("name", ["x-aamc-session", "x-claude-code-session-id"])
def test_a_session_that_is_too_long_is_refused(serve: Any, name: str) -> None:
    running = serve(good=Script())
    answer = running.chat(headers={name: "x" * 513})
    assert (answer.status, answer.json["error"]["message"]) == (400, "session must have at most 512 bytes in UTF-8, not 513")
    assert running.chat(headers={name: "x" * 512}).status == 200


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        (lambda name: {"user": name}, "user"),
        (lambda name: {"metadata": {"user_id": name}}, "user"),
        (lambda name: {"metadata": {"user_id": f"ann_session_{name}"}}, "session"),
    ],
)
def test_a_user_or_session_that_is_too_long_is_refused_wherever_it_stands(serve: Any, fields: Any, what: str) -> None:
    running = serve(good=Script())
    answer = running.chat(**fields("x" * 513))
    assert (answer.status, answer.json.get("error", {}).get("message")) == (400, f"{what} must have at most 512 bytes in UTF-8, not 513")
    answer = running.chat(**fields("é" * 257))
    assert (answer.status, answer.json.get("error", {}).get("message")) == (400, f"{what} must have at most 512 bytes in UTF-8, not 514")
    assert running.chat(**fields("x" * 512)).status == running.chat(**fields("é" * 256)).status == 200


@pytest.mark.parametrize("name", ["x-aamc-preferense", "X-AAMC-Quality-Floor"])
def test_a_header_of_the_gateway_that_it_does_not_know_is_refused(serve: Any, stub: StubServer, name: str) -> None:
    running = serve(good=Script())
    for path, body in {
        "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
        "/v1/images/generations": {"prompt": "a cat"},
    }.items():
        answer = running.ask(path, {"model": "good", **body}, **{name: "0.5"})
        message = answer.json["error"]["message"]
        assert (answer.status, name.lower() in message, "it takes: " in message) == (400, True, True)
    assert running.chat(headers={"x-aamc-preference": "1,0,0", "x-aamc-session": "s"}).status == 200
    assert stub.counts("good").calls == 1


def test_arguments_in_the_name_of_a_model_say_where_they_belong(serve: Any) -> None:
    answer = serve(good=Script()).chat(model="good?preference=1,0,0")
    assert (answer.status, answer.json["error"]["message"]) == (404, "only 'aamc/auto' takes arguments, not 'good'")


def test_what_is_classified_is_the_last_human_message_and_two_before(serve: Any) -> None:
    running = serve(good=Script())
    said = [("system", "S"), *((role, f"{role} {n}") for n in range(4) for role in ("user", "assistant")), ("user", "last")]
    body = {"model": "aamc/auto", "messages": [{"role": role, "content": content} for role, content in said]}
    query = running.gateway.reader.read("chat", "chat", [], body, b"{}", Caller()).query
    assert [query.text, *(turn.content for turn in query.turns)] == ["last", "user 2", "user 3"]


def test_the_ability_that_a_request_needs_is_asked_only_where_candidates_declare_it(serve: Any) -> None:
    running = serve(plain=Script(), able=Script(), fields={"able": {"abilities": ["tools"]}})
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    assert {running.chat(tools=tools).headers["x-aamc-model"] for _ in range(6)} == {"able"}


def test_spans_of_calls_get_the_name_that_the_model_has_on_its_server(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    running = serve(good=Script(), fields={"good": {"model": "good-2026"}})
    seen: SimpleQueue[RequestFigures] = SimpleQueue()
    monkeypatch.setattr(running.gateway.metrics, "ended", seen.put)
    running.chat()
    assert [(call.candidate, call.upstream_model) for call in seen.get(timeout=30).calls] == [("good", "good-2026")]


def test_models_are_listed_in_the_form_of_both_dialects(serve: Any) -> None:
    running = serve(one=Script())
    entries = running.ask("/v1/models", method="GET").json["data"]
    assert entries[0]["id"] == "aamc/auto"
    assert {(entry["object"], entry["type"]) for entry in entries} == {("model", "model")}
    assert running.ask("/v1/models/one", method="GET").json["owned_by"] == "openai"
    assert running.ask("/v1/models/one", method="HEAD").status == 200
    unknown = running.ask("/v1/models/on", method="GET")
    assert (unknown.status, unknown.json["error"]["message"]) == (404, "there is no model 'on'; did you mean 'one'?; GET /v1/models lists them")


def test_models_that_a_key_may_not_use_are_not_listed(serve: Any) -> None:
    running = serve(one=Script(), two=Script())
    for models, listed in ((["one"], ["aamc/auto", "one"]), (["one", "aamc/arena"], ["aamc/auto", "aamc/arena", "one"])):
        entries = running.ask("/v1/models", method="GET", **key(running, models[-1], models=models)).json["data"]
        assert [entry["id"] for entry in entries] == listed


def test_files_and_images_pass_through_to_the_named_model(serve: Any, stub: StubServer) -> None:
    running = serve(one=Script())
    assert running.ask("/v1/images/generations", {"model": "one", "prompt": "a cat"}, content_type="application/json").status == 200
    form = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\none\r\n--x--\r\n'
    assert running.ask("/v1/audio/transcriptions", form, content_type="multipart/form-data; boundary=x").status == 200
    assert running.ask("/v1/files/file-1?model=one", method="GET").status == 200
    assert [received.path for received in stub.requests][-1] == "/v1/files/file-1"
    assert running.ask("/v1/files", b"", method="POST").status == 400
    assert running.ask("/v1/files/%2e%2e/%2e%2e/admin?model=one", method="GET").status in (400, 404)


@pytest.mark.parametrize("size", [10, 1_100_000])
def test_the_conversion_of_a_large_body_holds_nobody_up(serve: Any, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    running, prepare, threads = serve(one=Script(), fields={"one": {"provider": "anthropic"}}), Upstream.prepare, []

    def prepared(*arguments: Any, **options: Any) -> Any:
        threads.append(threading.current_thread())
        return prepare(*arguments, **options)

    monkeypatch.setattr(Upstream, "prepare", prepared)
    running.chat("x" * size)
    (thread,) = threads
    assert thread.name.startswith("asyncio_") == (size > 1_000_000)  # a worker thread's name


def test_a_title_goes_to_the_cheapest(serve: Any) -> None:
    cheap = {"input_price": 0.1, "output_price": 0.2}
    running = serve(dear=Script(), cheap=Script(), fields={"cheap": cheap})
    system = {"role": "system", "content": "Generate a concise title for this conversation. Answer with the title only."}
    body = {"model": "aamc/auto", "messages": [system, {"role": "user", "content": "### Task:\nGenerate a concise, 3-5 word title for the chat."}]}
    found = {running.ask("/v1/chat/completions", body).headers["x-aamc-model"] for _ in range(5)}
    assert found == {"cheap"}
    for own in ({"quality_floor": 0.5}, {"preference": [1, 0, 0]}):  # its client says what it wants
        answer = running.ask("/v1/chat/completions", {**body, "aamc": own})
        assert float(answer.headers["x-aamc-propensity"]) < 1


def test_embeddings_are_always_those_of_the_cheapest(serve: Any, stub: StubServer) -> None:
    fields = {"dear": {}, "cheap": {"input_price": 0.1, "output_price": 9.0}, "chat": {"input_price": 0.01, "apis": ["chat"]}}
    running = serve(**dict.fromkeys(fields, Script()), fields=fields)
    body = {"model": "aamc/auto", "input": "Hello", "aamc": {"preference": [1, 0, 0]}}
    for models, chosen in (((), "cheap"), (["dear"], "dear")):
        own = key(running, chosen, models=models)
        assert {running.ask("/v1/embeddings", body, **own).headers["x-aamc-model"] for _ in range(8)} == {chosen}


def test_embeddings_are_those_of_a_model_whose_endpoint_names_them(serve: Any) -> None:
    fields = {"embedder": {"apis": ["embeddings"]}, "other": {"input_price": 3.0, "apis": ["chat", "embeddings"]}, "chat": {"input_price": 0.01}}
    running = serve(**dict.fromkeys(fields, Script()), fields=fields)
    assert running.ask("/v1/embeddings", {"model": "aamc/auto", "input": "Hello"}).headers["x-aamc-model"] == "embedder"


def test_embeddings_of_another_model_take_no_place_of_those_that_fail(serve: Any, stub: StubServer) -> None:
    limits = {"access": {"models": {"cheap": {"requests_per_minute": 1}}}}
    running = serve(limits, dear=Script(), cheap=Script(fault="status", status=500), fields={"cheap": {"input_price": 0.1}})
    body = {"model": "aamc/auto", "input": "Hello"}
    assert [running.ask("/v1/embeddings", body).status for _ in range(2)] == [502, 429]
    assert [received.body["model"] for received in stub.requests] == ["cheap"]


@pytest.mark.parametrize("change", [{"parameters": {"seed": 7}}, {"endpoint": {"model": "other"}}, None], ids=["parameters", "endpoint", "nothing"])
@pytest.mark.parametrize("model", ["good", "aamc/auto"])
def test_a_kept_answer_of_a_candidate_that_has_changed_is_not_given(serve: Any, tmp_path: Path, change: Any, model: str) -> None:
    running = serve({"cache": {"enabled": True}}, good=Script(), other=Script())
    assert any("x-aamc-cache" in running.chat(model=model, temperature=0).headers for _ in range(1000))  # an answer is kept just after it was sent
    file = tmp_path / "serve.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    good = content["pool"]["candidates"][0]
    good["prices"]["input"] = 5.0  # this changes no answer
    for name, value in (change or {}).items():
        good[name] = {**good.get(name, {}), **value}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    asyncio.run_coroutine_threadsafe(running.app.reload(), running.loop).result(30)
    assert ("x-aamc-cache" in running.chat(model=model, temperature=0).headers) == (change is None)


def test_kept_embeddings_of_one_model_are_not_given_once_a_price_has_chosen_another(serve: Any, tmp_path: Path) -> None:
    running = serve({"cache": {"enabled": True}}, one=Script(), two=Script(), fields={"one": {"input_price": 0.1}})
    body = {"model": "aamc/auto", "input": "Hello"}
    assert any("x-aamc-cache" in running.ask("/v1/embeddings", body).headers for _ in range(1000))
    content = yaml.safe_load((file := tmp_path / "serve.yaml").read_text(encoding="utf-8"))
    content["pool"]["candidates"][0]["prices"]["input"] = 5.0
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    asyncio.run_coroutine_threadsafe(running.app.reload(), running.loop).result(30)
    assert running.ask("/v1/embeddings", body).headers["x-aamc-model"] == "two"


def test_a_cost_that_nothing_tells_is_left_out(serve: Any, stub: StubServer) -> None:
    running = serve(good=Script(usage="never"))
    answer = running.chat()
    (attempt,) = running.log().attempts
    assert attempt.cost_source == "estimated"
    assert not math.isnan(attempt.cost_usd)
    assert float(answer.headers["x-aamc-cost-usd"]) == pytest.approx(attempt.cost_usd)


def test_the_address_itself_leads_to_the_dashboard(serve: Any) -> None:
    answer = serve(good=Script()).ask("/", method="GET")
    assert (answer.status, answer.headers["location"]) == (307, "/dashboard")
    assert b"/v1/models" in answer.body


def test_an_answer_without_a_limit_gets_that_of_the_endpoint_where_the_api_requires_one(serve: Any, stub: StubServer) -> None:
    running = serve(fields={"good": {"provider": "anthropic", "max_output_tokens": 20_000}}, good=Script())
    assert running.chat().status == 200
    assert stub.requests[-1].body["max_tokens"] == 20_000


@pytest.mark.parametrize("name", ["a\nb", "a\x00b", "a\x7fb", "请"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_field_whose_name_no_header_can_carry_is_named_with_question_marks(serve: Any, name: str, stream: bool) -> None:
    answer = serve(fields={"good": {"provider": "anthropic"}}, good=Script()).chat(stream=stream, **{name: 1})
    assert (answer.status, answer.headers["x-aamc-dropped"]) == (200, "".join(c if " " <= c <= "~" else "?" for c in name))


FUNCTION = {"name": "look", "parameters": {"type": "object"}, "defer_loading": True}
HI = {"role": "user", "content": "Hi", "name": "anna"}


@pytest.mark.parametrize(
    ("path", "body", "provider", "sent", "dropped"),
    [
        (
            "chat/completions",
            {"messages": [HI], "tools": [{"type": "function", "function": FUNCTION}], "service_tier": "flex", "stop": ["END"], "seed": 7},
            "anthropic",
            {"stop_sequences": ["END"], "messages": [{"role": "user", "content": "Hi"}]},
            "function.defer_loading, messages.name, seed, service_tier",
        ),
        (
            "messages",
            {
                "max_tokens": 9,
                "messages": [HI],
                "tools": [{**FUNCTION, "input_schema": {}}],
                "metadata": {"user_id": "anna", "team": "a"},
                "top_k": 5,
            },
            "openai",
            {"max_tokens": 9, "user": "anna"},
            "messages.name, metadata.team, tools.defer_loading, tools.parameters, top_k",
        ),
        (
            "responses",
            {
                "input": [HI],
                "tools": [{"type": "function", **FUNCTION}, {"type": "web_search"}],
                "reasoning": {"summary": "auto"},
                "metadata": {"a": "b"},
            },
            "openai",
            {
                "messages": [{"role": "user", "content": "Hi"}],
                "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
            },
            "input.name, metadata, reasoning.summary, tools.defer_loading, tools.web_search",
        ),
        ("completions", {"prompt": "Hi", "suffix": "end", "n": 2, "user": "anna"}, "anthropic", {"metadata": {"user_id": "anna"}}, "n, suffix"),
    ],
)
def test_what_another_dialect_cannot_express_is_named(
    serve: Any, stub: StubServer, path: str, body: dict[str, Any], provider: str, sent: dict[str, Any], dropped: str
) -> None:
    running = serve(fields={"good": {"provider": provider, "apis": ["messages" if provider == "anthropic" else "chat"]}}, good=Script())
    answer = running.ask(f"/v1/{path}", {"model": "good", **body})
    assert (answer.status, answer.headers["x-aamc-dropped"]) == (200, dropped)
    assert sent == {name: stub.requests[-1].body[name] for name in sent}


@pytest.mark.parametrize(
    ("path", "body", "dropped"),
    [
        ("chat/completions", {"store": True, "temperature": 0, "metadata": {"a": "b"}}, "store, metadata"),
        ("messages", {"max_tokens": 9, "top_k": 5, "context_management": {"edits": [1]}}, "context_management, top_k"),
    ],
)
def test_fields_that_the_provider_leaves_out_are_named(
    serve: Any, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any], dropped: str
) -> None:
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
    library = SimpleNamespace(acompletion=AsyncMock(return_value=SimpleNamespace(model_dump=lambda **options: answer)))
    monkeypatch.setattr("aamc_models.providers.litellm.find_spec", lambda name: True)  # it contradicts our pins
    monkeypatch.setattr("aamc_models.providers.litellm._library", lambda: library)
    running = serve(fields={"good": {"provider": "litellm"}})
    found = running.ask(f"/v1/{path}", {"model": "good", "messages": [{"role": "user", "content": "Hi"}], **body})
    assert (found.status, found.headers["x-aamc-dropped"]) == (200, dropped)


@pytest.mark.parametrize(
    ("path", "body", "sent", "dropped"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "temperature": 0}, {"max_tokens": 10_192}, "temperature"),
        ("responses", {"input": "Hi", "top_p": 0.5}, {"max_tokens": 10_192}, "top_p"),
        ("messages", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3000, "top_k": 5}, {"max_tokens": 3000}, "top_k"),
        ("messages", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2000, "top_k": 5}, {"max_tokens": 2000, "top_k": 5}, None),
    ],
)
def test_what_anthropic_refuses_beside_the_candidate_s_thinking_is_left_out_and_named(
    serve: Any, stub: StubServer, path: str, body: dict[str, Any], sent: dict[str, Any], dropped: str | None
) -> None:
    thinking = {"type": "enabled", "budget_tokens": 2000}
    running = serve(fields={"good": {"provider": "anthropic", "parameters": {"thinking": thinking}}}, good=Script())
    answer = running.ask(f"/v1/{path}", {"model": "good", **body})
    assert (answer.status, answer.headers.get("x-aamc-dropped")) == (200, dropped)
    messages = [{"role": "user", "content": "Hi"}]
    expected = {"model": "good", "messages": messages, "thinking": {"type": "disabled"} if dropped is None else thinking, **sent}
    assert stub.requests[-1].body == expected


@pytest.mark.parametrize(
    ("fields", "dropped"),
    [
        ({}, None),
        ({"temperature": 0}, "temperature"),
        ({"top_p": 0.9}, "top_p"),
        ({"reasoning_effort": "low"}, None),
        ({"reasoning_effort": "high", "max_tokens": 2000}, None),
    ],
)
def test_every_model_of_the_pool_for_anthropic_answers_a_client_of_chat(serve: Any, fields: dict[str, Any], dropped: str | None) -> None:
    pool = yaml.safe_load((Path(__file__).parents[4] / "examples" / "pools" / "anthropic.yaml").read_text(encoding="utf-8"))
    names = [candidate["name"] for candidate in pool["candidates"]]
    running = serve(fields={name: {"provider": "anthropic"} for name in names}, **dict.fromkeys(names, Script(newest_claude=True)))
    for name in names:
        answer = running.chat(model=name, **fields)
        assert (answer.status, answer.headers.get("x-aamc-dropped")) == (200, dropped)


def test_the_names_of_many_unknown_fields_fit_in_a_header(serve: Any) -> None:
    running = serve(fields={"good": {"provider": "anthropic"}}, good=Script())
    fields = {f"own_field_{n}": n + 1 for n in range(3000)}
    answer = running.chat(**fields)
    assert (answer.status, len(answer.headers["x-aamc-dropped"])) == (200, 1003)
    assert answer.headers["x-aamc-dropped"].endswith("...")
    assert running.chat(stream=True, **fields).events[-1]["aamc"]["dropped"] == sorted(fields)


@pytest.mark.parametrize(("name", "sent"), [("模型 a", "%E6%A8%A1%E5%9E%8B a"), ("100%", "100%25"), ("org/model:v1.2@x", "org/model:v1.2@x")])
def test_the_header_with_the_model_is_ascii(serve: Any, name: str, sent: str) -> None:
    answer = serve(**{name: Script()}).chat(model=name)
    assert (answer.status, answer.headers["x-aamc-model"], unquote(sent)) == (200, sent, name)


def test_an_upstream_header_that_is_not_ascii_costs_no_paid_answer() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    reply = WireReply(status=200, headers={"content-type": "text/plain; name=请", "x-request-id": "请\udcff-1"}, body=b"hi")
    asyncio.run(send_reply(send, reply))
    headers = dict(sent[0]["headers"])
    assert (headers[b"content-type"], headers[b"x-request-id"]) == (b"text/plain; name=?", b"??-1")


def test_a_json_answer_is_sent_as_json_whatever_its_server_calls_it() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(send_reply(send, WireReply(status=200, headers={"content-type": "text/plain"}, body=b"{}", answer={})))
    assert dict(sent[0]["headers"])[b"content-type"] == b"application/json"


def test_a_key_with_a_limit_of_requests_sends_ten_times_as_much_feedback(serve: Any) -> None:
    running = serve(good=Script())
    limited = key(running, "limited", limits=Limits(requests_per_minute=1, usd_total=0.0001))
    free = key(running, "free")
    known = {"decision_id": running.chat(headers=free).headers["x-aamc-decision-id"], "quality": 1}
    statuses = [running.ask("/v1/feedback", {**known, "revision": revision}, **limited).status for revision in range(12)]
    assert statuses[:10] + statuses[-1:] == [200] * 10 + [429]
    assert running.ask("/v1/feedback", {**known, "revision": 99}, **free).status == 200


def test_feedback_on_unknown_decisions_counts_as_a_request_of_its_key(serve: Any) -> None:
    running = serve(good=Script())
    limited, free = key(running, "limited", limits=Limits(requests_per_minute=3)), key(running, "free")
    known = {"decision_id": running.chat(headers=limited).headers["x-aamc-decision-id"], "quality": 1}
    body = {"decision_id": "unknown", "quality": 1}
    assert [running.ask("/v1/feedback", body, **limited).status for _ in range(3)] == [202, 202, 429]
    assert running.ask("/v1/feedback", known, **limited).status == 200
    assert running.ask("/v1/feedback", body, **free).status == 202


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/moderations"])
def test_the_lines_of_a_list_header_are_passed_on_together_and_of_others_the_last(serve: Any, stub: StubServer, path: str) -> None:
    running = serve(good=Script())
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    body = json.dumps({"model": "good", "messages": [{"role": "user", "content": "hi"}]}).encode()
    connection.putrequest("POST", path)
    for line in ("anthropic-beta: one", "traceparent: a", "anthropic-beta: two, three", "traceparent: b", f"content-length: {len(body)}"):
        connection.putheader(*line.split(": "))
    connection.endheaders(body)
    assert connection.getresponse().status == 200
    connection.close()
    sent = stub.requests[-1].headers
    assert (sent["anthropic-beta"], sent["traceparent"]) == ("one, two, three", "b")


def test_the_model_in_a_request_s_header_is_encoded_as_in_an_answer_s(serve: Any, stub: StubServer) -> None:
    running = serve(**{"mod\u00e8le %20": Script()})
    named = running.ask("/v1/moderations", {"model": "mod\u00e8le %20", "input": "x"}).headers["x-aamc-model"]
    assert named == "mod%C3%A8le %2520"
    assert running.ask("/v1/files", b"x", content_type="text/plain", x_aamc_model=named).status == 200


def test_embeddings_are_not_streamed(serve: Any, stub: StubServer) -> None:
    refused = serve(good=Script()).ask("/v1/embeddings", {"model": "good", "input": "hi", "stream": True})
    assert (refused.status, refused.json["error"]["message"]) == (400, "embeddings are not streamed; leave stream out")
    assert refused.headers.get("x-aamc-decision-id") is None
