"""Streams: between the events of OpenAI's responses and chunks of chat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aamc_models.dialects.chat import ChatReader, SingleAnswerWriter
from aamc_models.dialects.content import CALL_ITEMS, ITEM, creation_time, identity, lookup
from aamc_models.dialects.events import event_of
from aamc_models.dialects.fields import JSON, mapping, object_or_empty, optional_text, text
from aamc_models.dialects.responses.answers import (
    answer_to_chat,
    call_item,
    finish_reason_of,
    input_of,
    logprobs_from_chat,
    logprobs_to_chat,
    message_item,
    reasoning_item,
    response_object,
    status_of,
    text_part,
)
from aamc_models.dialects.responses.to_chat import PARAGRAPH_BREAK, thinking_block, tool_call

_THOUGHTS = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
_ENDS = {"response.completed": "completed", "response.incomplete": "incomplete"}
_ANSWER = frozenset(("content", "refusal", "tool_calls"))


class ResponsesReader(ChatReader):
    """Reads the events of OpenAI's responses as chunks of chat."""

    dialect = "responses"

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[object, dict[str, Any]] = {}
        self._streamed: set[str] = set()

    def _delta(self, delta: dict[str, Any], logprobs: object = None, index: int = 0) -> dict[str, Any]:
        self._streamed.update(name for name, value in delta.items() if value)
        return super()._delta(delta, logprobs, index)

    def read(self, event: JSON) -> Iterator[JSON]:
        """Yield the chunks that an event becomes."""
        kind = event.get("type")
        if kind == "response.created":
            self._begin(mapping(event.get("response"), "response"))
            yield self._delta({"role": "assistant", "content": ""})
        elif kind == "response.output_text.delta":
            yield self._delta({"content": text(event.get("delta"), "delta")}, logprobs_to_chat(event.get("logprobs")))
        elif kind == "response.refusal.delta":
            yield self._delta({"refusal": text(event.get("delta"), "delta")})
        elif kind in _THOUGHTS:
            yield self._delta({"reasoning_content": text(event.get("delta"), "delta")})
        elif kind == "response.reasoning_summary_part.added" and event.get("summary_index"):
            yield self._delta({"reasoning_content": PARAGRAPH_BREAK})
        elif kind == "response.output_item.added":
            yield from self._item(event, mapping(event.get("item"), "item"))
        elif kind == "response.function_call_arguments.delta":
            yield from self._arguments(event, text(event.get("delta"), "delta"))
        elif kind == "response.function_call_arguments.done" and self._lacks_arguments(event):
            yield from self._arguments(event, optional_text(event.get("arguments"), "arguments"))
        elif kind == "response.output_item.done":
            yield from self._item_done(event, mapping(event.get("item"), "item"))
        elif status := lookup(_ENDS, kind):
            self.usage.note(event)
            yield from self._response_end(status, mapping(event.get("response"), "response"))
        elif kind in ("response.failed", "error"):
            failed = object_or_empty(event.get("response")).get("error")
            yield {"error": failed or event.get("error") or dict(event)}

    def _item(self, event: JSON, item: JSON) -> Iterator[dict[str, Any]]:
        if item.get("type") in CALL_ITEMS:
            call = tool_call({**item, "arguments": "", "input": ""}, "item")
            state = self._calls[_place(event)] = {"index": len(self._calls), "streamed": False}
            function = {"name": call["function"]["name"], "arguments": ""}
            yield self._delta({"tool_calls": [{"index": state["index"], "id": call["id"], "type": "function", "function": function}]})

    def _arguments(self, event: JSON, piece: str) -> Iterator[dict[str, Any]]:
        state = self._calls.get(_place(event))
        if state is not None and piece:
            state["streamed"] = True
            yield self._delta({"tool_calls": [{"index": state["index"], "function": {"arguments": piece}}]})

    def _lacks_arguments(self, event: JSON) -> bool:
        return not self._calls.get(_place(event), {"streamed": True})["streamed"]

    def _item_done(self, event: JSON, item: JSON) -> Iterator[dict[str, Any]]:
        """Yield the fields that come with the end of an item: encrypted reasoning, or the arguments of a call that were not streamed."""
        if item.get("type") in CALL_ITEMS and self._lacks_arguments(event):
            yield from self._arguments(event, tool_call(item, "item")["function"]["arguments"])
        elif item.get("type") == "reasoning" and item.get("encrypted_content") is not None:
            yield self._thinking(thinking_block(item, "item"))

    def _response_end(self, status: str, response: JSON) -> Iterator[dict[str, Any]]:
        self.finished = True
        response = {**response, "status": status}
        if not self._streamed & _ANSWER:  # some servers send no deltas
            self._begin(response)
            message = answer_to_chat(response)["choices"][0]["message"]
            rest = {name: value for name, value in message.items() if value and name not in self._streamed}
            lists = {name: [{"index": n, **each} for n, each in enumerate(value)] for name, value in rest.items() if isinstance(value, list)}
            if rest.keys() - {"role"}:
                yield self._delta({**rest, **lists})
        yield self._end(finish_reason_of(response, "tool_calls" in self._streamed))
        if self.usage.note(response):
            yield self._counted(self.usage.to("chat"))


def _place(event: JSON) -> int:
    index = event.get("output_index")
    return index if isinstance(index, int) else 0


def _written(item: JSON) -> str:
    """Return the field of a call that holds what the model has written so far."""
    return "input" if "input" in item else "arguments"


