"""The finish reasons of answers in each dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FROM_MESSAGES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_TO_MESSAGES = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use", "content_filter": "refusal"}
_TO_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def from_messages(stop_reason: object) -> str:
    """Return a ``stop_reason`` of Anthropic's as a ``finish_reason``."""
    return _FROM_MESSAGES.get(stop_reason, "stop") if isinstance(stop_reason, str) else "stop"


def to_messages(finish_reason: object, calls_tools: bool, stop_sequence: object) -> tuple[str, str | None]:
    """Return a ``finish_reason`` as Anthropic's ``stop_reason`` and ``stop_sequence``.

    Args:
        finish_reason: The reason; some servers say ``"stop"`` for an answer that calls tools.
        calls_tools: Whether the answer calls tools.
        stop_sequence: The stop sequence that was met, which vLLM reports as ``stop_reason``.
    """
    if calls_tools and finish_reason == "stop":
        return "tool_use", None
    if isinstance(stop_sequence, str) and finish_reason == "stop":
        return "stop_sequence", stop_sequence
    return (_TO_MESSAGES.get(finish_reason, "end_turn") if isinstance(finish_reason, str) else "end_turn"), None


def from_responses(response: Mapping[str, Any], calls_tools: bool) -> str:
    """Return the ``finish_reason`` of a response."""
    if response.get("status") == "incomplete":
        details = response.get("incomplete_details")
        return "content_filter" if isinstance(details, dict) and details.get("reason") == "content_filter" else "length"
    return "tool_calls" if calls_tools else "stop"


def to_responses(finish_reason: object) -> tuple[str, dict[str, str] | None]:
    """Return the ``status`` and the ``incomplete_details`` of a response."""
    reason = _TO_INCOMPLETE.get(finish_reason) if isinstance(finish_reason, str) else None
    return ("incomplete", {"reason": reason}) if reason else ("completed", None)
