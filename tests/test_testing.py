"""The kit finds what is wrong: each broken component here is caught by the check that is meant for it."""

import itertools
import sys
import threading
import types

import attrs
import click
import numpy as np
import pytest

from aamc_sdk import AgentOutput, Candidate, Component, DatasetFormat, Estimates, ModelSpec, Pool, Prices, Scores, hookimpl, option
from aamc_sdk.errors import CheckpointError, PluginError, UnknownComponentError
from aamc_sdk.files import read_json, write_json
from aamc_sdk.interfaces import Agent, Estimator, Orchestrator, Router, Step
from aamc_sdk.plugins import KINDS, Plugins
from aamc_sdk.rewards import LinearReward
from aamc_sdk.stores.memory import MemoryStore
from aamc_sdk.testing import TableEnvironment, assert_conforms, check_component, check_distribution, checks_of
from aamc_sdk.testing.streams import TableStreams


class Offering:
    """Offers ``kit_target:target`` as the component ``mine`` of one kind."""

    def __init__(self, kind):
        setattr(self, KINDS[kind], hookimpl(lambda: [Component("mine", "kit_target:target", "")]))


@pytest.fixture
def offer(monkeypatch):
    def plugins(kind, target):
        module = types.ModuleType("kit_target")
        module.target = target
        monkeypatch.setitem(sys.modules, "kit_target", module)
        return Plugins({"mine": Offering(kind)}, discover=False)

    return plugins


def failed(plugins, kind):
    return {finding.check for finding in check_component(kind, "mine", plugins) if not finding.passed}


@attrs.frozen(kw_only=True)
class Options:
    strength: float = option(0.1, "how much the training means count", at_least=0)


class FairRouter(Router):
    """Greedy on what is expected, with a bonus for what did well in training and in service."""

    Config = Options
    bonus: dict = {}  # noqa: RUF012  # replaced, never changed

    def train(self, training):
        self.bonus = dict(zip(training.dataset.pool.names, training.dataset.outcomes.quality.mean(axis=0).tolist(), strict=True))
        return {"curve": [{"step": 0, "quality": max(self.bonus.values())}]}

    def score(self, request):
        bonus = np.array([self.bonus.get(name, 0.0) for name in request.pool.names])
        utility = self.services.reward.scalar(request.expected, request.preferences) + self.config.strength * bonus
        return Scores(utility, np.exp(utility) / np.exp(utility).sum(axis=1, keepdims=True))

    def learn(self, experience):
        chosen = {decision.id: decision.candidate for decision in experience.decisions}
        for feedback in experience.feedback:
            name = chosen[feedback.decision_id]
            self.bonus = self.bonus | {name: 0.9 * self.bonus[name] + 0.1 * feedback.quality}

    def save(self, folder):
        write_json(folder / "bonus.json", self.bonus)

    def load(self, folder):
        self.bonus = read_json(folder / "bonus.json")


class WrongShape(FairRouter):
    def score(self, request):
        return Scores(super().score(request).utility[:, :2])


class Nan(FairRouter):
    def score(self, request):
        return Scores(np.full(request.mask.shape, np.nan))


class OnlyTheFirst(FairRouter):
    def score(self, request):
        scores = super().score(request)
        return attrs.evolve(scores, probabilities=np.tile(np.arange(len(request.pool)) == 0, (len(request), 1)).astype(float))


class Positional(FairRouter):
    def score(self, request):
        return Scores(super().score(request).utility + np.arange(len(request.pool)))


class BatchBound(FairRouter):
    def score(self, request):
        utility = super().score(request).utility
        return Scores(utility - utility.mean(axis=0))


class NeverEmpty(FairRouter):
    def score(self, request):
        assert len(request.queries) > 0
        return super().score(request)


class Moody(FairRouter):
    moods = itertools.count()

    def score(self, request):
        return Scores(super().score(request).utility + next(self.moods))


