"""What an episode is made of, by the names of the Dynamic Orchestrator Agent framework.

They are plain dataclasses that may be changed, unlike the rest of this package: programs written for that
framework evaluate an episode afterwards and write what they find into its last reward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aamc_agents.tasks import Verdict

from aamc_puppeteer.episodes.trajectory import Stop

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class AgentOutput:
    """What an agent answered.

    Attributes:
        content: The answer, by custom a text.
        cost: What it cost, in a unit of the user's choice; finite and at least 0.
        metadata: Whatever else.
    """

    content: Any
    cost: float
    metadata: dict[str, Any] | None = None


@dataclass
class SystemState:
    """What agents and policy see.

    Attributes:
        task_specification: What is asked.
        history: Who ran, and what they answered, in order.
        current_step: How many steps were taken.
        max_steps: How many may be taken.
        custom_data: Whatever agents need beside; handed on from step to step.
    """

    task_specification: str
    history: list[tuple[str, AgentOutput]]
    current_step: int
    max_steps: int
    custom_data: dict[str, Any] | None = None


@dataclass
class RewardConfig:
    """What counts.

    Attributes:
        lambda_cost_penalty: Lambda, what one unit of cost takes off the reward.
        gamma_discount_factor: Gamma, what a reward one step later is worth.
        task_success_bonus: r of a task that was solved.
        task_failure_penalty: r of one that was not; negative for a penalty.
        step_cost_scale_factor: Multiplies every cost.
    """

    lambda_cost_penalty: float = 0.1
    gamma_discount_factor: float = 0.99
    task_success_bonus: float = 1.0
    task_failure_penalty: float = -1.0
    step_cost_scale_factor: float = 1.0


@dataclass
class TrajectoryStep:
    """One step of an episode.

    Attributes:
        state_embedding: The state as the policy saw it, ``[D]``.
        agent_index: The agent that it chose.
        log_prob: Logarithm of that choice's probability, with its gradient.
        reward: What the step earned.
        next_state_embedding: The state that followed, ``[D]``; None after the last step.
        is_terminal_step: Whether the episode ended here.
        agent_output: What the agent answered; where it failed, an empty content whose metadata has ``"fault"`` and ``"error"``.
    """

    state_embedding: Tensor
    agent_index: int
    log_prob: Tensor
    reward: float
    next_state_embedding: Tensor | None
    is_terminal_step: bool
    agent_output: AgentOutput | None = None


@dataclass
class EpisodeTrajectory:
    """A finished episode.

    Attributes:
        steps: What happened, in order.
        total_undiscounted_reward: The sum of the rewards.
        task_successful: What the verifier said; without one, whether the terminator was chosen in time.
        stop: Why it ended: the terminator was chosen, or the steps were used up.
        verdict: The verifier's, and why; None without one.
        task_specification: What was asked.
    """

    steps: list[TrajectoryStep]
    total_undiscounted_reward: float
    task_successful: bool
    stop: Stop | None = None
    verdict: Verdict | None = None
    task_specification: str = ""
