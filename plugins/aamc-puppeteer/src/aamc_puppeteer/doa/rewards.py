"""The reward of one step."""

from __future__ import annotations

from aamc_puppeteer.doa.structs import AgentOutput, RewardConfig
from aamc_sdk.errors import ConfigError


def calculate_reward(
    agent_output: AgentOutput, is_terminal: bool, task_was_successful: bool, reward_config: RewardConfig, trajectory_cost: float | None = None
) -> float:
    r"""Return the reward of a step by equation (1) of :mod:`aamc_puppeteer.episodes.rewards`, or by (2) with ``total_cost``.

    .. math:: R_t = -\lambda s c_t, \qquad R_T = r - \lambda s c_T \quad \text{or} \quad R_T = r - \lambda s C_{total}

    s is the scale factor and r the bonus of a success or the penalty of a failure. Without ``total_cost`` the last output's cost
    c_T takes the place of C_total, the cost of the whole episode: earlier steps have already been charged.

    Args:
        agent_output: The output of the step's agent; only its cost counts.
        is_terminal: Whether the episode ended with the step.
        task_was_successful: Whether the task was solved; counts in the last step alone.
        reward_config: The weights.
        trajectory_cost: C_total, the last step's cost included; required in the last step with ``total_cost``.

    Raises:
        ConfigError: It is missing.
    """
    rule, cost = reward_config.rule, agent_output.cost
    if is_terminal and reward_config.total_cost:
        if trajectory_cost is None:
            raise ConfigError("with total_cost the last step's reward needs trajectory_cost, the cost of the whole episode")
        cost = trajectory_cost
    earned = rule.outcome(task_was_successful) if is_terminal else 0.0
    return earned - rule.charge(1, cost)
