"""Streams: between the events of Anthropic's messages and chunks of chat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aamc_models.dialects import finish_reasons
from aamc_models.dialects.chat.answer import reasoning_of
from aamc_models.dialects.chat.chunks import ChunkFrame, ToolCallPieces, choice_zero, error_of
from aamc_models.dialects.content import identity, is_set, safe_id, signed_text
from aamc_models.dialects.error_bodies import error_event
from aamc_models.dialects.events import event_of
from aamc_models.dialects.fields import JSON, mapping, objects, optional_text, text, to_json, whole_number
from aamc_models.dialects.token_usage import StreamedUsage, usage_object
from aamc_sdk.interfaces import Usage


class MessagesReader:
    """Reads the events of Anthropic's messages as chunks of chat."""

    def __init__(self) -> None:
        self._frame = ChunkFrame()
        self._usage = StreamedUsage("messages")
        self._blocks: dict[int, dict[str, Any]] = {}
        self._calls = 0
        self.finished = False

    def read(self, event: JSON) -> Iterator[dict[str, Any]]:
        """Yield the chunks that an event becomes."""
        kind = event.get("type")
        if kind == "message_start":
            message = mapping(event.get("message"), "message")
            self._frame.begin(message)
            self._usage.note(message)
            yield self._frame.delta({"role": "assistant", "content": ""})
        elif kind == "content_block_start":
            yield from self._start(self._index(event), mapping(event.get("content_block"), "content_block"))
        elif kind == "content_block_delta":
            yield from self._delta(self._blocks.get(self._index(event), {}), mapping(event.get("delta"), "delta"))
        elif kind == "content_block_stop":
            yield from self._stop(self._blocks.pop(self._index(event), {}))
        elif kind == "message_delta":
            self._usage.note(event)
            yield from self._finish(mapping(event.get("delta"), "delta"))
        elif kind == "message_stop":
            self.finished = True
        elif kind == "error":
            yield {"error": event.get("error") or {}}

    def _index(self, event: JSON) -> int:
        return whole_number(event.get("index"), "index")

    def _start(self, index: int, block: JSON) -> Iterator[dict[str, Any]]:
        kind = block.get("type")
        state = self._blocks[index] = {"type": kind, "block": dict(block), "text": "", "signature": ""}
        if kind == "tool_use":
            state["call"], self._calls = self._calls, self._calls + 1
            function = {"name": text(block.get("name"), "content_block.name"), "arguments": ""}
            call = {"index": state["call"], "id": safe_id(text(block.get("id"), "content_block.id")), "type": "function", "function": function}
            yield self._frame.delta({"tool_calls": [call]})
        elif kind == "text" and is_set(block.get("text")):
            yield self._frame.delta({"content": text(block["text"], "content_block.text")})
        elif kind == "thinking" and is_set(block.get("thinking")):
            yield from self._delta(state, {"type": "thinking_delta", "thinking": block["thinking"]})

    def _delta(self, state: dict[str, Any], delta: JSON) -> Iterator[dict[str, Any]]:
        kind = delta.get("type")
        if kind == "text_delta":
            yield self._frame.delta({"content": text(delta.get("text"), "delta.text")})
        elif kind == "thinking_delta" and state:
            piece = text(delta.get("thinking"), "delta.thinking")
            state["text"] += piece
            yield self._frame.delta({"reasoning_content": piece})
        elif kind == "signature_delta" and state:
            state["signature"] += text(delta.get("signature"), "delta.signature")
        elif kind == "input_json_delta" and "call" in state:
            piece = text(delta.get("partial_json"), "delta.partial_json")
            state["text"] += piece
            if piece:
                yield self._frame.delta({"tool_calls": [{"index": state["call"], "function": {"arguments": piece}}]})

    def _stop(self, state: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the fields that come with the end of a block: its signature, or the arguments of a call that were not streamed."""
        if state.get("type") == "redacted_thinking":
            yield self._frame.delta({"thinking_blocks": [state["block"]]})
        elif state.get("type") == "thinking":
            signature = state["signature"] or optional_text(state["block"].get("signature"), "content_block.signature")
            yield self._frame.delta({"thinking_blocks": [{"type": "thinking", "thinking": state["text"], "signature": signature}]})
        elif "call" in state and not state["text"]:
            arguments = to_json(state["block"].get("input") or {}, "content_block.input")
            yield self._frame.delta({"tool_calls": [{"index": state["call"], "function": {"arguments": arguments}}]})

    def _finish(self, delta: JSON) -> Iterator[dict[str, Any]]:
        if delta.get("stop_reason") is not None:
            extra = {"stop_reason": delta["stop_sequence"]} if is_set(delta.get("stop_sequence")) else {}
            yield self._frame.finish(finish_reasons.from_messages(delta["stop_reason"]), extra)
            yield self._frame.usage(self._usage.to("chat"))


class MessagesWriter:
    """Writes chunks of chat as the events of Anthropic's messages.

    Its blocks come one after another. The first tool call is streamed; whatever comes while its block is open, such as the pieces of a parallel call,
    is held back until the finish.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._begun = self._ended = False
        self._index = -1
        self._open = ""
        self._live_call: object = None
        self._held_calls: dict[object, dict[str, str]] = {}
        self._held_text = ""
        self._finish: tuple[str, object] | None = None
        self._called = False
        self._usage = StreamedUsage("chat")
        self._pieces = ToolCallPieces()

    def write(self, chunk: JSON) -> list[bytes]:
        """Return the events for a chunk."""
        if chunk.get("error"):
            return [error_event("messages", *error_of(chunk))]
        events = [] if self._begun else self._start(chunk)
        self._usage.note(chunk)
        choice = choice_zero(chunk)
        delta = mapping(choice.get("delta") or {}, "choices[0].delta")
        events += self._reasoning(delta)
        words = optional_text(delta.get("content"), "delta.content") or optional_text(delta.get("refusal"), "delta.refusal")
        if words and self._open == "tool_use":
            self._held_text += words
        elif words:
            events += [*self._block("text", {"text": ""}), self._delta({"type": "text_delta", "text": words})]
        for call in self._pieces.read(delta):
            events += self._call(call)
        if choice.get("finish_reason"):
            self._finish = (text(choice["finish_reason"], "choices[0].finish_reason"), choice.get("stop_reason"))
        return events

    def end(self) -> list[bytes]:
        """Return the closing events; none if no chunk said that the answer has ended, or they were returned before."""
        if self._finish is None or self._ended:
            return []
        self._ended = True
        events = self._close()
        if self._held_text:
            events += [*self._block("text", {"text": ""}), self._delta({"type": "text_delta", "text": self._held_text})]
        for call in self._held_calls.values():
            events += self._tool_block(call["id"], call["name"])
            events.append(self._delta({"type": "input_json_delta", "partial_json": call["arguments"] or "{}"}))
        events += self._close()
        reason, sequence = finish_reasons.to_messages(self._finish[0], self._called, self._finish[1])
        stop = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": sequence}, "usage": self._usage.to("messages")}
        return [*events, event_of(stop, "message_delta"), event_of({"type": "message_stop"}, "message_stop")]

    def _start(self, chunk: JSON) -> list[bytes]:
        self._begun = True
        message: dict[str, Any] = {
            "id": identity(chunk.get("id"), "msg_"),
            "type": "message",
            "role": "assistant",
            "model": self._model or optional_text(chunk.get("model"), "model"),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_object("messages", Usage()),
        }
        return [event_of({"type": "message_start", "message": message}, "message_start")]

    def _reasoning(self, delta: JSON) -> list[bytes]:
        events: list[bytes] = []
        piece = reasoning_of(delta)
        if piece and self._open != "tool_use":
            events += self._thought(piece)
        for _, block in objects(delta.get("thinking_blocks"), "delta.thinking_blocks"):
            signature = optional_text(block.get("signature"), "delta.thinking_blocks.signature")
            if block.get("type") == "redacted_thinking":
                data = optional_text(block.get("data"), "delta.thinking_blocks.data")
                events += [*self._close(), *self._block("redacted_thinking", {"data": data}), *self._close()]
            elif signature and self._open != "tool_use":
                if self._open != "thinking":
                    events += self._thought(signed_text(block, "delta.thinking_blocks"))
                events += [self._delta({"type": "signature_delta", "signature": signature}), *self._close()]
        return events

    def _thought(self, piece: str) -> list[bytes]:
        begin = self._block("thinking", {"thinking": "", "signature": ""})
        return [*begin, self._delta({"type": "thinking_delta", "thinking": piece})] if piece else begin

    def _call(self, call: dict[str, Any]) -> list[bytes]:
        """Return the events for a piece of a tool call."""
        self._called = True
        index = call["number"]
        if index in self._held_calls or (self._open == "tool_use" and index != self._live_call):
            held = self._held_calls.setdefault(index, {"id": "", "name": "", "arguments": ""})
            held["id"], held["name"] = held["id"] or call["id"], held["name"] + call["name"]
            held["arguments"] += call["arguments"]
            return []
        events = []
        if self._open != "tool_use":
            self._live_call = index
            events += self._tool_block(call["id"], call["name"])
        if call["arguments"]:
            events.append(self._delta({"type": "input_json_delta", "partial_json": call["arguments"]}))
        return events

    def _tool_block(self, call_id: str, name: str) -> list[bytes]:
        return [*self._close(), *self._block("tool_use", {"id": safe_id(call_id), "name": name, "input": {}})]

    def _block(self, kind: str, fields: dict[str, Any]) -> list[bytes]:
        """Return the events that begin a block, or none if one of its kind is open."""
        if self._open == kind:
            return []
        events = self._close()
        self._index += 1
        self._open = kind
        block = {"type": kind, **fields}
        return [*events, event_of({"type": "content_block_start", "index": self._index, "content_block": block}, "content_block_start")]

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return event_of({"type": "content_block_delta", "index": self._index, "delta": delta}, "content_block_delta")

    def _close(self) -> list[bytes]:
        if not self._open:
            return []
        self._open = ""
        return [event_of({"type": "content_block_stop", "index": self._index}, "content_block_stop")]
