"""Checks of agents and orchestrators."""

from __future__ import annotations

import asyncio
import math
from numbers import Integral
from types import SimpleNamespace
from typing import Any

import attrs

from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import AgentOutput, Budget, Orchestrator, Step
from aamc_sdk.testing.checks.components import LEARNER_CHECKS, OPTION_CHECKS, require_asynchronous_iterator, require_reported
from aamc_sdk.testing.findings import SignatureError, after, may_refuse, require, require_type, skip
from aamc_sdk.testing.subject import Subject
from aamc_sdk.types import Candidate, Decision, Query
from aamc_sdk.types.checks import is_amount

_SECONDS = 30.0
_TASK = "What is two and two?"


def check_an_agent_is_a_candidate(subject: Subject) -> None:
    """An agent has a candidate of the component's name as its spec."""
    spec: Any = getattr(subject.make(), "spec", None)
    require_type(spec, Candidate, "an agent's spec must be an aamc_sdk.Candidate")
    why = "teams, and options by agent, find the agent by it"
    require(spec.name == subject.name, f"the name of an agent's spec must be the component's name, {subject.name!r}, not {spec.name!r}: {why}")


def check_it_answers_a_task(subject: Subject) -> None:
    """``execute`` returns an AgentOutput with a text and a cost; an agent that cannot work raises an AamcError with a message."""
    agent = subject.make()
    state = SimpleNamespace(task=Query(_TASK), outputs=(), history=(), steps_left=1, cost=0.0, seed=0)
    try:
        with may_refuse("it cannot answer the kit's task"):
            agent.check()
            output = asyncio.run(asyncio.wait_for(agent.execute(state), _SECONDS))
    except asyncio.TimeoutError:
        skip(f"it does not answer within {_SECONDS:g} s")
    except AttributeError as error:
        if error.obj is not state.task:
            raise
        skip(f"it needs a task with {error.name!r}, which the kit's task lacks")
    require_type(output, AgentOutput, "execute must return aamc_sdk.AgentOutput")
    require_type(output.content, str, "the content must be a text")
    unknown = "where it is unknown, return 0, and cost_known: False in metadata"
    require(math.isfinite(output.cost) and output.cost >= 0, f"the cost must be USD of at least 0, not {output.cost}; {unknown}")
    require_reported(agent, output.cost, "the output's cost")
    maximum = agent.max_cost_usd_in(state)
    within = math.isnan(maximum) or output.cost <= maximum
    require(within, f"a turn cost {output.cost} USD, and max_cost_usd promises at most {maximum}: budgets rely on it")


def _steps(orchestrator: Orchestrator, budget: Budget) -> list[Step]:
    """Return the steps of a task; the check is skipped if the orchestrator says which option it needs first."""

    async def collect() -> list[Step]:
        running = orchestrator.run(Query(_TASK), budget)
        require_asynchronous_iterator(running, "run")
        steps: list[Step] = []
        async for step in running:
            if not isinstance(step, Step):
                raise SignatureError(f"run must yield aamc_sdk.interfaces.Step objects, not {type(step).__name__}")
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
    """Every step is a Step with a cost, together that of all calls; only the last step is final. An orchestrator that needs an option says so."""
    orchestrator = subject.make()
    steps = _steps(orchestrator, Budget(steps=4))
    require(steps, "run must yield at least one aamc_sdk.interfaces.Step")
    for step in steps:
        require_type(step.content, str, "a step's content must be a text")
        require_type(step.decision, Decision | None, "a step's decision must be an aamc_sdk.types.Decision or None")
        known = is_amount(step.cost_usd) and math.isfinite(step.cost_usd)
        require(known, f"a step's cost must be USD of at least 0, not {step.cost_usd!r}; where it is unknown, give 0")
        counted = isinstance(step.tokens, Integral) and is_amount(step.tokens)
        require(counted, f"a step's tokens must be a whole number of at least 0, not {step.tokens!r}; where unknown, give 0")
        require(isinstance(step.final, bool), f"a step's final must be True or False, not {step.final!r}")
    require_reported(orchestrator, sum(step.cost_usd for step in steps), "a step's cost_usd")
    require([step.final for step in steps] == [False] * (len(steps) - 1) + [True], "the last step must be final, and no other")


def check_the_budget_is_kept(subject: Subject) -> None:
    """An orchestration takes no more steps than its budget allows."""
    for maximum in (1, 2):
        taken = len(_steps(subject.make(), Budget(steps=maximum)))
        require(taken <= maximum, f"{taken} steps were taken with a budget of {maximum}")


def check_the_same_seed_gives_the_same_steps(subject: Subject) -> None:
    """Two instances with the same seed work on a task in the same steps."""
    first, second = (_work(subject.make()) for _ in range(2))
    require(first == second, "two instances with the same seed take different steps: draw from services.seed only")


def _work(orchestrator: Orchestrator) -> list[tuple[str, bool]]:
    return [(step.content, step.final) for step in _steps(orchestrator, Budget(steps=4))]


def _skip_untrained(subject: Subject) -> None:
    """Skip a check for an orchestrator that says that it cannot train on the kit's data."""
    with may_refuse("it does not train on the kit's data"):
        _ = subject.trained


def check_save_and_load(subject: Subject) -> None:
    """An orchestrator that loads a saved state takes the same steps."""
    same = _work(subject.trained) == _work(subject.reloaded(subject.trained))
    require(same, "the loaded orchestrator takes steps that differ from the trained one's: save all that train learns, and load it")


def check_the_budget_of_a_training_is_kept(subject: Subject) -> None:
    """With a budget of 0, a training costs less than without a limit, or is refused."""
    costs = []
    for budget_usd in (math.inf, 0.0):
        orchestrator, training = subject.make(), attrs.evolve(subject.training(), budget_usd=budget_usd)
        with may_refuse():
            orchestrator.prepare(training)
            orchestrator.train(training)
        costs.append(orchestrator.services.models.spent_usd)
    advice = "end the training before training.budget_usd is spent"
    require(costs[1] < costs[0] or not costs[0], f"with a budget of 0 the training cost {costs[1]:g} USD, as much as without a limit: {advice}")


AGENT_CHECKS = (*OPTION_CHECKS, check_an_agent_is_a_candidate, check_it_answers_a_task)
ORCHESTRATOR_CHECKS = (
    *OPTION_CHECKS,
    check_steps_lead_to_an_answer,
    check_the_budget_is_kept,
    check_the_same_seed_gives_the_same_steps,
    *(after(_skip_untrained, check) for check in (*LEARNER_CHECKS, check_save_and_load, check_the_budget_of_a_training_is_kept)),
)
