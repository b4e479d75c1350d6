"""State made by another model, which a strict model refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def complaint(model: str, body: Mapping[str, Any]) -> str:
    """Return the error of a strict model for a request; empty if it accepts the request."""
    own = f"signed by {model}"
    for name, value in _state(body):
        if name == "previous_response_id" and not str(value).startswith(f"resp_{model}_"):
            return f"previous_response_id: response {value!r} not found"
        if name in ("signature", "data", "encrypted_content") and value != own:
            return f"{name}: the reasoning was not made by this model, or was changed"
    return _incomplete_loop(body)


def _state(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the named values that only one model can read, wherever they stand."""
    if isinstance(value, Mapping):
        kind = value.get("type")
        for name, inner in value.items():
            tied = name in ("previous_response_id", "encrypted_content") and inner
            signed = (name == "signature" and kind in ("thinking", "reasoning.text")) or (name == "data" and kind == "redacted_thinking")
            if tied or signed:
                yield name, inner
            else:
                yield from _state(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _state(inner)


def _incomplete_loop(body: Mapping[str, Any]) -> str:
    """Return the complaint about a tool call without the thinking before it, which Anthropic's API wants while thinking is on."""
    messages = body.get("messages")
    thinks = isinstance(body.get("thinking"), Mapping) and body["thinking"].get("type") == "enabled"
    if not thinks or not isinstance(messages, list):
        return ""
    said = [message.get("content") for message in messages if isinstance(message, Mapping) and message.get("role") == "assistant"]
    last = messages[-1].get("content") if messages and isinstance(messages[-1], Mapping) else None
    if not said or not isinstance(last, list) or not any(block.get("type") == "tool_result" for block in last if isinstance(block, Mapping)):
        return ""
    kinds = [block.get("type") for block in said[-1] if isinstance(block, Mapping)] if isinstance(said[-1], list) else []
    if kinds and kinds[0] not in ("thinking", "redacted_thinking"):
        return f"messages: expected `thinking` or `redacted_thinking`, but found `{kinds[0]}`"
    return ""
