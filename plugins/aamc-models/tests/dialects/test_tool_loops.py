"""A person asks, the model thinks and calls a tool, the result goes back: over servers that refuse what another model has made."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from aamc_models.dialects import (
    KnownTools,
    StreamConverter,
    StreamMonitor,
    convert_answer,
    convert_request,
    foreign_state,
    usage_of,
    without_foreign_state,
)
from aamc_models.dialects.events import data_of
from aamc_models.testing import Script, StubServer

from aamc_sdk.errors import DataError

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
THINKER = Script(strict=True, thinking="I need the weather.", output_tokens=20, reasoning_tokens=4, prompt_tokens=100, cached_tokens=30)
PARAMETERS: dict[str, Any] = {"city": {"type": "string"}}
SCHEMA: dict[str, Any] = {"type": "object", "properties": PARAMETERS}
ASKS: dict[str, dict[str, Any]] = {
    "chat": {
        "messages": [{"role": "user", "content": "The weather?"}],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}],
        "reasoning_effort": "low",
    },
    "messages": {
        "max_tokens": 4000,
        "messages": [{"role": "user", "content": "The weather?"}],
        "tools": [{"name": "weather", "input_schema": SCHEMA}],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    },
    "responses": {
        "input": [{"role": "user", "content": "The weather?"}],
        "tools": [{"type": "function", "name": "weather", "parameters": SCHEMA}],
        "reasoning": {"effort": "low"},
    },
}

ONE_CALL = {"messages": {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, "responses": {"parallel_tool_calls": False}}


@pytest.fixture(scope="module")
def stub() -> Iterator[StubServer]:
    with StubServer(default=THINKER) as server:
        yield server


def post(stub: StubServer, dialect: str, body: dict[str, Any]) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", stub.port)
    connection.request("POST", PATHS[dialect], json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    assert answer.status == 200, content
    return content


def ask(stub: StubServer, client: str, upstream: str, model: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer of a model that speaks one dialect to a client that speaks another."""
    converted = convert_request(client, upstream, {**body, "model": model})
    return convert_answer(upstream, client, json.loads(post(stub, upstream, converted.body)))


def with_result(client: str, body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """The client's next request: what it was told, as it came, and the tool's result."""
    if client == "chat":
        message = answer["choices"][0]["message"]
        results = [{"role": "tool", "tool_call_id": call["id"], "content": "rain"} for call in message["tool_calls"]]
        return {**body, "messages": [*body["messages"], message, *results]}
    if client == "messages":
        results = [{"type": "tool_result", "tool_use_id": b["id"], "content": "rain"} for b in answer["content"] if b["type"] == "tool_use"]
        said = [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": results}]
        return {**body, "messages": [*body["messages"], *said]}
    results = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "rain"} for item in answer["output"] if item["type"] == "function_call"
    ]
    return {**body, "input": [*body["input"], *answer["output"], *results]}


def text(client: str, answer: dict[str, Any]) -> str:
    if client == "chat":
        return str(answer["choices"][0]["message"]["content"])
    if client == "messages":
        return "".join(block["text"] for block in answer["content"] if block["type"] == "text")
    return "".join(part["text"] for item in answer["output"] if item["type"] == "message" for part in item["content"])


@pytest.mark.parametrize("client", PATHS)
@pytest.mark.parametrize("upstream", PATHS)
def test_a_loop_goes_on_with_its_model(client: str, upstream: str, stub: StubServer) -> None:
    first = ask(stub, client, upstream, "one", ASKS[client])
    following = with_result(client, ASKS[client], first)
    assert "open_tool_calls" in foreign_state(client, following)
    assert THINKER.text == text(client, ask(stub, client, upstream, "one", following))


@pytest.mark.parametrize("client", PATHS)
@pytest.mark.parametrize("before", PATHS)
@pytest.mark.parametrize("after", PATHS)
def test_another_model_goes_on_with_it_once_the_state_is_removed(client: str, before: str, after: str, stub: StubServer) -> None:
    following = with_result(client, ASKS[client], ask(stub, client, before, "one", ASKS[client]))
    portable = without_foreign_state(client, following)
    assert THINKER.text == text(client, ask(stub, client, after, "two", portable))


