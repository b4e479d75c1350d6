"""Streams of responses, read by clients of other dialects."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aamc_models.dialects import StreamConverter, StreamMonitor, answer_to_chat
from aamc_models.dialects.events import data_of, event_of

OUTPUT = [
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
    {"type": "message", "content": [{"type": "output_text", "text": "Paris"}]},
    {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
]


def end_of_response(*deltas: str, status: str = "completed", **fields: Any) -> list[dict[str, Any]]:
    """Return the events of chat for a response that is streamed as these deltas of text and its end."""
    response = {"id": "resp_1", "model": "m", "status": status, "output": OUTPUT, "usage": {"input_tokens": 5, "output_tokens": 2}, **fields}
    events = [{"type": "response.output_text.delta", "delta": delta} for delta in deltas]
    converter = StreamConverter("responses", "chat")
    written = [made for event in [*events, {"type": f"response.{status}", "response": response}] for made in converter.feed(event_of(event))]
    assert written.pop() == b"data: [DONE]\n\n"
    return [json.loads(data_of(event)) for event in written]


@pytest.mark.parametrize(("status", "finish"), [("completed", "tool_calls"), ("incomplete", "length")])
def test_a_response_that_comes_only_with_its_end_is_read_from_it(status: str, finish: str) -> None:
    answer, end, usage = end_of_response(status=status)
    delta = answer["choices"][0]["delta"]
    assert (delta["content"], delta["reasoning_content"], delta["tool_calls"][0]["function"]) == ("Paris", "hm", {"name": "f", "arguments": "{}"})
    assert (answer["model"], delta["tool_calls"][0]["index"]) == ("m", 0)
    assert (end["choices"][0]["finish_reason"], usage["usage"]["completion_tokens"]) == (finish, 2)
    monitor = StreamMonitor("responses")
    monitor.feed(event_of({"type": f"response.{status}", "response": {"output": OUTPUT}}))
    assert (monitor.text_bytes, monitor.last_call, monitor.finish_reason) == (10, "a", finish)


@pytest.mark.parametrize(
    ("given", "pieces"),
    [
        (("arguments",), ['{"at": 1}']),
        (("item",), ['{"at": 1}']),
        (("arguments", "item"), ['{"at": 1}']),
        (("begin", "rest", "arguments", "item"), ['{"at"', ": 1}"]),
    ],
)
def test_arguments_of_a_response_come_as_they_are_streamed_else_with_the_end_of_their_call(given: tuple[str, ...], pieces: list[str]) -> None:
    item = {"type": "function_call", "call_id": "a", "name": "f", "arguments": '{"at": 1}'}
    arguments: dict[str, Any] = {"type": "response.function_call_arguments.delta", "output_index": 0}
    made: dict[str, dict[str, Any]] = {
        "begin": {**arguments, "delta": '{"at"'},
        "rest": {**arguments, "delta": ": 1}"},
        "arguments": {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": item["arguments"]},
        "item": {"type": "response.output_item.done", "output_index": 0, "item": item},
    }
    added: dict[str, Any] = {"type": "response.output_item.added", "output_index": 0, "item": {**item, "arguments": ""}}
    converter = StreamConverter("responses", "messages")
    events = [
        event
        for each in (added, *map(made.__getitem__, given), {"type": "response.completed", "response": {}})
        for event in converter.feed(event_of(each))
    ]
    found = [json.loads(data_of(event)).get("delta", {}).get("partial_json") for event in events]
    assert pieces == [piece for piece in found if piece]


def test_the_end_of_a_response_repeats_nothing_that_was_streamed() -> None:
    contents = [choice["delta"].get("content", "") for event in end_of_response("Par", "is") for choice in event["choices"]]
    assert contents == ["Par", "is", ""]


def test_the_summaries_of_a_streamed_response_are_parted_as_those_of_a_whole_one() -> None:
    kind, converter = "response.reasoning_summary", StreamConverter("responses", "chat")
    pieces = [(0, "first"), (1, "**Check**")]
    events = [
        event
        for index, delta in pieces
        for event in ({"type": f"{kind}_part.added", "summary_index": index}, {"type": f"{kind}_text.delta", "summary_index": index, "delta": delta})
    ]
    chunks = [json.loads(data_of(made)) for event in events for made in converter.feed(event_of(event))]
    words = "".join(choice["delta"].get("reasoning_content", "") for chunk in chunks for choice in chunk["choices"])
    summary = [{"type": "summary_text", "text": text} for _, text in pieces]
    whole = answer_to_chat("responses", {"id": "resp_1", "output": [{"type": "reasoning", "summary": summary}]})
    assert words == whole["choices"][0]["message"]["reasoning_content"] == "first\n\n**Check**"


def test_encrypted_reasoning_of_a_streamed_response_crosses_to_messages() -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"}
    converter = StreamConverter("responses", "messages")
    events = [{"type": "response.output_item.done", "output_index": 0, "item": item}, {"type": "response.completed", "response": {}}]
    written = [json.loads(data_of(made)) for event in events for made in converter.feed(event_of(event))]
    blocks = [event["content_block"] for event in written if event["type"] == "content_block_start"]
    assert blocks == [{"type": "redacted_thinking", "data": "sealed"}]
