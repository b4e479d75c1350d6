"""The figures of a trained policy on validation or test tasks, beside those of baselines on the same tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from aamc_agents.tasks import Task

from aamc_puppeteer.analysis.measures import gain, in_words, summarise
from aamc_puppeteer.episodes.choices import by_chance, in_order, play
from aamc_puppeteer.episodes.executor import OutOfBudgetError
from aamc_puppeteer.episodes.player import Player
from aamc_puppeteer.episodes.trajectory import Trajectory
from aamc_sdk.interfaces import Progress

Play = Callable[[], Sequence[Trajectory]]
"""Plays the tasks."""
Baseline = tuple[str, Mapping[str, str], Sequence[Trajectory]]
"""Its name, its agent if it is a single one, and its episodes of the tasks."""


def max_turns(tasks: int, steps: int, agents: int, *, continued: bool) -> int:
    """Return the maximum number of turns of the policy and the baselines on a number of tasks; see :func:`baselines_of`."""
    return tasks * ((3 if continued else 2) * steps + agents)


def compared(label: str, policy: Play, others: Iterable[Baseline], progress: Progress) -> dict[str, Any] | None:
    """Return the figures of a policy; None if the budget is spent before all tasks are played. ``label`` begins its line of progress.

    ``baselines`` has the figures of each baseline, with the ``gain`` of the policy over it; those are left out for which the budget is spent.
    """
    baselines: dict[str, Any] = {}
    figures = None
    try:
        played = policy()
        figures = summarise(played) | {"baselines": baselines}
        progress.say(f"{label}, {in_words(figures)}")
        for name, agent, other in others if played else ():
            baselines[name] = {**agent, **summarise(other), "gain": gain(played, other)}
            progress.say(f"{' '.join((name, *agent.values()))}, {in_words(baselines[name])}")
    except OutOfBudgetError:
        progress.say(f"no {label if figures is None else 'further baselines'}: the budget is spent")
    if unbeaten := [name for name, baseline in baselines.items() if not (baseline["gain"]["ci95"] or [0.0])[0] > 0]:
        progress.say(f"these tasks show no gain in reward of the policy over {', '.join(unbeaten)}")
    return figures


def baselines_of(tasks: Sequence[Task], before: Play | None, player: Player, steps: int, seed: int) -> Iterator[Baseline]:
    """Yield the policy ``before`` the training, if it was trained, ``random`` actions, and one turn of the ``best-single`` agent on these tasks."""
    if before is not None:
        yield "before", {}, before()
    chance = by_chance(player.names, np.random.default_rng(seed))
    yield "random", {}, play(tasks, chance, player.executor, player.rule, steps)
    alone = {name: play(tasks, in_order([name]), player.executor, player.rule, steps) for name in player.names}
    best = max(alone, key=lambda name: sum(episode.total_reward for episode in alone[name]))
    yield "best-single", {"agent": best}, alone[best]
