"""Agents one after the other in a fixed order: what there is without a policy, and what one has to be better than."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from aamc_puppeteer.episodes import Running
from aamc_puppeteer.executing import Executor
from aamc_puppeteer.state import Stop, answer
from aamc_puppeteer.team import pool_of
from aamc_sdk import Agent
from aamc_sdk.interfaces import Budget, Step


class Pipeline:
    """Activates each agent once, in their order.

    Args:
        agents: At least one.
        timeout: Seconds after which an agent's turn counts as failed.
        max_characters: Of an output that are kept.

    Raises:
        PoolError: There is no agent, or two have one name.
    """

    def __init__(self, agents: Sequence[Agent], timeout: float = 60.0, max_characters: int = 20_000) -> None:
        self.pool = pool_of(agents)
        self._executor = Executor(dict(zip(self.pool.names, agents, strict=True)), timeout, max_characters)

    async def steps(self, episode: Running, budget: Budget) -> AsyncIterator[Step]:
        """Carry an episode on to its end, yielding each activation as it is done."""
        began = time.monotonic()
        if episode.stop is None:
            episode.check_end(budget, 0.0)
        for name in self.pool.names:
            if episode.stop is not None:
                return
            left = max(budget.seconds - (time.monotonic() - began), 0.0)
            activation = (await asyncio.to_thread(self._executor.activate, [(name, episode.state)], left))[0]
            episode.take(activation)
            episode.probabilities.append(1.0)
            episode.check_end(budget, time.monotonic() - began)
            yield Step(decision=None, content=activation.error or answer(episode.state) or "", cost_usd=activation.cost)
        if episode.stop is None:
            episode.stop = Stop.STOPPED

    def close(self) -> None:
        """End the threads in which agents work."""
        self._executor.close()
