"""Agents, and orchestrators of several models or agents."""

from __future__ import annotations

import abc
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

import attrs

from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces.components import BaseComponent
from aamc_sdk.interfaces.training import Progress, Training
from aamc_sdk.types import Candidate, Dataset, Decision, Query


@attrs.frozen
class AgentOutput:
    """The answer of an agent or a model.

    Attributes:
        content: The answer.
        cost: Cost in USD, at least 0.
        metadata: Other data, by name; ``cost_known`` is False where the cost is unknown, and then counts as 0.
    """

    content: str
    cost: float = 0.0
    metadata: Mapping[str, Any] = attrs.field(factory=dict)


class Agent(BaseComponent):
    """Works on one step of a task.

    Attributes:
        spec: The candidate that describes the agent. Its name is the component's name: teams, and options by agent, find the agent by it.
    """

    spec: Candidate

    @property
    def max_cost_usd(self) -> float:
        """Maximum cost of a turn in USD; infinite if it is known only afterwards, NaN if never, as for a model without prices."""
        return math.inf

    def max_cost_usd_in(self, state: Any) -> float:
        """Maximum cost of a turn in the state of a task in USD; ``max_cost_usd`` by default."""
        return self.max_cost_usd

    def check(self) -> None:
        """Check, before the first turn, that the agent can work; does nothing by default.

        Raises:
            AamcError: It cannot, such as without a model to call.
        """

    @abc.abstractmethod
    async def execute(self, state: Any) -> AgentOutput:
        """Act on the state of a task.

        Raises:
            AamcError: The agent cannot do its part, for example because the task is of another kind; the orchestrator continues with others.
        """


@attrs.frozen(kw_only=True)
class Step:
    """One step of an orchestration.

    Attributes:
        decision: The decision of the step; None for a step without one.
        content: The result of the step.
        cost_usd: Cost in USD.
        tokens: Tokens used, those of prompts included.
        final: Whether the content is the answer.
        prompt_tokens: Tokens of prompts among them; the others were generated.
    """

    decision: Decision | None
    content: str
    cost_usd: float = 0.0
    tokens: int = 0
    final: bool = False
    prompt_tokens: int = 0


@attrs.frozen(kw_only=True)
class Budget:
    """Limits of an orchestration.

    Attributes:
        steps: Maximum number of steps.
        cost_usd: Maximum cost in USD; infinity for no limit.
        seconds: Maximum time in seconds; infinity for no limit.

    Raises:
        ConfigError: A limit is not a number of at least 0.
    """

    steps: int = 10
    cost_usd: float = float("inf")
    seconds: float = float("inf")

    def __attrs_post_init__(self) -> None:
        for name, limit in attrs.asdict(self).items():
            if not isinstance(limit, Real) or not float(limit) >= 0:  # also refuses NaN
                raise ConfigError(f"{name} of a budget must be at least 0, not {limit!r}")


class Orchestrator(BaseComponent):
    """Calls several models or agents until an answer is ready.

    Attributes:
        default_dataset: The dataset for training if the user gives none, as ``"FORMAT:PATH"``; None if the user must give one.
    """

    default_dataset: ClassVar[str | None] = None

    @property
    def default_steps(self) -> int:
        """Maximum number of steps of a task unless the user gives one."""
        return Budget().steps

    @abc.abstractmethod
    def run(self, task: Query, budget: Budget) -> AsyncIterator[Step]:
        """Work on a task, yielding each finished step."""

    def prepare(self, training: Training) -> None:
        """Settle the options that depend on the training data, and check that the training can begin; called before options are recorded."""

    def train(self, training: Training) -> Mapping[str, Any]:
        """Train the orchestrator; return metrics."""
        return {}

    def close(self) -> None:
        """Release threads and connections."""


class EvaluatedOrchestrator(Orchestrator):
    """An orchestrator that evaluates itself on a dataset, for ``aamc evaluate --orchestrator``."""

    @abc.abstractmethod
    def evaluate(self, dataset: Dataset, routers: Sequence[str] | None, folder: Path | None, progress: Progress) -> Mapping[str, Any]:
        """Return a JSON document with the results of the orchestrator and of baselines.

        Args:
            dataset: The tasks, with their right answers.
            routers: Names of routers to compare with; when None, those that need no training, or none.
            folder: The folder for traces; None to write none.
            progress: Receives the progress.

        Raises:
            ConfigError: Routers are named, and the orchestrator compares with none.
            DataError: The dataset has no right answers.
        """

    @abc.abstractmethod
    def table(self, document: Mapping[str, Any]) -> Any:
        """Return the document as a ``rich`` table."""
