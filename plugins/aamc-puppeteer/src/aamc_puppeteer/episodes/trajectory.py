"""Finished episodes."""

from __future__ import annotations

import enum

import attrs
from aamc_agents.state import TaskState
from aamc_agents.tasks import Verdict

STOP = "stop"
"""Name of the policy's action that ends an episode. No agent may have it."""


class Stop(enum.Enum):
    """Why an episode ended."""

    ANSWERED = "answered"
    """An agent marked its output as the answer."""
    STOPPED = "stopped"
    """The policy chose to stop."""
    TRUNCATED = "truncated"
    """No steps were left."""
    OUT_OF_BUDGET = "out_of_budget"
    """The money or the time was used up."""
    FAILED = "failed"
    """The task is empty."""
    INTERRUPTED = "interrupted"
    """The work was broken off."""


@attrs.frozen(kw_only=True)
class Trajectory:
    """A finished episode.

    Attributes:
        state: The last state, with all activations.
        stop: Why the episode ended.
        verdict: The verifier's verdict; None if the task has no verifier.
        probabilities: Probability of each action when it was drawn; a decision to stop comes last.
        rewards: Reward of each action, in the order of ``probabilities``.
    """

    state: TaskState
    stop: Stop
    verdict: Verdict | None = None
    probabilities: tuple[float, ...] = ()
    rewards: tuple[float, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether the verifier judged the answer correct."""
        return self.verdict is not None and self.verdict.correct

    @property
    def total_reward(self) -> float:
        """The undiscounted sum of the rewards."""
        return sum(self.rewards)
