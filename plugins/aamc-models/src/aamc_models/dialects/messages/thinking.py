"""Reasoning effort and Anthropic's thinking: budgets, and whether a request may ask for it."""

from __future__ import annotations

from typing import Any

from aamc_models.dialects.content import has_block
from aamc_models.dialects.fields import JSON, objects, wrong

BUDGETS = {"minimal": 1024, "low": 1024, "medium": 4096, "high": 16384, "xhigh": 32768, "max": 65536}
"""Tokens of thinking for each effort."""
MINIMUM_BUDGET = 1024
"""Anthropic accepts no smaller one."""


def budget_of(effort: object, max_tokens: int) -> int | None:
    """Return the budget of tokens for an effort; None for no thinking, and where the answer's limit leaves no room for it."""
    if effort is None or effort == "none":
        return None
    if not isinstance(effort, str) or effort not in BUDGETS:
        raise wrong("reasoning_effort", f"one of none, {', '.join(BUDGETS)}", effort)
    budget = min(BUDGETS[effort], max_tokens // 2)  # the limit holds for thinking and answer together
    return max(budget, MINIMUM_BUDGET) if max_tokens > MINIMUM_BUDGET else None


def effort_of(budget: int) -> str:
    """Return the lowest effort whose budget covers a number of tokens; at most high, as few models know a higher one."""
    return next((effort for effort in ("low", "medium") if budget <= BUDGETS[effort]), "high")


_MINIMUM_TOP_P = 0.95
THINKING_BLOCKS = ("thinking", "redacted_thinking")


def add_thinking(body: JSON, sent: dict[str, Any], parameters: JSON, dropped: set[str]) -> None:
    """Add the thinking for the effort of a canonical request to one for Anthropic, as far as that is accepted there."""
    effort = body.get("reasoning_effort")
    budget = budget_of(effort, sent["max_tokens"])
    if budget is not None:
        sent["thinking"] = {"type": "enabled", "budget_tokens": budget}
    settle_thinking(sent, parameters, dropped)
    if effort not in (None, "none") and not thinks(sent):
        dropped.add("reasoning_effort")


def settle_thinking(sent: dict[str, Any], parameters: JSON, dropped: set[str]) -> None:
    """Switch the thinking of a request for Anthropic off where it would be refused, else leave out the fields that are refused beside it.

    The request, or the candidate's parameters, may ask for thinking. Anthropic refuses it together with a forced tool, in an answer whose limit
    leaves no room for it, and in the middle of tool calls whose message does not begin with its thinking, as it does after a model of another
    dialect.
    """
    whole = {**parameters, **sent}
    if not thinks(whole):
        return
    choice, limit = whole.get("tool_choice"), whole.get("max_tokens")
    is_forced = isinstance(choice, dict) and choice.get("type") in ("any", "tool")
    has_no_room = type(limit) is int and limit <= thinking_budget(whole)
    if is_forced or has_no_room or lacks_thinking([message for _, message in objects(whole.get("messages"), "messages")]):
        sent["thinking"] = {"type": "disabled"}
        return
    for name in refused_beside_thinking(sent):
        del sent[name]
        dropped.add(name)


def refused_beside_thinking(body: JSON) -> list[str]:
    """Return the names of the fields that Anthropic refuses beside thinking."""
    top_p = body.get("top_p")
    is_high = isinstance(top_p, int | float) and top_p >= _MINIMUM_TOP_P
    accepted = {"temperature": body.get("temperature") == 1, "top_p": is_high, "top_k": False}
    return [name for name, fits in accepted.items() if body.get(name) is not None and not fits]


def thinks(body: JSON) -> bool:
    """Return whether a request, or the parameters of a candidate, asks for thinking."""
    thinking = body.get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")


def thinking_budget(body: JSON) -> int:
    """Return the tokens of thinking that a request, or the parameters of a candidate, asks for; 0 where it names no number."""
    budget = body["thinking"].get("budget_tokens") if thinks(body) else None
    return budget if type(budget) is int else 0


def lacks_thinking(messages: list[dict[str, Any]]) -> bool:
    """Return whether a conversation is in the middle of tool calls that do not begin with their thinking."""
    last = messages[-1] if messages else None
    if last is None or not has_block(last, "tool_result"):
        return last is not None and last.get("role") == "assistant"  # a prefilled answer
    for message in reversed(messages[:-1]):
        if message.get("role") == "assistant":
            content = message.get("content")
            return not (isinstance(content, list) and content and isinstance(content[0], dict) and content[0].get("type") in THINKING_BLOCKS)
    return False
