"""Streams: between the events of OpenAI's responses and chunks of chat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aamc_models.dialects import finish_reasons
from aamc_models.dialects.chat.answer import reasoning_of
from aamc_models.dialects.chat.chunks import ChunkFrame, ToolCallPieces, choice_zero, error_of
from aamc_models.dialects.content import creation_time, identity
from aamc_models.dialects.error_bodies import error_event
from aamc_models.dialects.events import event_of
from aamc_models.dialects.fields import JSON, mapping, objects, optional_text, text
from aamc_models.dialects.responses.items import (
    call_item,
    logprobs_from_chat,
    logprobs_to_chat,
    message_item,
    reasoning_item,
    response_object,
    text_part,
)
from aamc_models.dialects.responses.to_chat import thinking_block, tool_call
from aamc_models.dialects.token_usage import StreamedUsage

_THOUGHTS = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
ENDS = {"response.completed": "completed", "response.incomplete": "incomplete"}


class ResponsesReader:
    """Reads the events of OpenAI's responses as chunks of chat."""

    def __init__(self) -> None:
        self._frame = ChunkFrame()
        self._calls: dict[object, dict[str, Any]] = {}
        self.finished = False

    def read(self, event: JSON) -> Iterator[dict[str, Any]]:
        """Yield the chunks that an event becomes."""
        kind = event.get("type")
        if kind == "response.created":
            self._frame.begin(mapping(event.get("response"), "response"))
            yield self._frame.delta({"role": "assistant", "content": ""})
        elif kind == "response.output_text.delta":
            logprobs = logprobs_to_chat(event.get("logprobs"))
            yield self._frame.delta({"content": text(event.get("delta"), "delta")}, logprobs)
        elif kind == "response.refusal.delta":
            yield self._frame.delta({"refusal": text(event.get("delta"), "delta")})
        elif kind in _THOUGHTS:
            yield self._frame.delta({"reasoning_content": text(event.get("delta"), "delta")})
        elif kind == "response.output_item.added":
            yield from self._item(event, mapping(event.get("item"), "item"))
        elif kind == "response.function_call_arguments.delta":
            yield from self._arguments(event, text(event.get("delta"), "delta"))
        elif kind == "response.output_item.done":
            yield from self._item_done(event, mapping(event.get("item"), "item"))
        elif isinstance(kind, str) and kind in ENDS:
            yield from self._finish(ENDS[kind], mapping(event.get("response"), "response"))
        elif kind == "response.failed":
            yield {"error": mapping(event.get("response"), "response").get("error") or {}}
        elif kind == "error":
            yield {"error": event.get("error") or dict(event)}

    def _item(self, event: JSON, item: JSON) -> Iterator[dict[str, Any]]:
        if item.get("type") in ("function_call", "custom_tool_call"):
            call = tool_call({**item, "arguments": "", "input": ""}, "item")
            state = self._calls[_place(event)] = {"index": len(self._calls), "streamed": False}
            function = {"name": call["function"]["name"], "arguments": ""}
            yield self._frame.delta({"tool_calls": [{"index": state["index"], "id": call["id"], "type": "function", "function": function}]})

    def _arguments(self, event: JSON, piece: str) -> Iterator[dict[str, Any]]:
        state = self._calls.get(_place(event))
        if state is not None and piece:
            state["streamed"] = True
            yield self._frame.delta({"tool_calls": [{"index": state["index"], "function": {"arguments": piece}}]})

    def _item_done(self, event: JSON, item: JSON) -> Iterator[dict[str, Any]]:
        """Yield the fields that come with the end of an item: encrypted reasoning, or the arguments of a call that were not streamed."""
        state = self._calls.get(_place(event))
        if item.get("type") in ("function_call", "custom_tool_call") and state is not None and not state["streamed"]:
            yield from self._arguments(event, tool_call(item, "item")["function"]["arguments"])
        elif item.get("type") == "reasoning" and item.get("encrypted_content") is not None:
            yield self._frame.delta({"thinking_blocks": [thinking_block(item, "item")]})

    def _finish(self, status: str, response: JSON) -> Iterator[dict[str, Any]]:
        self.finished = True
        yield self._frame.finish(finish_reasons.from_responses({**response, "status": status}, bool(self._calls)))
        usage = StreamedUsage("responses")
        if usage.note(response):
            yield self._frame.usage(usage.to("chat"))


