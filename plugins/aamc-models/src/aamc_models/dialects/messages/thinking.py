"""Reasoning effort and Anthropic's thinking: budgets, and whether a request may ask for it."""

from __future__ import annotations

from typing import Any

from aamc_models.dialects.content import SYSTEM_ROLES, has_block
from aamc_models.dialects.fields import JSON, mapping, object_or_empty, objects, objects_or_empty, wrong
from aamc_models.dialects.messages.claude_rules import ClaudeRules

BUDGETS = {"minimal": 1024, "low": 1024, "medium": 4096, "high": 16384, "xhigh": 32768, "max": 65536}
"""Tokens of thinking for each effort."""
MINIMUM_BUDGET = 1024
"""Anthropic accepts no smaller one."""
_MINIMUM_TOP_P = 0.95
THINKING_BLOCKS = ("thinking", "redacted_thinking")
_SAMPLING_DEFAULTS = {"temperature": 1, "top_p": 1, "top_k": None}
_EITHER = (("temperature", "top_p"), ("top_p", "temperature"))
"""Parameters of sampling, each with the one that Anthropic's models refuse beside it."""


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


def add_thinking(sent: dict[str, Any], effort: object, parameters: JSON, dropped: set[str], rules: ClaudeRules) -> None:
    """Add an effort to a request for Anthropic as its model takes it, and settle its thinking, which the candidate's parameters may ask for too."""
    parameters, own_budget = _own_thinking(parameters, rules, dropped), thinking_budget(parameters)
    limit = sent.get("max_tokens", parameters.get("max_tokens"))
    budget = budget_of(effort, limit if type(limit) is int else 0)
    own, asked = (mapping(fields.get("output_config") or {}, "output_config") for fields in (parameters, sent))
    output = {**own, **asked}
    if effort == "none" and rules.thinks_by_default:
        output.setdefault("effort", "low")  # most of these models refuse to switch thinking off
        dropped.add("reasoning_effort")
    elif effort not in (None, "none") and rules.is_adaptive:
        output.setdefault("effort", "low" if effort == "minimal" else effort)
        if not _forces_tool(sent):
            sent["thinking"] = {"type": "adaptive"}
    elif budget is not None:
        sent["thinking"] = {"type": "enabled", "budget_tokens": budget}
    if own_budget and rules.is_adaptive:
        output.setdefault("effort", effort_of(own_budget))
    if output:
        sent["output_config"] = output
    _settle_thinking(sent, parameters, dropped)
    if effort not in (None, "none") and not (rules.is_adaptive or thinks(sent)):
        dropped.add("reasoning_effort")


def fit_thinking(sent: dict[str, Any], dropped: set[str], rules: ClaudeRules) -> None:
    """Bring a request of Anthropic's own dialect into the form that its model takes: its client may have another model in mind.

    Claude Code asks each model that it does not know for adaptive thinking with an effort.
    """
    kind, output = object_or_empty(sent.get("thinking")).get("type"), dict(object_or_empty(sent.get("output_config")))
    if not rules.takes_effort:
        effort, limit = output.pop("effort", None), sent.get("max_tokens")
        if kind == "adaptive":
            budget = budget_of(effort if isinstance(effort, str) and effort in BUDGETS else "high", limit if type(limit) is int else 0)
            sent["thinking"] = {"type": "disabled"} if budget is None else {"type": "enabled", "budget_tokens": budget}
            _settle_thinking(sent, {}, dropped)
            if not thinks(sent):
                dropped.add("thinking")
        elif effort is not None:
            dropped.add("output_config.effort")
    elif rules.is_adaptive:
        if kind == "enabled":
            if budget := thinking_budget(sent):
                output.setdefault("effort", effort_of(budget))
            sent["thinking"] = {**{name: value for name, value in sent["thinking"].items() if name != "budget_tokens"}, "type": "adaptive"}
        for name in sampling_names(sent):
            del sent[name]
            dropped.add(name)
    if output:
        sent["output_config"] = output
    elif isinstance(sent.get("output_config"), dict):
        del sent["output_config"]


def leave_out_clearing(sent: dict[str, Any], dropped: set[str]) -> None:
    """Leave the edits that clear thinking, as Claude Code asks for them, out of a request whose thinking is switched off: Anthropic refuses them."""
    context = object_or_empty(sent.get("context_management"))
    edits = objects_or_empty(context.get("edits"))
    kept = [edit for edit in edits if not str(edit.get("type")).startswith("clear_thinking")]
    if object_or_empty(sent.get("thinking")).get("type") == "disabled" and len(kept) < len(edits):
        dropped.add("context_management.edits")
        sent["context_management"] = {**context, "edits": kept}


