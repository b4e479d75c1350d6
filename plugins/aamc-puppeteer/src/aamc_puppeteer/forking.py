"""Several paths side by side: each forks into its most probable agents, and the answers are joined. For use, not for training.

The k most probable agents of a state are taken, not drawn, so what comes of them says nothing of the gradient of a
policy that draws one: training plays single paths. Paths fork until ``fork_depth`` activations and while there are
fewer than ``paths``; then each goes on by its own policy. The budget is that of all paths together, and the last
step, which joins the answers, takes one of its steps.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from aamc_puppeteer.episodes import Running, begin
from aamc_puppeteer.state import STOP, Activation, Stop, TaskState, answer
from aamc_puppeteer.tasks import Task
from aamc_sdk.errors import ConfigError, one_of
from aamc_sdk.interfaces import Budget, Step

if TYPE_CHECKING:
    from aamc_puppeteer.orchestrator import Puppeteer


@attrs.define(eq=False)
class Path:
    """One of the paths: its episode, and how probable the policy finds it."""

    episode: Running
    probability: float = 1.0


@attrs.define(eq=False)
class Spent:
    """What all paths have used up together."""

    activations: int = 0
    cost: float = 0.0


async def fork(puppeteer: Puppeteer, task: Task, budget: Budget, paths: list[Path] | None = None) -> AsyncIterator[Step]:
    """Work on a task along several paths, yielding each activation as it is done, and last the joined answer.

    Args:
        puppeteer: Decides.
        task: What to work on.
        budget: Of all paths together.
        paths: An empty list, which gets the paths as they come up, for who wants to follow them.

    Raises:
        ConfigError: A judge is to join the answers, and there is no such agent.
    """
    config = puppeteer.config
    if config.join == "judge" and config.judge not in puppeteer.pool.names:
        raise ConfigError(f"join: judge needs an agent's name in judge (one of {one_of(puppeteer.pool.names)}), not {config.judge!r}")
    allowed = budget.steps - 1
    began = time.monotonic()
    spent = Spent()
    paths = [] if paths is None else paths
    paths.append(Path(begin(0, task, allowed, 0)))
    while running := [path for path in paths if path.episode.stop is None]:
        turns = _forked(puppeteer, paths, running)[: max(allowed - spent.activations, 0)]
        seconds = budget.seconds - (time.monotonic() - began)
        done = await asyncio.to_thread(puppeteer.activate, [(name, path.episode.state) for path, name in turns], seconds)
        for (path, _), activation in zip(turns, done, strict=True):
            path.episode.take(activation)
            spent.activations += 1
            spent.cost += activation.cost
            yield Step(decision=None, content=_said(activation), cost_usd=activation.cost)
        for path in paths:
            _check_end(path.episode, spent, allowed, budget, time.monotonic() - began)
    answers = [(given, path.probability) for path in paths if (given := answer(path.episode.state)) is not None]
    if config.join == "judge" and len(answers) > 1:
        verdict, cost = await _judge(puppeteer, task, [given for given, _ in answers])
        yield Step(decision=None, content=verdict, cost_usd=cost, final=True)
    else:
        yield Step(decision=None, content=vote(answers), final=True)


def _forked(puppeteer: Puppeteer, paths: list[Path], running: Sequence[Path]) -> list[tuple[Path, str]]:
    """Decide for each running path; new paths are added. Return who is to be activated, by path."""
    config = puppeteer.config
    probabilities = puppeteer.probabilities([path.episode.state for path in running])
    names = (*puppeteer.pool.names, STOP)
    turns: list[tuple[Path, str]] = []
    for path, row in zip(running, probabilities, strict=True):
        depth = len(path.episode.state.history)
        free = config.paths - len(paths) + 1
        width = min(config.branches, free) if depth < config.fork_depth else 1
        trunk, state = path.probability, path.episode.state
        for rank, place in enumerate(np.argsort(-row, kind="stable")[:width]):
            branch = path
            if rank:
                branch = Path(Running(len(paths), state, costs=list(path.episode.costs[:depth])))
                paths.append(branch)
            branch.probability = trunk * float(row[place])
            if names[place] == STOP:
                branch.episode.stop = Stop.STOPPED
            else:
                turns.append((branch, names[place]))
    return turns


def _check_end(episode: Running, spent: Spent, allowed: int, budget: Budget, seconds: float) -> None:
    if episode.stop is None:
        episode.check_end(budget, seconds)
    if episode.stop is None and spent.cost >= budget.cost_usd:
        episode.stop = Stop.OUT_OF_BUDGET
    if episode.stop is None and spent.activations >= allowed:
        episode.stop = Stop.TRUNCATED


def vote(answers: Sequence[tuple[str, float]]) -> str:
    """Return the answer that most paths gave, whatever its spacing and case; among equals, that of the more probable paths."""
    votes: dict[str, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    first: dict[str, str] = {}
    for given, probability in answers:
        key = " ".join(given.split()).casefold()
        count, total = votes[key]
        votes[key] = (count + 1, total + probability)
        first.setdefault(key, given)
    return first[max(votes, key=lambda key: votes[key])] if votes else ""


async def _judge(puppeteer: Puppeteer, task: Task, answers: Sequence[str]) -> tuple[str, float]:
    """Return the answer that the judge picks by its number, the first where it names none, and what it cost."""
    listed = "\n".join(f"{number}. {given}" for number, given in enumerate(answers, start=1))
    question = f"{task.text}\n\nThese answers were given:\n{listed}\n\nReply with the number of the best one."
    state = TaskState(task=attrs.evolve(task, text=question), steps_left=1)
    activation = (await asyncio.to_thread(puppeteer.activate, [(puppeteer.config.judge, state)], float("inf")))[0]
    named = re.search(r"\d+", _said(activation))
    number = int(named[0]) if named else 1
    return answers[number - 1 if 1 <= number <= len(answers) else 0], activation.cost


def _said(activation: Activation) -> str:
    return activation.error or "" if activation.output is None else activation.output.content
