"""What the four official clients read from well-behaved models, whole and streamed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aamc_models.testing import Script
from clients.calls import Call, Result

Make = Callable[[str, Call], Result]

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TEXT = Script().text


def body(api: str, model: str, **fields: Any) -> dict[str, Any]:
    """Return the simplest request of an API."""
    asked: dict[str, Any] = {"model": model}
    if api == "responses":
        asked["input"] = "What is the capital of France?"
    else:
        asked["messages"] = [{"role": "user", "content": "What is the capital of France?"}]
    if api == "messages":
        asked["max_tokens"] = 200
    return {**asked, **fields}


def tools(api: str) -> list[dict[str, Any]]:
    described = {"name": "weather", "description": "Return the weather of a city."}
    if api == "messages":
        return [{**described, "input_schema": SCHEMA}]
    if api == "responses":
        return [{"type": "function", **described, "parameters": SCHEMA, "strict": False}]
    return [{"type": "function", "function": {**described, "parameters": SCHEMA}}]


def test_an_answer_is_read_to_its_end(call: Make, sdk_api: tuple[str, str], target: Any, streamed: bool) -> None:
    sdk, api = sdk_api
    result = call(sdk, Call(url=target.url, api=api, body=body(api, target.model, stream=streamed)))
    assert result.error is None
    assert result.text == TEXT
    assert result.finish in ("stop", "end_turn", "completed")


def test_the_clients_own_accumulator_reads_a_stream(call: Make, sdk_api: tuple[str, str], target: Any) -> None:
    sdk, api = sdk_api
    result = call(sdk, Call(url=target.url, api=api, body=body(api, target.model), accumulate=True))
    assert result.error is None
    assert result.text == TEXT


def test_a_tool_is_called(call: Make, sdk_api: tuple[str, str], target: Any, streamed: bool) -> None:
    sdk, api = sdk_api
    result = call(sdk, Call(url=target.url, api=api, body=body(api, target.model, stream=streamed, tools=tools(api))))
    assert result.error is None
    assert result.tool_call == ("weather", {"city": "Paris"})


def test_usage_is_the_upstreams(call: Make, sdk_api: tuple[str, str], target: Any, streamed: bool) -> None:
    sdk, api = sdk_api
    target.script(Script(prompt_tokens=40, cached_tokens=30, output_tokens=12))
    asked = body(api, target.model, stream=streamed, **({"stream_options": {"include_usage": True}} if api == "chat" and streamed else {}))
    assert call(sdk, Call(url=target.url, api=api, body=asked)).usage == (40, 12)


def test_a_chunk_with_usage_comes_only_to_those_that_ask(call: Make, target: Any) -> None:
    result = call("python-openai", Call(url=target.url, api="chat", body=body("chat", target.model, stream=True)))
    assert [event["usage"] for event in result.events if event.get("usage")] == []
    assert all(event["choices"] for event in result.events)


def test_thinking_is_read(call: Make, anthropic_sdk: str, target: Any, streamed: bool) -> None:
    target.script(Script(thinking="Let me think about it."))
    thinking = {"type": "enabled", "budget_tokens": 1024}
    asked = body("messages", target.model, stream=streamed, thinking=thinking, max_tokens=2000)
    result = call(anthropic_sdk, Call(url=target.url, api="messages", body=asked))
    if streamed:
        thought = "".join(event["delta"].get("thinking") or "" for event in result.events if event["type"] == "content_block_delta")
    else:
        thought = result.answer["content"][0]["thinking"]
    assert thought == "Let me think about it."
    assert result.text == TEXT


def test_an_image_reaches_the_model(call: Make, sdk_api: tuple[str, str], target: Any) -> None:
    sdk, api = sdk_api
    text = {"type": "input_text" if api == "responses" else "text", "text": "What is this?"}
    image = {
        "chat": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        "responses": {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"},
        "messages": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
    }[api]
    field = "input" if api == "responses" else "messages"
    asked = body(api, target.model, **{field: [{"role": "user", "content": [text, image]}]})
    result = call(sdk, Call(url=target.url, api=api, body=asked))
    assert result.text == TEXT
    assert PIXEL.encode() in target.stub.requests[-1].raw


def test_json_mode_reaches_the_model(call: Make, target: Any, streamed: bool) -> None:
    asked = body("chat", target.model, stream=streamed, response_format={"type": "json_object"})
    assert call("python-openai", Call(url=target.url, api="chat", body=asked)).text == '{"answer": 42}'


def test_a_schema_of_the_answer_reaches_the_model(call: Make, target: Any) -> None:
    schema = {"name": "answer", "schema": {"type": "object", "properties": {"answer": {"type": "integer"}}}}
    asked = body("chat", target.model, response_format={"type": "json_schema", "json_schema": schema})
    assert call("python-openai", Call(url=target.url, api="chat", body=asked)).text == '{"answer": 42}'
    assert target.stub.requests[-1].body["response_format"]["json_schema"] == schema


def test_several_choices_stops_and_log_probabilities_pass(call: Make, openai_sdk: str, target: Any) -> None:
    asked = body("chat", target.model, n=2, stop=[", and"], logprobs=True, top_logprobs=1)
    result = call(openai_sdk, Call(url=target.url, api="chat", body=asked))
    assert len(result.answer["choices"]) == 2
    assert result.text == "The capital of France is Paris"
    assert result.answer["choices"][0]["logprobs"]["content"][0]["token"] == "The"


def test_a_maximum_of_tokens_is_told(call: Make, sdk_api: tuple[str, str], target: Any, streamed: bool) -> None:
    sdk, api = sdk_api
    limit = {"chat": "max_completion_tokens", "messages": "max_tokens", "responses": "max_output_tokens"}[api]
    result = call(sdk, Call(url=target.url, api=api, body=body(api, target.model, stream=streamed, **{limit: 4})))
    assert result.finish in ("length", "max_tokens", "incomplete")


def test_unknown_fields_pass_through(call: Make, target: Any) -> None:
    asked = body("chat", target.model, extra_body={"a_field_of_next_year": {"deep": [1, 2]}}, seed=7)
    call("python-openai", Call(url=target.url, api="chat", body=asked))
    assert target.stub.requests[-1].body["a_field_of_next_year"] == {"deep": [1, 2]}
    assert target.stub.requests[-1].body["seed"] == 7


def test_old_completions(call: Make, openai_sdk: str, target: Any, streamed: bool) -> None:
    asked = {"model": target.model, "prompt": "Once upon a time", "stream": streamed}
    result = call(openai_sdk, Call(url=target.url, api="completions", body=asked))
    assert (result.text, result.finish) == (TEXT, "stop")


@pytest.mark.parametrize("target", ["stub", "named"], indirect=True)  # embeddings of different models cannot be mixed
@pytest.mark.parametrize("form", [None, "float", "base64"])
def test_embeddings_in_either_form(call: Make, openai_sdk: str, target: Any, form: str | None) -> None:
    asked = {"model": target.model, "input": ["first", "second"], **({"encoding_format": form} if form else {})}
    result = call(openai_sdk, Call(url=target.url, api="embeddings", body=asked))
    assert result.error is None
    assert len(result.answer["data"]) == 2


def test_tokens_are_counted(call: Make, anthropic_sdk: str, target: Any) -> None:
    asked = body("messages", target.model)
    del asked["max_tokens"]
    assert call(anthropic_sdk, Call(url=target.url, api="count_tokens", body=asked)).answer["input_tokens"] > 0


def test_models_are_listed(call: Make, sdk: str, target: Any) -> None:
    target.script(Script())
    names = {model["id"] for model in call(sdk, Call(url=target.url, api="models", body={})).answer["data"]}
    assert {"good", *({"aamc/auto"} if target.routed else ())} <= names
