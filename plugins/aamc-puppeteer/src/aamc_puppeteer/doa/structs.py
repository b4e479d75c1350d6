"""The data classes of the Dynamic Orchestrator Agent framework.

They are mutable dataclasses, unlike the rest of this package: programs written for that framework evaluate an episode
afterwards and write the result into its last reward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aamc_agents.tasks import Verdict
from torch import Tensor

from aamc_puppeteer.episodes.rewards import EpisodeReward
from aamc_puppeteer.episodes.trajectory import Stop


@dataclass
class AgentOutput:
    """An agent's output.

    Attributes:
        content: The answer, usually a text.
        cost: Its cost in any unit; finite and at least 0.
        metadata: Further data.
    """

    content: Any
    cost: float
    metadata: dict[str, Any] | None = None


@dataclass
class SystemState:
    """The state that agents and policy see.

    Attributes:
        task_specification: The task's text.
        history: Names and outputs of the agents so far, in order.
        current_step: Number of steps taken.
        max_steps: Maximum number of steps.
        custom_data: Data that agents share; passed on from step to step.
    """

    task_specification: str
    history: list[tuple[str, AgentOutput]]
    current_step: int
    max_steps: int
    custom_data: dict[str, Any] | None = None


@dataclass
class RewardConfig:
    """The weights of the reward.

    Attributes:
        lambda_cost_penalty: Lambda, reward lost for each unit of cost.
        gamma_discount_factor: Gamma, discount of the reward for each step.
        task_success_bonus: r of a solved task.
        task_failure_penalty: r of an unsolved task; negative for a penalty.
        step_cost_scale_factor: Factor of every cost.
        total_cost: Whether the last step is charged for the whole episode, as the framework's documentation writes it, instead of
            for itself; earlier costs count twice then.
    """

    lambda_cost_penalty: float = 0.1
    gamma_discount_factor: float = 0.99
    task_success_bonus: float = 1.0
    task_failure_penalty: float = -1.0
    step_cost_scale_factor: float = 1.0
    total_cost: bool = False

    @property
    def rule(self) -> EpisodeReward:
        """The same weights as a reward rule of the puppeteer."""
        return EpisodeReward(
            name="total" if self.total_cost else "step",
            success=self.task_success_bonus,
            failure=self.task_failure_penalty,
            cost_weight=self.lambda_cost_penalty * self.step_cost_scale_factor,
            discount=self.gamma_discount_factor,
        )


@dataclass
class TrajectoryStep:
    """One step of an episode.

    Attributes:
        state_embedding: The state's embedding, ``[D]``.
        agent_index: Index of the chosen agent.
        log_prob: Log probability of the choice, with its gradient.
        reward: The step's reward.
        next_state_embedding: Embedding of the next state, ``[D]``; None after the last step.
        is_terminal_step: Whether the episode ended here.
        agent_output: The agent's output; after a failure an empty content with ``"fault"`` and ``"error"`` in its metadata.
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
        steps: The steps, in order.
        total_undiscounted_reward: The sum of the rewards.
        task_successful: The verifier's verdict; without a verifier, whether the terminator was chosen in time.
        stop: Why the episode ended: the terminator was chosen, or no steps were left.
        verdict: The verifier's verdict and its reason; None without a verifier.
        task_specification: The task's text.
    """

    steps: list[TrajectoryStep]
    total_undiscounted_reward: float
    task_successful: bool
    stop: Stop | None = None
    verdict: Verdict | None = None
    task_specification: str = ""
