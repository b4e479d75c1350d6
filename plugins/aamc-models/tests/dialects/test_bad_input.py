"""Whatever a body holds, only a DataError that names the field is raised."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import Any

import pytest
from aamc_models.dialects import (
    DIALECTS,
    StreamConverter,
    StreamMonitor,
    conversation_of,
    convert_answer,
    convert_request,
    error_body,
    error_event,
    foreign_state,
    reported_cost,
    usage_of,
    with_usage,
    without_foreign_state,
    without_usage,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aamc_sdk.errors import DataError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["user", "text", "assistant", "tool_use", "\ud800"])
)
NAMES = st.sampled_from(["type", "role", "content", "text", "id", "name", "function", "index", "delta", "usage", "tool_calls", "input"]) | st.text(
    max_size=4
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12)
DEEP: Any = []
for _ in range(900):
    DEEP = [DEEP]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in inner for place in places(child, (*path, key)))]


def replaced(body: dict[str, Any], path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(body)
    holder: Any = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return changed


def only_data_errors(call: Any, *arguments: Any) -> None:
    with suppress(DataError):
        call(*arguments)


def use_request(dialect: str, body: Any) -> None:
    for target in DIALECTS:
        only_data_errors(convert_request, dialect, target, body)
    if isinstance(body, dict):
        for call in (foreign_state, without_foreign_state, conversation_of, with_usage):
            only_data_errors(call, dialect, body)


def use_answer(dialect: str, answer: Any) -> None:
    for target in DIALECTS:
        only_data_errors(convert_answer, dialect, target, answer)
    if isinstance(answer, dict):
        usage_of(dialect, answer)
        reported_cost(answer)


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_request_with_one_wrong_field_raises_nothing_else(dialect: str, data: st.DataObject, requests: dict[str, dict[str, Any]]) -> None:
    path = data.draw(st.sampled_from(places(requests[dialect])))
    use_request(dialect, replaced(requests[dialect], path, data.draw(VALUES | st.just(DEEP))))


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_answer_with_one_wrong_field_raises_nothing_else(dialect: str, data: st.DataObject, answers: dict[str, dict[str, Any]]) -> None:
    path = data.draw(st.sampled_from(places(answers[dialect])))
    use_answer(dialect, replaced(answers[dialect], path, data.draw(VALUES | st.just(DEEP))))


@settings(max_examples=60, deadline=None)
@given(body=st.dictionaries(st.sampled_from(["messages", "input", "prompt", "choices", "content", "output", "usage", "tools"]), VALUES))
def test_random_json_raises_nothing_else(body: dict[str, Any]) -> None:
    for dialect in DIALECTS:
        use_request(dialect, body)
        use_answer(dialect, body)


def written(event: dict[str, Any]) -> str:
    try:
        return json.dumps(event)
    except RecursionError:  # deeper than what Python writes, not than what can be read
        return '{"type": "error", "index": ' + "[" * 900 + "]" * 900 + "}"


EVENT_TYPES = (
    *("message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop", "error", "ping"),
    *("response.created", "response.output_item.added", "response.output_text.delta", "response.function_call_arguments.delta"),
    *("response.output_item.done", "response.completed", "response.incomplete", "response.failed"),
)
EVENT_FIELDS = st.sampled_from(["index", "delta", "message", "content_block", "response", "item", "output_index", "choices", "usage", "error"])
EVENTS = st.builds(
    lambda kind, fields: {**fields, "type": kind}, st.sampled_from(EVENT_TYPES), st.dictionaries(EVENT_FIELDS, VALUES | st.just(DEEP), max_size=5)
)


@pytest.mark.parametrize("source", DIALECTS)
@settings(max_examples=40, deadline=None)
@given(events=st.lists(EVENTS.map(lambda event: f"data: {written(event)}\n\n".encode()) | st.binary(max_size=40), max_size=5))
def test_random_events_raise_nothing_else(source: str, events: list[bytes]) -> None:
    monitor = StreamMonitor(source)
    for target in DIALECTS:
        converter = StreamConverter(source, target)
        for event in events:
            only_data_errors(converter.feed, event)
            monitor.feed(event)
            without_usage(event)
        converter.end()


@pytest.mark.parametrize(
    ("dialect", "body", "field"),
    [
        ("chat", {"messages": [{"role": "user", "content": "a"}, {"role": "king", "content": "b"}]}, r"messages\[1\].role must be .*not 'king'"),
        ("chat", {"messages": 5}, "messages must be a list, not 5"),
        (
            "messages",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
            r"messages\[0\].content\[0\].text must be a string, not 5",
        ),
        ("messages", {"messages": [], "thinking": {"type": "enabled"}}, "thinking.budget_tokens must be an integer"),
        ("responses", {"input": [{"type": "function_call", "name": "f"}]}, r"input\[0\].call_id must be a string; it is missing or null"),
        ("completions", {"prompt": [1, 2]}, "prompt must be one text"),
        ("latin", {}, "dialect must be one of chat, messages"),
    ],
)
def test_an_error_names_the_field_and_its_value(dialect: str, body: dict[str, Any], field: str) -> None:
    with pytest.raises(DataError, match=field):
        convert_request(dialect, "chat" if dialect != "chat" else "messages", body)


def test_arguments_that_are_nested_too_deeply_are_refused_by_name() -> None:
    block = {"type": "tool_use", "id": "a", "name": "f", "input": {"a": DEEP}}
    with pytest.raises(DataError, match=r"messages\[0\].content\[0\].input cannot be written as JSON"):
        convert_request("messages", "chat", {"messages": [{"role": "assistant", "content": [block]}]})


@pytest.mark.parametrize(
    ("dialect", "body", "error"),
    [
        ("chat", {"messages": [{"role": "user", "content": 5}]}, r"messages\[0\].content must be a string or a list, not 5"),
        ("messages", {"system": 5, "messages": []}, "system must be a string or a list, not 5"),
        ("responses", {"input": 5}, "input must be a string or a list, not 5"),
    ],
)
def test_content_that_is_neither_text_nor_parts_is_named(dialect: str, body: dict[str, Any], error: str) -> None:
    with pytest.raises(DataError, match=error):
        conversation_of(dialect, body)


@given(message=st.text(), status=st.integers(400, 599))
def test_an_error_can_always_be_written(message: str, status: int) -> None:
    for dialect in DIALECTS:
        assert error_event(dialect, f"{message}\ud800", "server", status).endswith(b"\n\n")
        assert error_body(dialect, message, "server", status)["error"]["message"] == message


def test_a_question_of_which_anthropic_can_read_no_part_is_refused_and_not_replaced() -> None:
    """Its stand-in would be a paid answer to another question."""
    audio = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    asked = {"model": "m", "messages": [{"role": "user", "content": "Hello"}, {"role": "user", "content": [audio]}]}
    with pytest.raises(DataError, match=r"messages\[1\]\.content has no part that Anthropic's models read"):
        convert_request("chat", "messages", asked)


def test_a_blank_refusal_is_left_out() -> None:
    messages = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": None, "refusal": " "}, {"role": "user", "content": "Go on"}]
    sent = convert_request("chat", "messages", {"model": "m", "messages": messages}).body["messages"]
    assert [message["role"] for message in sent] == ["user"]
    assert " " not in [block["text"] for block in sent[0]["content"]]


@pytest.mark.parametrize(
    "message",
    [
        "prompt is too long: 210000 tokens > 200000 maximum",
        "This model's maximum context length is 8192 tokens.",
        "it is longer than its context window",
    ],
)
def test_a_prompt_that_is_too_long_is_named_as_clients_know_it(message: str) -> None:
    told = error_body("messages", message, "request", 400)["error"]["message"]
    assert (told.startswith("prompt is too long: "), message in told, told.count("prompt is too long")) == (True, True, 1)
    for dialect in ("chat", "responses", "completions"):
        error = error_body(dialect, message, "request", 400)["error"]
        assert (error["code"], error["message"]) == ("context_length_exceeded", message)
    assert error_body("chat", message, "server", 502)["error"]["code"] == "server_error"
    assert error_body("messages", "max_tokens is too long", "request", 400)["error"]["message"] == "max_tokens is too long"
