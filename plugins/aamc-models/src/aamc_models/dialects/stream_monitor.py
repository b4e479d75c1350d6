"""Reading a streamed answer as it passes: content, usage, finish and errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from aamc_models.dialects import finish_reasons
from aamc_models.dialects.events import data_of
from aamc_models.dialects.fields import check_dialect, json_object
from aamc_models.dialects.responses.stream import ENDS
from aamc_models.dialects.token_usage import StreamedUsage, reported_cost
from aamc_sdk.interfaces import Usage


class Seen(NamedTuple):
    """The content of one event of a stream.

    Attributes:
        content: It holds a piece of the answer: text, reasoning, or a tool call.
        error: The message of an error; None without one.
        broken: The error is that its data is not a JSON object.
        done: It is the last event: ``[DONE]``, ``message_stop``, or ``response.completed``.
    """

    content: bool = False
    error: str | None = None
    done: bool = False
    broken: bool = False


_NOTHING, _CONTENT, _DONE = Seen(), Seen(content=True), Seen(done=True)
_DELTAS = frozenset(("content", "reasoning_content", "reasoning", "refusal"))


class StreamMonitor:
    """Reads the events of a streamed answer as they pass. It raises no errors: an event that cannot be read holds an error.

    Args:
        dialect: The dialect of the events.

    Attributes:
        usage: The tokens that the stream has reported so far; None before.
        cost_usd: The cost that the stream has reported; NaN without.
        finish_reason: Why the answer ended, in the words of ``chat``: ``"stop"``, ``"length"``, ``"tool_calls"``, ``"content_filter"``; None before.
        text_bytes: Bytes of text, reasoning and tool arguments so far.
        finished: Whether the answer has ended: each choice has a ``finish_reason``, or ``message_stop`` or ``response.completed`` came.

    Raises:
        DataError: The dialect is unknown.
    """

    def __init__(self, dialect: str) -> None:
        check_dialect(dialect)
        self._dialect = dialect
        self._read = _READERS.get(dialect, StreamMonitor._chunk)  # bound methods would make a cycle, which waits for the garbage collector
        self.usage: Usage | None = None
        self.cost_usd = math.nan
        self.finish_reason: str | None = None
        self.text_bytes = 0
        self.finished = False
        self._open_choices: set[int] = set()
        self._last_open: object = None
        self._calls_tools = False
        self._reported = StreamedUsage(dialect)

    def feed(self, event: bytes) -> Seen:
        """Return the content of an event."""
        start = event.find(b"data:")
        if start < 0:
            return _NOTHING
        try:
            data = orjson.loads(event[start + 5 :])
        except ValueError:  # [DONE], several lines of data, or no JSON
            if event[start + 5 :].strip() == b"[DONE]":
                return _DONE
            text = data_of(event)
            if not text:
                return _NOTHING
            data = json_object(text)
        return self._read(self, data) if isinstance(data, dict) else Seen(error=f"its data is not a JSON object: {event!r:.80}", broken=True)

    def _chunk(self, chunk: dict[str, Any]) -> Seen:
        """Read an event of chat or completions."""
        if chunk.get("error"):
            return Seen(error=_error_message(chunk["error"]))
        content = False
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                content = self._choice(choice) or content
        if chunk.get("usage"):
            self._note_usage(chunk)
        return _CONTENT if content else _NOTHING

    def _choice(self, choice: dict[str, Any]) -> bool:
        delta, size = choice.get("delta"), 0
        if isinstance(delta, dict):
            for name, value in delta.items():
                if name in _DELTAS:
                    size += _size(value)
                elif value and name == "tool_calls":
                    size += self._tool_calls(value)
        elif "text" in choice:
            size = _size(choice["text"])
        self.text_bytes += size
        index, reason = choice.get("index"), choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            self.finish_reason = reason
            self._open_choices.discard(index if type(index) is int else 0)
            self.finished = not self._open_choices
        elif size and index != self._last_open:
            self._open_choices.add(index if type(index) is int else 0)
            self._last_open, self.finished = index, False
        return size > 0

    def _tool_calls(self, calls: object) -> int:
        """Return the bytes of the calls in a delta; at least 1, as a call without arguments is content too."""
        size = 1
        for call in calls if isinstance(calls, list) else ():
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict):
                size += _size(function.get("name")) + _size(function.get("arguments"))
        return size

    def _message_event(self, event: dict[str, Any]) -> Seen:
        kind = event.get("type")
        if kind == "content_block_delta":
            delta = event.get("delta")
            size = sum(map(_size, delta.values())) - _size(delta.get("type")) if isinstance(delta, dict) else 0
            self.text_bytes += size
            return _CONTENT if size else _NOTHING
        if kind == "content_block_start":
            block = event.get("content_block")
            return _CONTENT if isinstance(block, dict) and block.get("type") not in ("text", "thinking") else _NOTHING
        if kind == "error":
            return Seen(error=_error_message(event.get("error")))
        if kind == "message_stop":
            self.finished = True
            return _DONE
        if kind == "message_start" and isinstance(event.get("message"), dict):
            self._note_usage(event["message"])
        elif kind == "message_delta":
            self._note_usage(event)
            delta = event.get("delta")
            if isinstance(delta, dict) and delta.get("stop_reason"):
                self.finish_reason = finish_reasons.from_messages(delta["stop_reason"])
        return _NOTHING

    def _response_event(self, event: dict[str, Any]) -> Seen:
        kind = event.get("type")
        if isinstance(kind, str) and kind.endswith(".delta"):
            size = _size(event.get("delta"))
            self.text_bytes += size
            return _CONTENT if size else _NOTHING
        if kind == "response.output_item.added":
            item = event.get("item")
            kind = item.get("type") if isinstance(item, dict) else None
            called = isinstance(kind, str) and kind.endswith("_call")
            self._calls_tools = self._calls_tools or called
            return _CONTENT if called else _NOTHING
        response = event.get("response")
        if kind in ENDS and isinstance(response, dict):
            self._note_usage(response)
            self.finish_reason = finish_reasons.from_responses({**response, "status": ENDS[kind]}, self._calls_tools)
            self.finished = True
            return _DONE
        if kind in ("error", "response.failed") or event.get("error"):
            failed = response.get("error") if isinstance(response, dict) else None
            return Seen(error=_error_message(failed or event.get("error") or event))
        return _NOTHING

    def _note_usage(self, holder: Mapping[str, Any]) -> None:
        if self._reported.note(holder):
            self.usage = self._reported.tokens
            cost = reported_cost(self._dialect, holder)
            self.cost_usd = self.cost_usd if math.isnan(cost) else cost


_READERS = {"messages": StreamMonitor._message_event, "responses": StreamMonitor._response_event}


def _size(value: object) -> int:
    """Return the bytes of a text; its characters where it is ASCII, which most is."""
    if not isinstance(value, str):
        return 0
    return len(value) if value.isascii() else len(value.encode(errors="replace"))


def _error_message(error: object) -> str:
    """Return the message of an error object; never an empty one."""
    if isinstance(error, dict) and isinstance(error.get("message"), str) and error["message"]:
        return str(error["message"])
    return f"{error!r:.500}" if error and isinstance(error, str) else "the server reported an error without a message"
