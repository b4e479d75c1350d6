"""The agents of an orchestrator as the candidates that it chooses from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from aamc_puppeteer.state import STOP
from aamc_sdk import Agent, Candidate, Pool
from aamc_sdk.errors import PoolError


def pool_of(agents: Sequence[Agent]) -> Pool:
    """Return what agents say of themselves, in their order.

    Raises:
        PoolError: There is no agent, one is something else, two have one name, or one is called as the decision to stop is.
    """
    if not agents:
        raise PoolError("there is no agent; name at least one, such as calculator")
    for agent in agents:
        if not isinstance(getattr(agent, "spec", None), Candidate):
            raise PoolError(f"an agent is derived from aamc_sdk.Agent, or the name of one that a plugin offers; {agent!r:.80} is neither")
    twice = [name for name, times in Counter(agent.spec.name for agent in agents).items() if times > 1]
    if twice:
        raise PoolError(f"each agent needs a name of its own; two are called {twice[0]!r}")
    pool = Pool(agent.spec for agent in agents)
    if STOP in pool.names:
        raise PoolError(f"no agent may be named {STOP!r}: that is the policy's own decision; rename it")
    return pool
