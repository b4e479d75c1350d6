"""Streams from the cache: whole answers as events, and events with an ``aamc`` object of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aamc_models.dialects import answer_events, convert_answer, last_events

from aamc_gateway.forwarding.event_sender import KEEP_ALIVE


def events_of(dialect: str, answer: Mapping[str, Any], model: str, document: Mapping[str, Any], *, usage: bool) -> bytes | None:
    """Return a whole answer as the events of a stream; None if it has more than text.

    Args:
        dialect: The dialect of the answer and of the events.
        answer: The answer.
        model: The candidate that gave it.
        document: The ``aamc`` object of the last event.
        usage: Whether the client asks for the usage, in OpenAI's dialects of chunks.
    """
    if not _is_plain(dialect, answer):
        return None
    chat = answer if dialect == "chat" else convert_answer(dialect, "chat", answer, model)
    return answer_events(chat, dialect, chat.get("model") or model, document, shows_usage=usage)


def with_document(events: bytes, dialect: str, document: Mapping[str, Any]) -> bytes:
    """Return the events of a stream with another ``aamc`` object; keep-alives are left out."""
    parts = [part + b"\n\n" for part in events.replace(KEEP_ALIVE, b"").split(b"\n\n") if part]
    return last_events(parts, dialect, document)


def _is_plain(dialect: str, answer: Mapping[str, Any]) -> bool:
    """Return whether an answer is one text and nothing else."""
    if dialect == "messages":
        return _are_of(answer.get("content"), "text")
    if dialect == "responses":
        output = answer.get("output") or []
        return len(output) == 1 and _are_of(output, "message") and _are_of(output[0].get("content"), "output_text")
    choices = answer.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or choices[0].get("logprobs"):
        return False
    if dialect == "completions":
        return isinstance(choices[0].get("text"), str)
    message = choices[0].get("message", {})
    return isinstance(message.get("content"), str) and not any(value for name, value in message.items() if name not in ("role", "content"))


def _are_of(parts: Any, kind: str) -> bool:
    return isinstance(parts, list) and bool(parts) and all(isinstance(part, dict) and part.get("type") == kind for part in parts)
