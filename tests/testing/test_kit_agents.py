"""Broken agents and orchestrators are caught by the checks that are meant for them."""

import itertools
import math

from offering import failed

from aamc_sdk import AgentOutput, Candidate
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Agent, Orchestrator, Step
from aamc_sdk.testing import check_component


class FairAgent(Agent):
    spec = Candidate("writer", "Writes.")

    async def execute(self, state):
        return AgentOutput("done")


class Hasty(FairAgent):
    def execute(self, state):
        return AgentOutput("done")


class FairOrchestrator(Orchestrator):
    async def run(self, task, budget):
        for n in range(budget.steps):
            answer = await self.services.models.complete(self.services.pool.candidates[0], [{"role": "user", "content": task.text}])
            yield Step(decision=None, content=answer.text, cost_usd=answer.cost_usd, final=n == budget.steps - 1)


class Spendthrift(Orchestrator):
    async def run(self, task, budget):
        for _ in range(6):
            yield Step(decision=None, content="")


def test_agents_and_orchestrators_are_checked(offer):
    assert failed(offer("agent", FairAgent), "agent") == set()
    assert failed(offer("agent", Hasty), "agent") == {"an agent is a candidate", "it answers a task"}
    assert failed(offer("orchestrator", FairOrchestrator), "orchestrator") == set()
    assert failed(offer("orchestrator", Spendthrift), "orchestrator") == {"steps lead to an answer", "the budget is kept"}


class Silent(FairAgent):
    async def execute(self, state):
        return AgentOutput(None, cost=-1.0)


class Unpriced(FairAgent):
    async def execute(self, state):
        return AgentOutput("8", cost=math.nan)


class Idle(FairAgent):
    def check(self):
        raise ConfigError("name a model by the option model")


class Endless(Orchestrator):
    async def run(self, task, budget):
        while True:
            yield Step(decision=None, content="")


class Moody(FairOrchestrator):
    moods = itertools.count()

    async def run(self, task, budget):
        yield Step(decision=None, content=str(next(self.moods)), final=True)


def test_an_agent_without_an_answer_is_caught(offer):
    assert failed(offer("agent", Silent), "agent") == {"it answers a task"}
    assert failed(offer("agent", Unpriced), "agent") == {"it answers a task"}


def test_an_agent_that_says_what_it_needs_is_skipped(offer):
    skipped = [finding.message for finding in check_component("agent", "mine", offer("agent", Idle)) if finding.skipped]
    assert skipped == ["it cannot answer the kit's task (name a model by the option model)"]


class Closing(FairAgent):
    """Counts its instances that are not closed."""

    left = 0

    def __init__(self, config, services):
        super().__init__(config, services)
        Closing.left += 1

    def close(self):
        Closing.left -= 1


def test_the_kit_closes_the_agents_that_it_makes(offer):
    assert all(finding.passed for finding in check_component("agent", "mine", offer("agent", Closing)))
    assert Closing.left == 0


def test_an_orchestrator_that_never_ends_or_draws_without_the_seed_is_caught(offer):
    assert failed(offer("orchestrator", Endless), "orchestrator") == {"steps lead to an answer", "the budget is kept"}
    assert failed(offer("orchestrator", Moody), "orchestrator") == {"the same seed gives the same steps"}
