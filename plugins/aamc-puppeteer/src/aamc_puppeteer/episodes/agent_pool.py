"""The agents of an orchestrator as candidates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from aamc_puppeteer.episodes.trajectory import STOP
from aamc_sdk import Agent, Candidate, Pool
from aamc_sdk.errors import PoolError


def pool_of(agents: Sequence[Agent]) -> Pool:
    """Return the candidates of agents, in their order.

    Raises:
        PoolError: There is no agent, an element is not an agent, two agents share a name, or one is named like the decision to stop.
    """
    if not agents:
        raise PoolError("there is no agent; name at least one, such as calculator")
    for agent in agents:
        if not isinstance(getattr(agent, "spec", None), Candidate):
            raise PoolError(f"an agent is derived from aamc_sdk.Agent, or the name of one that a plugin offers; {agent!r:.80} is neither")
    twice = [name for name, times in Counter(agent.spec.name for agent in agents).items() if times > 1]
    if twice:
        raise PoolError(f"agents' names must be unique; two are called {twice[0]!r}")
    pool = Pool(agent.spec for agent in agents)
    if STOP in pool.names:
        raise PoolError(f"no agent may be named {STOP!r}: that is the policy's decision to end an episode; rename it")
    return pool
