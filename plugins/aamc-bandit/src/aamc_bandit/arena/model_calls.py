"""Calls of candidates by their endpoints, for the arena and its judges."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aamc_sdk.interfaces import AgentOutput, ModelCaller
from aamc_sdk.types import Candidate

CallModel = Callable[[Candidate, str], Awaitable[AgentOutput]]


def calls_by_endpoint(models: ModelCaller) -> CallModel:
    """Return a function that calls a candidate with a prompt; parameters, headers and time limits are the endpoint's.

    Args:
        models: The client for calling models.
    """

    async def call(candidate: Candidate, prompt: str) -> AgentOutput:
        answer = await models.complete(candidate, [{"role": "user", "content": prompt}])
        return AgentOutput(answer.text, cost=answer.cost_usd)

    return call
