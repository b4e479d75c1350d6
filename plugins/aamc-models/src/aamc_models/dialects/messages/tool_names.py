"""Names of tools: Anthropic's clients may give longer ones, as Claude Code does for those of MCP servers, than OpenAI's servers accept."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from aamc_models.dialects.fields import JSON, object_or_empty, objects_or_empty

MAX_NAME = 64
"""Maximum characters of a name for OpenAI."""


def short_name(name: str) -> str:
    """Return a name as OpenAI accepts it: the end of a longer one is a hash."""
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 9]}_{blake2b(name.encode(errors='surrogatepass'), digest_size=4).hexdigest()}"


def long_names(body: JSON) -> dict[str, str]:
    """Return the names of the tools of a client's request that a conversion shortens, by the short ones; for :func:`convert_answer`."""
    names = [tool.get("name") for tool in objects_or_empty(body.get("tools"))]
    return {short_name(name): name for name in names if isinstance(name, str) and len(name) > MAX_NAME}


def with_names(chat: JSON, names: Mapping[str, str]) -> JSON:
    """Return a chat completion, or a chunk of one, with other names of the tools that it calls; the same one without any."""
    if not names:
        return chat
    choices = []
    for choice in objects_or_empty(chat.get("choices")):
        holders = {key: _renamed(choice[key], names) for key in ("message", "delta") if object_or_empty(choice.get(key)).get("tool_calls")}
        choices.append({**choice, **holders})
    return {**chat, "choices": choices} if choices else chat


def _renamed(message: JSON, names: Mapping[str, str]) -> dict[str, Any]:
    calls = []
    for call in objects_or_empty(message["tool_calls"]):
        function = object_or_empty(call.get("function"))
        name = function.get("name")
        calls.append({**call, "function": {**function, "name": names[name]}} if isinstance(name, str) and name in names else call)
    return {**message, "tool_calls": calls}
