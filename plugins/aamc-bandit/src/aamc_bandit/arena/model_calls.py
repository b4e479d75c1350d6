"""Calls of candidates by their endpoints, for the arena and its judges."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aamc_sdk.errors import PoolError
from aamc_sdk.interfaces import AgentOutput, ModelCaller
from aamc_sdk.types import Candidate

CallModel = Callable[[Candidate, str], Awaitable[AgentOutput]]


def calls_by_endpoint(models: ModelCaller | None) -> CallModel:
    """Return a function that calls a candidate with a prompt; parameters, headers and time limits are the endpoint's.

    Args:
        models: The client for calling models.

    Raises:
        PoolError: There is no client.
    """
    if models is None:
        raise PoolError("the candidates cannot be called by their endpoints: this controller has no client for models; give the arena a call")
    client = models

    async def call(candidate: Candidate, prompt: str) -> AgentOutput:
        answer = await client.complete(candidate, [{"role": "user", "content": prompt}])
        return AgentOutput(answer.text, cost=answer.cost_usd)

    return call
