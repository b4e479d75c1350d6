from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from aamc_puppeteer.doa import (
    AgentInterface,
    AgentOutput,
    EchoAgent,
    EpisodeTrajectory,
    Orchestrator,
    PolicyNetwork,
    REINFORCETrainer,
    RewardConfig,
    SystemState,
    TerminatorAgent,
    TrajectoryStep,
)
from aamc_puppeteer.doa.policy import embed_state
from torch import optim

from aamc_sdk.errors import DataError

TASKS = ("Add 17 and 25", "Say what a tree is", "Write three lines about rain", "Sort these names", "Tell how glass is made")
SETTINGS = {
    "default": RewardConfig(),
    "cost": RewardConfig(lambda_cost_penalty=0.5, task_success_bonus=1.0, task_failure_penalty=-2.0),
    "success": RewardConfig(lambda_cost_penalty=0.05, task_success_bonus=2.0, task_failure_penalty=-1.0),
}


def _state(task: str, history: list[tuple[str, AgentOutput]] | None = None, most: int = 4) -> SystemState:
    return SystemState(task, history or [], len(history or []), most)


def _near(first: SystemState, second: SystemState) -> float:
    return float(embed_state(first, 64) @ embed_state(second, 64))


class TestStates:
    def test_tasks_that_share_words_are_nearer_than_others(self) -> None:
        shared = _near(_state("solve the sum 2 + 2"), _state("solve the sum 3 + 5"))
        assert shared > _near(_state("solve the sum 2 + 2"), _state("write a poem about rain")) + 1

    @pytest.mark.parametrize(
        "history",
        [
            [("EchoAgent", AgentOutput("yes", 1.0))],
            [("Other", AgentOutput("yes", 1.0))],
            [("EchoAgent", AgentOutput("no", 1.0))],
            [("EchoAgent", AgentOutput("yes", 2.0))],
            [("EchoAgent", AgentOutput("yes", 1.0, {"fault": "raised"}))],
            [("EchoAgent", AgentOutput("yes", 1.0)), ("EchoAgent", AgentOutput("yes", 1.0))],
        ],
    )
    def test_who_ran_with_what_result_changes_the_embedding(self, history: list[tuple[str, AgentOutput]]) -> None:
        others = [[], [("Another", AgentOutput("maybe", 0.5))]]
        assert all(not np.allclose(embed_state(_state("sort", history), 64), embed_state(_state("sort", other), 64)) for other in others)

    def test_the_steps_left_change_the_embedding(self) -> None:
        assert not np.allclose(embed_state(_state("sort", most=4), 64), embed_state(_state("sort", most=9), 64))

    @pytest.mark.parametrize("width", [1, 2, 3, 7, 64])
    @pytest.mark.parametrize("task", ["", "sort a list"])
    def test_any_width_and_text_will_do(self, width: int, task: str) -> None:
        embedding = embed_state(_state(task, [("EchoAgent", AgentOutput(None, 1.0))]), width)
        assert (width,) == embedding.shape
        assert np.isfinite(embedding).all()


class TestPolicies:
    def test_logits_have_one_column_an_agent(self) -> None:
        assert PolicyNetwork(32, 3)(torch.zeros(5, 32)).shape == (5, 3)

    def test_an_action_comes_with_the_logarithm_of_its_probability(self) -> None:
        policy = PolicyNetwork(32, 3, hidden_dim=8)
        index, log_prob = policy.select_action(_state("sort"))
        expected = policy(policy._embed_state(_state("sort"))).log_softmax(dim=-1)[index]
        assert type(index) is int
        assert log_prob.item() == pytest.approx(expected.item())
        assert log_prob.requires_grad

    def test_actions_are_drawn_by_their_probabilities(self) -> None:
        torch.manual_seed(0)
        policy = PolicyNetwork(4, 3, hidden_dim=4)
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter.zero_()
            policy.network[-1].bias.copy_(torch.tensor([0.5, 0.2, 0.3]).log())
        counts = np.bincount([policy.select_action(_state("sort"))[0] for _ in range(2000)], minlength=3) / 2000
        assert counts == pytest.approx([0.5, 0.2, 0.3], abs=4 * math.sqrt(0.25 / 2000))


def _step(log_prob: float, reward: float) -> TrajectoryStep:
    return TrajectoryStep(torch.zeros(4), 0, torch.tensor(log_prob, requires_grad=True), reward, None, True)


