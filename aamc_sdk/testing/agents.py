"""Checks of agents and orchestrators."""

from __future__ import annotations

import asyncio
import inspect
import math

from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Budget, Step
from aamc_sdk.testing.components import OPTION_CHECKS
from aamc_sdk.testing.findings import require, skip
from aamc_sdk.testing.subject import Subject
from aamc_sdk.types import Candidate, Query

_SECONDS = 30.0


def check_an_agent_is_a_candidate(subject: Subject) -> None:
    """An agent has a candidate as its spec, and an asynchronous ``execute``."""
    agent = subject.make()
    require(isinstance(getattr(agent, "spec", None), Candidate), "an agent's spec must be an aamc_sdk.Candidate")
    require(inspect.iscoroutinefunction(agent.execute), "execute must be a coroutine function (async def)")


def _steps(subject: Subject, budget: Budget) -> list[Step]:
    """Return the steps of a task; the check is skipped if the orchestrator says which option it needs first."""

    async def collect() -> list[Step]:
        return [step async for step in subject.make().run(Query("What is two and two?"), budget)]

    try:
        return asyncio.run(asyncio.wait_for(collect(), _SECONDS))
    except ConfigError as error:
        require(str(error), "the error must name the missing option")
        skip(f"it needs options: {error}")


def check_steps_lead_to_an_answer(subject: Subject) -> None:
    """Every step is a Step with a cost; only the last step is final. An orchestrator that needs an option says so."""
    steps = _steps(subject, Budget(steps=4))
    require(steps and all(isinstance(step, Step) for step in steps), "run must yield aamc_sdk.interfaces.Step objects, at least one")
    require([step.final for step in steps] == [False] * (len(steps) - 1) + [True], "only the last step must be final")
    require(all(math.isfinite(step.cost_usd) and step.cost_usd >= 0 for step in steps), "each step's cost must be USD of at least 0")


def check_the_budget_is_kept(subject: Subject) -> None:
    """An orchestration takes no more steps than its budget allows."""
    for maximum in (1, 2):
        taken = len(_steps(subject, Budget(steps=maximum)))
        require(taken <= maximum, f"{taken} steps were taken with a budget of {maximum}")


AGENT_CHECKS = (*OPTION_CHECKS, check_an_agent_is_a_candidate)
ORCHESTRATOR_CHECKS = (*OPTION_CHECKS, check_steps_lead_to_an_answer, check_the_budget_is_kept)
