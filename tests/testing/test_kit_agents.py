"""Broken agents and orchestrators are caught by the checks that are meant for them."""

import itertools
import json
import math
import pickle

import attrs
import pytest
from offering import failed

from aamc_sdk import AgentOutput, Candidate
from aamc_sdk.errors import ConfigError, DataError
from aamc_sdk.interfaces import Agent, Orchestrator, Step
from aamc_sdk.storage import read_json, write_json
from aamc_sdk.testing import check_component


class FairAgent(Agent):
    spec = Candidate("mine", "Writes.")

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
    assert failed(offer("agent", Hasty), "agent") == {"methods are asynchronous where their interface is"}
    assert failed(offer("orchestrator", FairOrchestrator), "orchestrator") == set()
    assert failed(offer("orchestrator", Free), "orchestrator") == {"steps lead to an answer"}
    assert failed(offer("orchestrator", Spendthrift), "orchestrator") == {"steps lead to an answer", "the budget is kept"}


class Silent(FairAgent):
    async def execute(self, state):
        return AgentOutput(None, cost=-1.0)


class Unpriced(FairAgent):
    async def execute(self, state):
        return AgentOutput("8", cost=math.nan)


class Costly(FairAgent):
    max_cost_usd = 0.01

    async def execute(self, state):
        return AgentOutput("8", cost=0.02)


class Hiding(FairAgent):
    async def execute(self, state):
        answer = await self.services.models.complete(self.spec, [{"role": "user", "content": state.task.text}])
        return AgentOutput(answer.text)


class Idle(FairAgent):
    def check(self):
        raise ConfigError("name a model by the option model")


class Free(FairOrchestrator):
    async def run(self, task, budget):
        async for step in super().run(task, budget):
            yield attrs.evolve(step, cost_usd=0.0)


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
    assert failed(offer("agent", Costly), "agent") == {"it answers a task"}
    assert failed(offer("agent", Hiding), "agent") == {"it answers a task"}


def test_an_agent_that_says_what_it_needs_is_skipped(offer):
    skipped = [finding.message for finding in check_component("agent", "mine", offer("agent", Idle)) if finding.skipped]
    assert skipped == ["it cannot answer the kit's task: name a model by the option model"]


class Closing(FairAgent):
    """Counts its instances that are not closed."""

    left = 0

    def __init__(self, config, services):
        super().__init__(config, services)
        Closing.left += 1

    def close(self):
        Closing.left -= 1


class Renamed(FairAgent):
    spec = Candidate("writer", "Writes.")


def test_an_agent_of_another_name_than_its_component_is_caught(offer):
    (message,) = [finding.message for finding in check_component("agent", "mine", offer("agent", Renamed)) if not finding.passed]
    assert message.startswith("the name of an agent's spec must be the component's name, 'mine', not 'writer': teams, and options by agent, find")


def test_the_kit_closes_the_agents_that_it_makes(offer):
    assert all(finding.passed for finding in check_component("agent", "mine", offer("agent", Closing)))
    assert Closing.left == 0


def test_an_orchestrator_that_never_ends_or_draws_without_the_seed_is_caught(offer):
    assert failed(offer("orchestrator", Endless), "orchestrator") == {"steps lead to an answer", "the budget is kept"}
    assert failed(offer("orchestrator", Moody), "orchestrator") == {"the same seed gives the same steps", "save and load"}


class Counting(FairOrchestrator):
    """Answers with the number of tasks that it was trained on."""

    count = 0

    async def run(self, task, budget):
        yield Step(decision=None, content=str(self.count), final=True)

    def train(self, training):
        self.count = len(training.dataset)
        return {"steps": self.count}

    def save(self, folder):
        write_json(folder / "count.json", {"count": self.count})

    def load(self, folder):
        self.count = read_json(folder / "count.json")["count"]


class Forgetful(Counting):
    def load(self, folder):
        super().load(folder)
        self.count = 0


class Pickled(Counting):
    def save(self, folder):
        (folder / "count.pkl").write_bytes(pickle.dumps(self.count))

    def load(self, folder):
        self.count = pickle.loads((folder / "count.pkl").read_bytes())


