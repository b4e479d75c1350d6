"""Requests in another dialect, field by field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aamc_models.dialects import KnownTools, conversation_of, convert_request, from_chat, to_chat
from aamc_models.transport.request_body import RequestBody

from aamc_sdk import ModelSpec
from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import WireRequest

ASK: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
LOOP: list[dict[str, Any]] = [
    *ASK,
    {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "42"},
]
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "sig"}
THINKS = {"thinking": {"type": "enabled", "budget_tokens": 2000}}


def to_messages(**fields: Any) -> dict[str, Any]:
    return from_chat("messages", {"messages": ASK, **fields}).body


def test_a_whole_request_becomes_one_of_messages(requests: dict[str, Any]) -> None:
    look = {"type": "tool_use", "name": "look"}
    assert convert_request("chat", "messages", requests["chat"]).body == {
        "model": "m",
        "stream": True,
        "max_tokens": 3000,
        "temperature": 0.5,
        "stop_sequences": ["END"],
        "system": "Be brief.",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "I look."},
                    {**look, "id": "call_1", "input": {"at": 1}},
                    {**look, "id": "call_2", "input": {"at": 2}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "a cat"},
                    {"type": "tool_result", "tool_use_id": "call_2", "content": "a dog"},
                ],
            },
            {"role": "assistant", "content": "A cat and a dog."},
            {"role": "user", "content": "Thanks. And here?"},
        ],
        "tools": [{"name": "look", "description": "Look.", "input_schema": {"type": "object", "properties": {}}}],
        "tool_choice": {"type": "auto"},
    }


def test_what_cannot_cross_is_named(requests: dict[str, Any]) -> None:
    converted = convert_request("chat", "messages", {**requests["chat"], "logit_bias": {"1": 2}, "n": 3, "logprobs": True, "seed": 7, "new": 1})
    assert converted.dropped == ["logit_bias", "logprobs", "n", "new", "seed"]
    dropped = convert_request("messages", "chat", requests["messages"]).dropped
    named = ["cache_control", "content.source", "content.thinking", "tool_result.is_error", "tools.web_search_20250305", "top_k"]
    assert named == dropped
    dropped = convert_request("responses", "chat", requests["responses"]).dropped
    assert dropped == ["content.thinking", "reasoning.summary"]
    assert convert_request("completions", "chat", requests["completions"]).dropped == ["echo", "logprobs"]


def test_defaults_and_nulls_are_not_named() -> None:
    defaults = {"n": 1, "logprobs": False, "logit_bias": None, "frequency_penalty": 0, "store": False, "stream_options": {"include_usage": True}}
    assert from_chat("messages", {"messages": ASK, **defaults}).dropped == []


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"type": "auto"}),
        ("required", {"type": "any"}),
        ("none", {"type": "none"}),
        ({"type": "function", "function": {"name": "f"}}, {"type": "tool", "name": "f"}),
    ],
)
def test_a_tool_choice_crosses_and_comes_back(choice: Any, expected: dict[str, str]) -> None:
    body = to_messages(tools=[TOOL], tool_choice=choice)
    assert expected == body["tool_choice"]
    assert choice == to_chat("messages", body).body["tool_choice"]


def test_a_tool_that_a_search_of_anthropics_client_has_found_is_named_in_its_result() -> None:
    found = {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "tool_reference", "tool_name": "look"}]}
    call = {"type": "tool_use", "id": "a", "name": "ToolSearch", "input": {"query": "eyes"}}
    messages = [*ASK, {"role": "assistant", "content": [call]}, {"role": "user", "content": [found]}]
    converted = convert_request("messages", "chat", {"max_tokens": 9, "messages": messages})
    assert (converted.body["messages"][-1]["content"], converted.dropped) == ("The tool look is available.", [])


def test_a_choice_of_a_tool_that_is_left_out_is_left_out_too() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    asked = {"max_tokens": 9, "messages": ASK, "tool_choice": {"type": "tool", "name": "web_search"}}
    converted = convert_request("messages", "chat", {**asked, "tools": [search, {"name": "f", "input_schema": {"type": "object"}}]})
    assert ("tool_choice" in converted.body, converted.dropped) == (False, ["tool_choice.tool", "tools.web_search_20250305"])
    alone = convert_request("messages", "chat", {**asked, "tool_choice": {"type": "any"}, "tools": [search]})
    assert ("tool_choice" in alone.body, alone.dropped) == (False, ["tool_choice", "tools.web_search_20250305"])


@pytest.mark.parametrize("target", ["chat", "responses"])
def test_names_of_tools_that_are_too_long_for_openai_are_shortened_and_told_apart(target: str) -> None:
    names = ["x" * 64, "x" * 65, "x" * 66]
    calls = [{"type": "tool_use", "id": name, "name": name, "input": {}} for name in names]
    results = [{"type": "tool_result", "tool_use_id": name, "content": "a"} for name in names]
    messages = [*ASK, {"role": "assistant", "content": calls}, {"role": "user", "content": results}]
    asked = {"max_tokens": 99, "messages": messages, "tools": [{"name": name, "input_schema": {"type": "object"}} for name in names]}
    body = convert_request("messages", target, asked).body
    sent = [tool.get("function", tool)["name"] for tool in body["tools"]]
    called = body["messages"][1]["tool_calls"] if target == "chat" else [item for item in body["input"] if item["type"] == "function_call"]
    assert [call.get("function", call)["name"] for call in called] == sent
    assert ([len(name) for name in sent], len(set(sent)), sent[0]) == ([64] * 3, 3, names[0])
    assert KnownTools.of(asked, "messages").names == dict(zip(sent[1:], names[1:], strict=True))


def test_parallel_tool_calls_are_switched_off_in_both_dialects() -> None:
    body = to_messages(tools=[TOOL], parallel_tool_calls=False)
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert False is to_chat("messages", body).body["parallel_tool_calls"]
    assert to_messages(tools=[TOOL], parallel_tool_calls=False, tool_choice="none")["tool_choice"] == {"type": "none"}  # else it is refused


def test_parallel_tool_calls_do_not_go_without_tools() -> None:
    asked = {"input": "Hi", "parallel_tool_calls": True, "tools": [{"type": "web_search"}]}
    converted = convert_request("responses", "chat", asked)
    assert (converted.body, converted.dropped) == ({"messages": ASK}, ["tools.web_search"])


def test_calls_in_the_history_bring_their_tools_along() -> None:
    body = to_messages(messages=[*LOOP, {"role": "assistant", "content": "42."}, *ASK])
    assert (body["tools"], body["tool_choice"]) == ([{"name": "f", "input_schema": {"type": "object"}}], {"type": "none"})


def test_older_functions_are_tools() -> None:
    history = [*ASK, {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}, {"role": "function", "content": "42"}]
    body = to_messages(messages=history, functions=[TOOL["function"]], function_call={"name": "f"})
    assert (body["tools"][0]["name"], body["tool_choice"]) == ("f", {"type": "tool", "name": "f"})
    assert body["messages"][1]["content"][0]["id"] == body["messages"][2]["content"][0]["tool_use_id"]


def test_neighbours_of_one_role_become_one_message_with_the_tools_results_first() -> None:
    asked = {"role": "user", "content": "And?"}
    for messages in ([*LOOP, asked], [*LOOP[:-1], asked, LOOP[-1]]):
        body = to_messages(messages=messages)
        assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
        assert [block["type"] for block in body["messages"][2]["content"]] == ["tool_result", "text"]


@pytest.mark.parametrize(
    ("effort", "limit", "budget"), [("low", 9000, 1024), ("medium", 9000, 4096), ("high", 9000, 4500), ("high", 40000, 16384), ("max", 1500, 1024)]
)
def test_an_effort_is_a_budget_below_the_limit(effort: str, limit: int, budget: int) -> None:
    assert {"type": "enabled", "budget_tokens": budget} == to_messages(reasoning_effort=effort, max_completion_tokens=limit)["thinking"]


@pytest.mark.parametrize(("budget", "effort"), [(1024, "low"), (2000, "medium"), (16000, "high"), (10**6, "high")])
def test_a_budget_is_an_effort(budget: int, effort: str) -> None:
    assert effort == to_chat("messages", {"messages": ASK, "thinking": {"type": "enabled", "budget_tokens": budget}}).body["reasoning_effort"]


@pytest.mark.parametrize(("kind", "dropped"), [("adaptive", ["thinking.adaptive"]), ("between_tools", ["thinking.between_tools"]), ("disabled", [])])
def test_thinking_without_a_budget_asks_for_no_effort_and_is_named(kind: str, dropped: list[str]) -> None:
    converted = convert_request("messages", "chat", {"max_tokens": 9, "messages": ASK, "thinking": {"type": kind}})
    assert ("reasoning_effort" in converted.body, converted.dropped) == (False, dropped)


def test_thinking_leaves_out_what_anthropic_refuses_beside_it() -> None:
    converted = from_chat("messages", {"messages": ASK, "reasoning_effort": "low", "temperature": 0.2, "top_p": 0.5, "top_k": 3})
    assert {"model", "temperature", "top_p", "top_k"}.isdisjoint(converted.body)
    assert converted.dropped == ["temperature", "top_k", "top_p"]


@pytest.mark.parametrize("fields", [{"tool_choice": "required"}, {"messages": LOOP}])
@pytest.mark.parametrize("asked", [{"reasoning_effort": "low"}, {}])
def test_thinking_is_switched_off_where_anthropic_refuses_it(fields: dict[str, Any], asked: dict[str, Any]) -> None:
    parameters = {} if asked else {"thinking": {"type": "enabled", "budget_tokens": 2000}}
    converted = from_chat("messages", {"messages": ASK, "tools": [TOOL], **asked, **fields}, parameters=parameters)
    assert converted.body["thinking"] == {"type": "disabled"}
    assert sorted(asked) == converted.dropped


OWN_WORDS = {"chat": {"messages": ASK}, "responses": {"input": "Hi"}, "messages": {"messages": ASK}}
"""A question in each dialect."""


@pytest.mark.parametrize("source", OWN_WORDS)
@pytest.mark.parametrize("thinking", [THINKS["thinking"], {"type": "adaptive"}], ids=["enabled", "adaptive"])
def test_the_candidate_s_thinking_leaves_out_of_a_request_what_anthropic_refuses_beside_it(source: str, thinking: dict[str, Any]) -> None:
    for name, value in [("temperature", 0), ("temperature", 0.5), ("top_p", 0.5), *([] if source == "responses" else [("top_k", 5)])]:
        converted = convert_request(source, "messages", {**OWN_WORDS[source], name: value}, parameters={"thinking": thinking})
        assert ({"thinking", name}.isdisjoint(converted.body), converted.dropped) == (True, [name])
    for name, value in [("temperature", 1), ("top_p", 0.95)]:
        converted = convert_request(source, "messages", {**OWN_WORDS[source], name: value}, parameters={"thinking": thinking})
        assert (converted.body[name], converted.dropped) == (value, [])


@pytest.mark.parametrize(("source", "limit"), [("chat", "max_tokens"), ("responses", "max_output_tokens"), ("messages", "max_tokens")])
def test_the_candidate_s_thinking_is_switched_off_where_the_limit_has_no_room_for_it(source: str, limit: str) -> None:
    for tokens, thinking in [(500, {"type": "disabled"}), (2000, {"type": "disabled"}), (2001, None)]:
        body = convert_request(source, "messages", {**OWN_WORDS[source], limit: tokens}, parameters=THINKS).body
        assert (body["max_tokens"], body.get("thinking")) == (tokens, thinking)


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "any"}},
        {"messages": [*ASK, {"role": "assistant", "content": "The answer is"}]},
        {"messages": from_chat("messages", {"messages": LOOP}).body["messages"]},
    ],
    ids=["a forced tool", "a prefilled answer", "a tool loop without thinking"],
)
def test_the_candidate_s_thinking_is_switched_off_in_anthropic_s_own_dialect_too(fields: dict[str, Any]) -> None:
    asked = {"max_tokens": 9000, "temperature": 0.5, "messages": ASK, **fields}
    assert convert_request("messages", "messages", asked, parameters=THINKS).body == {**asked, "thinking": {"type": "disabled"}}
    assert convert_request("messages", "messages", asked).body == asked


def test_a_request_of_anthropic_s_dialect_with_thinking_of_its_own_passes_unchanged() -> None:
    for thinking in (*THINKS.values(), {"type": "disabled"}):
        asked = {"max_tokens": 500, "temperature": 0.5, "messages": ASK, "thinking": thinking}
        converted = convert_request("messages", "messages", asked, parameters=THINKS)
        assert (converted.body, converted.dropped) == (asked, [])


@pytest.mark.parametrize("dialect", ["chat", "messages"])
def test_a_candidates_temperature_replaces_the_top_p_of_a_request(dialect: str) -> None:
    asked = {"max_tokens": 500, "top_p": 0.5, "messages": ASK}
    converted = convert_request(dialect, "messages", asked, parameters={"temperature": 0.2})
    assert "top_p" not in converted.body
    assert converted.dropped == ["top_p"]


@pytest.mark.parametrize(
    ("parameters", "sent"),
    [
        ({"temperature": 0.2}, {}),
        ({"top_p": 0.5, "top_k": 5}, {}),
        ({"temperature": 1, "top_p": 0.99}, {"temperature": 1, "top_p": 0.99}),
    ],
)
def test_sampling_of_the_candidate_that_anthropic_refuses_beside_the_request_s_thinking_is_left_out(
    parameters: dict[str, Any], sent: dict[str, Any]
) -> None:
    body = {"max_tokens": 9000, "messages": ASK, **THINKS}
    candidate = ModelSpec("m", parameters=parameters)
    assert json.loads(RequestBody(candidate, WireRequest(api="messages", body=body)).data("m")) == {**body, **sent, "model": "m"}
    plain = {"max_tokens": 9000, "messages": ASK}
    thinker = ModelSpec("m", parameters={**parameters, **THINKS})
    assert json.loads(RequestBody(thinker, WireRequest(api="messages", body=plain)).data("m")) == {**plain, **sent, **THINKS, "model": "m"}
    assert json.loads(RequestBody(candidate, WireRequest(api="messages", body=plain)).data("m")) == {**plain, **parameters, "model": "m"}


@pytest.mark.parametrize(
    "parameters", [{"thinking": {"type": "enabled", "budget_tokens": 2000}}, {"reasoning_effort": "high"}, {"reasoning": {"effort": "high"}}]
)
def test_the_effort_of_the_candidate_goes_before_a_converted_one(parameters: dict[str, Any]) -> None:
    asked = {"messages": ASK, "max_tokens": 3000, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    for target in ("chat", "responses"):
        converted = convert_request("messages", target, asked, parameters=parameters)
        assert {"reasoning_effort", "reasoning", "thinking"}.isdisjoint(converted.body)
        assert converted.dropped == ["reasoning_effort"]


def test_a_tool_loop_with_its_signed_thinking_goes_on_thinking() -> None:
    for carried in ("messages", "responses"):
        loop = [LOOP[0], {**LOOP[1], "thinking_blocks": [THOUGHT]}, LOOP[2]]
        chat = to_chat(carried, from_chat(carried, {"messages": loop, "tools": [TOOL]}).body).body
        body = from_chat("messages", {**chat, "reasoning_effort": "low"}).body
        assert body["messages"][1]["content"][0] == THOUGHT
        assert body["thinking"]["type"] == "enabled"


def test_a_limit_is_the_requests_else_the_candidates_else_the_default() -> None:
    assert from_chat("messages", {"messages": ASK, "max_tokens": 5}, parameters={"max_tokens": 7}).body["max_tokens"] == 5
    assert from_chat("messages", {"messages": ASK}, parameters={"max_tokens": 7}).body["max_tokens"] == 7
    assert from_chat("messages", {"messages": ASK}, max_tokens=9).body["max_tokens"] == 9
    assert from_chat("messages", {"messages": ASK}, max_tokens=9, parameters=THINKS).body["max_tokens"] == 2009  # the budget is part of the limit


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_tokens": 5, "max_completion_tokens": 9}, {"max_tokens": 9}),
        ({"user": "anna", "safety_identifier": "a1"}, {"metadata": {"user_id": "a1"}}),
        ({"stop": [" ", "x"]}, {"stop_sequences": ["x"]}),
    ],
)
def test_of_two_fields_or_values_anthropic_gets_the_one_that_it_accepts(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert to_messages(**fields).items() >= expected.items()


def test_a_schema_crosses_between_all_three() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    body = to_messages(response_format=form)
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": schema}}
    assert form == to_chat("messages", body).body["response_format"]
    assert form == to_chat("responses", from_chat("responses", {"messages": ASK, "response_format": form}).body).body["response_format"]


def test_the_older_name_of_the_format_of_an_answer_is_known() -> None:
    form = {"type": "json_schema", "schema": {"type": "object", "additionalProperties": False}}
    older, newer = ({"max_tokens": 9, "messages": ASK, **fields} for fields in ({"output_format": form}, {"output_config": {"format": form}}))
    assert convert_request("messages", "chat", older) == convert_request("messages", "chat", newer)
    assert conversation_of("messages", older).json


def test_json_without_a_schema_is_asked_for_in_words() -> None:
    converted = from_chat("messages", {"messages": ASK, "response_format": {"type": "json_object"}})
    assert "JSON" in converted.body["system"]
    assert converted.dropped == ["response_format.json_object"]


def test_a_temperature_above_anthropics_maximum_is_lowered_and_named() -> None:
    converted = from_chat("messages", {"messages": ASK, "temperature": 1.5})
    assert (converted.body["temperature"], converted.dropped) == (1.0, ["temperature"])


def test_plain_chat_has_no_extensions(requests: dict[str, Any]) -> None:
    body = convert_request("messages", "chat", requests["messages"]).body
    written = str(body)
    assert not any(name in written for name in ("cache_control", "thinking_blocks", "reasoning_content", "top_k"))
    assert body["messages"][0]["content"] == "Be brief."
    assert {"type": "file", "file": {"filename": "d", "file_data": "data:application/pdf;base64,aGk="}} in body["messages"][1]["content"]


@pytest.mark.parametrize("target", ["chat", "responses"])
def test_the_bill_before_claude_codes_system_prompt_differs_in_each_request_and_is_for_anthropic_alone(target: str) -> None:
    bill = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.100.7b4; cc_entrypoint=cli; cch=eb6c6;"}
    prompt = {"type": "text", "text": "You code."}
    body = {"max_tokens": 99, "messages": [{"role": "user", "content": [bill]}]}
    for others in ([prompt], []):
        converted = convert_request("messages", target, {**body, "system": [bill, *others]})
        assert converted == convert_request("messages", target, {**body, "system": others})
    assert bill["text"] in str(converted.body)  # a person's words


def test_an_image_in_a_tools_result_moves_to_a_users_message() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "see"}, image]}
    call = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "look", "input": {}}]}
    _, *messages = convert_request("messages", "chat", {"messages": [call, {"role": "user", "content": [result]}]}).body["messages"]
    assert messages[0] == {"role": "tool", "tool_call_id": "t", "content": "see"}
    assert messages[1]["content"][0]["image_url"]["url"] == "https://example.com/a.png"


def test_streams_of_the_other_dialects_always_have_usage() -> None:
    for dialect, body in (("messages", {"messages": ASK}), ("responses", {"input": "Hi"})):
        assert to_chat(dialect, {**body, "stream": True}).body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("name", ["previous_response_id", "conversation", "prompt"])
def test_a_conversation_that_lies_at_another_server_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=f"{name} cannot be used here.*send all of it as input"):
        convert_request("responses", "chat", {"input": "And?", name: "x"})


def test_logprobs_cross_to_responses_and_back() -> None:
    body = from_chat("responses", {"messages": ASK, "logprobs": True, "top_logprobs": 3}).body
    assert (body["include"], body["top_logprobs"]) == (["message.output_text.logprobs"], 3)
    assert True is to_chat("responses", body).body["logprobs"]


def test_a_conversation_becomes_a_transcript_for_completions() -> None:
    assert from_chat("completions", {"messages": ASK}).body["prompt"] == "Hi"
    prompt = from_chat("completions", {"messages": [{"role": "system", "content": "Be brief."}, *ASK]}).body["prompt"]
    assert prompt == "System: Be brief.\n\nUser: Hi\n\nAssistant:"


def test_a_refusal_in_the_history_is_text() -> None:
    refused = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    for dialect in ("messages", "responses"):
        body = from_chat(dialect, {"messages": [*ASK, refused, *ASK]}).body
        assert to_chat(dialect, body).body["messages"][1]["content"] == "No."


def test_the_same_dialect_is_left_alone(requests: dict[str, Any]) -> None:
    for dialect, body in requests.items():
        assert body == convert_request(dialect, dialect, body).body


@pytest.mark.parametrize(
    ("api", "parameters", "body", "sent"),
    [
        ("chat", {"max_tokens": 500}, {}, {"max_completion_tokens": 500}),
        ("chat", {"max_tokens": 500}, {"max_tokens": 100}, {"max_completion_tokens": 100}),
        ("chat", {"max_tokens": 500}, {"max_completion_tokens": 100}, {"max_completion_tokens": 100}),
        ("chat", {"max_completion_tokens": 500, "seed": 1}, {"max_tokens": 100}, {"max_completion_tokens": 100, "seed": 1}),
        ("responses", {"max_tokens": 500, "reasoning_effort": "high"}, {}, {"max_output_tokens": 500, "reasoning": {"effort": "high"}}),
        (
            "responses",
            {"max_tokens": 500, "reasoning": {"effort": "low"}},
            {"max_output_tokens": 9},
            {"max_output_tokens": 9, "reasoning": {"effort": "low"}},
        ),
        ("embeddings", {"max_tokens": 500}, {}, {}),
        (
            "completions",
            {"max_completion_tokens": 500, "tools": [TOOL], "reasoning_effort": "high", "store": True, "top_k": 5},
            {},
            {"max_tokens": 500, "top_k": 5},
        ),
        ("completions", {"max_completion_tokens": 500, "logit_bias": {"1": 1}}, {"max_tokens": 9}, {"max_tokens": 9, "logit_bias": {"1": 1}}),
        ("completions", {"length_penalty": 0.9, "typical_p": 0.8}, {}, {"length_penalty": 0.9, "typical_p": 0.8}),
    ],
)
def test_a_candidate_s_parameters_are_sent_in_the_words_of_the_api_and_a_request_s_limit_replaces_theirs(
    provider: Any, api: str, parameters: Any, body: Any, sent: Any
) -> None:
    candidate = ModelSpec("m", parameters=parameters)
    request = provider("openai")._adapted(candidate, WireRequest(api=api, body=body))
    assert json.loads(RequestBody(candidate, request).data("m")) == {**sent, "model": "m"}


@pytest.mark.parametrize(
    ("source", "asked"), [("messages", {"thinking": {"type": "enabled", "budget_tokens": 4096}}), ("chat", {"reasoning_effort": "high"})]
)
def test_a_model_that_does_not_reason_is_asked_for_no_effort(source: str, asked: dict[str, Any]) -> None:
    body = {"model": "plain", "max_tokens": 9000, "messages": [{"role": "user", "content": "Hello"}], **asked}
    target = "messages" if source == "chat" else "chat"
    plain, reasoning = convert_request(source, target, body, reasons=False), convert_request(source, target, body)
    name = "thinking" if target == "messages" else "reasoning_effort"
    assert name in reasoning.body
    assert name not in plain.body
    assert plain.dropped == ["reasoning_effort"]


def refused_by_anthropic(body: dict[str, Any]) -> str:
    """Return why Anthropic's API would refuse the messages of a request; "" if it would not."""
    messages = [
        {**each, "content": [{"type": "text", "text": each["content"]}] if isinstance(each["content"], str) else each["content"]}
        for each in body["messages"]
    ]
    if [each["role"] for each in messages] != [("user", "assistant")[index % 2] for index in range(len(messages))] or not messages:
        return "roles do not alternate from user"
    texts = [block["text"] for each in messages for block in each["content"] if block["type"] == "text"]
    if not all(text.strip() for text in texts) or not all(each["content"] for each in messages):
        return "empty content"
    last = messages[-1]["content"][-1]
    if messages[-1]["role"] == "assistant" and (last["type"] != "text" or last["text"] != last["text"].rstrip()):
        return "white space at the end of a prefilled answer"
    called: list[str] = []
    for each in messages:
        if called != [block["tool_use_id"] for block in each["content"] if block["type"] == "tool_result"]:
            return "calls without results"
        called = [block["id"] for block in each["content"] if block["type"] == "tool_use"]
    return ""


