"""Requests of chat: the canonical form with and without its extensions."""

from __future__ import annotations

from typing import Any

from aamc_models.dialects.content import Dropped
from aamc_models.dialects.fields import JSON, items, objects, text, wrong

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MAX_STOPS = 4
"""OpenAI accepts no more stop sequences."""
_THOUGHTS = ("reasoning_content", "reasoning", "thinking_blocks")


def check_request(body: JSON) -> dict[str, Any]:
    """Return a request whose messages have the right form."""
    for field, message in objects(body.get("messages"), "messages"):
        if message.get("role") not in ROLES:
            raise wrong(f"{field}.role", ", ".join(ROLES[:-1]), message.get("role"))
        if isinstance(message.get("content"), list):
            for place, part in objects(message["content"], f"{field}.content"):
                text(part.get("type"), f"{place}.type")
    return dict(body)


def plain_request(body: JSON, dropped: Dropped) -> dict[str, Any]:
    """Return a canonical request without the extensions that OpenAI's own API refuses: cache marks, thinking, and ``top_k``."""
    plain = {name: value for name, value in body.items() if name != "top_k"}
    dropped.add_set(body, ("top_k",))
    plain["messages"] = [_plain_message(message, field, dropped) for field, message in objects(body.get("messages"), "messages")]
    if body.get("tools") is not None:
        plain["tools"] = [_unmarked(tool, dropped) for _, tool in objects(body["tools"], "tools")]
    if isinstance(body.get("stop"), list) and len(body["stop"]) > MAX_STOPS:
        plain["stop"] = items(body["stop"], "stop")[:MAX_STOPS]
        dropped.add("stop")
    return plain


def _plain_message(message: JSON, field: str, dropped: Dropped) -> dict[str, Any]:
    plain = {name: value for name, value in _unmarked(message, dropped).items() if name not in _THOUGHTS}
    if isinstance(message.get("content"), list):
        parts = [_unmarked(part, dropped) for _, part in objects(message["content"], f"{field}.content")]
        plain["content"] = parts
        if message.get("role") in ("system", "tool") and all(part.get("type") == "text" for part in parts):  # many servers take texts only there
            plain["content"] = "\n\n".join(text(part.get("text"), f"{field}.content.text") for part in parts)
    return plain


def _unmarked(value: JSON, dropped: Dropped) -> dict[str, Any]:
    if "cache_control" in value:
        dropped.add("cache_control")
    return {name: entry for name, entry in value.items() if name != "cache_control"}