@pytest.mark.parametrize("client", PATHS)
@pytest.mark.parametrize("upstream", PATHS)
@pytest.mark.parametrize("tools", [True, False])
def test_a_stream_says_and_counts_what_the_whole_answer_does(client: str, upstream: str, tools: bool, stub: StubServer) -> None:
    body = {name: value for name, value in ASKS[client].items() if tools or name != "tools"}
    whole = ask(stub, client, upstream, "one", body)
    request = convert_request(client, upstream, {**body, "model": "one", "stream": True}).body
    request.update({"stream_options": {"include_usage": True}} if upstream == "chat" else {})
    events = [event + b"\n\n" for event in post(stub, upstream, request).split(b"\n\n") if event]
    converter, monitor = StreamConverter(upstream, client), StreamMonitor(client)
    converted = [written for event in events for written in converter.feed(event)] + converter.end()
    for event in converted:
        monitor.feed(event)
    assert usage_of(client, whole) == monitor.usage
    assert monitor.finished
    assert monitor.finish_reason == ("tool_calls" if tools else "stop")
    assert monitor.text_bytes >= len(THINKER.tool_arguments if tools else THINKER.text)


def test_an_answer_that_is_stored_elsewhere_is_refused_before_it_is_asked_for() -> None:
    with pytest.raises(DataError, match="previous_response_id"):
        convert_request("responses", "messages", {**ASKS["responses"], "previous_response_id": "resp_one_1"})


@pytest.mark.parametrize("upstream", ["messages", "responses"])
def test_an_old_client_gets_its_call_as_a_function_call(stub: StubServer, upstream: str) -> None:
    asked: dict[str, Any] = {"messages": [*ASKS["chat"]["messages"]], "functions": [{"name": "weather", "parameters": SCHEMA}]}
    converted, tools = convert_request("chat", upstream, asked), KnownTools.of(asked, "chat")
    assert (converted.body["tools"][0]["name"], converted.dropped) == ("weather", [])
    assert ONE_CALL[upstream].items() <= converted.body.items()
    whole = json.loads(post(stub, upstream, {**converted.body, "model": "m"}))
    (choice,) = convert_answer(upstream, "chat", whole, tools=tools)["choices"]
    expected = {"name": "weather", "arguments": {"city": "Paris"}}
    assert (choice["finish_reason"], called(choice["message"]), "tool_calls" in choice["message"]) == ("function_call", expected, False)

    converter = StreamConverter(upstream, "chat", tools=tools)
    streamed = post(stub, upstream, {**converted.body, "model": "m", "stream": True}).split(b"\n\n")
    chunks = [json.loads(data_of(event)) for each in streamed if each for event in converter.feed(each + b"\n\n") if data_of(event) != b"[DONE]"]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    pieces = [choice["delta"]["function_call"] for choice in choices if "function_call" in choice["delta"]]
    joined = {name: "".join(piece.get(name) or "" for piece in pieces) for name in expected}
    assert called({"function_call": joined}) == expected
    assert not any("tool_calls" in choice["delta"] for choice in choices)
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["function_call"]

    answered = [{"role": "assistant", "content": None, "function_call": joined}, {"role": "function", "name": "weather", "content": "Rain."}]
    last = convert_request("chat", upstream, {**asked, "messages": [*asked["messages"], *answered]}).body
    whole = json.loads(post(stub, upstream, {**last, "model": "m"}))
    assert convert_answer(upstream, "chat", whole, tools=tools)["choices"][0]["finish_reason"] == "stop"


def test_an_old_client_gets_the_first_of_two_calls() -> None:
    calls = [{"index": n, "id": f"c{n}", "type": "function", "function": {"name": f"f{n}", "arguments": "{}"}} for n in range(2)]
    tools = KnownTools.of({"functions": [{"name": "f0"}, {"name": "f1"}]}, "chat")
    for key in ("message", "delta"):
        adapted = [tools.adapt({"choices": [{key: {"tool_calls": given}}]})["choices"][0][key] for given in (calls, calls[1:])]
        assert adapted == [{"function_call": {"name": "f0", "arguments": "{}"}}, {}]
    custom = {"id": "c", "type": "custom", "custom": {"name": "f0", "input": ""}}
    assert tools.adapt({"choices": [{"message": {"content": "Hi", "tool_calls": [custom]}}]})["choices"][0]["message"] == {"content": "Hi"}


def called(message: dict[str, Any]) -> dict[str, Any]:
    """The call of a message, with its arguments as an object."""
    return {**message["function_call"], "arguments": json.loads(message["function_call"]["arguments"])}