def called(*ids: str, content: str | None = None) -> dict[str, Any]:
    calls = [{"id": each, "type": "function", "function": {"name": "f", "arguments": "{}"}} for each in ids]
    return {"role": "assistant", "content": content, "tool_calls": calls}


def result(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "42"}


SYSTEM, HELLO = {"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "Hello."}


@pytest.mark.parametrize(
    ("messages", "roles"),
    [
        ([SYSTEM], "u"),
        ([{"role": "user", "content": ""}], "u"),
        ([{"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": " "}]}], "u"),
        ([SYSTEM, HELLO, *ASK], "uau"),
        ([HELLO], "ua"),
        ([*ASK, HELLO, {"role": "user", "content": " "}], "uau"),
        ([*ASK, HELLO, SYSTEM], "uau"),
        ([*ASK, *ASK, HELLO, HELLO, *ASK], "uau"),
        ([*ASK, {"role": "assistant", "content": "The answer is \n"}], "ua"),
        ([*ASK, {"role": "assistant", "content": [{"type": "text", "text": "The answer "}, {"type": "text", "text": "is "}]}], "ua"),
        ([*ASK, {"role": "assistant", "content": "\n\n"}, *ASK], "u"),
        ([*ASK, called("a", content="\n\n"), result("a")], "uau"),
        ([*ASK, called("a", "b"), result("a"), result("b")], "uau"),
        ([*ASK, called("a"), called("b"), result("a"), result("b")], "uauau"),
        ([*ASK, called("a"), *ASK, result("a")], "uau"),
        ([*ASK, called("a"), result("a"), called("a"), result("a")], "uauau"),
    ],
)
def test_a_conversation_in_a_form_that_anthropic_refuses_gets_one_that_it_accepts(messages: list[dict[str, Any]], roles: str) -> None:
    body = to_messages(messages=messages)
    assert refused_by_anthropic(body) == ""
    assert roles == "".join(each["role"][0] for each in body["messages"])