class OneAtATime(FairRouter):
    def __init__(self, config, services):
        super().__init__(config, services)
        self.inside = 0
        self.meeting = threading.Event()

    def score(self, request):
        self.inside += 1
        if threading.current_thread() is not threading.main_thread():
            self.meeting.wait(0.05)
        utility = super().score(request).utility * self.inside
        self.inside -= 1
        return Scores(utility)


class KnownOnly(FairRouter):
    def score(self, request):
        _ = [self.bonus[name] for name in request.pool.names]
        return super().score(request)


class Forgetful(FairRouter):
    def load(self, folder):
        read_json(folder / "bonus.json")


class Trusting(FairRouter):
    def load(self, folder):
        try:
            super().load(folder)
        except CheckpointError:
            self.bonus = {}


class Pickling(FairRouter):
    def save(self, folder):
        super().save(folder)
        (folder / "bonus.pkl").write_bytes(b"")


class Needy(FairRouter):
    def score(self, request):
        return Scores(super().score(request).utility + request.estimates.embedding[:, :1])


class Indifferent(FairRouter):
    uses_preference = False


class Amnesic(FairRouter):
    def learn(self, experience):
        self.seen = getattr(self, "seen", 0) + len(experience.decisions)

    def score(self, request):
        cheap = request.expected.cost_usd
        return Scores(super().score(request).utility + getattr(self, "seen", 0) * cheap)


class Mute(FairRouter):
    def train(self, training):
        super().train(training)


@attrs.frozen(kw_only=True)
class Unexplained:
    strength: float = 0.1


class Undocumented(FairRouter):
    Config = Unexplained


def test_a_fair_router_passes_every_check(offer):
    findings = check_component("router", "mine", offer("router", FairRouter))
    assert [finding for finding in findings if not finding.passed] == []
    assert len(findings) == 1 + len(checks_of("router"))
    assert_conforms("router", "mine", offer("router", FairRouter), {"strength": 0.0})


@pytest.mark.parametrize(
    ("target", "check"),
    [
        (WrongShape, "shapes"),
        (Nan, "shapes"),
        (OnlyTheFirst, "masks"),
        (Positional, "permuted candidates"),
        (BatchBound, "a batch of one and of none"),
        (NeverEmpty, "a batch of one and of none"),
        (Moody, "the same seed gives the same result"),
        (OneAtATime, "scoring from several threads"),
        (KnownOnly, "unseen and missing candidates"),
        (Forgetful, "save and load"),
        (Trusting, "damaged checkpoints are refused"),
        (Pickling, "checkpoints run no code"),
        (Needy, "without an estimator it works or says so"),
        (Indifferent, "uses preference is true where it matters"),
        (Amnesic, "learning survives a save"),
        (Mute, "training returns metrics"),
        (Undocumented, "options have defaults and meanings"),
        (LinearReward, "is a class of its kind"),
        (Router, "is a class of its kind"),
    ],
)
def test_a_broken_router_is_caught(offer, target, check):
    assert check in failed(offer("router", target), "router")


class FairEstimator(Estimator):
    """Long texts are hard; quality is the training mean."""

    mean = 0.0

    def train(self, training):
        self.mean = 0.0 if training.dataset.outcomes is None else float(training.dataset.outcomes.quality.mean())
        self.rows = len(training.dataset)
        return {"mean": self.mean}

    def estimate(self, queries):
        length = np.array([min(len(query.text) / 100, 1.0) for query in queries])
        return Estimates(length, np.stack([length, 1 - length], axis=1), ("long", "short"), length, None, f"fair-{self.mean}")

    def quality(self, estimates, pool):
        return np.full((len(estimates), len(pool)), self.mean)

    def out_of_fold(self):
        return np.full((self.rows, len(self.services.pool)), self.mean)

    def save(self, folder):
        write_json(folder / "mean.json", {"mean": self.mean})

    def load(self, folder):
        self.mean = read_json(folder / "mean.json")["mean"]


class OutOfRange(FairEstimator):
    def estimate(self, queries):
        return attrs.evolve(super().estimate(queries), complexity=np.full(len(queries), 1.5))