class TestTraining:
    def test_the_loss_is_that_of_the_equation(self) -> None:
        # Returns 1 + 0.5 * 3 = 2.5 and 3, and 0; their mean is 11/6, their mean square from it 31/18.
        episodes = [EpisodeTrajectory([_step(-1.0, 1.0), _step(-2.0, 3.0)], 4.0, True), EpisodeTrajectory([_step(-0.5, 0.0)], 0.0, False)]
        policy = PolicyNetwork(4, 2, hidden_dim=4)
        trainer = REINFORCETrainer(policy, optim.Adam(policy.parameters()), RewardConfig(gamma_discount_factor=0.5))
        spread = math.sqrt(31 / 18) + 1e-3
        expected = (1.0 * (2.5 - 11 / 6) + 2.0 * (3 - 11 / 6) + 0.5 * (0 - 11 / 6)) / spread / 2
        assert trainer.train_batch(episodes) == pytest.approx(expected)

    def test_a_batch_is_judged_by_what_was_usual_before(self) -> None:
        policy = PolicyNetwork(4, 2, hidden_dim=4)
        trainer = REINFORCETrainer(policy, optim.Adam(policy.parameters()), RewardConfig())
        trainer.train_batch([EpisodeTrajectory([_step(-1.0, 0.0)], 0.0, False), EpisodeTrajectory([_step(-1.0, 2.0)], 2.0, True)])
        assert trainer.train_batch([EpisodeTrajectory([_step(-1.0, 3.0)], 3.0, True)]) == pytest.approx((3.0 - 1.0) / (2.0 + 1e-3))
        assert trainer.train_batch([EpisodeTrajectory([_step(-1.0, 1.5)], 1.5, True)]) == pytest.approx((1.5 - 1.4) / (1.2 + 1e-3))

    def test_gradients_are_clipped_to_length_one(self) -> None:
        policy = PolicyNetwork(4, 2)
        trainer = REINFORCETrainer(policy, optim.SGD(policy.parameters(), lr=1.0), RewardConfig())
        before = torch.cat([parameter.detach().clone().flatten() for parameter in policy.parameters()])
        embeddings = 1000 * torch.rand(2, 4)
        unlikely = [policy(embedding).log_softmax(-1).min() for embedding in embeddings]  # what is sure already has hardly any gradient
        steps = [TrajectoryStep(e, 0, chance, reward, None, True) for e, chance, reward in zip(embeddings, unlikely, (5.0, 0.0), strict=True)]
        trainer.train_batch([EpisodeTrajectory([step], step.reward, True) for step in steps])
        after = torch.cat([parameter.detach().flatten() for parameter in policy.parameters()])
        assert (after - before).norm().item() == pytest.approx(1.0, abs=1e-3)

    def test_nothing_teaches_nothing(self) -> None:
        policy = PolicyNetwork(4, 2)
        trainer = REINFORCETrainer(policy, optim.Adam(policy.parameters()), RewardConfig())
        assert trainer.train_batch([]) == 0.0
        assert trainer.train_batch([EpisodeTrajectory([], 0.0, False)]) == 0.0

    def test_a_reward_that_is_no_number_is_refused_before_anything_changes(self) -> None:
        policy = PolicyNetwork(4, 2)
        trainer = REINFORCETrainer(policy, optim.Adam(policy.parameters()), RewardConfig())
        before = [parameter.detach().clone() for parameter in policy.parameters()]
        with pytest.raises(DataError, match="finite"):
            trainer.train_batch([EpisodeTrajectory([_step(-1.0, math.nan)], math.nan, False)])
        assert all(torch.equal(old, new) for old, new in zip(before, policy.parameters(), strict=True))


def _learn(config: RewardConfig, seed: int, epochs: int = 50) -> tuple[float, float]:
    """Return the success rate and the mean number of steps of the last ten epochs of the framework's first example."""
    torch.manual_seed(seed)
    policy = PolicyNetwork(state_embedding_dim=64, num_agents=2)
    orchestrator = Orchestrator([EchoAgent(), TerminatorAgent()], policy, config)
    trainer = REINFORCETrainer(policy, optim.Adam(policy.parameters(), lr=0.001), config)
    last: list[EpisodeTrajectory] = []
    for epoch in range(epochs):
        episodes = [orchestrator.run_episode(_state(TASKS[n % len(TASKS)])) for n in range(10)]
        trainer.train_batch(episodes)
        last += episodes if epoch >= epochs - 10 else []
    return sum(episode.task_successful for episode in last) / len(last), sum(len(episode.steps) for episode in last) / len(last)


@pytest.mark.parametrize(("setting", "seed"), [("default", 0), ("default", 1), ("default", 2), ("cost", 0), ("success", 0)])
def test_the_first_example_comes_to_one_step(setting: str, seed: int) -> None:
    success, steps = _learn(SETTINGS[setting], seed)
    assert success >= 0.99
    assert steps <= 1.15


class _Specialist(AgentInterface):
    def execute(self, state: SystemState) -> AgentOutput:
        return AgentOutput(f"{self.name} did it", 1.0)


def test_with_a_verifier_the_right_specialist_is_learned() -> None:
    torch.manual_seed(0)
    kinds = {"add": "What is 17 plus 25?", "write": "Compose a poem on rain.", "find": "Search the archive for maps."}
    agents = [*map(_Specialist, kinds), TerminatorAgent()]
    wanted = {task: kind for kind, task in kinds.items()}
    policy = PolicyNetwork(64, len(agents))

    def solved(state: SystemState) -> bool:
        ran = [name for name, _ in state.history]
        return wanted[state.task_specification] in ran and ran[-1] == "TerminatorAgent"

    right = Orchestrator(agents, policy, RewardConfig(), solved)
    trainer = REINFORCETrainer(policy, optim.Adam(policy.parameters(), lr=0.003), RewardConfig())
    rates = []
    for _ in range(70):
        episodes = [right.run_episode(_state(task)) for task in kinds.values() for _ in range(4)]
        trainer.train_batch(episodes)
        rates.append((sum(e.task_successful for e in episodes) / len(episodes), sum(len(e.steps) for e in episodes) / len(episodes)))
    begun, learned = np.mean(rates[:3], axis=0), np.mean(rates[-5:], axis=0)
    assert begun[0] < 0.5
    assert learned[0] >= 0.9
    assert learned[1] <= 2.3