@pytest.mark.parametrize("target", ["chat", "messages", "responses"])
@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([*ASK, result("a")], "the tool result 'a' answers no tool call"),
        ([*ASK, called("a"), result("a"), result("a")], "the tool call 'a' has more than one result; leave out"),
        ([*ASK, called("a", "b"), result("b")], "the tool call 'a' has no result"),
        ([*ASK, called("a")], "the tool call 'a' has no result"),
    ],
)
def test_a_tool_result_without_its_call_and_a_call_without_its_result_are_refused(target: str, messages: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        from_chat(target, {"messages": messages})


def test_an_id_that_calls_have_in_common_is_numbered_for_anthropic() -> None:
    function = {"name": "f", "arguments": "{}"}
    results = [{"role": "tool", "tool_call_id": "call_1", "content": content} for content in "ab"]
    twice = {**LOOP[1], "tool_calls": LOOP[1]["tool_calls"] * 2}
    older = [{"role": "assistant", "function_call": function}, {"role": "function", "name": "f", "content": "c"}]
    messages = to_messages(messages=[*LOOP, twice, *results, *older, *older])["messages"]
    blocks = [block for message in messages if isinstance(message["content"], list) for block in message["content"]]
    assert [block["id"] for block in blocks if block["type"] == "tool_use"] == ["call_1", "call_1_2", "call_1_3", "call_0", "call_0_2"]
    answered = [(block["tool_use_id"], block["content"]) for block in blocks if block["type"] == "tool_result"]
    assert answered == [("call_1", "42"), ("call_1_2", "a"), ("call_1_3", "b"), ("call_0", "c"), ("call_0_2", "c")]
    *_, last = to_messages(messages=LOOP * 10_000)["messages"]  # takes a moment, not minutes
    assert last["content"][0]["tool_use_id"] == "call_1_10000"


def test_a_message_between_a_call_and_its_result_in_responses_comes_after_the_result_in_the_other_dialects() -> None:
    items = [
        {"role": "user", "content": "Hi"},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"role": "user", "content": "Hurry."},
        {"type": "function_call_output", "call_id": "a", "output": "42"},
    ]
    chat = convert_request("responses", "chat", {"input": items}).body["messages"]
    assert [each["role"] for each in chat] == ["user", "assistant", "tool", "user"]
    assert refused_by_anthropic(convert_request("responses", "messages", {"input": items}).body) == ""


