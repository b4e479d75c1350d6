"""Several paths in parallel: each forks into its most probable agents, and their answers are joined. Not for training.

The k most probable agents of a state are taken, not drawn, so the result is not a sample of the policy, and training plays
single paths. Paths fork up to ``fork_depth`` activations, while there are fewer than ``paths``; then each follows the policy.
Every path starts with a turn of its own, so no path votes for another's work. A path ends where stopping is most probable.
The budget is that of all paths together. A judge's turn is one of the steps; a vote takes none.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any

import attrs
import numpy as np
from aamc_agents.state import Activation, TaskState, answer
from aamc_agents.tasks import Task

from aamc_puppeteer.config import PuppeteerConfig
from aamc_puppeteer.episodes.player import Running, begin
from aamc_puppeteer.episodes.trajectory import Stop
from aamc_puppeteer.serving.team import Team
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Budget, Step
from aamc_sdk.messages import nearest, one_of
from aamc_sdk.types import normalized_answer


async def fork(puppeteer: Team, task: Task, budget: Budget, paths: list[Running]) -> AsyncIterator[Step]:
    """Work on a task along several paths, yielding each activation as it is done, and last the joined answer.

    The empty list ``paths`` receives the paths as they start; at the end the most probable is first.
    """
    config = puppeteer.config
    check_judge(config, puppeteer.pool.names)
    allowed = budget.steps - (config.join == "judge")
    began = time.monotonic()
    turns_left, cost_usd = allowed, 0.0
    paths.append(begin(0, task, allowed, 0))

    def check_end() -> None:
        for path in paths:
            if path.stop is None:
                path.check_end(budget, time.monotonic() - began)
            if path.stop is None and cost_usd >= budget.cost_usd:
                path.stop = Stop.OUT_OF_BUDGET
            if path.stop is None and turns_left <= 0:
                path.stop = Stop.TRUNCATED

    check_end()
    while running := [path for path in paths if path.stop is None]:
        turns = _forked(puppeteer, paths, running, turns_left)
        seconds = budget.seconds - (time.monotonic() - began)
        done = await puppeteer.activate([(name, path.state) for path, name in turns], seconds)
        for (path, _), activation in zip(turns, done, strict=True):  # all, before a client can leave
            path.take(activation)
        turns_left -= len(done)
        cost_usd += sum(activation.cost for activation in done)
        for activation in done:
            yield Step(decision=None, content=activation.text, **_figures(activation))
        check_end()
    paths.sort(key=lambda path: -path.path_probability)
    answers = [(given, path.path_probability) for path in paths if (given := answer(path.state)) is not None]
    verdict, figures = vote(answers), {}
    seconds = budget.seconds - (time.monotonic() - began)
    if config.join == "judge" and len(answers) > 1 and seconds > 0 and cost_usd < budget.cost_usd:
        picked, judged = await _judge(puppeteer, task, [given for given, _ in answers], seconds)
        verdict, figures = picked or verdict, _figures(judged)
    yield Step(decision=None, content=verdict, final=True, **figures)


def _figures(turn: Activation) -> dict[str, Any]:
    """Return the cost and the tokens of a turn, as those of its step."""
    return {"cost_usd": turn.cost, "tokens": turn.tokens, "prompt_tokens": turn.prompt_tokens}


def check_judge(config: PuppeteerConfig, names: Collection[str]) -> None:
    """Raise ConfigError if ``join`` is ``judge``, and ``judge`` is not one of the agents."""
    if config.join == "judge" and config.judge not in names:
        raise ConfigError(f"join: judge needs an agent's name in judge (one of {one_of(names)}), not {config.judge!r}{nearest(config.judge, names)}")


def _forked(puppeteer: Team, paths: list[Running], running: Sequence[Running], limit: int) -> list[tuple[Running, str]]:
    """Decide for each running path, and add new paths. Return at most ``limit`` turns by path, the most probable first."""
    config, names = puppeteer.config, puppeteer.pool.names
    turns: list[tuple[Running, str, float]] = []
    others: list[tuple[float, Running, str, float]] = []
    for path, row in zip(running, puppeteer.policy.probabilities([path.state for path in running]), strict=True):
        if row.argmax() == len(names):
            path.probabilities.append(float(row[-1]))
            path.path_probability *= float(row[-1])
            path.end_by_choice()
            continue
        best, *further = np.argsort(-row[:-1], kind="stable").tolist()
        if len(path.state.history) < config.fork_depth:
            others += [(path.path_probability * float(row[place]), path, names[place], float(row[place])) for place in further[: config.branches - 1]]
        path.path_probability *= float(row[best])
        turns.append((path, names[best], float(row[best])))
    turns = sorted(turns, key=lambda turn: -turn[0].path_probability)[:limit]
    free = min(config.paths - len(paths), limit - len(turns))
    for probability, trunk, name, chance in sorted(others, key=lambda other: -other[0])[:free]:
        branch = Running(len(paths), trunk.state, costs=list(trunk.costs), probabilities=list(trunk.probabilities), path_probability=probability)
        paths.append(branch)
        turns.append((branch, name, chance))
    for path, _, chance in turns:
        path.probabilities.append(chance)
    return [(path, name) for path, name, _ in turns]


def vote(answers: Sequence[tuple[str, float]]) -> str:
    """Return the most frequent answer, as :func:`aamc_sdk.types.normalized_answer` compares; ties go to the more probable paths."""
    votes: dict[str, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    first: dict[str, str] = {}
    for given, probability in answers:
        key = normalized_answer(given)
        count, total = votes[key]
        votes[key] = (count + 1, total + probability)
        first.setdefault(key, given)
    return first[max(votes, key=lambda key: votes[key])] if votes else ""


async def _judge(puppeteer: Team, task: Task, answers: Sequence[str], seconds: float) -> tuple[str | None, Activation]:
    """Return the answer that the judge picks by number, or None if it names none, and the judge's turn."""
    listed = "\n".join(f"{number}. {given}" for number, given in enumerate(answers, start=1))
    question = f"{task.text}\n\nThese answers were given:\n{listed}\n\nReply with one line, 'ANSWER: ' and the number of the best one."
    state = TaskState(task=attrs.evolve(task, text=question), steps_left=1)
    activation = (await puppeteer.activate([(puppeteer.config.judge, state)], seconds))[0]
    number = None if activation.output is None else picked_number(activation.output.content, len(answers))
    return (None if number is None else answers[number - 1]), activation


