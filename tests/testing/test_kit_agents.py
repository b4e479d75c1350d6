"""Broken agents and orchestrators are caught by the checks that are meant for them."""

from offering import failed

from aamc_sdk import AgentOutput, Candidate
from aamc_sdk.interfaces import Agent, Orchestrator, Step


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
    assert failed(offer("agent", Hasty), "agent") == {"an agent is a candidate"}
    assert failed(offer("orchestrator", FairOrchestrator), "orchestrator") == set()
    assert failed(offer("orchestrator", Spendthrift), "orchestrator") == {"steps lead to an answer", "the budget is kept"}
