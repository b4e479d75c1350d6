"""Answers, whole and streamed: between Anthropic's messages and chat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from aamc_models.dialects.carried_state import carried_signature, details_of
from aamc_models.dialects.chat import ChatReader, SingleAnswerWriter, chat_answer, first_choice, reasoning_of
from aamc_models.dialects.content import calls_of, chosen, identity, is_set, lookup, safe_id, signed_text, text_of
from aamc_models.dialects.error_bodies import BROKEN_OFF_REASONS
from aamc_models.dialects.events import event_of
from aamc_models.dialects.fields import JSON, mapping, objects, optional_text, text, to_json, whole_number
from aamc_models.dialects.messages.from_chat import tool_use, unnumbered
from aamc_models.dialects.messages.to_chat import assistant_message, tool_call
from aamc_models.dialects.token_usage import reported_usage, usage_object, usage_of

_FROM_MESSAGES = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Finish reasons by Anthropic's stop reasons, of which the others, such as ``end_turn``, mean ``stop``."""
_TO_MESSAGES = {
    "length": "max_tokens",
    "model_length": "max_tokens",  # Mistral's, where the context window ends
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def finish_reason_of(stop_reason: object) -> str:
    """Return a ``stop_reason`` of Anthropic's as a ``finish_reason``; those of answers that a server broke off stay as they are."""
    if isinstance(stop_reason, str) and stop_reason in BROKEN_OFF_REASONS:
        return stop_reason
    return lookup(_FROM_MESSAGES, stop_reason) or "stop"


def stop_reason_of(finish_reason: object, calls_tools: bool, stop_sequence: object) -> tuple[str, str | None]:
    """Return a ``finish_reason`` as Anthropic's ``stop_reason`` and ``stop_sequence``, which vLLM reports as ``stop_reason``."""
    if calls_tools and finish_reason == "stop":  # as some servers say
        return "tool_use", None
    if isinstance(stop_sequence, str) and finish_reason == "stop":
        return "stop_sequence", stop_sequence
    return lookup(_TO_MESSAGES, finish_reason) or "end_turn", None


def answer_to_chat(answer: JSON) -> dict[str, Any]:
    """Return an answer of Anthropic's messages as a chat completion."""
    message, _ = assistant_message(answer.get("content"), "content")
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason_of(answer.get("stop_reason"))}
    if is_set(answer.get("stop_sequence")):
        choice["stop_reason"] = answer["stop_sequence"]
    return chat_answer(answer, [choice], usage_object("chat", usage_of("messages", answer)))


def answer_from_chat(answer: JSON, model: str) -> dict[str, Any]:
    """Return a chat completion as an answer of Anthropic's messages."""
    choice = first_choice(answer)
    message = choice["message"]
    content = thinking_blocks(message, model)
    words = text_of(message.get("content"), "choices[0].message.content") + optional_text(message.get("refusal"), "choices[0].message.refusal")
    if words:
        content.append({"type": "text", "text": words})
    calls = [tool_use(call) for call in calls_of(message, "choices[0].message")]
    content.extend(calls)
    stop_reason, stop_sequence = stop_reason_of(choice.get("finish_reason"), bool(calls), choice.get("stop_reason"))
    stop = {"stop_reason": stop_reason, "stop_sequence": stop_sequence}
    usage = {**usage_object("messages", usage_of("chat", answer)), **chosen(reported_usage(answer), "cost")}
    return {**_message_head(answer, model, content), **stop, "usage": usage}


