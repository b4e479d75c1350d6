"""One task along one path: a policy, or a fixed order, chooses the next agent until the episode ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from aamc_agents.state import Activation, TaskState, answer
from aamc_agents.tasks import Task

from aamc_puppeteer.episodes.player import Running, begin, most_probable, sampled
from aamc_puppeteer.episodes.spans import episode_span
from aamc_puppeteer.episodes.trajectory import STOP, Stop, Trajectory
from aamc_sdk import Decision, Preference
from aamc_sdk.interfaces import Budget, Step
from aamc_sdk.routing import Array32, uniform
from aamc_sdk.types import new_ids

if TYPE_CHECKING:
    from aamc_puppeteer.serving.team import Team

Activate = Callable[[Sequence[tuple[str, TaskState]], float], list[Activation]]
"""Runs turns, each an agent's name and its state, within a number of seconds."""
Choose = Callable[[TaskState], tuple[str, Decision | None] | None]
"""Returns the next agent or ``STOP``, with the decision if a policy made one; None at the end of a fixed order."""


async def work_on(activate: Activate, choose: Choose, episode: Running, budget: Budget) -> AsyncIterator[Step]:
    """Play an episode to its end, yielding each step; the content of the final step is the answer."""
    began = time.monotonic()
    if episode.stop is None:
        episode.check_end(budget, 0.0)
    if episode.stop is not None:
        yield Step(decision=None, content="", final=True)
    while episode.stop is None:
        chosen = choose(episode.state)
        if chosen is None:
            episode.stop = Stop.STOPPED
            yield Step(decision=None, content=answer(episode.state) or "", final=True)
            return
        agent, decision = chosen
        episode.probabilities.append(1.0 if decision is None else decision.propensity)
        if agent == STOP:
            episode.end_by_choice()
            yield Step(decision=decision, content=answer(episode.state) or "", final=True)
            return
        left = max(budget.seconds - (time.monotonic() - began), 0.0)
        activation = (await asyncio.to_thread(activate, [(agent, episode.state)], left))[0]
        episode.take(activation)
        episode.check_end(budget, time.monotonic() - began)
        final = episode.stop is not None
        content = (answer(episode.state) or "") if final else activation.text
        yield Step(decision=decision, content=content, cost_usd=activation.cost, tokens=activation.tokens, final=final)


async def solve(puppeteer: Team, task: Task, budget: Budget) -> Trajectory:
    """Work on a task and return the episode, with a verdict if the task has a verifier."""
    episode = begin(0, task, budget.steps, 0)
    with episode_span(episode.state) as end:
        async for _ in puppeteer.steps(episode, budget):
            pass
        verdict = await asyncio.to_thread(puppeteer.verify, task, answer(episode.state))
        trajectory = episode.finished(verdict, puppeteer.config.rule)
        end(trajectory)
    return trajectory


def in_fixed_order(agents: Sequence[str]) -> Choose:
    """Activate each agent once, in order."""
    return lambda state: (agents[len(state.history)], None) if len(state.history) < len(agents) else None


def by_policy(puppeteer: Team) -> Choose:
    """Activate the agents that the policy draws, or finds most probable; the decisions are one episode."""
    episode = new_ids(1)[0]

    def choose(state: TaskState) -> tuple[str, Decision]:
        decision = decide(puppeteer, puppeteer.probabilities([state])[0], episode)
        return decision.candidate, decision

    return choose


def decide(puppeteer: Team, probabilities: Array32, episode: str) -> Decision:
    """Return a decision drawn from ``[M + 1]`` probabilities, or the most probable one, depending on the option ``sample``."""
    names = (*puppeteer.pool.names, STOP)
    sample = puppeteer.config.sample
    decision_id = new_ids(1)[0]
    choose = sampled if sample else most_probable
    place = int(choose(probabilities[None], np.array([uniform(puppeteer.services.seed, decision_id)], np.float32))[0])
    return Decision(
        id=decision_id,
        candidate=names[place],
        propensity=float(probabilities[place]) if sample else 1.0,
        preference=Preference(),
        probabilities=dict(zip(names, map(float, probabilities), strict=True)),
        router="puppeteer",
        time=time.time(),
        episode=episode,
    )
