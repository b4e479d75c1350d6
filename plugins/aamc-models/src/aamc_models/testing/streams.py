"""Streamed answers of the stub: the server-sent events of each API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import orjson

from aamc_models.testing.answers import STOP_REASONS, Reply, logprobs_of, messages_usage, output_items, responses_answer

Event = tuple[bytes, bool]
"""A server-sent event, and whether it is content."""

EMPTY: dict[str, dict[str, Any]] = {"message": {"content": []}, "function_call": {"arguments": ""}, "reasoning": {"summary": []}}
"""The empty items of a response, by type."""


@attrs.frozen
class AnswerStream:
    """The events of a stream.

    Attributes:
        lead: The events before any content.
        content: The events from the first to the last one with content.
        tail: The events after the content.
    """

    lead: list[bytes]
    content: list[bytes]
    tail: list[bytes]


def stream_of(api: str, reply: Reply, *, asked: bool) -> AnswerStream:
    """Return the events of a streamed answer.

    Args:
        api: ``"chat"``, ``"completions"``, ``"messages"`` or ``"responses"``.
        reply: The content.
        asked: Whether the request asks for a chunk with the usage.
    """
    if api == "messages":
        events = list(_messages(reply))
    elif api == "responses":
        events = list(_responses(reply))
    else:
        events = list(_chat(reply, asked) if api == "chat" else _completions(reply, asked))
    where = [index for index, (_, content) in enumerate(events) if content] or [len(events) - 1]
    data = [event for event, _ in events]
    return AnswerStream(data[: where[0]], data[where[0] : where[-1] + 1], data[where[-1] + 1 :])


def error_event(api: str, message: str) -> bytes:
    """Return an error as an event of the API's dialect."""
    if api == "messages":
        return _named({"type": "error", "error": {"type": "overloaded_error", "message": message}})
    if api == "responses":
        return _named({"type": "error", "code": "server_error", "message": message, "param": None, "sequence_number": 1})
    return _data({"error": {"message": message, "type": "server_error", "param": None, "code": "overloaded"}})


def pieces(text: str, count: int) -> list[str]:
    """Cut a text into pieces of about equal length, none of them empty."""
    count = max(1, min(count, len(text)))
    return [text[len(text) * i // count : len(text) * (i + 1) // count] for i in range(count)]


def _data(event: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(event) + b"\n\n"


def _named(event: dict[str, Any]) -> bytes:
    return b"event: " + str(event["type"]).encode() + b"\n" + _data(event)


def _chat(reply: Reply, asked: bool) -> Iterator[Event]:
    head = {"id": f"chatcmpl-{reply.call}", "object": "chat.completion.chunk", "created": 1, "model": reply.model}

    def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0, text: str = "") -> dict[str, Any]:
        return {
            **head,
            "choices": [{"index": index, "delta": delta, "finish_reason": finish, "logprobs": logprobs_of(text, reply) if text else None}],
        }

    for index in range(reply.n):
        yield _data(chunk({"role": "assistant", "content": ""}, index=index)), False
        for piece in pieces(reply.thinking, 2) if reply.thinking else ():
            yield _data(chunk({"reasoning_content": piece}, index=index)), True
        for piece in pieces(reply.text, reply.script.chunks) if reply.text else ():
            yield _data(chunk({"content": piece}, index=index, text=piece)), True
        if reply.tool:
            call = {"index": 0, "id": f"call_{reply.call}", "type": "function", "function": {"name": reply.tool, "arguments": ""}}
            yield _data(chunk({"tool_calls": [call]}, index=index)), True
            for piece in pieces(reply.tool_arguments, reply.script.chunks):
                yield _data(chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}, index=index)), True
        last = chunk({}, reply.finish, index)
        if reply.script.usage == "with_choices" and index == reply.n - 1:
            last["usage"] = reply.usage
        yield _data(last), False
    yield from _usage_and_end(head, reply, asked)