def _message_head(source: JSON, model: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the first fields of a message for a chat completion or its first chunk."""
    name = model or optional_text(source.get("model"), "model")
    return {"id": identity(source.get("id"), "msg_"), "type": "message", "role": "assistant", "model": name, "content": content}


def thinking_blocks(message: JSON, model: str) -> list[dict[str, Any]]:
    """Return the blocks of thinking of a chat message; reasoning without a signature has an empty one, or one that carries a model's state."""
    blocks = [unnumbered(block) for _, block in objects(message.get("thinking_blocks"), "thinking_blocks")]
    reasoning, calls = "" if blocks else reasoning_of(message), [call for _, call in objects(message.get("tool_calls"), "tool_calls")]
    carries_reasoning = bool(reasoning) and is_set(message.get("reasoning_content"))
    signature = carried_signature(model, reasoning=carries_reasoning, calls=calls, details=details_of(message))
    if reasoning or signature:
        blocks.append({"type": "thinking", "thinking": reasoning, "signature": signature})
    return blocks


class MessagesReader(ChatReader):
    """Reads the events of Anthropic's messages as chunks of chat."""

    dialect = "messages"

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[int, dict[str, Any]] = {}
        self._calls = 0

    def read(self, event: JSON) -> Iterator[JSON]:
        """Yield the chunks that an event becomes."""
        kind = event.get("type")
        if kind == "message_start":
            message = mapping(event.get("message"), "message")
            self.usage.note(message)
            self._begin(message)
            yield self._delta({"role": "assistant", "content": ""})
        elif kind == "content_block_start":
            yield from self._block(self._index(event), mapping(event.get("content_block"), "content_block"))
        elif kind == "content_block_delta":
            yield from self._block_delta(self._blocks.get(self._index(event), {}), mapping(event.get("delta"), "delta"))
        elif kind == "content_block_stop":
            yield from self._block_end(self._blocks.pop(self._index(event), {}))
        elif kind == "message_delta":
            self.usage.note(event)
            yield from self._message_end(mapping(event.get("delta"), "delta"))
        elif kind == "message_stop":
            self.usage.note(event)
            self.finished = True
        elif kind == "error":
            yield {"error": event.get("error") or dict(event)}

    def _index(self, event: JSON) -> int:
        return whole_number(event.get("index"), "index")

    def _block(self, index: int, block: JSON) -> Iterator[dict[str, Any]]:
        kind = block.get("type")
        state = self._blocks[index] = {"type": kind, "block": dict(block), "text": "", "signature": ""}
        if kind == "tool_use":
            state["call"], self._calls = self._calls, self._calls + 1
            yield self._delta({"tool_calls": [{"index": state["call"], **tool_call({**block, "input": ""}, "content_block")}]})
        elif kind == "text" and is_set(block.get("text")):
            yield self._delta({"content": text(block["text"], "content_block.text")})
        elif kind == "thinking" and is_set(block.get("thinking")):
            yield from self._block_delta(state, {"type": "thinking_delta", "thinking": block["thinking"]})

    def _block_delta(self, state: dict[str, Any], delta: JSON) -> Iterator[dict[str, Any]]:
        kind = delta.get("type")
        if kind == "text_delta":
            yield self._delta({"content": text(delta.get("text"), "delta.text")})
        elif kind == "thinking_delta" and state:
            piece = text(delta.get("thinking"), "delta.thinking")
            state["text"] += piece
            yield self._delta({"reasoning_content": piece})
        elif kind == "signature_delta" and state:
            state["signature"] += text(delta.get("signature"), "delta.signature")
        elif kind == "input_json_delta" and "call" in state:
            piece = text(delta.get("partial_json"), "delta.partial_json")
            state["text"] += piece
            if piece:
                yield self._delta({"tool_calls": [{"index": state["call"], "function": {"arguments": piece}}]})

    def _block_end(self, state: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the fields that come with the end of a block: its signature, or the arguments of a call that were not streamed."""
        if state.get("type") == "redacted_thinking":
            yield self._thinking(state["block"])
        elif state.get("type") == "thinking":
            signature = state["signature"] or optional_text(state["block"].get("signature"), "content_block.signature")
            yield self._thinking({"type": "thinking", "thinking": state["text"], "signature": signature})
        elif "call" in state and not state["text"]:
            arguments = to_json(state["block"].get("input") or {}, "content_block.input")
            yield self._delta({"tool_calls": [{"index": state["call"], "function": {"arguments": arguments}}]})

    def _message_end(self, delta: JSON) -> Iterator[dict[str, Any]]:
        if delta.get("stop_reason") is not None:
            sequence = {"stop_reason": delta["stop_sequence"]} if is_set(delta.get("stop_sequence")) else {}
            yield self._end(finish_reason_of(delta["stop_reason"]), **sequence)
            yield self._counted(self.usage.to("chat"))


class MessagesWriter(SingleAnswerWriter):
    """Writes chunks of chat as the events of Anthropic's messages.

    Its blocks come one after another. The first tool call is streamed; whatever comes while its block is open, such as the pieces of a parallel call,
    is held back until the finish.
    """

    dialect = "messages"

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self._index = -1
        self._open = ""
        self._live_call: object = None
        self._held_calls: dict[object, dict[str, str]] = {}
        self._held_text = ""
        self._held_reasoning: list[tuple[str, list[dict[str, Any]]]] = []

    def _closing(self, finish: JSON) -> list[bytes]:
        events = self._close()
        for piece, blocks in self._held_reasoning:
            events += self._reasoning(piece, blocks)
        if self._held_text:
            events += self._words(self._held_text)
        for call in self._held_calls.values():
            events += self._tool_block(call["id"], call["name"])
            events.append(self._delta({"type": "input_json_delta", "partial_json": call["arguments"] or "{}"}))
        events += self._close()
        reason, sequence = stop_reason_of(finish["finish_reason"], self._live_call is not None, finish.get("stop_reason"))
        stop = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": sequence}, "usage": self._usage.to("messages")}
        return [*events, event_of(stop, "message_delta"), event_of({"type": "message_stop"}, "message_stop")]

    def _start(self, chunk: JSON) -> list[bytes]:
        prompt = attrs.evolve(self._usage.tokens, output_tokens=0, reasoning_tokens=None)
        stop = {"stop_reason": None, "stop_sequence": None}
        message = {**_message_head(chunk, self._model, []), **stop, "usage": usage_object("messages", prompt)}
        return [event_of({"type": "message_start", "message": message}, "message_start")]

    def _words(self, words: str, logprobs: object = None) -> list[bytes]:
        if self._open == "tool_use":
            self._held_text += words
            return []
        return [*self._block("text", {"text": ""}), self._delta({"type": "text_delta", "text": words})]

    def _refusal(self, words: str) -> list[bytes]:
        return self._words(words)

    def _reasoning(self, piece: str, blocks: list[dict[str, Any]]) -> list[bytes]:
        if self._open == "tool_use":
            self._held_reasoning.append((piece, blocks))
            return []
        events = self._thought(piece) if piece else []
        for block in blocks:
            signature = optional_text(block.get("signature"), "delta.thinking_blocks.signature")
            if block.get("type") == "redacted_thinking":
                data = optional_text(block.get("data"), "delta.thinking_blocks.data")
                events += [*self._close(), *self._block("redacted_thinking", {"data": data}), *self._close()]
            elif signature:
                if self._open != "thinking":
                    events += self._thought(signed_text(block, "delta.thinking_blocks"))
                events += [self._delta({"type": "signature_delta", "signature": signature}), *self._close()]
        return events

    def _thought(self, piece: str) -> list[bytes]:
        begin = self._block("thinking", {"thinking": "", "signature": ""})
        return [*begin, self._delta({"type": "thinking_delta", "thinking": piece})] if piece else begin

    def _call(self, call: dict[str, Any]) -> list[bytes]:
        """Return the events for a piece of a tool call."""
        index = call["number"]
        if index in self._held_calls or (self._open == "tool_use" and index != self._live_call):
            held = self._held_calls.setdefault(index, {"id": call["id"], "name": call["name"], "arguments": ""})
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
