"""One task, one path: a trained policy decides, an agent acts, and each step is told as it is done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import numpy as np

from aamc_puppeteer.episodes import Running, begin, greatest, sampled
from aamc_puppeteer.state import STOP, Trajectory, answer
from aamc_puppeteer.tasks import Task
from aamc_puppeteer.tracing import episode_span
from aamc_sdk import Decision, Preference
from aamc_sdk.draw import uniform
from aamc_sdk.features import Array32
from aamc_sdk.interfaces import Budget, Step
from aamc_sdk.types import new_ids

if TYPE_CHECKING:
    from aamc_puppeteer.orchestrator import Puppeteer


async def work_on(puppeteer: Puppeteer, episode: Running, budget: Budget) -> AsyncIterator[Step]:
    """Carry an episode on to its end, yielding each step; the last one's content is the answer."""
    began = time.monotonic()
    if episode.stop is None:
        episode.check_end(budget, 0.0)
    if episode.stop is not None:
        yield Step(decision=None, content="", final=True)
    while episode.stop is None:
        decision = decide(puppeteer, puppeteer.probabilities([episode.state])[0])
        episode.probabilities.append(decision.propensity)
        if decision.candidate == STOP:
            episode.end_by_choice()
            yield Step(decision=decision, content=answer(episode.state) or "", final=True)
            return
        left = budget.seconds - (time.monotonic() - began)
        activation = (await asyncio.to_thread(puppeteer.activate, [(decision.candidate, episode.state)], left))[0]
        episode.take(activation)
        episode.check_end(budget, time.monotonic() - began)
        yield _step_of(decision, episode)


async def solve(puppeteer: Puppeteer, task: Task, budget: Budget) -> Trajectory:
    """Work on a task and return what happened, judged where the task has a verifier."""
    episode = begin(0, task, budget.steps, 0)
    with episode_span(episode.state) as tell:
        async for _ in work_on(puppeteer, episode, budget):
            pass
        verdict = await asyncio.to_thread(puppeteer.verify, task, answer(episode.state))
        trajectory = episode.finished(verdict, puppeteer.config.rule)
        tell(trajectory)
    return trajectory


def decide(puppeteer: Puppeteer, probabilities: Array32) -> Decision:
    """Return a decision drawn from, or the best of, ``[M + 1]`` probabilities, as the option ``sample`` says."""
    names = (*puppeteer.pool.names, STOP)
    sample = puppeteer.config.sample
    decision_id = new_ids(1)[0]
    choose = sampled if sample else greatest
    place = int(choose(probabilities[None], np.array([uniform(puppeteer.services.seed, decision_id)], np.float32))[0])
    return Decision(
        id=decision_id,
        candidate=names[place],
        propensity=float(probabilities[place]) if sample else 1.0,
        preference=Preference(),
        probabilities=dict(zip(names, map(float, probabilities), strict=True)),
        router="puppeteer",
        time=time.time(),
    )


def _step_of(decision: Decision, episode: Running) -> Step:
    """Return the core's step for an episode's last activation; where the episode ended with it, its content is the answer."""
    activation = episode.state.history[-1]
    final = episode.stop is not None
    said = activation.error or "" if activation.output is None else activation.output.content
    tokens = 0 if activation.output is None else activation.output.metadata.get("tokens", 0)
    content = (answer(episode.state) or "") if final else said
    return Step(decision=decision, content=content, cost_usd=activation.cost, tokens=tokens if isinstance(tokens, int) else 0, final=final)