def _completions(reply: Reply, asked: bool) -> Iterator[Event]:
    head = {"id": f"cmpl-{reply.call}", "object": "text_completion", "created": 1, "model": reply.model}
    for index in range(reply.n):
        for piece in pieces(reply.text, reply.script.chunks):
            yield _data({**head, "choices": [{"index": index, "text": piece, "finish_reason": None, "logprobs": None}]}), True
        last: dict[str, Any] = {**head, "choices": [{"index": index, "text": "", "finish_reason": reply.finish, "logprobs": None}]}
        if reply.script.usage == "with_choices" and index == reply.n - 1:
            last["usage"] = reply.usage
        yield _data(last), False
    yield from _usage_and_end(head, reply, asked)


def _usage_and_end(head: dict[str, Any], reply: Reply, asked: bool) -> Iterator[Event]:
    if reply.script.usage == "always" or (reply.script.usage == "asked" and asked):
        yield _data({**head, "choices": [], "usage": reply.usage}), False
    yield b"data: [DONE]\n\n", False


def _messages(reply: Reply) -> Iterator[Event]:
    usage = messages_usage(reply.usage) if reply.script.usage != "never" else {}
    message = {"id": f"msg_{reply.call}", "type": "message", "role": "assistant", "model": reply.model, "content": []}
    began = {**message, "stop_reason": None, "stop_sequence": None, **({"usage": {**usage, "output_tokens": 1}} if usage else {})}
    yield _named({"type": "message_start", "message": began}), False
    yield _named({"type": "ping"}), False
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if reply.thinking:
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(reply.thinking, 2)]
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, [*deltas, {"type": "signature_delta", "signature": reply.signature}]))
    if reply.text:
        blocks.append(({"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces(reply.text, reply.script.chunks)]))
    if reply.tool:
        parts = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(reply.tool_arguments, reply.script.chunks)]
        blocks.append(({"type": "tool_use", "id": f"toolu_{reply.call}", "name": reply.tool, "input": {}}, parts))
    for index, (block, block_deltas) in enumerate(blocks):
        yield _named({"type": "content_block_start", "index": index, "content_block": block}), False
        for delta in block_deltas:
            yield _named({"type": "content_block_delta", "index": index, "delta": delta}), True
        yield _named({"type": "content_block_stop", "index": index}), False
    stopped = {"stop_reason": STOP_REASONS[reply.finish], "stop_sequence": None}
    final = {key: value for key, value in usage.items() if key in ("output_tokens", "cost")}
    yield _named({"type": "message_delta", "delta": stopped, **({"usage": final} if final else {})}), False
    yield _named({"type": "message_stop"}), False


def _responses(reply: Reply) -> Iterator[Event]:
    number = iter(range(100_000))

    def event(kind: str, **fields: Any) -> bytes:
        return _named({"type": kind, "sequence_number": next(number), **fields})

    begun = responses_answer(reply, "in_progress")
    yield event("response.created", response=begun), False
    yield event("response.in_progress", response=begun), False
    for index, item in enumerate(output_items(reply)):
        place = {"output_index": index, "item_id": item["id"]}
        yield event("response.output_item.added", output_index=index, item={**item, "status": "in_progress", **EMPTY[item["type"]]}), False
        if item["type"] == "message":
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            yield event("response.content_part.added", content_index=0, part=part, **place), False
            for piece in pieces(reply.text, reply.script.chunks):
                yield event("response.output_text.delta", content_index=0, delta=piece, logprobs=[], **place), True
            yield event("response.output_text.done", content_index=0, text=reply.text, logprobs=[], **place), False
            yield event("response.content_part.done", content_index=0, part={**part, "text": reply.text}, **place), False
        elif item["type"] == "function_call":
            for piece in pieces(reply.tool_arguments, reply.script.chunks):
                yield event("response.function_call_arguments.delta", delta=piece, **place), True
            yield event("response.function_call_arguments.done", arguments=reply.tool_arguments, name=reply.tool, **place), False
        yield event("response.output_item.done", output_index=index, item=item), False
    yield event("response.incomplete" if reply.finish == "length" else "response.completed", response=responses_answer(reply)), False
