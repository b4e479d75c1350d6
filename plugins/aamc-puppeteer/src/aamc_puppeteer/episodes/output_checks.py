"""What agents return or raise, made safe: plain text, plain data that nobody can change, and a cost that can be added up."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from types import MappingProxyType
from typing import Any

from aamc_puppeteer.state import Activation, Fault, TaskState
from aamc_sdk.interfaces import AgentOutput

MOST_COST = 1e6
"""USD of one turn. More is taken for a mistake: a single such number would drown all others that the policy learns from."""
_ERROR_LENGTH = 500


def checked(agent: str, output: object, seconds: float, max_characters: int) -> Activation:
    """Return the turn in which an agent returned ``output``; whatever is none becomes a typed fault.

    Args:
        agent: Its name.
        output: What it returned.
        seconds: How long it took.
        max_characters: Of the text that are kept; the rest is cut off, and ``metadata["cut"]`` says how long it was.
    """
    if not isinstance(output, AgentOutput) or not isinstance(output.content, str):
        shown = "None" if output is None else type(getattr(output, "content", output)).__name__
        return failed(agent, Fault.NO_OUTPUT, f"must return an AgentOutput with text, not {shown}", seconds, cost_of(output))
    if not is_cost(output.cost):
        return failed(agent, Fault.BAD_COST, f"cost must be a number from 0 to {MOST_COST:g}, not {output.cost!r:.80}", seconds)
    if not isinstance(output.metadata, Mapping | None):
        return failed(agent, Fault.NO_OUTPUT, f"metadata must be a mapping, not {type(output.metadata).__name__}", seconds, cost_of(output))
    metadata = dict(output.metadata or {})
    if len(output.content) > max_characters:
        metadata["cut"] = len(output.content)
    cost = float(output.cost)
    kept = AgentOutput(as_text(output.content[:max_characters]), cost, frozen(metadata))
    return Activation(agent=agent, output=kept, seconds=seconds, cost=cost)


def failed(agent: str, fault: Fault, error: str, seconds: float, cost: float = 0.0) -> Activation:
    """Return a turn that brought nothing."""
    return Activation(agent=agent, fault=fault, error=as_text(error), seconds=seconds, cost=cost)


def is_cost(cost: object) -> bool:
    """Whether a value can be what a turn cost."""
    return isinstance(cost, Real) and not isinstance(cost, bool) and bool(cost <= MOST_COST) and not cost < 0


def cost_of(result: object) -> float:
    """Return the attribute ``cost`` of an output or an error, as those of paid calls have; 0 where there is none that can be used."""
    try:
        cost = getattr(result, "cost", 0.0)
        return float(cost) if is_cost(cost) else 0.0
    except BaseException:  # a property may raise anything
        return 0.0


def in_words(error: BaseException) -> str:
    """Return an error's type and message, shortened; the type alone where its message cannot be had."""
    try:
        return as_text(f"{type(error).__name__}: {error}"[:_ERROR_LENGTH])
    except BaseException:  # __str__ may raise anything
        return type(error).__name__


def as_text(text: str) -> str:
    """Return a text that can be written in UTF-8: what is half of a pair of surrogates becomes the replacement character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def frozen(value: Any) -> Any:
    """Return a copy in plain types that nobody can change; what is not plain data becomes the text of its ``repr``."""
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


def view(state: TaskState) -> TaskState:
    """Return a state for an agent: without the task's truth, and with nothing in it that others hold."""
    history = tuple(
        Activation(
            agent=turn.agent,
            output=turn.output and AgentOutput(turn.output.content, turn.output.cost, turn.output.metadata),
            fault=turn.fault,
            error=turn.error,
            seconds=turn.seconds,
            cost=turn.cost,
        )
        for turn in state.history
    )
    return TaskState(task=state.task.without_truth(), history=history, steps_left=state.steps_left, luck=state.luck)
