"""Checks of agents' outputs and errors: plain text, immutable plain data, and a finite cost."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from numbers import Real
from types import MappingProxyType
from typing import Any

import attrs
from aamc_agents.state import Activation, Fault, TaskState

from aamc_sdk.errors import AamcError, public_message
from aamc_sdk.interfaces import AgentOutput

MAX_COST_USD = 1e6
"""Maximum cost of a turn. A higher one is taken for a mistake: it would dominate everything that the policy learns from."""
_ERROR_LENGTH = 500


def checked(agent: str, output: object, seconds: float, max_characters: int, max_cost: float = MAX_COST_USD) -> Activation:
    """Return the activation for an agent's output; an invalid output becomes a typed fault. Limits are as for the executor."""
    if not isinstance(output, AgentOutput) or not isinstance(output.content, str):
        content = getattr(output, "content", output)
        shown = f"{content!r:.80}" if content is None or isinstance(content, str) else type(content).__name__
        return failed(agent, Fault.NO_OUTPUT, f"must return an AgentOutput with text, not {shown}", seconds, cost_of(output))
    if not is_cost(output.cost, max_cost):
        return failed(agent, Fault.BAD_COST, f"cost must be a number from 0 to {max_cost:g}, not {output.cost!r:.80}", seconds)
    if not isinstance(output.metadata, Mapping | None):
        return failed(agent, Fault.NO_OUTPUT, f"metadata must be a mapping, not {type(output.metadata).__name__}", seconds, cost_of(output))
    metadata = dict(output.metadata or {})
    if len(output.content) > max_characters:
        metadata["cut"] = len(output.content)
    cost = float(output.cost)
    kept = AgentOutput(as_text(output.content[:max_characters]), cost, frozen(metadata))
    return Activation(agent=agent, output=kept, seconds=seconds, cost=cost)


def failed(agent: str, fault: Fault, error: str, seconds: float, cost: float = 0.0, public_error: str | None = None) -> Activation:
    """Return the activation of a failure."""
    return Activation(agent=agent, fault=fault, error=as_text(error), public_error=public_error, seconds=seconds, cost=cost)


def is_cost(cost: object, max_cost: float = MAX_COST_USD) -> bool:
    """Whether a value is a valid cost."""
    return isinstance(cost, Real) and not isinstance(cost, bool) and bool(cost <= max_cost) and not cost < 0


def cost_of(result: object) -> float:
    """Return the attribute ``cost`` of an output or an error; 0 without a valid one."""
    try:
        cost = getattr(result, "cost", 0.0)
        return float(cost) if is_cost(cost) else 0.0
    except BaseException:  # a property may raise anything
        return 0.0


def short_error_text(error: BaseException) -> str:
    """Return an error's type and message, shortened; only the type if its message raises."""
    try:
        return as_text(f"{type(error).__name__}: {error}"[:_ERROR_LENGTH])
    except BaseException:  # __str__ may raise anything
        return type(error).__name__


def public_error_text(agent: str, error: BaseException) -> str:
    """Return an error's message for clients of the gateway; that of an agent's own code may name anything, such as files."""
    with suppress(BaseException):  # __str__ may raise anything
        if isinstance(error, AamcError):
            return as_text(public_message(error)[:_ERROR_LENGTH])
    return f"the agent {agent!r} failed"


def as_text(text: str) -> str:
    """Return a text that UTF-8 can encode: unpaired surrogates become the replacement character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def frozen(value: Any) -> Any:
    """Return an immutable copy in plain types; other objects become their ``repr``."""
    if value is None or type(value) in (bool, int, float):
        return value
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, Mapping):
        return MappingProxyType({as_text(str(key)): frozen(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(map(frozen, value))
    if isinstance(value, set | frozenset):
        return frozenset(map(frozen, value))
    return frozen(value.tolist() if hasattr(value, "tolist") else repr(value))


def visible_state(state: TaskState) -> TaskState:
    """Return the state for an agent: a copy without the task's reference, verifier, kind and difficulty."""
    history = tuple(attrs.evolve(turn, output=turn.output and attrs.evolve(turn.output)) for turn in state.history)
    return attrs.evolve(state, task=state.task.without_truth(), history=history)
