"""State that a server of chat demands back: clients of other dialects carry it in the signature of a block of thinking."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from aamc_models.dialects import StreamConverter, convert_answer, convert_request, foreign_state, without_foreign_state
from dialects.test_properties import accumulated
from dialects.test_tool_loops import ASKS, with_result

GEMINI = {"extra_content": {"google": {"thought_signature": "SIG"}}}
CLIENTS = ["messages", "responses"]


def tool_call(number: int, **state: Any) -> dict[str, Any]:
    return {"id": f"functions.weather:{number}", "type": "function", "function": {"name": "weather", "arguments": "{}"}, **state}


DEEPSEEK = {"reasoning_content": "I need the weather.", "content": "I look.", "tool_calls": [tool_call(0)]}
PARALLEL = {"content": "I look.", "tool_calls": [tool_call(0, **GEMINI), tool_call(1)]}
BOTH = {"reasoning_content": "I think.", "tool_calls": [tool_call(0), tool_call(1, **GEMINI)]}
DETAILS = [
    {"type": "reasoning.text", "text": "I think.", "format": "google-gemini-v1", "index": 0},
    {"type": "reasoning.encrypted", "data": "SECRET", "id": "functions.weather:0", "format": "google-gemini-v1", "index": 1},
]
OPENROUTER = {"reasoning": "I think.", "reasoning_details": DETAILS, "tool_calls": [tool_call(0)]}
GROQ = {"reasoning": "I think.", "tool_calls": [tool_call(0)]}


def answered(client: str, message: dict[str, Any], streamed: bool) -> dict[str, Any]:
    """The answer of the model ``one`` in the client's dialect."""
    if not streamed:
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "tool_calls"}
        return convert_answer("chat", client, {"id": "c", "choices": [choice]}, "one")
    deltas = [{name: value} for name, value in message.items() if name != "tool_calls" and value]
    deltas += [{"tool_calls": [{**call, "index": 0}]} for call in message["tool_calls"]]  # as Gemini's server counts them
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas] + [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]
    converter = StreamConverter("chat", client, "one")
    events = [f"data: {json.dumps({'id': 'c', 'choices': [choice]})}\n\n".encode() for choice in choices]
    return accumulated(client, [written for event in [*events, b"data: [DONE]\n\n"] for written in converter.feed(event)])


def following(client: str, message: dict[str, Any], streamed: bool) -> dict[str, Any]:
    """The client's next request."""
    return with_result(client, {**ASKS[client], "model": "one"}, answered(client, message, streamed))


def returned(client: str, body: dict[str, Any], model: str = "one") -> tuple[list[dict[str, Any]], list[str]]:
    """The assistant's messages that the model gets back, and the dropped fields."""
    converted = convert_request(client, "chat", body, model=model)
    return [message for message in converted.body["messages"] if message["role"] == "assistant"], converted.dropped


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_model_gets_back_what_its_server_demands(client: str, streamed: bool) -> None:
    for message in (DEEPSEEK, PARALLEL, BOTH, OPENROUTER):
        said, dropped = returned(client, following(client, message, streamed))
        assert len(said) == 1
        states = [call["extra_content"] for each in said for call in each["tool_calls"] if "extra_content" in call]
        assert states == [call["extra_content"] for call in message["tool_calls"] if "extra_content" in call]
        assert said[0].get("reasoning_content") == message.get("reasoning_content")
        assert said[0].get("reasoning_details") == message.get("reasoning_details")
        assert "content.thinking" not in dropped


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("client", CLIENTS)
def test_nobody_else_gets_it(client: str, streamed: bool) -> None:
    for message in (DEEPSEEK, BOTH, GROQ, OPENROUTER):
        body = following(client, message, streamed)
        for sent, _ in (returned(client, body, "two"), returned(client, without_foreign_state(client, body))):
            assert all(each.keys() <= {"role", "content", "tool_calls"} for each in sent)
            assert all(call.keys() == {"id", "type", "function"} for each in sent for call in each["tool_calls"])
        assert returned(client, without_foreign_state(client, body, model="one"))[0] == returned(client, body)[0]
        other = {"messages": "responses", "responses": "messages"}[client]
        converted = convert_request(client, other, body)
        assert "aamcey" not in json.dumps(converted.body)
        assert "content.thinking" in converted.dropped


@pytest.mark.parametrize("client", CLIENTS)
def test_reasoning_of_another_name_is_not_demanded_and_some_servers_refuse_it(client: str) -> None:
    said, dropped = returned(client, following(client, GROQ, streamed=False))
    assert said[0].keys() == {"role", "content", "tool_calls"}
    assert dropped == ["content.thinking"]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_calls_state_ties_to_the_model_and_reasoning_does_not(client: str) -> None:
    signed = {"messages": "thinking", "responses": "encrypted_reasoning"}[client]
    assert foreign_state(client, following(client, DEEPSEEK, streamed=False)) == {"open_tool_calls", "unsigned_thinking"}
    for message in (PARALLEL, OPENROUTER):
        assert foreign_state(client, following(client, message, streamed=False)) == {"open_tool_calls", "unsigned_thinking", signed}


@pytest.mark.parametrize("place", ["before", "with", "after"])
@pytest.mark.parametrize("client", CLIENTS)
def test_details_of_reasoning_come_back_whole_if_they_came_in_pieces(client: str, place: str) -> None:
    text = {"type": "reasoning.text", "index": 0}
    call = {"tool_calls": [{"index": 0, **tool_call(0)}]}
    deltas: list[dict[str, Any]] = [
        {"reasoning": "I ", "reasoning_details": [{**text, "text": "I "}]},
        {"reasoning": "think.", "reasoning_details": [{**text, "text": "think.", "signature": None}]},
        {"reasoning_details": [{**text, "signature": "SIG"}]},
        *{
            "before": [{"reasoning_details": [DETAILS[1]]}, call],
            "with": [{"reasoning_details": [DETAILS[1]], **call}],
            "after": [call, {"reasoning_details": [DETAILS[1]]}],
        }[place],
    ]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas] + [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]
    converter = StreamConverter("chat", client, "one")
    events = [f"data: {json.dumps({'id': 'c', 'choices': [choice]})}\n\n".encode() for choice in choices]
    answer = accumulated(client, [written for event in [*events, b"data: [DONE]\n\n"] for written in converter.feed(event)])
    (said,), _ = returned(client, with_result(client, {**ASKS[client], "model": "one"}, answer))
    assert said["reasoning_details"] == [{**text, "text": "I think.", "signature": "SIG"}, DETAILS[1]]


DETAILS_OF_NO_LIST = '{"model":"one","calls":{},"details":{}}'


@pytest.mark.parametrize("written", ["x", "[]", "{}", '{"model":"one","calls":{"t":"x"}}', '{"model":"one","calls":1}', DETAILS_OF_NO_LIST])
def test_a_signature_that_clients_have_made_up_is_dropped(written: str) -> None:
    block = {"type": "thinking", "thinking": "hm", "signature": "aamc" + b64encode(written.encode()).decode()}
    for signature in (block["signature"], "aamceyJ", "aamceyJ?"):
        content = [{**block, "signature": signature}, {"type": "text", "text": "a"}]
        body = {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": content}]}
        assert returned("messages", body)[1] == ["content.thinking", "prefill"]