class NotOne(FairEstimator):
    def estimate(self, queries):
        return attrs.evolve(super().estimate(queries), categories=np.full((len(queries), 2), 0.2))


class Ranked(FairEstimator):
    def quality(self, estimates, pool):
        return super().quality(estimates, pool) * np.linspace(0, 1, len(pool))


class InSample(FairEstimator):
    def out_of_fold(self):
        return np.full((1, len(self.services.pool)), 0.5)


class Relabelled(FairEstimator):
    def load(self, folder):
        super().load(folder)
        self.mean = self.mean / 2


class NeedsOutcomes(FairEstimator):
    def train(self, training):
        self.mean = float(training.dataset.outcomes.quality.mean())
        return super().train(training)


def test_a_fair_estimator_passes_every_check(offer):
    assert failed(offer("estimator", FairEstimator), "estimator") == set()


@pytest.mark.parametrize(
    ("target", "check"),
    [
        (OutOfRange, "shapes and ranges"),
        (NotOne, "shapes and ranges"),
        (Ranked, "quality for any pool"),
        (InSample, "out of fold quality"),
        (Relabelled, "save and load"),
        (NeedsOutcomes, "training without outcomes"),
    ],
)
def test_a_broken_estimator_is_caught(offer, target, check):
    assert check in failed(offer("estimator", target), "estimator")


class Changed(TableEnvironment):
    """Streams that a mix-in changes."""

    change: type

    def vector(self, n, split, **arguments):
        streams = super().vector(n, split, **arguments)
        streams.__class__ = type("Changed", (self.change, TableStreams), {})
        return streams


class Ending:
    def step(self, actions):
        observation, reward, terminated, truncated, info = super().step(actions)
        return observation, reward, ~terminated, truncated, info


class Lenient:
    def step(self, actions):
        *rest, info = super().step(actions)
        return *rest, info | {"masked": np.zeros(self.num_envs, dtype=bool)}


class Restless:
    noise = np.random.default_rng()

    def step(self, actions):
        observation, reward, *rest = super().step(actions)
        return observation, reward + self.noise.normal(size=len(reward)), *rest


class Headstrong:
    def request(self):
        return super().request().with_preference(np.array([1.0, 0.0, 0.0]))


class Blind:
    def request(self):
        return attrs.evolve(super().request(), hindsight=None)


class Abrupt:
    def step(self, actions):
        *rest, info = super().step(actions)
        return *rest, {key: value for key, value in info.items() if "final_obs" not in key}


def test_the_kits_own_environment_passes_every_check(offer):
    assert failed(offer("environment", TableEnvironment), "environment") == set()


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (Ending, "shapes of a step"),
        (Lenient, "masked actions are reported"),
        (Restless, "the same seed gives the same trajectory"),
        (Restless, "streams of one number have one luck"),
        (Headstrong, "given preferences are kept"),
        (Blind, "requests have hindsight"),
        (Abrupt, "streams that are cut off show their end"),
    ],
)
def test_a_broken_environment_is_caught(offer, change, check):
    assert check in failed(offer("environment", type("Broken", (Changed,), {"change": change})), "environment")


class Perverse(LinearReward):
    def scalar(self, outcomes, preferences):
        return -super().scalar(outcomes, preferences)


class Spreading(LinearReward):
    def scalar(self, outcomes, preferences):
        return super().scalar(outcomes, preferences) - np.mean(outcomes.known_quality)


class Scaleless(LinearReward):
    def load(self, folder):
        super().load(folder)
        self.cost = self.latency


@pytest.mark.parametrize(
    ("target", "check"),
    [(Perverse, "better outcomes are never worth less"), (Spreading, "unknown outcomes"), (Scaleless, "save and load")],
)
def test_a_broken_reward_is_caught(offer, target, check):
    assert check in failed(offer("reward", target), "reward")


def nameless_pool():
    return Pool([ModelSpec("a", prices=Prices(1, 1))])


def free_pool():
    return Pool([Candidate("a", "An agent.")])


def no_pool():
    return ["a"]


