"""The reward of one step."""

from __future__ import annotations

from aamc_puppeteer.doa.structs import AgentOutput, RewardConfig


def calculate_reward(agent_output: AgentOutput, is_terminal: bool, task_was_successful: bool, reward_config: RewardConfig) -> float:
    r"""Return the reward of a step by equation (1) of :mod:`aamc_puppeteer.episodes.rewards`.

    .. math:: R_t = -\lambda s c_t, \qquad R_T = r - \lambda s c_T

    s is the scale factor and r the bonus of a success or the penalty of a failure. The paper's C_total, the cost of the whole
    episode, is the last output's cost c_T here: earlier steps have already been charged.

    Args:
        agent_output: The output of the step's agent; only its cost counts.
        is_terminal: Whether the episode ended with the step.
        task_was_successful: Whether the task was solved; counts in the last step alone.
        reward_config: The weights.
    """
    rule = reward_config.rule
    earned = rule.outcome(task_was_successful) if is_terminal else 0.0
    return earned - rule.charge(1, agent_output.cost)
