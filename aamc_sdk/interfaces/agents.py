"""What does the work: agents, and orchestrators that drive several of them."""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces.parts import Part
from aamc_sdk.interfaces.training import Training

if TYPE_CHECKING:
    from aamc_sdk.types import Candidate, Decision, Query


@attrs.frozen
class AgentOutput:
    """What an agent, or a called model, answered: content, its cost in USD, and whatever else."""

    content: str
    cost: float = 0.0
    metadata: Mapping[str, Any] = attrs.field(factory=dict)


class Agent(Part):
    """Does a piece of work."""

    spec: Candidate

    @abc.abstractmethod
    async def execute(self, state: Any) -> AgentOutput:
        """Act on the state of a task."""


@attrs.frozen(kw_only=True)
class Step:
    """One step of an orchestration.

    Attributes:
        decision: What was decided, where something was.
        content: What came of it.
        cost_usd: What it cost.
        tokens: How many it took.
        final: Whether its content is the answer.
    """

    decision: Decision | None
    content: str
    cost_usd: float = 0.0
    tokens: int = 0
    final: bool = False


@attrs.frozen(kw_only=True)
class Budget:
    """What an orchestration may use up: steps, USD, seconds.

    Raises:
        ConfigError: A limit is not a number of at least 0; infinity is none.
    """

    steps: int = 10
    cost_usd: float = float("inf")
    seconds: float = float("inf")

    def __attrs_post_init__(self) -> None:
        for name, limit in attrs.asdict(self).items():
            if not isinstance(limit, int | float) or not limit >= 0:  # NaN is neither more nor less
                raise ConfigError(f"{name} of a budget must be at least 0, not {limit!r}")


class Orchestrator(Part):
    """Drives several calls until an answer is ready.

    Attributes:
        default_dataset: What it practises on where nobody says, as ``"FORMAT:PATH"``; None where it has to be said.
    """

    default_dataset: ClassVar[str | None] = None

    @abc.abstractmethod
    def run(self, task: Query, budget: Budget) -> AsyncIterator[Step]:
        """Work on a task, yielding each step as it is done."""

    def train(self, training: Training) -> Mapping[str, Any]:
        """Learn; return metrics."""
        return {}
