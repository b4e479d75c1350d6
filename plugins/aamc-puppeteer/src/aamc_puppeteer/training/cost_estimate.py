"""The cost of a training, estimated before it starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from aamc_agents.state import TaskState
from aamc_agents.tasks import Task
from aamc_agents.tool import Tool

from aamc_puppeteer.tasks.verifiers import ModelVerifier
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Agent


@attrs.frozen
class CostEstimate:
    """The agents' turns in a training, and their cost.

    Attributes:
        turns: Maximum number of turns.
        mean_usd: Cost if the agents take equally many turns, each at its maximum cost; infinite if unknown.
        maximum_usd: Cost if the most expensive agent takes every turn; infinite if unknown.
        tools_usd: Part of ``mean_usd`` for the time of tools, which nobody bills.
        unpriced: Names of the agents that call a model without known prices.
    """

    turns: int
    mean_usd: float
    maximum_usd: float
    tools_usd: float
    unpriced: tuple[str, ...]

    @classmethod
    def of(cls, agents: Sequence[Agent], turns: int, tasks: Sequence[Task] = ()) -> CostEstimate:
        """Estimate the cost of ``turns`` turns, each on the task where the agent's maximum is highest."""
        states = [TaskState(task=task) for task in tasks]
        costs = [float(np.max([agent.max_cost_usd_in(state) for state in states] or agent.max_cost_usd)) for agent in agents]  # NaN if any is NaN
        tools = sum(cost for agent, cost in zip(agents, costs, strict=True) if isinstance(agent, Tool)) / len(costs)
        unpriced = tuple(agent.spec.name for agent, cost in zip(agents, costs, strict=True) if math.isnan(cost))
        mean, maximum = (math.inf, math.inf) if unpriced else (sum(costs) / len(costs), max(costs))
        mean_usd, maximum_usd, tools_usd = (turns * cost if turns else 0.0 for cost in (mean, maximum, tools))
        return cls(turns, mean_usd, maximum_usd, tools_usd, unpriced)

    def check(self, budget_usd: float, tasks: Sequence[Task] = ()) -> None:
        """Raise ConfigError if there is a budget, and an agent, or the verifier of a task, calls a model without prices."""
        if math.isinf(budget_usd):
            return
        if self.unpriced:
            names = ", ".join(map(repr, self.unpriced))
            models = f"the models of agents {names} have" if len(self.unpriced) > 1 else f"the model of agent {names} has"
            raise _no_prices(budget_usd, models, f"agent_options.{self.unpriced[0]}")
        if any(isinstance(task.verifier, ModelVerifier) and not task.verifier.has_prices for task in tasks):
            raise _no_prices(budget_usd, "the judge model of the tasks has", "dataset.judge")

    def in_words(self, budget_usd: float) -> str:
        """Return the estimate in one line."""
        limit = f"; the training ends at {budget_usd:g} USD" if math.isfinite(budget_usd) else ""
        if self.unpriced:
            return f"at most {self.turns:,} turns of agents; their cost is unknown: no prices for {', '.join(self.unpriced)}"
        if math.isinf(self.maximum_usd):
            return f"at most {self.turns:,} turns of agents; their cost is not known beforehand{limit}"
        tools = f" ({self.tools_usd:,.2f} USD of it for tools' time at usd_per_second, which nobody bills)" if self.tools_usd else ""
        return f"at most {self.turns:,} turns of agents: {self.mean_usd:,.2f} USD in equal shares{tools}, {self.maximum_usd:,.2f} USD at most{limit}"

    def document(self) -> dict[str, Any]:
        """Return the estimate as plain JSON values; an unknown cost is None."""
        document = attrs.asdict(self)
        unknown = {name: None for name, value in document.items() if name.endswith("_usd") and math.isinf(value)}
        return document | unknown | {"unpriced": list(self.unpriced)}


def _no_prices(budget_usd: float, models: str, options: str) -> ConfigError:
    advice = f"set {options}.prices, such as {{input: 1, output: 2}}, or leave the budget out"
    return ConfigError(f"a budget of {budget_usd:g} USD cannot be kept: {models} no prices; {advice}")
