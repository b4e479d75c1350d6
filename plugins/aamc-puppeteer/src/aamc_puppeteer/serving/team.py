"""The part of a puppeteer that serving needs: its policy, its agents and how they are run."""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Sequence

from aamc_agents.state import Activation, TaskState
from aamc_agents.tasks import Task, Verdict

from aamc_puppeteer.config import PuppeteerConfig
from aamc_puppeteer.episodes.player import Running
from aamc_sdk import Pool
from aamc_sdk.interfaces import Budget, Step
from aamc_sdk.routing import Array32
from aamc_sdk.serving import TeamOrchestrator


class Team(TeamOrchestrator):
    """Agents with the policy that chooses among them: the base of :class:`aamc_puppeteer.orchestrator.Puppeteer`."""

    config: PuppeteerConfig
    pool: Pool

    @abc.abstractmethod
    def probabilities(self, states: Sequence[TaskState]) -> Array32:
        """Return the probability of each agent, and of stopping, in each state, ``[B, M + 1]``."""

    @abc.abstractmethod
    def activate(self, turns: Sequence[tuple[str, TaskState]], seconds: float) -> list[Activation]:
        """Run agents side by side, each on its state."""

    @abc.abstractmethod
    def verify(self, task: Task, answer: str | None) -> Verdict | None:
        """Return the verdict on an answer; None without a verifier."""

    @abc.abstractmethod
    def steps(self, episode: Running, budget: Budget) -> AsyncIterator[Step]:
        """Work on an episode along one path."""

    @abc.abstractmethod
    def forks(self, budget: Budget) -> bool:
        """Return whether several paths run side by side."""
