"""Reading streams as they pass."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aamc_models.dialects import Seen, StreamMonitor, answer_bytes

from aamc_sdk.interfaces import Usage


def chunk(delta: dict[str, Any] | None = None, reason: str | None = None, index: int = 0, **fields: Any) -> bytes:
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": reason}]
    return f"data: {json.dumps({'choices': choices, **fields})}\n\n".encode()


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


@pytest.mark.parametrize(
    ("delta", "content"),
    [
        ({"role": "assistant", "content": ""}, False),
        ({"role": "assistant"}, False),
        ({"content": "a"}, True),
        ({"reasoning_content": "a"}, True),
        ({"reasoning": "a"}, True),
        ({"refusal": "a"}, True),
        ({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]}, True),
        ({"function_call": {"name": "f", "arguments": ""}}, True),
        ({"audio": {"id": "a", "data": "aGk="}}, True),
        ({"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]}, True),
    ],
)
def test_a_piece_of_the_answer_is_content(delta: dict[str, Any], content: bool) -> None:
    assert Seen(content=content) == StreamMonitor("chat").feed(chunk(delta))


def test_usage_in_a_last_chunk_with_choices_is_read() -> None:
    monitor = StreamMonitor("chat")
    assert Seen() == monitor.feed(chunk({}, "stop", usage={"prompt_tokens": 5, "completion_tokens": 2}))
    assert Usage(prompt_tokens=5, output_tokens=2) == monitor.usage
    assert (monitor.finished, monitor.finish_reason) == (True, "stop")


@pytest.mark.parametrize("usage", [{"prompt_tokens": 5, "cost": 0.25}, None])
def test_a_chunk_of_usage_alone_holds_no_content(usage: object) -> None:
    assert Seen() == StreamMonitor("chat").feed(chunk(usage=usage))


def test_an_upstreams_own_cost_is_read() -> None:
    monitor = StreamMonitor("chat")
    monitor.feed(chunk(usage={"prompt_tokens": 5, "cost": 0.25}))
    assert monitor.cost_usd == 0.25


def test_every_choice_must_finish() -> None:
    monitor = StreamMonitor("chat")
    for one in (chunk({"content": "a"}, index=0), chunk({"content": "b"}, index=1), chunk({}, "stop", index=0)):
        monitor.feed(one)
    assert not monitor.finished
    monitor.feed(chunk({}, "length", index=1))
    assert monitor.finished


def test_content_after_its_finish_does_not_reopen_a_choice() -> None:
    monitor = StreamMonitor("chat")
    for one in (chunk({"content": "a"}), chunk({}, "stop"), chunk(usage={"prompt_tokens": 5}), chunk({"content": "b"})):
        monitor.feed(one)
    assert monitor.finished


@pytest.mark.parametrize(
    ("dialect", "failed"),
    [
        ("chat", b'data: {"error": {"message": "slow", "code": 429}}\n\n'),
        ("chat", b'data: {"error": {"message": "slow", "type": "rate_limit_error"}}\n\n'),
        ("chat", b'data: {"error": {"message": "slow", "type": "rate_limited", "code": "1300"}}\n\n'),
        ("chat", b'data: {"error": {"message": "slow", "type": "tokens_rate_limit_exceeded"}}\n\n'),
        ("messages", event("error", error={"type": "rate_limit_error", "message": "slow"})),
        ("responses", event("error", message="slow", code="rate_limit_exceeded")),
    ],
)
def test_the_error_of_a_rate_limit_has_its_kind(dialect: str, failed: bytes) -> None:
    assert Seen(error="slow", kind="rate_limit") == StreamMonitor(dialect).feed(failed)


def test_an_error_in_a_stream_has_the_kind_of_a_whole_answers_error() -> None:
    failed = b'data: {"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}}\n\n'
    assert StreamMonitor("chat").feed(failed).kind == "request"


def test_the_end_of_a_stream_is_no_finish() -> None:
    monitor = StreamMonitor("chat")
    monitor.feed(chunk({"content": "a"}))
    assert Seen(done=True) == monitor.feed(b"data: [DONE]\n\n")
    assert not monitor.finished


@pytest.mark.parametrize(
    ("dialect", "failed"),
    [
        ("chat", b'data: {"error": {"message": "too much"}}\n\n'),
        ("completions", b'data: {"error": {"message": "too much"}}\n\n'),
        ("chat", b'data: {"object": "error", "message": "too much", "type": "InternalServerError", "code": 500}\n\n'),
        ("completions", b'data: {"object": "error", "message": "too much"}\n\n'),
        ("chat", b'data: {"choices": [{"delta": {}, "finish_reason": "error", "error": {"message": "too much"}}]}\n\n'),
        ("messages", event("error", error={"type": "overloaded_error", "message": "too much"})),
        ("responses", event("error", message="too much", code=None)),
        ("responses", event("response.failed", response={"error": {"message": "too much", "code": "server_error"}})),
    ],
)
def test_an_error_is_seen_in_every_dialect(dialect: str, failed: bytes) -> None:
    assert Seen(error="too much") == StreamMonitor(dialect).feed(failed)


@pytest.mark.parametrize("reason", ["error", "abort", "insufficient_system_resource"])
@pytest.mark.parametrize("dialect", ["chat", "completions", "messages"])
def test_an_answer_that_its_server_gave_up_ends_in_an_error(dialect: str, reason: str) -> None:
    choices = [{"index": 0, "delta": {}, "text": "", "finish_reason": reason}]
    failed = event("message_delta", delta={"stop_reason": reason}) if dialect == "messages" else event("", choices=choices)
    assert Seen(error=f"its finish reason is {reason}") == StreamMonitor(dialect).feed(failed)


def test_anthropics_usage_comes_in_two_events() -> None:
    monitor = StreamMonitor("messages")
    monitor.feed(event("message_start", message={"usage": {"input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 1}}))
    assert Seen() == monitor.feed(event("content_block_start", index=0, content_block={"type": "text", "text": ""}))
    assert Seen(content=True) == monitor.feed(event("content_block_delta", index=0, delta={"type": "text_delta", "text": "a"}))
    monitor.feed(event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9}))
    assert Usage(prompt_tokens=8, cached_tokens=3, output_tokens=9) == monitor.usage
    assert (monitor.finish_reason, monitor.finished) == ("stop", False)
    assert Seen(done=True) == monitor.feed(event("message_stop"))
    assert monitor.finished


@pytest.mark.parametrize("zero", [0, None])
def test_zeros_in_the_last_event_do_not_replace_counts(zero: int | None) -> None:
    monitor = StreamMonitor("messages")
    monitor.feed(event("message_start", message={"usage": {"input_tokens": 60_000, "cache_read_input_tokens": 0, "output_tokens": 0}}))
    monitor.feed(event("message_delta", delta={}, usage={"input_tokens": zero, "output_tokens": 9}))
    assert Usage(prompt_tokens=60_000, cached_tokens=0, output_tokens=9) == monitor.usage
    monitor = StreamMonitor("chat")
    monitor.feed(chunk({}, "stop", usage={"prompt_tokens": 5, "completion_tokens": 2}))
    monitor.feed(chunk(usage={"prompt_tokens": zero, "completion_tokens": zero}))
    assert Usage(prompt_tokens=5, output_tokens=2) == monitor.usage


def test_later_counts_of_anthropics_replace_the_first() -> None:
    monitor = StreamMonitor("messages")
    monitor.feed(event("message_start", message={"usage": {"input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 1}}))
    monitor.feed(event("message_delta", delta={}, usage={"input_tokens": 2, "output_tokens": 9}))
    assert Usage(prompt_tokens=5, cached_tokens=3, output_tokens=9) == monitor.usage


@pytest.mark.parametrize(("kind", "reason"), [("response.completed", "stop"), ("response.incomplete", "length")])
def test_a_response_ends_whole_or_short(kind: str, reason: str) -> None:
    monitor = StreamMonitor("responses")
    usage = {"input_tokens": 5, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 1}}
    assert Seen(done=True) == monitor.feed(event(kind, response={"usage": usage}))
    assert (Usage(prompt_tokens=5, cached_tokens=1, output_tokens=2), reason, True) == (monitor.usage, monitor.finish_reason, monitor.finished)


@pytest.mark.parametrize("odd", [b": ping\n\n", b"", b"data:\n\n", b"event: ping\n\n", b"retry: 5\n\n"])
def test_an_event_without_data_holds_nothing(odd: bytes) -> None:
    for dialect in ("chat", "messages", "responses", "completions"):
        assert Seen() == StreamMonitor(dialect).feed(odd)


@pytest.mark.parametrize("odd", [b"data: {\n\n", b"data: \xff\n\n", b"data: []\n\n", b"data: ping\n\n"])
def test_an_event_whose_data_is_no_json_object_is_broken(odd: bytes) -> None:
    for dialect in ("chat", "messages", "responses", "completions"):
        seen = StreamMonitor(dialect).feed(odd)
        assert (seen.broken, "not a JSON object" in (seen.error or "")) == (True, True)


def test_a_not_a_number_of_a_log_probability_breaks_no_event() -> None:
    assert Seen(content=True) == StreamMonitor("chat").feed(b'data: {"choices": [{"delta": {"content": "a"}, "logprobs": NaN}]}\n\n')


def test_data_of_several_lines_and_carriage_returns_are_read() -> None:
    monitor = StreamMonitor("chat")
    assert Seen(content=True) == monitor.feed(b'data: {"choices": [{"index": 0,\r\ndata: "delta": {"content": "a"}}]}\r\n\r\n')
    for end in (b"\n", b"\r\n", b"\r"):
        event = [b'data: {"choices": [{"delta":', b'data: {"content": "a"}}]}', b"id: 7", b"", b""]
        assert Seen(content=True) == monitor.feed(end.join(event))
        assert Seen(content=True) == monitor.feed(end.join([event[0] + event[1][5:], *event[2:]]))


def test_bytes_of_text_reasoning_and_arguments_are_counted() -> None:
    monitor = StreamMonitor("chat")
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "ef"}]}, {"type": "text", "text": "g"}]
    for delta in (
        {"content": "äb"},
        {"reasoning_content": "cd"},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {"content": parts},
    ):
        monitor.feed(chunk(delta))
    assert monitor.text_bytes == 10


def test_a_whole_answer_has_as_many_bytes_as_its_stream() -> None:
    monitor, arguments = StreamMonitor("chat"), '{"city": "Paris"}'
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    texts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "In "}, {"type": "text", "text": "Paris"}]
    assert Seen(content=True) == monitor.feed(chunk({"role": "assistant", "tool_calls": [{"index": 0, **call}]}))
    for letter in arguments:
        monitor.feed(chunk({"tool_calls": [{"index": 0, "function": {"arguments": letter}}]}))
    for part in texts:
        monitor.feed(chunk({"content": [part]}))
    message = {"role": "assistant", "content": texts, "tool_calls": [{**call, "function": {"name": "weather", "arguments": arguments}}]}
    assert answer_bytes({"choices": [{"message": message}]}) == monitor.text_bytes == len("weather" + arguments + "hmIn Paris")