def test_temperature_and_top_p_do_not_go_to_anthropic_together() -> None:
    converted = from_chat("messages", {"messages": ASK, "temperature": 0.5, "top_p": 0.9})
    assert ("temperature" in converted.body, "top_p" in converted.body, converted.dropped) == (True, False, ["top_p"])
    assert to_messages(top_p=0.9)["top_p"] == 0.9


@pytest.mark.parametrize(("asked", "of_the_candidate"), [("top_p", "temperature"), ("temperature", "top_p")])
def test_nor_does_one_go_where_the_candidate_s_parameters_have_the_other(asked: str, of_the_candidate: str) -> None:
    converted = from_chat("messages", {"messages": ASK, asked: 0.5}, parameters={of_the_candidate: 0.2})
    assert (asked in converted.body, converted.dropped) == (False, [asked])


@pytest.mark.parametrize("user", ["anna@example.com", "+49 170 1234567", "x" * 257])
def test_an_id_of_a_user_that_anthropic_refuses_is_left_out_and_named(user: str) -> None:
    converted = from_chat("messages", {"messages": ASK, "user": user})
    assert ("metadata" in converted.body, converted.dropped) == (False, ["user"])


def test_a_schema_of_a_tool_without_a_type_gets_the_one_that_anthropic_requires() -> None:
    for parameters in ({}, {"properties": {}}, None):
        tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
        assert to_messages(tools=[tool])["tools"][0]["input_schema"]["type"] == "object"