class ResponsesWriter(SingleAnswerWriter):
    """Writes chunks of chat as the events of OpenAI's responses."""

    dialect = "responses"

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self._base, self._created = "0", 0
        self._items: list[dict[str, Any]] = []
        self._open: dict[str, Any] = {}
        self._cut: dict[str, Any] | None = None
        self._calls: dict[object, dict[str, Any]] = {}

    def _closing(self, finish: JSON) -> list[bytes]:
        status, details = status_of(finish["finish_reason"])
        if status == "incomplete" and self._items:
            self._cut = self._items[-1]
        events = self._close()
        for item in self._calls.values():
            events += self._call_done(item)
        response = {**self._response(status), "incomplete_details": details, "usage": self._usage.to("responses")}
        return [*events, self._event(f"response.{status}", response=response)]

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return event_of({"type": kind, "sequence_number": self._number - 1, **fields}, kind)

    def _response(self, status: str) -> dict[str, Any]:
        return response_object(f"resp_{self._base}", self._model, self._created, self._items, status)

    def _start(self, chunk: JSON) -> list[bytes]:
        self._base = identity(chunk.get("id"), "")
        self._model = self._model or optional_text(chunk.get("model"), "model")
        self._created = creation_time(chunk)
        response = self._response("in_progress")
        return [self._event("response.created", response=response), self._event("response.in_progress", response=response)]

    def _begin(self, item: dict[str, Any]) -> bytes:
        """Add an item to the output, and return its first event."""
        self._items.append(item)
        return self._event("response.output_item.added", output_index=len(self._items) - 1, item=item)

    def _done(self, item: dict[str, Any]) -> bytes:
        return self._event("response.output_item.done", output_index=self._items.index(item), item=item)

    def _place_of(self, item: dict[str, Any]) -> dict[str, Any]:
        return {"item_id": item["id"], "output_index": self._items.index(item)}

    def _reasoning(self, piece: str, blocks: list[dict[str, Any]]) -> list[bytes]:
        events = self._thought(piece) if piece else []
        for block in blocks:
            item = reasoning_item(block, "")
            if not item.get("encrypted_content"):
                continue
            if self._open.get("type") != "reasoning":
                events += self._thought(item["summary"][0]["text"] if item["summary"] else "")
            self._open["encrypted_content"] = item["encrypted_content"]
            events += self._close()
        return events

    def _thought(self, piece: str) -> list[bytes]:
        events: list[bytes] = []
        if self._open.get("type") != "reasoning":
            events += self._close()
            self._open = {"id": f"rs_{self._base}_{len(self._items)}", "type": "reasoning", "summary": []}
            events.append(self._begin(self._open))
        if not piece:
            return events
        item = self._open
        place = {**self._place_of(item), "summary_index": 0}
        if not item["summary"]:
            events.append(self._event("response.reasoning_summary_part.added", **place, part={"type": "summary_text", "text": ""}))
            item["summary"] = [{"type": "summary_text", "text": ""}]
        item["summary"][0]["text"] += piece
        return [*events, self._event("response.reasoning_summary_text.delta", **place, delta=piece)]

    def _part(self, kind: str, part: dict[str, Any]) -> list[bytes]:
        """Return the events that begin a part of the message, or none if its last part is of that kind."""
        events: list[bytes] = []
        if self._open.get("type") != "message":
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
        return {**self._place_of(self._open), "content_index": len(self._open["content"]) - 1}

    def _words(self, words: str, logprobs: object) -> list[bytes]:
        tokens = logprobs_from_chat(logprobs)
        events = self._part("output_text", text_part(""))
        part = self._open["content"][-1]
        part["text"] += words
        part["logprobs"] = [*part["logprobs"], *tokens] if tokens else part["logprobs"]
        return [*events, self._event("response.output_text.delta", **self._place(), delta=words, logprobs=tokens)]

    def _refusal(self, words: str) -> list[bytes]:
        events = self._part("refusal", {"type": "refusal", "refusal": ""})
        self._open["content"][-1]["refusal"] += words
        return [*events, self._event("response.refusal.delta", **self._place(), delta=words)]

    def _call(self, call: dict[str, Any]) -> list[bytes]:
        events: list[bytes] = []
        item = self._calls.get(call["number"])
        if item is None:
            events += self._close()
            item = call_item(call["id"], call["name"], "", f"fc_{self._base}_{len(self._items)}", "in_progress", call.get(ITEM))
            item[_written(item)] = ""
            self._calls[call["number"]] = item
            events.append(self._begin(item))
        if call["arguments"]:
            item[_written(item)] += call["arguments"]
            if "arguments" in item:
                events.append(self._event("response.function_call_arguments.delta", **self._place_of(item), delta=call["arguments"]))
        return events

    def _call_done(self, item: dict[str, Any]) -> list[bytes]:
        is_cut = item is self._cut  # clients must not run such a call
        item["status"] = "incomplete" if is_cut else "completed"
        if "input" in item:  # it comes as one piece: the model writes it as JSON
            item["input"] = input_of(item["input"])
            piece = self._event("response.custom_tool_call_input.delta", **self._place_of(item), delta=item["input"])
            return [piece, self._event("response.custom_tool_call_input.done", **self._place_of(item), input=item["input"]), self._done(item)]
        item["arguments"] = item["arguments"] or ("" if is_cut else "{}")
        done = self._event("response.function_call_arguments.done", **self._place_of(item), name=item["name"], arguments=item["arguments"])
        return [done, self._done(item)]

    def _part_done(self) -> list[bytes]:
        content = self._open["content"]
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
        if not item:
            return []
        events: list[bytes] = []
        if item["type"] == "message":
            events += self._part_done()
            item["status"] = "incomplete" if item is self._cut else "completed"
        elif item["summary"]:
            place = {**self._place_of(item), "summary_index": 0}
            part = dict(item["summary"][0])
            events.append(self._event("response.reasoning_summary_text.done", **place, text=part["text"]))
            events.append(self._event("response.reasoning_summary_part.done", **place, part=part))
        self._open = {}
        return [*events, self._done(item)]