@pytest.mark.parametrize(
    ("target", "check"),
    [(nameless_pool, "candidates are described"), (free_pool, "candidates are described"), (no_pool, "it is a pool")],
)
def test_a_broken_pool_is_caught(offer, target, check):
    assert check in failed(offer("model_pool", target), "model_pool")


class Twice(MemoryStore):
    def judged(self, feedback, attempt=None):
        super().judged(feedback, attempt)
        return True


class Impatient(MemoryStore):
    def pending(self):
        return []


class Backwards(MemoryStore):
    def experience(self, after=0, limit=1000):
        found = super().experience(after, limit)
        return attrs.evolve(found, decisions=list(found.decisions)[::-1])


@pytest.mark.parametrize(
    ("target", "check"),
    [
        (Twice, "the same feedback counts once"),
        (Impatient, "early feedback waits for its decision"),
        (Backwards, "experience keeps the order of the log"),
    ],
)
def test_a_broken_store_is_caught(offer, target, check):
    assert failed(offer("store", target), "store") == {check}


class Careless(DatasetFormat):
    def read(self, path):
        with open(path) as file:  # noqa: PTH123  # as careless as it gets
            return file.read()


def test_a_careless_dataset_format_is_caught(offer):
    assert {"bad paths are refused", "what is read is consistent"} <= failed(offer("dataset", Careless), "dataset")


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
            answer = await self.services.call(self.services.pool.candidates[0], task.text)
            yield Step(decision=None, content=answer.content, cost_usd=answer.cost, final=n == budget.steps - 1)


class Spendthrift(Orchestrator):
    async def run(self, task, budget):
        for _ in range(6):
            yield Step(decision=None, content="")


def test_agents_and_orchestrators_are_checked(offer):
    assert failed(offer("agent", FairAgent), "agent") == set()
    assert failed(offer("agent", Hasty), "agent") == {"an agent is a candidate"}
    assert failed(offer("orchestrator", FairOrchestrator), "orchestrator") == set()
    assert failed(offer("orchestrator", Spendthrift), "orchestrator") == {"steps lead to an answer", "the budget is kept"}


@click.command()
@click.option("--depth", help="How deep.")
def fair_command(depth):
    """Do something."""


@click.command()
@click.option("--depth")
def silent_command(depth):
    pass


def test_commands_are_checked(offer):
    assert failed(offer("command", fair_command), "command") == set()
    assert failed(offer("command", silent_command), "command") == {"it is a command with help"}
    assert failed(offer("command", "text"), "command") >= {"it is a command with help"}


def test_a_component_that_does_not_load_has_one_finding():
    plugins = Plugins({"mine": Offering("router")}, discover=False)
    (finding,) = check_component("router", "mine", plugins)
    assert not finding.passed
    assert "kit_target" in finding.message


def test_assert_conforms_says_everything_that_is_wrong(offer):
    with pytest.raises(AssertionError, match=r"router mine: permuted candidates: the order of the pool changes the utilities"):
        assert_conforms("router", "mine", offer("router", Positional))


def test_a_distribution_is_checked_whole(offer):
    findings = check_distribution("mine", offer("model_pool", free_pool))
    assert {finding.component for finding in findings} == {"plugin mine", "model_pool mine"}


def test_a_broken_plugin_is_a_finding():
    class Broken:
        @hookimpl
        def aamc_routers(self):
            raise RuntimeError("no licence")

    findings = check_distribution("broken", Plugins({"broken": Broken()}, discover=False))
    assert [finding.message for finding in findings if not finding.passed] == ["aamc_routers failed: RuntimeError: no licence"]


def test_unknown_names_are_errors(offer):
    plugins = offer("router", FairRouter)
    with pytest.raises(UnknownComponentError, match="did you mean 'mine'"):
        check_component("router", "mime", plugins)
    with pytest.raises(PluginError, match="no plugin of distribution 'mime'"):
        check_distribution("mime", plugins)
    with pytest.raises(PluginError, match="did you mean 'router'"):
        checks_of("routers")