_DECLARED = re.compile(r"\banswer *: *\W{0,3}(\d+)\b", re.IGNORECASE)
_PICKS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\bbest(?: one| answer| of them)? *(?:is|:) *(?:the |answer |number ){0,2}\W{0,3}(\d+)\b",
        r"\b(\d+)\W{0,3} (?:is|seems|looks)(?: clearly)?(?: the)? (?:best|better|correct|right)\b",
    )
)
_COUNT = re.compile(r"\b(?:of|all)(?: the)? \d+|\b\d+ (?:given |different )?(?:answers|options|candidates|solutions|responses)\b", re.IGNORECASE)
_CLAUSE = re.compile(r"[,;!?\n]|\. (?=[A-Z])|\bbut\b")
_NEGATION = re.compile(r"\b(?:not|cannot|never|neither|none|wrong|incorrect|worse|worst)\b|n['\u2019]t\b", re.IGNORECASE)


def picked_number(reply: str, answers: int) -> int | None:
    """Return the number of the answer that a judge's reply picks: the one that it declares, else the only one that it names; None without either.

    Numbers in negated clauses are picked only by "ANSWER: ".

    >>> picked_number("Of the 3 answers, 2 explains it.", 3)
    2
    """
    valid = {str(number) for number in range(1, answers + 1)}
    affirmed = ", ".join(clause for clause in _CLAUSE.split(reply) if not _NEGATION.search(clause))
    picks = (_DECLARED.findall(reply), *(pattern.findall(affirmed) for pattern in _PICKS))
    for declared in filter(None, picks):
        return int(declared[-1]) if declared[-1] in valid else None
    named = valid & set(re.findall(r"\d+", _COUNT.sub("", affirmed)))
    return int(named.pop()) if len(named) == 1 else None
