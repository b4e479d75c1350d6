"""Streamed answers of the stub: the server-sent events of each API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from aamc_models.testing.answers import STOP_REASONS, Reply, answer_of, logprobs_of, message_blocks, output_items, response, usage_of

Event = tuple[bytes, bool]
"""A server-sent event, and whether it is content."""

EMPTY: dict[str, dict[str, Any]] = {"message": {"content": []}, "function_call": {"arguments": ""}, "reasoning": {"summary": []}}
"""The empty items of a response, by type."""


def stream_of(api: str, reply: Reply, *, asked: bool) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Return the events before any content, those from the first to the last one with content, and those after it.

    Chat and completions report usage in a chunk of its own if the request asked for it.
    """
    if api == "messages":
        events = list(_messages(reply))
    elif api == "responses":
        events = list(_responses(reply))
    else:
        events = [*(_chat(reply) if api == "chat" else _completions(reply)), *_usage_and_end(api, reply, asked)]
    where = [index for index, (_, content) in enumerate(events) if content] or [len(events) - 1]
    data = [event for event, _ in events]
    return data[: where[0]], data[where[0] : where[-1] + 1], data[where[-1] + 1 :]


def error_event(api: str, message: str) -> bytes:
    """Return an error as an event of the API's dialect."""
    if api == "messages":
        return _named({"type": "error", "error": {"type": "overloaded_error", "message": message}})
    if api == "responses":
        return _named({"type": "error", "code": "server_error", "message": message, "param": None, "sequence_number": 1})
    return _data({"error": {"message": message, "type": "server_error", "param": None, "code": "overloaded"}})


def error_finish(api: str, reply: Reply, message: str) -> list[bytes]:
    """Return the end of a stream whose answer is said to have failed."""
    if api == "messages":
        return [error_event(api, message)]
    if api == "responses":
        error = {"code": "server_error", "message": message}
        return [_named({"type": "response.failed", "sequence_number": 1, "response": {**response(reply, "failed"), "error": error}})]
    content: dict[str, Any] = {"delta": {}} if api == "chat" else {"text": ""}
    last = [{"index": index, **content, "finish_reason": "error", "logprobs": None} for index in range(reply.n)]
    return [_chunk(api, reply, last), b"data: [DONE]\n\n"]


def pieces(text: str, count: int) -> list[str]:
    """Cut a text into pieces of about equal length, none of them empty."""
    count = min(count, len(text))
    return [text[len(text) * i // count : len(text) * (i + 1) // count] for i in range(count)]


def _data(event: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(event) + b"\n\n"


def _named(event: dict[str, Any]) -> bytes:
    return b"event: " + str(event["type"]).encode() + b"\n" + _data(event)


def _chunk(api: str, reply: Reply, choices: list[dict[str, Any]], *, counted: bool = False) -> bytes:
    prefix, kind = ("chatcmpl", "chat.completion.chunk") if api == "chat" else ("cmpl", "text_completion")
    chunk = {"id": f"{prefix}-{reply.call}", "object": kind, "created": 1, "model": reply.model, "choices": choices}
    return _data({**chunk, "usage": usage_of(api, reply)} if counted else chunk)


def _counts_with(reply: Reply, index: int) -> bool:
    """Whether the last chunk of a choice has the usage."""
    return reply.script.usage == "with_choices" and index == reply.n - 1


def _chat(reply: Reply) -> Iterator[Event]:
    script = reply.script
    for index in range(reply.n):
        yield _delta(reply, index, {"role": "assistant", "content": ""}), False
        for thought in pieces(script.thinking, 2):
            yield _delta(reply, index, {"reasoning_content": thought}), True
        for text in pieces(reply.text, script.chunks):
            yield _delta(reply, index, {"content": text}, logprobs_of(text, reply)), True
        if reply.tool:
            call = {"index": 0, "id": f"call_{reply.call}", "type": "function", "function": {"name": reply.tool, "arguments": ""}}
            yield _delta(reply, index, {"tool_calls": [call]}), True
            for text in pieces(script.tool_arguments, script.chunks):
                yield _delta(reply, index, {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}), True
        last = {"index": index, "delta": {}, "finish_reason": reply.finish, "logprobs": None}
        yield _chunk("chat", reply, [last], counted=_counts_with(reply, index)), False


def _delta(reply: Reply, index: int, delta: dict[str, Any], logprobs: dict[str, Any] | None = None) -> bytes:
    return _chunk("chat", reply, [{"index": index, "delta": delta, "finish_reason": None, "logprobs": logprobs}])


def _completions(reply: Reply) -> Iterator[Event]:
    for index in range(reply.n):
        for text in pieces(reply.text, reply.script.chunks) or [""]:
            yield _chunk("completions", reply, [{"index": index, "text": text, "finish_reason": None, "logprobs": None}]), True
        last = {"index": index, "text": "", "finish_reason": reply.finish, "logprobs": None}
        yield _chunk("completions", reply, [last], counted=_counts_with(reply, index)), False


def _usage_and_end(api: str, reply: Reply, asked: bool) -> Iterator[Event]:
    if reply.script.usage == "always" or (reply.script.usage == "asked" and asked):
        yield _chunk(api, reply, [], counted=True), False
    yield b"data: [DONE]\n\n", False


def _messages(reply: Reply) -> Iterator[Event]:
    usage = usage_of("messages", reply) if reply.script.usage != "never" else {}
    head = {"id": f"msg_{reply.call}", "type": "message", "role": "assistant", "model": reply.model, "content": []}
    begun = {**head, "stop_reason": None, "stop_sequence": None, **({"usage": {**usage, "output_tokens": 1}} if usage else {})}
    yield _named({"type": "message_start", "message": begun}), False
    yield _named({"type": "ping"}), False
    for index, block in enumerate(message_blocks(reply)):
        begin, deltas = _block_deltas(block, reply)
        yield _named({"type": "content_block_start", "index": index, "content_block": begin}), False
        for delta in deltas:
            yield _named({"type": "content_block_delta", "index": index, "delta": delta}), True
        yield _named({"type": "content_block_stop", "index": index}), False
    stopped = {"stop_reason": STOP_REASONS[reply.finish], "stop_sequence": None}
    final = {key: value for key, value in usage.items() if key in ("output_tokens", "cost")}
    yield _named({"type": "message_delta", "delta": stopped, **({"usage": final} if final else {})}), False
    yield _named({"type": "message_stop"}), False


def _block_deltas(block: dict[str, Any], reply: Reply) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the empty form of a block of Anthropic's, and its deltas."""
    chunks = reply.script.chunks
    if block["type"] == "thinking":
        thoughts = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"], 2)]
        return {**block, "thinking": "", "signature": ""}, [*thoughts, {"type": "signature_delta", "signature": block["signature"]}]
    if block["type"] == "text":
        return {**block, "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces(block["text"], chunks)]
    return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(reply.script.tool_arguments, chunks)]


def _responses(reply: Reply) -> Iterator[Event]:
    number = iter(range(100_000))

    def event(kind: str, **fields: Any) -> bytes:
        return _named({"type": kind, "sequence_number": next(number), **fields})

    begun = response(reply, "in_progress")
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
            for piece in pieces(reply.script.tool_arguments, reply.script.chunks):
                yield event("response.function_call_arguments.delta", delta=piece, **place), True
            yield event("response.function_call_arguments.done", arguments=reply.script.tool_arguments, name=reply.tool, **place), False
        yield event("response.output_item.done", output_index=index, item=item), False
    yield event("response.incomplete" if reply.finish == "length" else "response.completed", response=answer_of("responses", reply, {})), False