@pytest.mark.parametrize(
    ("fields", "limit", "dropped"),
    [
        ({"max_tokens": 5}, 16, ["max_tokens"]),
        ({"max_completion_tokens": 5, "max_tokens": 50}, 16, ["max_completion_tokens"]),
        ({"max_completion_tokens": None, "max_tokens": 50}, 50, []),
    ],
)
def test_a_limit_below_the_minimum_of_responses_is_raised_and_named(fields: dict[str, Any], limit: int, dropped: list[str]) -> None:
    converted = from_chat("responses", {"messages": ASK, **fields})
    assert (converted.body["max_output_tokens"], converted.dropped) == (limit, dropped)


@pytest.mark.parametrize("target", ["messages", "responses"])
def test_a_tool_choice_of_null_leaves_an_older_function_call_its_effect(target: str) -> None:
    asked = {"messages": ASK, "functions": [TOOL["function"]], "function_call": {"name": "f"}, "tool_choice": None}
    assert from_chat(target, asked).body["tool_choice"]["name"] == "f"


@pytest.mark.parametrize("given", ["image/jpeg", "image/png", "application/octet-stream"])
@pytest.mark.parametrize(("data", "kind"), [("iVBORw0KGgoAAAA=", "png"), ("/9j/4AAQ", "jpeg"), ("R0lGODlh", "gif"), ("UklGRiQAAABXRUJQ", "webp")])
def test_an_image_has_its_own_type_for_anthropic_whatever_its_client_says(given: str, data: str, kind: str) -> None:
    part = {"type": "image_url", "image_url": {"url": f"data:{given};base64,{data}"}}
    (block,) = to_messages(messages=[{"role": "user", "content": [part]}])["messages"][0]["content"]
    assert block["source"] == {"type": "base64", "media_type": f"image/{kind}", "data": data}