def _place(event: JSON) -> int:
    index = event.get("output_index")
    return index if isinstance(index, int) else 0


class ResponsesWriter:
    """Writes chunks of chat as the events of OpenAI's responses."""

    def __init__(self, model: str) -> None:
        self._model, self._base, self._created = model, "0", 0
        self._number = 0
        self._begun = self._ended = False
        self._items: list[dict[str, Any]] = []
        self._open: dict[str, Any] | None = None
        self._calls: dict[object, dict[str, Any]] = {}
        self._finish: str | None = None
        self._usage = StreamedUsage("chat")
        self._pieces = ToolCallPieces()

    def write(self, chunk: JSON) -> list[bytes]:
        """Return the events for a chunk."""
        if chunk.get("error"):
            return [error_event("responses", *error_of(chunk), sequence_number=self._number)]
        events = [] if self._begun else self._start(chunk)
        self._usage.note(chunk)
        choice = choice_zero(chunk)
        delta = mapping(choice.get("delta") or {}, "choices[0].delta")
        events += self._reasoning(delta)
        words = optional_text(delta.get("content"), "delta.content")
        if words:
            events += self._words(words, logprobs_from_chat(choice.get("logprobs")))
        refusal = optional_text(delta.get("refusal"), "delta.refusal")
        if refusal:
            events += self._refusal(refusal)
        for call in self._pieces.read(delta):
            events += self._call(call)
        if choice.get("finish_reason"):
            self._finish = text(choice["finish_reason"], "choices[0].finish_reason")
        return events

    def end(self) -> list[bytes]:
        """Return the closing events; none if no chunk said that the answer has ended, or they were returned before."""
        if self._finish is None or self._ended:
            return []
        self._ended = True
        events = self._close()
        for item in self._calls.values():
            events += self._call_done(item)
        status, details = finish_reasons.to_responses(self._finish)
        response = {**self._response(status), "incomplete_details": details, "usage": self._usage.to("responses")}
        return [*events, self._event(f"response.{status}", response=response)]

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return event_of({"type": kind, "sequence_number": self._number - 1, **fields}, kind)

    def _response(self, status: str) -> dict[str, Any]:
        return response_object(f"resp_{self._base}", self._model, self._created, [_public(item) for item in self._items], status)

    def _start(self, chunk: JSON) -> list[bytes]:
        self._begun = True
        self._base = identity(chunk.get("id"), "")
        self._model = self._model or optional_text(chunk.get("model"), "model")
        self._created = creation_time(chunk)
        response = self._response("in_progress")
        return [self._event("response.created", response=response), self._event("response.in_progress", response=response)]

    def _begin(self, item: dict[str, Any]) -> bytes:
        """Add an item to the output, and return its first event."""
        item["_index"] = len(self._items)
        self._items.append(item)
        return self._event("response.output_item.added", output_index=item["_index"], item=_public(item))

    def _reasoning(self, delta: JSON) -> list[bytes]:
        events: list[bytes] = []
        piece = reasoning_of(delta)
        if piece:
            events += self._thought(piece)
        for _, block in objects(delta.get("thinking_blocks"), "delta.thinking_blocks"):
            item = reasoning_item(block, "")
            if not item.get("encrypted_content"):
                continue
            if self._open is None or self._open["type"] != "reasoning":
                events += self._thought(item["summary"][0]["text"] if item["summary"] else "")
            if self._open is not None:
                self._open["encrypted_content"] = item["encrypted_content"]
            events += self._close()
        return events

    def _thought(self, piece: str) -> list[bytes]:
        events: list[bytes] = []
        if self._open is None or self._open["type"] != "reasoning":
            events += self._close()
            self._open = {"id": f"rs_{self._base}_{len(self._items)}", "type": "reasoning", "summary": []}
            events.append(self._begin(self._open))
        if not piece:
            return events
        item = self._open
        place = {"item_id": item["id"], "output_index": item["_index"], "summary_index": 0}
        if not item["summary"]:
            events.append(self._event("response.reasoning_summary_part.added", **place, part={"type": "summary_text", "text": ""}))
            item["summary"] = [{"type": "summary_text", "text": ""}]
        item["summary"][0]["text"] += piece
        return [*events, self._event("response.reasoning_summary_text.delta", **place, delta=piece)]

    def _part(self, kind: str, part: dict[str, Any]) -> list[bytes]:
        """Return the events that begin a part of the message, or none if its last part is of that kind."""
        events: list[bytes] = []
        if self._open is None or self._open["type"] != "message":
            events += self._close()
            self._open = message_item(f"msg_{self._base}_{len(self._items)}", [], "in_progress")
            events.append(self._begin(self._open))
        content = self._open["content"]
        if not content or content[-1]["type"] != kind:
            events += self._part_done()
            content.append(part)
            events.append(self._event("response.content_part.added", **self._place(), part=dict(part)))
        return events

    def _place(self) -> dict[str, Any]:
        """Return the position of the open message's last part."""
        item = self._open or {}
        return {"item_id": item["id"], "output_index": item["_index"], "content_index": len(item["content"]) - 1}

    def _words(self, words: str, logprobs: list[dict[str, Any]]) -> list[bytes]:
        events = self._part("output_text", text_part(""))
        part = (self._open or {})["content"][-1]
        part["text"] += words
        part["logprobs"] = [*part["logprobs"], *logprobs] if logprobs else part["logprobs"]
        return [*events, self._event("response.output_text.delta", **self._place(), delta=words, logprobs=logprobs)]

    def _refusal(self, words: str) -> list[bytes]:
        events = self._part("refusal", {"type": "refusal", "refusal": ""})
        (self._open or {})["content"][-1]["refusal"] += words
        return [*events, self._event("response.refusal.delta", **self._place(), delta=words)]

    def _call(self, call: dict[str, Any]) -> list[bytes]:
        events: list[bytes] = []
        item = self._calls.get(call["number"])
        if item is None:
            events += self._close()
            item = call_item(call["id"], call["name"], "", f"fc_{self._base}_{len(self._items)}", "in_progress")
            self._calls[call["number"]] = item
            events.append(self._begin(item))
        if call["arguments"]:
            item["arguments"] += call["arguments"]
            place = {"item_id": item["id"], "output_index": item["_index"]}
            events.append(self._event("response.function_call_arguments.delta", **place, delta=call["arguments"]))
        return events

    def _call_done(self, item: dict[str, Any]) -> list[bytes]:
        item["status"] = "completed"
        place = {"item_id": item["id"], "output_index": item["_index"]}
        done = self._event("response.function_call_arguments.done", **place, name=item["name"], arguments=item["arguments"])
        return [done, self._event("response.output_item.done", output_index=item["_index"], item=_public(item))]

    def _part_done(self) -> list[bytes]:
        content = (self._open or {})["content"]
        if not content:
            return []
        part = content[-1]
        if part["type"] == "refusal":
            done = self._event("response.refusal.done", **self._place(), refusal=part["refusal"])
        else:
            done = self._event("response.output_text.done", **self._place(), text=part["text"], logprobs=part["logprobs"])
        return [done, self._event("response.content_part.done", **self._place(), part=dict(part))]

    def _close(self) -> list[bytes]:
        """Return the events that end the open message or reasoning."""
        item = self._open
        if item is None:
            return []
        events: list[bytes] = []
        if item["type"] == "message":
            events += self._part_done()
            item["status"] = "completed"
        elif item["summary"]:
            place = {"item_id": item["id"], "output_index": item["_index"], "summary_index": 0}
            part = dict(item["summary"][0])
            events.append(self._event("response.reasoning_summary_text.done", **place, text=part["text"]))
            events.append(self._event("response.reasoning_summary_part.done", **place, part=part))
        self._open = None
        return [*events, self._event("response.output_item.done", output_index=item["_index"], item=_public(item))]


def _public(item: JSON) -> dict[str, Any]:
    return {name: value for name, value in item.items() if not name.startswith("_")}