class Trusting(Counting):
    def load(self, folder):
        self.count = json.loads((folder / "count.json").read_text())["count"]


class Unsaveable(Counting):
    def save(self, folder):
        write_json(folder / "count.json", self.run)


class Quiet(Counting):
    def train(self, training):
        self.count = 1


class Spending(Counting):
    """Asks a model for each task, whatever the budget is."""

    def train(self, training):
        for query in training.dataset.queries[:3]:
            asked = self.services.models.complete(self.services.pool.candidates[0], [{"role": "user", "content": query.text}])
            self.services.loop.run(asked)
        return super().train(training)


class Thrifty(Spending):
    def train(self, training):
        return super().train(training) if training.budget_usd > 1 else {}


@pytest.mark.parametrize(
    ("target", "checks"),
    [
        (Counting, set()),
        (Spending, {"the budget of a training is kept"}),
        (Thrifty, set()),
        (Forgetful, {"save and load"}),
        (Pickled, {"checkpoints run no code", "damaged checkpoints are refused"}),
        (Trusting, {"damaged checkpoints are refused"}),
        (Unsaveable, {"checkpoints run no code"}),
        (Quiet, {"training returns metrics"}),
    ],
)
def test_the_training_of_an_orchestrator_is_checked(offer, target, checks):
    assert failed(offer("orchestrator", target), "orchestrator") == checks


class Graded(Counting):
    """Learns from right answers."""

    def prepare(self, training):
        if training.dataset.references is None:
            raise DataError("the dataset has no right answers")


def test_the_kit_has_right_answers_for_orchestrators(offer):
    findings = check_component("orchestrator", "mine", offer("orchestrator", Graded))
    assert not any(finding.skipped for finding in findings)


class OfTasks(Counting):
    def prepare(self, training):
        raise DataError("the dataset has no tasks")


def test_an_orchestrator_that_cannot_train_on_the_kits_data_says_so(offer):
    reasons = {finding.message for finding in check_component("orchestrator", "mine", offer("orchestrator", OfTasks)) if finding.skipped}
    assert reasons == {"it does not train on the kit's data: the dataset has no tasks"}


def step(**changes):
    class Stepping(Orchestrator):
        async def run(self, task, budget):
            yield Step(**{"decision": None, "content": "four", "final": True, **changes})

    return Stepping


class Listing(FairOrchestrator):
    async def run(self, task, budget):
        return [Step(decision=None, content="four", final=True)]


class Blocking(FairOrchestrator):
    def run(self, task, budget):
        yield Step(decision=None, content="four", final=True)


class Wrapping(FairOrchestrator):
    def run(self, task, budget):
        return [Step(decision=None, content="four", final=True)]


class Texts(FairOrchestrator):
    async def run(self, task, budget):
        yield "four"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (step(content=42), "a step's content must be a text, not int"),
        (step(decision="m"), "a step's decision must be an aamc_sdk.types.Decision or None, not str"),
        (step(cost_usd="1"), "a step's cost must be USD of at least 0, not '1'; where it is unknown, give 0"),
        (step(cost_usd=math.nan), "a step's cost must be USD of at least 0, not nan; where it is unknown, give 0"),
        (step(tokens=None), "a step's tokens must be a whole number of at least 0, not None; where unknown, give 0"),
        (step(final=1), "a step's final must be True or False, not 1"),
        (Listing, "run must return an asynchronous iterator: write it as `async def` with `yield`"),
        (Blocking, "run must return an asynchronous iterator: write it as `async def` with `yield`"),
        (Wrapping, "run must return an asynchronous iterator, not list: write it as `async def` with `yield`"),
        (Texts, "run must yield aamc_sdk.interfaces.Step objects, not str"),
    ],
)
def test_a_wrong_step_is_described_once(offer, target, message):
    (found,) = [finding for finding in check_component("orchestrator", "mine", offer("orchestrator", target)) if not finding.passed]
    assert message in found.message
