"""Request rules of Claude models, by the version in their names, from Anthropic's migration guides."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import attrs

from aamc_models.dialects.fields import object_or_empty, objects_or_empty
from aamc_sdk import Candidate

_VERSION = re.compile(r"claude[-_ ]?(?:[a-z]+[-_ ]?)?v?(\d{1,2})(?![\dkm])(?:[-_. ](\d{1,2})(?![\dkm]))?", re.IGNORECASE)
"""The version in a name, such as claude-opus-4-5-20251101, claude-3-5-haiku-latest and us.anthropic.claude-sonnet-5-v1:0; dates, and sizes of the
context such as 32k, are none."""
_NEWEST = (5, 5)
_OTHER_VENDORS = (4, 5)
"""For models of other vendors behind Anthropic's API, which accept what the older Claude models do."""


@attrs.frozen
class ClaudeRules:
    """Request rules of a Claude model.

    Attributes:
        takes_effort: Whether it takes an effort, and adaptive thinking.
        is_adaptive: Whether it refuses budgets of thinking, and temperature, top_p and top_k other than the default.
        thinks_by_default: Whether it thinks in answers to requests without a field for it.
        prefill: Whether it continues an assistant's last message.
        forced_tools: Whether a request may force it to call a tool.
        system_messages: Whether messages of the system may come in the middle of a conversation.
    """

    takes_effort: bool
    is_adaptive: bool
    thinks_by_default: bool
    prefill: bool
    forced_tools: bool
    system_messages: bool


@lru_cache(maxsize=256)
def claude_rules(name: str) -> ClaudeRules:
    """Return the rules of the model with a name: those of the newest Claude models for one of Claude without a version."""
    found = _VERSION.search(name)
    version = (int(found[1]), int(found[2] or 0)) if found else _NEWEST if "claude" in name.lower() else _OTHER_VENDORS
    is_haiku = found is not None and "haiku" in name.lower()
    return ClaudeRules(
        takes_effort=found is None or version >= (4, 6),
        is_adaptive=version >= (4, 7),
        thinks_by_default=version >= (5, 0),
        prefill=version < (4, 6),
        forced_tools=version <= (5, 0) or is_haiku,
        system_messages=version >= (4, 8),
    )


def leave_out_force(sent: dict[str, Any], dropped: set[str], rules: ClaudeRules) -> None:
    """Leave a forced tool and the effect of a prefilled answer out of a request of Anthropic's own dialect for a model that refuses them."""
    choice, messages = object_or_empty(sent.get("tool_choice")), objects_or_empty(sent.get("messages"))
    if choice.get("type") in ("any", "tool") and not rules.forced_tools:
        dropped.add(f"tool_choice.{choice['type']}")
        sent["tool_choice"] = {**{name: value for name, value in choice.items() if name != "name"}, "type": "auto"}
    if messages and messages[-1].get("role") == "assistant" and not rules.prefill:
        content = messages[-1].get("content")
        if isinstance(content, str) or all(block.get("type") == "text" for block in objects_or_empty(content)):  # else its tools go on
            dropped.add("prefill")
            sent["messages"] = [*sent["messages"], {"role": "user", "content": "."}]


def has_version(name: str) -> bool:
    """Return whether a name is that of a Claude model with its version."""
    return _VERSION.search(name) is not None


def claude_model(candidate: Candidate) -> str:
    """Return the name of the Claude model whose rules the requests to a candidate follow."""
    endpoint = candidate.endpoint
    options = {} if endpoint is None else endpoint.options
    deployed = (each.get("model") or options.get("model") for each in options.get("deployments") or [{}])
    return str(options.get("claude_model") or next(filter(None, deployed), candidate.name))
