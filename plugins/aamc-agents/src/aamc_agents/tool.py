"""The base class of agents without a model: it bills their calls and reports why a call failed."""

from __future__ import annotations

import abc
import math
import time
from importlib.util import find_spec
from typing import Any, ClassVar

import attrs

from aamc_agents.state import TaskState
from aamc_sdk import Agent, AgentOutput, option
from aamc_sdk.errors import AamcError, ConfigError


class AgentError(AamcError, RuntimeError):
    """Raised when an agent cannot use the state of a task.

    Attributes:
        cost: Cost of the attempt in USD.
    """

    def __init__(self, message: str, cost: float = 0.0) -> None:
        super().__init__(message)
        self.cost = cost


class AgentTimeoutError(AgentError, TimeoutError):
    """Raised when an agent ran out of time. The same call may succeed later, so it is not cached."""

    __new__ = OSError.__new__  # type: ignore[assignment]  # that of RuntimeError, which is found first, makes no OSError, so copies would fail


def check_extra(user: str, extra: str, *modules: str) -> None:
    """Raise ConfigError, which names the extra such as ``aamc-agents[web]``, if a module of an optional dependency is not installed."""
    if missing := [module for module in modules if find_spec(module) is None]:
        raise ConfigError(f"{user} needs {', '.join(missing)} to be installed: pip install '{extra}'")


def billed(seconds: float) -> Any:
    """Return the option for the billed duration of a tool's call."""
    return option(seconds, "Seconds that a call is billed for; the measured seconds if null.", at_least=0.0)


@attrs.frozen(kw_only=True)
class ToolConfig:
    """Billing of a tool's calls."""

    billed_seconds: float | None = billed(1.0)
    usd_per_second: float = option(0.001, "USD per billed second.", at_least=0.0)


@attrs.frozen(kw_only=True)
class ReaderConfig(ToolConfig):
    """Billing of the calls of a tool that reads texts."""

    billed_seconds: float | None = billed(2.0)


class Tool(Agent):
    """An agent without a model. A failed call is billed like a successful one.

    Attributes:
        deterministic: Whether the same state always gives the same output, so that training may cache it.
    """

    Config = ToolConfig
    config: ToolConfig
    deterministic: ClassVar[bool] = True

    @property
    def max_cost_usd(self) -> float:
        """Cost of a turn, unless its measured seconds are billed."""
        seconds = self.config.billed_seconds
        return math.inf if seconds is None else self.config.usd_per_second * seconds

    async def execute(self, state: TaskState) -> AgentOutput:
        """Work on the state of a task.

        Raises:
            AgentError: The tool cannot use the state.
        """
        began = time.perf_counter()
        try:
            content = await self.act(state)
        except Exception as error:
            error.cost = self._bill(began)  # type: ignore[attr-defined]  # any error may have a cost
            raise
        return AgentOutput(content, cost=self._bill(began))

    @abc.abstractmethod
    async def act(self, state: TaskState) -> str:
        """Return the output's text, or raise AgentError."""

    def _bill(self, began: float) -> float:
        seconds = self.config.billed_seconds
        return self.config.usd_per_second * (time.perf_counter() - began if seconds is None else seconds)


def subject(state: TaskState) -> str:
    """Return the text that a tool works on: the last output, or the task's text if there is none."""
    return state.outputs[-1].content if state.outputs else state.task.text
