from __future__ import annotations

import importlib

import pytest
import torch
from aamc_puppeteer import doa
from aamc_puppeteer.doa import (
    AgentInterface,
    AgentOutput,
    EchoAgent,
    Orchestrator,
    PolicyNetwork,
    RewardConfig,
    SystemState,
    TerminatorAgent,
    calculate_reward,
)

from aamc_sdk.errors import ConfigError

STATE = SystemState("sort a list", [], 0, 4)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("structs", "TrajectoryStep"),
        ("rewards", "calculate_reward"),
        ("policy", "PolicyNetwork"),
        ("trainer", "REINFORCETrainer"),
        ("orchestrator", "Orchestrator"),
        ("agents", "EchoAgent"),
        ("agents.base", "AgentInterface"),
        ("agents.core_agents", "TerminatorAgent"),
    ],
)
def test_each_name_is_where_the_framework_has_it(module: str, name: str) -> None:
    assert getattr(importlib.import_module(f"aamc_puppeteer.doa.{module}"), name) is getattr(doa, name)


def test_the_rewards_defaults_are_the_frameworks() -> None:
    assert RewardConfig(0.1, 0.99, 1.0, -1.0, 1.0) == RewardConfig()


def test_an_echo_repeats_the_task_at_a_cost_of_one() -> None:
    output = EchoAgent().execute(STATE)
    assert (output.content, output.cost) == ("Echo: sort a list", 1.0)
    assert EchoAgent().name == "EchoAgent"


def test_a_terminator_ends_for_nothing() -> None:
    output = TerminatorAgent("enough").execute(STATE)
    assert (output.content, output.cost) == ("TERMINATE", 0.0)
    assert TerminatorAgent("enough").name == "enough"


async def _ask(agent: AgentInterface) -> AgentOutput:
    return await agent.aexecute(STATE)


def test_an_agent_can_be_awaited() -> None:
    import asyncio

    assert asyncio.run(_ask(EchoAgent())).content == "Echo: sort a list"


@pytest.mark.parametrize(
    ("terminal", "successful", "expected"),
    [(True, True, 1.0 - 0.2), (True, False, -1.0 - 0.2), (False, False, -0.2), (False, True, -0.2)],
)
def test_a_cost_of_two_takes_a_fifth_off_the_reward(terminal: bool, successful: bool, expected: float) -> None:
    assert calculate_reward(AgentOutput("", 2.0), terminal, successful, RewardConfig()) == pytest.approx(expected)


def test_the_settings_of_cost_and_success_count() -> None:
    focused_on_cost = RewardConfig(lambda_cost_penalty=0.5, task_success_bonus=1.0, task_failure_penalty=-2.0)
    focused_on_success = RewardConfig(lambda_cost_penalty=0.05, task_success_bonus=2.0, task_failure_penalty=-1.0)
    assert calculate_reward(AgentOutput("", 2.0), True, False, focused_on_cost) == pytest.approx(-3.0)
    assert calculate_reward(AgentOutput("", 2.0), True, True, focused_on_success) == pytest.approx(1.9)


def test_the_scale_factor_multiplies_every_cost() -> None:
    config = RewardConfig(step_cost_scale_factor=3.0)
    assert calculate_reward(AgentOutput("", 2.0), False, False, config) == pytest.approx(-0.6)


def test_the_last_step_may_be_charged_for_the_whole_episode() -> None:
    config = RewardConfig(total_cost=True)
    assert calculate_reward(AgentOutput("", 2.0), False, False, config) == pytest.approx(-0.2)
    assert calculate_reward(AgentOutput("", 2.0), True, True, config, trajectory_cost=5.0) == pytest.approx(1.0 - 0.5)
    assert calculate_reward(AgentOutput("", 2.0), True, False, config, trajectory_cost=5.0) == pytest.approx(-1.0 - 0.5)
    with pytest.raises(ConfigError, match="needs trajectory_cost"):
        calculate_reward(AgentOutput("", 2.0), True, True, config)
    assert calculate_reward(AgentOutput("", 2.0), True, True, RewardConfig(), trajectory_cost=5.0) == pytest.approx(0.8)


def test_an_episode_is_paid_by_its_total_cost_if_asked_for() -> None:
    class Scripted(PolicyNetwork):
        def select_action(self, system_state: SystemState) -> tuple[int, torch.Tensor]:
            return min(system_state.current_step // 2, 1), torch.zeros((), requires_grad=True)

    agents = [EchoAgent(), TerminatorAgent()]
    for total, expected in ((False, [-0.1, -0.1, 1.0]), (True, [-0.1, -0.1, 1.0 - 0.2])):
        episode = Orchestrator(agents, Scripted(16, 2), RewardConfig(total_cost=total)).run_episode(STATE)
        assert [step.reward for step in episode.steps] == pytest.approx(expected)
