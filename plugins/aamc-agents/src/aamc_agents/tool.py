"""What tools share: they turn what was said last into something else, are billed by time, and say why they cannot."""

from __future__ import annotations

import abc
import time
from typing import Any, ClassVar

import attrs

from aamc_puppeteer.state import TaskState
from aamc_sdk import Agent, AgentOutput, option
from aamc_sdk.errors import AamcError


class AgentError(AamcError, RuntimeError):
    """Raised when an agent cannot do anything with the state of a task.

    Attributes:
        cost: What the attempt cost, in USD.
    """

    def __init__(self, message: str, cost: float = 0.0) -> None:
        super().__init__(message)
        self.cost = cost


def billed(seconds: float) -> Any:
    """Return the option that says for how long a tool's calls are billed."""
    return option(seconds, "Seconds that a call is billed for; those that it took when null.", at_least=0.0)


@attrs.frozen(kw_only=True)
class ToolConfig:
    """How a tool's calls are billed."""

    billed_seconds: float | None = billed(1.0)
    usd_per_second: float = option(0.001, "USD per billed second.", at_least=0.0)


@attrs.frozen(kw_only=True)
class ReaderConfig(ToolConfig):
    """How the calls of a tool that reads texts are billed."""

    billed_seconds: float | None = billed(2.0)


class Tool(Agent):
    """An agent without a model. A call that fails is billed like one that succeeds.

    Attributes:
        deterministic: Whether the same state gives the same output, so that training may remember it.
    """

    Config = ToolConfig
    config: ToolConfig
    deterministic: ClassVar[bool] = True

    async def execute(self, state: TaskState) -> AgentOutput:
        """Do the work.

        Raises:
            AgentError: The state holds nothing that this tool can work on.
        """
        began = time.perf_counter()
        try:
            content = await self.act(state)
        except AgentError as error:
            error.cost = self._bill(began)
            raise
        return AgentOutput(content, cost=self._bill(began))

    @abc.abstractmethod
    async def act(self, state: TaskState) -> str:
        """Return what comes of it, or raise AgentError."""

    def _bill(self, began: float) -> float:
        seconds = self.config.billed_seconds
        return self.config.usd_per_second * (time.perf_counter() - began if seconds is None else seconds)


def subject(state: TaskState) -> str:
    """Return what a tool works on: what was said last, else the task."""
    return state.outputs[-1].content if state.outputs else state.task.text
