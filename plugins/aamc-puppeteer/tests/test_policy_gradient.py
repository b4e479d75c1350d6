"""The sampled gradient against the exact one of a world that is small enough to enumerate."""

from collections.abc import Callable, Iterator, Sequence

import attrs
import numpy as np
import pytest
import torch
from aamc_agents.state import TaskState
from aamc_agents.tasks import Task
from aamc_puppeteer.episodes.rewards import EpisodeReward, discounted_returns
from aamc_puppeteer.orchestrator import Puppeteer
from aamc_puppeteer.policy.encoder import Encoder, StateFeatures
from aamc_puppeteer.policy.visibility import Visibility
from aamc_puppeteer.testbed import AgentWorld, Kind, WorldAgent
from aamc_puppeteer.testbed.worlds import standing, turn
from aamc_puppeteer.training.reinforce import ReinforceLearner
from torch import Tensor

from aamc_sdk.serving import TeamOptions

LogProbabilities = Callable[[StateFeatures], Tensor]
"""Returns a policy's log probabilities ``[B, M + 1]``."""


def expected_reward(world: AgentWorld, encoder: Encoder, log_probabilities: LogProbabilities) -> Tensor:
    """Return J, the expected discounted reward of an episode, summed over every history that can happen.

    Their number grows as (agents times outcomes) to the power of steps: for worlds of a few of each.
    """
    return torch.stack([_value(world, kind, encoder, log_probabilities) for kind in world.kinds]).mean()


def _value(world: AgentWorld, kind: Kind, encoder: Encoder, log_probabilities: LogProbabilities) -> Tensor:
    task = next(task for task in world.tasks(len(world.kinds)) if task.kind == kind.name)
    return _of_histories(world, kind, encoder, log_probabilities, [TaskState(task=task, steps_left=world.steps)])[0]


def _of_histories(world: AgentWorld, kind: Kind, encoder: Encoder, log_probabilities: LogProbabilities, states: Sequence[TaskState]) -> Tensor:
    """Return the value of each of some states that have had the same number of turns."""
    rule, number, left = world.rule, len(states[0].history) + 1, states[0].steps_left
    probabilities = log_probabilities(encoder.encode(states)).exp()
    worths = torch.tensor([_worth(world, kind, state) for state in states])
    values = probabilities[:, -1] * (worths - rule.charge(number, 0.0))
    for place, agent in enumerate(world.agents):
        branches = [
            (row, state.after(turn(agent, kind, then)), chance)
            for row, state in enumerate(states)
            for then, chance in _outcomes(kind, state, agent.name)
        ]
        following = [state for _, state, _ in branches]
        if left == 1:
            later = torch.tensor([_worth(world, kind, state) for state in following])
        else:
            later = rule.discount * _of_histories(world, kind, encoder, log_probabilities, following)
        chances = torch.tensor([chance for _, _, chance in branches])
        rows = torch.tensor([row for row, _, _ in branches])
        expected = torch.zeros(len(states)).index_add(0, rows, chances * later)
        values = values + probabilities[:, place] * (expected - rule.charge(number, agent.cost))
    return values


def _outcomes(kind: Kind, state: TaskState, agent: str) -> list[tuple[str, float]]:
    return list(kind.next_states(standing(state, kind), agent).items())


def _worth(world: AgentWorld, kind: Kind, state: TaskState) -> float:
    chance = kind.solved.get(standing(state, kind), 0.0) if state.outputs else 0.0
    return world.rule.failure + (world.rule.success - world.rule.failure) * chance


RULE = EpisodeReward(discount=0.8, cost_weight=0.5)
WORLD = AgentWorld(
    agents=(WorldAgent(name="a", description="Plans.", cost=0.1), WorldAgent(name="b", description="Solves.", cost=0.3)),
    kinds=(
        Kind(name="x", text="First sort.", moves={("start", "a"): {"plan": 0.6, "start": 0.4}, ("plan", "b"): {"done": 1.0}}, solved={"done": 0.9}),
        Kind(name="y", text="Other sort.", moves={("start", "b"): {"done": 0.5, "bad": 0.5}}, solved={"done": 1.0, "bad": 0.2}),
    ),
    steps=3,
    rule=RULE,
)
EPISODES = 2000


@pytest.fixture(scope="module")
def puppeteer() -> Iterator[Puppeteer]:
    """A puppeteer whose policy and baseline are neither new nor good."""
    puppeteer = WORLD.puppeteer(seed=1, preset="quick", updates=5, episodes=8, hidden=8, absent_agents=0.0)
    puppeteer.fit(WORLD.tasks(50))
    yield puppeteer
    puppeteer.close()


