"""One agent's turn, of which nothing goes out that would harm an episode."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

from aamc_agents.state import Fault

from aamc_puppeteer.doa.agents.base import AgentInterface
from aamc_puppeteer.doa.structs import AgentOutput, SystemState

MAX_CHARACTERS = 20_000
"""Of an answer that are kept; ``metadata["cut"]`` then says how long it was."""


def attempt(agent: AgentInterface, state: SystemState) -> AgentOutput:
    """Return what an agent answers, in this thread, however long it takes.

    Where it fails, the content is empty and ``metadata`` has the ``"fault"``, a value of
    :class:`aamc_agents.state.Fault`, and the ``"error"`` in words.
    """
    try:
        return _checked(agent.execute(_view(state)))
    except Exception as error:  # an agent may raise anything
        return _failed(Fault.RAISED, f"{type(error).__name__}: {error}")


async def attempt_async(agent: AgentInterface, state: SystemState, timeout: float) -> AgentOutput:
    """Return what an agent answers within ``timeout`` seconds; see :func:`attempt`."""
    try:
        return _checked(await asyncio.wait_for(agent.aexecute(_view(state)), timeout))
    except asyncio.TimeoutError:
        return _failed(Fault.TIMEOUT, f"gave no answer in {timeout:g} s")
    except Exception as error:  # likewise
        return _failed(Fault.RAISED, f"{type(error).__name__}: {error}")


def _view(state: SystemState) -> SystemState:
    """Return a state whose history an agent may change without changing what happened; ``custom_data`` is shared, as agents expect."""
    history = [(name, replace(output, metadata=output.metadata and dict(output.metadata))) for name, output in state.history]
    return replace(state, history=history)


def _checked(output: object) -> AgentOutput:
    if not hasattr(output, "content") or not hasattr(output, "cost"):
        return _failed(Fault.NO_OUTPUT, f"must return an AgentOutput, not {output!r:.80}")
    content, cost, metadata = output.content, output.cost, getattr(output, "metadata", None)
    if not (isinstance(cost, int | float) and math.isfinite(cost) and cost >= 0):
        return _failed(Fault.BAD_COST, f"cost must be a finite number of at least 0, not {cost!r:.80}")
    if isinstance(content, str) and len(content) > MAX_CHARACTERS:
        metadata = {**(metadata or {}), "cut": len(content)}
        content = content[:MAX_CHARACTERS]
    return AgentOutput(content, float(cost), None if metadata is None else dict(metadata))


def _failed(fault: Fault, error: str) -> AgentOutput:
    return AgentOutput("", 0.0, {"fault": fault.value, "error": error[:500]})