def _own_thinking(parameters: JSON, rules: ClaudeRules, dropped: set[str]) -> JSON:
    """Return a candidate's parameters with thinking that its model accepts."""
    if rules.is_adaptive and thinks(parameters):
        kept = {name: value for name, value in parameters["thinking"].items() if name != "budget_tokens"}
        return {**parameters, "thinking": {**kept, "type": "adaptive"}}
    if rules.thinks_by_default and "thinking" in parameters:
        dropped.add("thinking")  # most of these models refuse to switch it off
        return {name: value for name, value in parameters.items() if name != "thinking"}
    return parameters


def _settle_thinking(sent: dict[str, Any], parameters: JSON, dropped: set[str]) -> None:
    """Switch the thinking of a request for Anthropic off where it would be refused, else leave out the fields that are refused beside it.

    The request, or the candidate's parameters, may ask for thinking. Anthropic refuses it together with a forced tool. It refuses a budget also in an
    answer whose limit leaves no room for it, and in the middle of tool calls whose message does not begin with its thinking, as it does after a model
    of another dialect. Models of adaptive thinking may refuse to switch it off: :func:`accepted_parameters` leaves it out.
    """
    whole = {**parameters, **sent}
    if not thinks(whole):
        return
    limit, has_budget = whole.get("max_tokens"), whole["thinking"]["type"] == "enabled"
    has_no_room = type(limit) is int and limit <= thinking_budget(whole)
    if has_budget and (_forces_tool(whole) or has_no_room or lacks_thinking([message for _, message in objects(whole.get("messages"), "messages")])):
        sent["thinking"] = {"type": "disabled"}
    elif not _forces_tool(whole):
        for name in refused_beside_thinking(sent):
            del sent[name]
            dropped.add(name)


def settle_sampling(sent: dict[str, Any], parameters: JSON, dropped: set[str]) -> None:
    """Leave temperature or top_p out of a request for Anthropic if the candidate's parameters have the other one: its models refuse both together."""
    for name, other in _EITHER:
        if name in sent and other not in sent and parameters.get(other) is not None:
            del sent[name]
            dropped.add(name)


def sampling_names(body: JSON) -> set[str]:
    """Return the parameters of sampling that a request, or the parameters of a candidate, sets to a value other than the default."""
    return {name for name, default in _SAMPLING_DEFAULTS.items() if body.get(name) not in (None, default)}


def accepted_parameters(parameters: JSON, body: JSON, rules: ClaudeRules) -> dict[str, Any]:
    """Return those of a candidate's parameters that its model accepts beside a request, which has their effort already."""
    parameters = _own_thinking(parameters, rules, set())
    refused = {"reasoning_effort", *(name for name, other in _EITHER if body.get(other) is not None)}
    if rules.is_adaptive:
        refused.update(_SAMPLING_DEFAULTS)
    elif thinks({**parameters, **body}):
        refused.update(refused_beside_thinking(parameters))
    if _forces_tool(body):
        refused.add("thinking")
    return {name: value for name, value in parameters.items() if name not in refused}


def _forces_tool(body: JSON) -> bool:
    """Return whether a request forces its model to call a tool."""
    return object_or_empty(body.get("tool_choice")).get("type") in ("any", "tool")


def refused_beside_thinking(body: JSON) -> list[str]:
    """Return the names of the fields that Anthropic refuses beside thinking."""
    top_p = body.get("top_p")
    is_high = isinstance(top_p, int | float) and top_p >= _MINIMUM_TOP_P
    accepted = {"temperature": body.get("temperature") == 1, "top_p": is_high, "top_k": False}
    return [name for name, fits in accepted.items() if body.get(name) is not None and not fits]


def thinks(body: JSON) -> bool:
    """Return whether a request, or the parameters of a candidate, asks for thinking."""
    return object_or_empty(body.get("thinking")).get("type") in ("enabled", "adaptive")


def thinking_budget(body: JSON) -> int:
    """Return the tokens of thinking that a request, or the parameters of a candidate, asks for; 0 where it names no number."""
    budget = body["thinking"].get("budget_tokens") if thinks(body) else None
    return budget if type(budget) is int else 0


def lacks_thinking(messages: list[dict[str, Any]]) -> bool:
    """Return whether a conversation is in the middle of tool calls that do not begin with their thinking."""
    messages = [message for message in messages if message.get("role") not in SYSTEM_ROLES]
    last = messages[-1] if messages else None
    if last is None or not has_block(last, "tool_result"):
        return last is not None and last.get("role") == "assistant"  # a prefilled answer
    for message in reversed(messages[:-1]):
        if message.get("role") == "assistant":
            content = message.get("content")
            return not (isinstance(content, list) and content and isinstance(content[0], dict) and content[0].get("type") in THINKING_BLOCKS)
    return False