def exact_reward(puppeteer: Puppeteer, learner: ReinforceLearner) -> torch.Tensor:
    def log_probabilities(features: StateFeatures) -> torch.Tensor:
        return learner.log_probabilities(features, Visibility.full(*features.pair.shape[:2]))

    return expected_reward(WORLD, puppeteer.policy.parts()[1], log_probabilities)


def test_the_exact_reward_is_what_episodes_earn(puppeteer: Puppeteer) -> None:
    learner, _ = puppeteer.policy.parts()
    earned = [discounted_returns(trajectory.rewards, RULE.discount)[0] for trajectory in puppeteer.play(WORLD.tasks(EPISODES, seed=5), sample=True)]
    error = np.std(earned) / np.sqrt(EPISODES)
    assert np.mean(earned) == pytest.approx(float(exact_reward(puppeteer, learner).detach()), abs=4 * error)


def test_the_sampled_gradient_is_the_exact_one_on_average(puppeteer: Puppeteer) -> None:
    learner, _ = puppeteer.policy.parts()
    actor = learner.policy.actor()
    exact = torch.cat([gradient.flatten() for gradient in torch.autograd.grad(exact_reward(puppeteer, learner), actor)]).numpy()
    tasks = WORLD.tasks(EPISODES, seed=7)
    batches = 40
    sampled = []
    for batch in range(batches):
        _, actions = puppeteer.player().play(puppeteer.policy.decide, tasks[batch::batches], 3, np.random.default_rng(batch))
        loss, _ = learner.loss(actions, deviation=1.0, entropy_weight=0.0)
        gradients = torch.autograd.grad(loss, actor)
        sampled.append(-torch.cat([gradient.flatten() for gradient in gradients]).numpy())
    mean, error = np.mean(sampled, axis=0), np.std(sampled, axis=0, ddof=1) / np.sqrt(batches)
    felt = error > 1e-9  # parameters that these features never reach have no gradient at all
    assert np.linalg.norm(exact) > 0.05
    assert np.allclose(exact[~felt], 0, atol=1e-6)
    scores = (mean - exact)[felt] / error[felt]
    assert np.mean(scores**2) == pytest.approx(1.0, abs=0.5)
    cosine = mean @ exact / (np.linalg.norm(mean) * np.linalg.norm(exact))
    assert cosine > 0.95


def test_a_logged_action_is_weighted_by_its_truncated_importance_ratio(puppeteer: Puppeteer) -> None:
    learner, _ = puppeteer.policy.parts()
    _, batch = puppeteer.player().play(puppeteer.policy.decide, WORLD.tasks(30, seed=3), 3, np.random.default_rng(0))
    drawn = learner.log_probabilities(batch.features, batch.visibility).detach().exp().numpy()[np.arange(len(batch.action)), batch.action]

    def policy_loss(propensity: np.ndarray | None) -> float:
        return learner.loss(attrs.evolve(batch, propensity=propensity), deviation=1.0, entropy_weight=0.0)[1]["policy_loss"]

    assert policy_loss(drawn) == pytest.approx(policy_loss(None), rel=1e-5)
    assert policy_loss(2 * drawn) == pytest.approx(policy_loss(None) / 2, rel=1e-5)
    assert policy_loss(drawn / 2) == pytest.approx(policy_loss(None), rel=1e-5)


def test_agents_that_are_absent_in_training_leave_the_features_of_a_team_without_them() -> None:
    agents = ["calculator", "python", "retriever", "file-reader"]
    tasks = [Task(id="1", text="Search the documents for a number."), Task(id="2", text="What is 2 + 3?")]
    whole = Puppeteer.of(agents, hidden=4)
    whole.policy.begin([task.text for task in tasks])
    served = Puppeteer.of(agents, hidden=4)
    served.policy.begin([task.text for task in tasks])
    served.set_team(TeamOptions(agents=agents[:2]))
    absent = Visibility.full(2, 4)
    absent.present[:, 2:] = False
    try:
        _, trained = whole.player().play(whole.policy.decide, tasks, 1, np.random.default_rng(0), visibility=absent)
        _, alone = served.player().play(served.policy.decide, tasks, 1, np.random.default_rng(0))
    finally:
        whole.close()
        served.close()
    np.testing.assert_allclose(trained.features.pair[:2, :2], alone.features.pair[:2], atol=1e-6)
