"""The reward of one step."""

from __future__ import annotations

from aamc_puppeteer.doa.structs import AgentOutput, RewardConfig


def calculate_reward(agent_output: AgentOutput, is_terminal: bool, task_was_successful: bool, reward_config: RewardConfig) -> float:
    r"""Return the reward of a step.

    .. math:: R_t = -\lambda s c_t, \qquad R_T = r - \lambda s c_T

    with s the scale factor and r the bonus of a success or the penalty of a failure. The paper's C_total, the
    cost of the whole episode, is the last output's cost c_T here: earlier steps have paid for theirs.

    Args:
        agent_output: What the step's agent answered; only its cost counts.
        is_terminal: Whether the episode ended with it.
        task_was_successful: Whether the task was solved; counts in the last step alone.
        reward_config: The weights.
    """
    cost = reward_config.lambda_cost_penalty * reward_config.step_cost_scale_factor * agent_output.cost
    if not is_terminal:
        return -cost
    earned = reward_config.task_success_bonus if task_was_successful else reward_config.task_failure_penalty
    return earned - cost
