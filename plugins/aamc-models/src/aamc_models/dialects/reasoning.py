"""Reasoning effort: OpenAI's ``reasoning_effort`` and Anthropic's budget of tokens."""

from __future__ import annotations

from aamc_models.dialects.fields import wrong

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