def test_images_and_texts_have_the_media_types_that_anthropic_accepts() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,aGk="}},
        {"type": "file", "file": {"filename": "a.md", "file_data": "data:text/markdown;base64,aGk="}},
        {"type": "file", "file": {"file_data": "data:application/json;base64,aGk="}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk="}},
    ]
    sources = [block["source"] for block in to_messages(messages=[{"role": "user", "content": parts}])["messages"][0]["content"]]
    assert sources == [
        {"type": "base64", "media_type": "image/jpeg", "data": "aGk="},
        *[{"type": "text", "media_type": "text/plain", "data": "hi"}] * 2,
        {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
    ]


@pytest.mark.parametrize("media_type", ["text/csv", "application/json", "application/octet-stream"])
def test_a_file_that_is_neither_pdf_nor_utf_8_text_is_left_out_and_named(media_type: str) -> None:
    words = {"type": "text", "text": "What is this?"}
    for data in ("/w==", "a"):
        file = {"type": "file", "file": {"file_data": f"data:{media_type};base64,{data}"}}
        converted = from_chat("messages", {"messages": [{"role": "user", "content": [words, file]}]})
        assert (converted.body["messages"], converted.dropped) == ([{"role": "user", "content": "What is this?"}], ["file.file_data"])
        with pytest.raises(DataError, match=r"messages\[0\]\.content has no part that Anthropic's models read"):
            to_messages(messages=[{"role": "user", "content": [file]}])


@pytest.mark.parametrize("part", [{"type": "input_image", "file_id": "file_1"}, {"type": "input_file", "file_url": "https://example.com/a.pdf"}])
def test_a_message_of_responses_with_nothing_but_stored_files_is_refused(part: dict[str, Any]) -> None:
    both = {"role": "user", "content": [part, {"type": "input_text", "text": "What is this?"}]}
    assert f"content.{part['type']}" in convert_request("responses", "chat", {"input": [both]}).dropped
    with pytest.raises(DataError, match=r"input\[0\]\.content has no part that can be sent to this model"):
        convert_request("responses", "chat", {"input": [{"role": "user", "content": [part]}]})


@pytest.mark.parametrize("source", [{"type": "url", "url": "https://example.com/a.pdf"}, {"type": "file", "file_id": "file_1"}])
def test_a_message_of_messages_with_nothing_but_stored_files_is_refused(source: dict[str, Any]) -> None:
    document = {"type": "document", "source": source}
    result = {"type": "tool_result", "tool_use_id": "a", "content": "42"}
    call = {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}
    for both in ([*ASK, call, {"role": "user", "content": [result, document]}], [{"role": "user", "content": []}]):
        convert_request("messages", "responses", {"messages": both})
    with pytest.raises(DataError, match=r"messages\[1\]\.content has no part that can be sent to this model"):
        convert_request("messages", "responses", {"messages": [*ASK, {"role": "user", "content": [document]}]})


def test_a_message_without_text_is_refused_for_completions() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    with pytest.raises(DataError, match=r"messages\[0\]\.content has no part that can be sent to this model"):
        from_chat("completions", {"messages": [{"role": "user", "content": [image]}]})


@pytest.mark.parametrize("after", [[{"role": "user", "content": "And?"}], []])
def test_reasoning_of_responses_without_what_follows_it_is_named(after: list[dict[str, Any]]) -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sig"}
    assert convert_request("responses", "messages", {"input": [*ASK, thought, *after]}).dropped == ["content.thinking"]


def test_a_call_without_arguments_has_an_empty_object_in_responses() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    history = [*ASK, {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "a", "content": "42"}]
    assert from_chat("responses", {"messages": history}).body["input"][1]["arguments"] == "{}"
