"""Checks of agents and orchestrators."""

from __future__ import annotations

import asyncio
import inspect
import math
from types import SimpleNamespace

from aamc_sdk.errors import AamcError, ConfigError
from aamc_sdk.interfaces import AgentOutput, Budget, Step
from aamc_sdk.testing.components import OPTION_CHECKS
from aamc_sdk.testing.findings import require, skip
from aamc_sdk.testing.subject import Subject
from aamc_sdk.types import Candidate, Query

_SECONDS = 30.0
_TASK = "What is two and two?"


def check_an_agent_is_a_candidate(subject: Subject) -> None:
    """An agent has a candidate as its spec, and an asynchronous ``execute``."""
    agent = subject.make()
    require(isinstance(getattr(agent, "spec", None), Candidate), "an agent's spec must be an aamc_sdk.Candidate")
    require(inspect.iscoroutinefunction(agent.execute), "execute must be a coroutine function (async def)")


def check_it_answers_a_task(subject: Subject) -> None:
    """``execute`` returns an AgentOutput with a text and a cost; an agent that cannot work raises an AamcError with a message."""
    agent = subject.make()
    state = SimpleNamespace(task=Query(_TASK), outputs=(), history=(), steps_left=1, cost=0.0, seed=0)
    try:
        agent.check()
        output = asyncio.run(asyncio.wait_for(agent.execute(state), _SECONDS))
    except AamcError as error:
        require(str(error), "the error has no message")
        skip(f"it cannot answer the kit's task ({error})")
    except asyncio.TimeoutError:
        skip(f"it does not answer within {_SECONDS:g} s")
    except AttributeError as error:
        if error.obj is not state.task:
            raise
        skip(f"it needs a task with {error.name!r}, which the kit's task lacks")
    require(isinstance(output, AgentOutput), f"execute must return aamc_sdk.AgentOutput, not {type(output).__name__}")
    require(isinstance(output.content, str), f"the content must be a text, not {type(output.content).__name__}")
    unknown = "where it is unknown, return 0, and cost_known: False in metadata"
    require(math.isfinite(output.cost) and output.cost >= 0, f"the cost must be USD of at least 0, not {output.cost}; {unknown}")


def _steps(subject: Subject, budget: Budget) -> list[Step]:
    """Return the steps of a task; the check is skipped if the orchestrator says which option it needs first."""

    async def collect() -> list[Step]:
        steps: list[Step] = []
        async for step in subject.make().run(Query(_TASK), budget):
            steps.append(step)
            if len(steps) > budget.steps:  # it may never end
                break
        return steps

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


def check_the_same_seed_gives_the_same_steps(subject: Subject) -> None:
    """Two instances with the same seed work on a task in the same steps."""
    first, second = ([(step.content, step.final) for step in _steps(subject, Budget(steps=4))] for _ in range(2))
    require(first == second, "two instances with the same seed take different steps: draw from services.seed only")


AGENT_CHECKS = (*OPTION_CHECKS, check_an_agent_is_a_candidate, check_it_answers_a_task)
ORCHESTRATOR_CHECKS = (*OPTION_CHECKS, check_steps_lead_to_an_answer, check_the_budget_is_kept, check_the_same_seed_gives_the_same_steps)
