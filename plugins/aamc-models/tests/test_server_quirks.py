"""What servers of chat do not understand, and the fields that the options of an endpoint leave out."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from aamc_models.dialects import convert_request
from aamc_models.dialects.conversations.reminders import with_reminders
from aamc_models.providers.server_quirks import quirks_of
from aamc_models.transport.request_body import RequestBody

from aamc_sdk import ModelSpec
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import WireRequest

ASK: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
LOCAL = "http://127.0.0.1:9/v1"
AZURE = "https://mine.openai.azure.com/openai/v1"


def sent(endpoint: Any, body: dict[str, Any], parameters: Any = (), api: str = "chat", *, is_converted: bool = False, name: str = "m") -> Any:
    """Return the body that a server gets, without the name of its model."""
    candidate = ModelSpec(name, parameters=dict(parameters))
    adapted = endpoint._adapted(candidate, WireRequest(api=api, body=body, is_converted=is_converted))
    return {name: value for name, value in json.loads(RequestBody(candidate, adapted, endpoint._omitted).data("m")).items() if name != "model"}


@pytest.mark.parametrize(
    ("options", "parameters", "expected"),
    [
        ({}, {}, {"max_tokens": 5}),
        ({}, {"max_tokens": 500}, {"max_tokens": 5}),
        ({}, {"max_completion_tokens": 500}, {"max_completion_tokens": 5}),
        ({"limit_field": "max_completion_tokens"}, {}, {"max_completion_tokens": 5}),
        ({"base_url": "https://api.openai.com/v1"}, {}, {"max_completion_tokens": 5}),
        ({"base_url": AZURE}, {}, {"max_completion_tokens": 5}),
        ({"base_url": "https://eu.api.openai.com/v1"}, {}, {"max_completion_tokens": 5}),
        ({"model": "openai/gpt-5.5"}, {}, {"max_completion_tokens": 5}),
        ({"model": "gpt-oss:20b"}, {}, {"max_tokens": 5}),
        ({"base_url": "https://api.openai.com.example.com/v1"}, {}, {"max_tokens": 5}),
        ({"base_url": AZURE, "limit_field": "max_tokens"}, {}, {"max_tokens": 5}),
    ],
)
@pytest.mark.parametrize("given", [{"max_tokens": 5}, {"max_completion_tokens": 5}, {"max_tokens": 9, "max_completion_tokens": 5}])
def test_the_limit_of_an_answer_has_the_one_name_that_the_server_knows(
    provider: Any, options: Any, parameters: Any, given: Any, expected: Any
) -> None:
    endpoint = provider("openai", **{"base_url": LOCAL, **options})
    assert sent(endpoint, {"messages": ASK, **given}, parameters) == {"messages": ASK, **expected}


@pytest.mark.parametrize(
    ("model", "is_openai"),
    [
        *[(name, True) for name in ("gpt-4o", "GPT-5", "gpt-35-turbo", "chatgpt-4o-latest", "ft:gpt-4o:acme::1", "o3", "azure/eu/gpt-5.5")],
        *[(name, True) for name in ("gpt-6-luna", "openai/gpt-6.1-terra", "gpt-10")],
        ("gpt-20b", False),
        *[(name, False) for name in ("gpt-oss-20b", "gpt-neox-20b", "me/gpt-j-6b", "gpt-4all", "o1ive", "ft:open-mistral-7b", "me/gpt-4o-distil")],
    ],
)
def test_openais_models_are_known_by_their_names(model: str, is_openai: bool) -> None:
    assert quirks_of((LOCAL,), (model,)).is_openai is is_openai
    assert not quirks_of((LOCAL,), (model, "llama")).is_openai


def test_only_openais_models_get_the_role_of_developers(provider: Any) -> None:
    item = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]}
    body = convert_request("responses", "chat", {"input": [item, *ASK]}).body
    assert body == {"messages": [{"role": "developer", "content": "Be brief."}, *ASK]}
    assert sent(provider("openai"), body) == body
    assert sent(provider("openai", base_url=LOCAL), body) == {"messages": [{"role": "system", "content": "Be brief."}, *ASK]}


def test_instructions_and_messages_of_developers_are_one_system_prompt_for_open_models(provider: Any) -> None:
    developer = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]}
    asked = [developer, *ASK, {**developer, "content": "Now."}, *ASK]
    body = convert_request("responses", "chat", {"instructions": "You code.", "input": asked}).body
    later = [*ASK, {"role": "system", "content": "Now."}, *ASK]
    reminded = [{"role": "user", "content": f"Hi\n\n{REMINDER}\n\nHi"}]
    prompt = {"role": "system", "content": "You code.\n\nBe brief."}
    assert sent(provider("openai", base_url=LOCAL), body, is_converted=True)["messages"] == [prompt, *reminded]
    assert sent(provider("openai"), body, is_converted=True) == body
    own = [{"role": "system", "content": "You code."}, {"role": "system", "content": "Be brief."}, *later]
    assert sent(provider("openai", base_url=LOCAL), {"messages": own})["messages"] == own  # a client's own messages pass
    parts = {"role": "system", "content": [{"type": "text", "text": "a"}]}
    kept = [parts, parts, *ASK]
    assert sent(provider("openai", base_url=LOCAL), {"messages": kept}, is_converted=True)["messages"] == kept


REMINDER = "<system-reminder>\nNow.\n</system-reminder>"
SYSTEM = {"role": "system", "content": "Now."}
ANSWER = {"role": "assistant", "content": "a"}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([*ASK, SYSTEM], [{"role": "user", "content": f"Hi\n\n{REMINDER}"}]),
        ([*ASK, ANSWER, SYSTEM, *ASK], [*ASK, ANSWER, {"role": "user", "content": f"{REMINDER}\n\nHi"}]),
        ([*ASK, SYSTEM, SYSTEM, ANSWER], [{"role": "user", "content": f"Hi\n\n{REMINDER}\n\n{REMINDER}"}, ANSWER]),
        ([*ASK, *ASK, {"role": "system", "content": []}], [*ASK, *ASK]),
        (
            [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, {"role": "system", "content": [{"type": "text", "text": "Now."}]}],
            [{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": REMINDER}]}],
        ),
        ([*ASK, 5, {"role": "system", "content": 5}, {"role": "user"}], [*ASK, 5, {"role": "user", "content": []}, {"role": "user"}]),
    ],
)
def test_a_later_message_of_the_system_is_a_reminder_for_models_that_refuse_it(provider: Any, messages: list[Any], expected: list[Any]) -> None:
    """Claude Code writes one into each conversation, for whatever model."""
    prompt = {"role": "system", "content": "Be brief."}
    body = {"messages": [prompt, *messages]}
    assert sent(provider("openai", base_url=LOCAL), body, is_converted=True)["messages"] == [prompt, *expected]
    assert sent(provider("openai"), body, is_converted=True) == sent(provider("openai", base_url=LOCAL), body) == body
    for model, refuses in (("claude-haiku-4-5", True), ("deepseek", True), ("claude-opus-4-8", False), ("claude-opus-5-5", False)):
        for api in ("messages", "count_tokens"):
            adapted = sent(provider("anthropic"), {"messages": messages}, api=api, name=model)
            assert adapted["messages"] == (expected if refuses else messages)


@pytest.mark.parametrize("content", ["a", [{"type": "text", "text": "a"}]])
def test_many_messages_of_the_system_are_joined_at_once(content: Any) -> None:
    (joined,) = with_reminders([*ASK, *[{"role": "system", "content": content}] * 100_000])  # takes a moment, not minutes
    assert str(joined["content"]).count("<system-reminder>") == 100_000


@pytest.mark.parametrize(
    ("options", "keeps"),
    [({}, True), ({"base_url": AZURE}, True), ({"base_url": LOCAL, "model": "openai/gpt-5"}, True), ({"base_url": LOCAL}, False)],
)
def test_fields_of_openais_own_models_reach_no_other_model(provider: Any, options: Any, keeps: bool) -> None:
    own = {"prompt_cache_key": "k", "prompt_cache_retention": "24h", "safety_identifier": "a"}
    converted = convert_request("responses", "chat", {"input": "Hi", "text": {"verbosity": "low"}, **own})
    own["verbosity"] = "low"
    assert (converted.body, converted.dropped) == ({"messages": ASK, **own}, [])
    endpoint = provider("openai", **options)
    request = WireRequest(api="chat", body=converted.body, is_converted=True)
    assert endpoint._adapted(ModelSpec("m"), request).body == {"messages": ASK, **(own if keeps else {})}
    assert list(endpoint.dropped(ModelSpec("m"), request)) == ([] if keeps else sorted(own))
    assert sent(endpoint, converted.body) == converted.body  # a client's own body passes
    assert sent(endpoint, {"messages": ASK}, {"verbosity": "low"}) == {"messages": ASK, "verbosity": "low"}  # the pool file knows best


def test_omitted_fields_are_not_sent_but_reported(provider: Any) -> None:
    endpoint = provider("openai", base_url=LOCAL, omit_fields=["user", "stream_options", "seed"])
    body = {"messages": ASK, "user": "anna", "stream_options": {"include_usage": True}}
    assert sent(endpoint, body, {"seed": 7, "top_p": 0.5}) == {"messages": ASK, "top_p": 0.5}
    assert list(endpoint.dropped(ModelSpec("m"), WireRequest(api="chat", body=body))) == ["user"]
    assert sent(endpoint, {"input": "Hi", "user": "anna"}, api="embeddings") == {"input": "Hi"}


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_the_limit_of_an_answer_cannot_be_omitted(provider: Any, limit: str) -> None:
    with pytest.raises(ConfigError, match=f"omit_fields must not have {limit}, on which budgets rely; name the server's own field with limit_field"):
        provider("openai", omit_fields=["user", limit])


@pytest.mark.parametrize(
    ("address", "model", "needs"),
    [
        (LOCAL, "mistral-large-latest", True),
        (LOCAL, "Devstral-Small", True),
        (LOCAL, "mixtral-8x7b", True),
        ("https://api.mistral.ai/v1", "writer", True),
        ("https://australiaeast.openai.azure.com/v1", "gpt-5", False),
    ],
)
def test_mistrals_models_need_short_ids_of_tool_calls(address: str, model: str, needs: bool) -> None:
    assert quirks_of((address,), ("llama", model)).needs_short_ids is needs


def tool_loop(*ids: str) -> list[dict[str, Any]]:
    calls = [{"id": each, "type": "function", "function": {"name": "f", "arguments": "{}"}} for each in ids]
    results = [{"role": "tool", "tool_call_id": each, "content": "a"} for each in ids]
    return [*ASK, {"role": "assistant", "content": None, "tool_calls": calls}, *results]


def test_a_call_and_its_result_have_the_same_short_id(provider: Any) -> None:
    endpoint = provider("openai", base_url="https://api.mistral.ai/v1")
    messages = tool_loop("call_abcdefghij0123456789", "functions.f:0", "D681PevKs")
    short = sent(endpoint, {"messages": messages})["messages"]
    called = [call["id"] for call in short[1]["tool_calls"]]
    assert called == [message["tool_call_id"] for message in short[2:]]
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", each) for each in called)
    assert called[2] == "D681PevKs"
    assert len(set(called)) == 3
    assert sent(endpoint, {"messages": short})["messages"] == short
    assert sent(provider("openai", base_url=LOCAL), {"messages": messages})["messages"] == messages


@pytest.mark.parametrize("options", [{}, {"base_url": AZURE}, {"base_url": LOCAL, "model": "openai/gpt-5"}])
def test_openais_models_get_no_id_of_a_call_that_is_longer_than_they_accept(provider: Any, options: Any) -> None:
    messages = tool_loop(f"chatcmpl-tool-{'0' * 32}", f"chatcmpl-tool-{'1' * 32}", "a" * 40)
    received = sent(provider("openai", **options), {"messages": messages})["messages"]
    called = [call["id"] for call in received[1]["tool_calls"]]
    assert called == [message["tool_call_id"] for message in received[2:]]
    assert [len(each) <= 40 for each in called] == [True] * 3
    assert (len(set(called)), called[2]) == (3, "a" * 40)


def test_mistrals_servers_get_no_reasoning_that_they_refuse(provider: Any) -> None:
    messages = [*ASK, {"role": "assistant", "content": "a", "reasoning_content": "b"}, *ASK]
    received = sent(provider("openai", base_url="https://api.mistral.ai/v1"), {"messages": messages})["messages"]
    assert received == [*ASK, {"role": "assistant", "content": "a"}, *ASK]


@pytest.mark.parametrize("messages", ["Hi", None, [5], [{"role": "assistant", "tool_calls": 5}], [{"tool_calls": [5, {"id": 5}]}]])
def test_messages_in_a_wrong_form_are_for_the_server_to_refuse(messages: Any) -> None:
    for address, model in (("https://api.mistral.ai/v1", "m"), (LOCAL, "gemini-3"), ("https://api.openai.com/v1", "m")):
        assert quirks_of((address,), (model,)).adapted(messages) == messages


SIGNED = {"extra_content": {"google": {"thought_signature": "SIG"}}}
UNSIGNED = {"extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}}


@pytest.mark.parametrize(
    ("model", "needs"),
    [
        *[(name, True) for name in ("gemini-3-flash", "google/gemini-3.1-pro", "gemini-flash-latest", "Gemini-10-pro")],
        *[(name, False) for name in ("gemini-2.5-pro", "gemini-1.5-flash", "gemini-2-flash", "gemma-3", "llama")],
    ],
)
def test_the_first_call_of_a_message_without_its_signature_gets_that_which_gemini_accepts(provider: Any, model: str, needs: bool) -> None:
    endpoint = provider("openai", base_url=LOCAL, model=model)
    unsigned, signed = tool_loop("a", "b"), tool_loop("a", "b")
    signed[1]["tool_calls"][0] |= SIGNED
    first, second = sent(endpoint, {"messages": unsigned})["messages"][1]["tool_calls"]
    assert (first, second) == ({**unsigned[1]["tool_calls"][0], **(UNSIGNED if needs else {})}, unsigned[1]["tool_calls"][1])
    assert sent(endpoint, {"messages": signed})["messages"] == signed
    unsigned[1]["reasoning_details"] = [{"type": "reasoning.encrypted", "data": "SIG"}]  # OpenRouter has the signature there
    assert sent(endpoint, {"messages": unsigned})["messages"] == unsigned


@pytest.mark.parametrize(
    ("address", "options", "needs"),
    [
        ("https://api.deepseek.com", {}, True),
        ("https://api.moonshot.ai/v1", {}, True),
        ("https://api.moonshot.cn/v1", {}, True),
        ("https://api.groq.com/openai/v1", {}, False),
        ("https://api.deepseek.com.example.com/v1", {}, False),
        ("https://proxy.example.com/v1", {"requires_reasoning": True}, True),
    ],
)
def test_a_conversation_with_tool_calls_has_reasoning_where_the_server_demands_it(provider: Any, address: str, options: Any, needs: bool) -> None:
    endpoint = provider("openai", base_url=address, model="deepseek-v4", **options)
    messages = [*tool_loop("a"), {"role": "assistant", "content": "b", "reasoning_content": "c"}, *ASK, *tool_loop("d")[1:]]
    received, missing = sent(endpoint, {"messages": messages})["messages"], " " if needs else None
    assert [message.get("reasoning_content") for message in received if message["role"] == "assistant"] == [missing, "c", missing]
    talk = [*ASK, {"role": "assistant", "content": "b"}, *ASK]
    assert sent(endpoint, {"messages": talk})["messages"] == talk
