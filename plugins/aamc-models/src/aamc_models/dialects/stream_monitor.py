"""Reading a streamed answer as it passes: content, usage, finish and errors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from aamc_models.dialects.chat import deviates, error_of
from aamc_models.dialects.content import choice_number
from aamc_models.dialects.conversations.foreign_state import last_call
from aamc_models.dialects.conversions import reader_of
from aamc_models.dialects.error_bodies import error_message, error_of_choice, kind_of
from aamc_models.dialects.events import data_of, object_of
from aamc_models.dialects.fields import object_or_empty, objects, objects_or_empty
from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import Usage
from aamc_sdk.types import text_bytes


class Seen(NamedTuple):
    """The content of one event of a stream.

    Attributes:
        content: It holds a piece of the answer: text, reasoning, a tool call, audio, or an image.
        error: The message of an error; None without one.
        broken: The error is that its data is not a JSON object.
        kind: The kind of the error, see :class:`aamc_sdk.errors.ProviderError`.
        done: It is the last event: ``[DONE]``, ``message_stop``, or ``response.completed``.
    """

    content: bool = False
    error: str | None = None
    done: bool = False
    broken: bool = False
    kind: str = "server"


_NOTHING, _CONTENT, _DONE = Seen(), Seen(content=True), Seen(done=True)
_REASONING = ("reasoning_content", "reasoning")
_TEXTS = frozenset(("content", *_REASONING, "refusal", "tool_calls", "function_call"))
_WITHOUT_TEXT = ("tool_calls", "function_call", "audio", "images")
"""Fields that are content even without text, such as a call without arguments; the bytes of media say nothing about their tokens."""


class StreamMonitor:
    """Reads the events of a streamed answer as they pass, as chunks of chat.

    It raises no errors: an event that is not a JSON object holds an error, and one with a wrong field holds nothing.

    Args:
        dialect: The dialect of the events.

    Attributes:
        finish_reason: Why the answer ended, in the words of ``chat``: ``"stop"``, ``"length"``, ``"tool_calls"``, ``"content_filter"``; None before.
        text_bytes: Bytes of text, reasoning and tool arguments so far.
        reasoning_bytes: Bytes of reasoning among them.
        last_call: The id of the last tool call so far, see :func:`aamc_models.dialects.last_call`; None without one.
        deviates: Whether a delta was not in OpenAI's form, see :class:`aamc_models.dialects.PlainChat`.
        finished: Whether the answer has ended: each choice has a ``finish_reason``, or ``message_stop`` or ``response.completed`` came.

    Raises:
        DataError: The dialect is unknown.
    """

    def __init__(self, dialect: str) -> None:
        self._reader = reader_of(dialect)
        self._has_last_event = dialect in ("messages", "responses")
        self.finish_reason: str | None = None
        self.text_bytes = self.reasoning_bytes = 0
        self.last_call: str | None = None
        self.finished = self.deviates = False
        self._open_choices: set[int] = set()
        self._ended_choices: set[int] = set()

    @property
    def ended_choices(self) -> int:
        """The number of choices that have a ``finish_reason``."""
        return len(self._ended_choices)

    @property
    def usage(self) -> Usage:
        """The tokens that the stream has reported so far."""
        return self._reader.usage.tokens

    @property
    def cost_usd(self) -> float:
        """The cost that the stream has reported; NaN without."""
        return self._reader.usage.cost_usd

    def feed(self, event: bytes) -> Seen:
        """Return the content of an event."""
        try:
            data = object_of(event)
        except DataError:
            return Seen(error=f"its data is not a JSON object: {event!r:.80}", broken=True)
        if data is None:
            return _DONE if data_of(event) == b"[DONE]" else _NOTHING
        try:
            return self._read(data)
        except DataError:  # the client may be able to read it
            return _NOTHING

    def _read(self, data: dict[str, Any]) -> Seen:
        content = _is_work_of_the_server(data)
        for chunk in self._reader.read(data):
            if chunk.get("error"):
                words, kind, _ = error_of(chunk)
                return Seen(error=words, kind=kind)
            for choice in objects_or_empty(chunk.get("choices")):
                if (error := error_of_choice(choice)) is not None:
                    return Seen(error=error_message(error), kind=kind_of(error))
                content = self._choice(choice) or content
        if self._reader.finished:
            self.finished = True
            return _DONE
        return _CONTENT if content else _NOTHING

    def _choice(self, choice: dict[str, Any]) -> bool:
        delta = object_or_empty(choice.get("delta"))
        size = _message_bytes(delta, _TEXTS)
        content = size > 0 or any(delta.get(name) for name in _WITHOUT_TEXT)
        calls = delta.get("tool_calls")
        if calls or isinstance(delta.get("content"), list):
            self.deviates = self.deviates or deviates(delta)
        if calls:
            self.last_call = last_call("chat", [delta]) or self.last_call
        self.text_bytes += size
        if any(delta.get(name) for name in _REASONING):
            self.reasoning_bytes += _message_bytes(delta, _REASONING)
        number, reason = choice_number(choice), choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            self.finish_reason = reason
            self._open_choices.discard(number)
            self._ended_choices.add(number)
            self.finished = not (self._open_choices or self._has_last_event)
        elif content and number not in self._ended_choices:  # what comes after a finish belongs to an answer that is complete
            self._open_choices.add(number)
            self.finished = False
        return content


def _is_work_of_the_server(event: dict[str, Any]) -> bool:
    """Whether an event of Anthropic's or of responses begins the call of a server's own tool, such as a search, which chat does not know."""
    block, item = event.get("content_block"), event.get("item")
    if isinstance(block, dict):
        return block.get("type") not in ("text", "thinking")
    return isinstance(item, dict) and str(item.get("type")).endswith("_call")


def answer_bytes(answer: Mapping[str, Any]) -> int:
    """Return the bytes of text, reasoning and tool calls in a chat completion, as many as a stream of it has."""
    return sum(_message_bytes(choice.get("message"), _TEXTS) for _, choice in objects(answer.get("choices"), "choices"))


def reasoning_bytes(answer: Mapping[str, Any]) -> int:
    """Return the bytes of reasoning in a chat completion."""
    return sum(_message_bytes(choice.get("message"), _REASONING) for _, choice in objects(answer.get("choices"), "choices"))


def _message_bytes(message: object, names: Collection[str]) -> int:
    """Return the bytes of these fields in a message or a delta."""
    return text_bytes([value for name, value in message.items() if name in names and value], 0) if isinstance(message, dict) else 0
