"""The work of a puppeteer on one task: along one path, where a policy or a fixed order chooses the next agent, and as an orchestration."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from aamc_agents.state import Activation, TaskState, answer
from aamc_agents.tool import check_extra
from rich.text import Text
from rich.tree import Tree

from aamc_puppeteer.analysis.terminal import describe, tree
from aamc_puppeteer.episodes.player import Running, begin, greedy_actions, sampled
from aamc_puppeteer.episodes.spans import episode_span
from aamc_puppeteer.episodes.trajectory import STOP, Stop, Trajectory, append_trajectories, check_trajectories, to_document
from aamc_puppeteer.serving.decision_log import logged
from aamc_puppeteer.serving.parallel_paths import fork
from aamc_puppeteer.serving.team import Team
from aamc_puppeteer.tasks.sources import as_task
from aamc_puppeteer.training.training_record import FIGURE_MODULES
from aamc_sdk import Decision, Preference, Query
from aamc_sdk.interfaces import Budget, Step
from aamc_sdk.routing import uniform
from aamc_sdk.serving import Orchestration
from aamc_sdk.types import Attempt, Record, new_ids

Activate = Callable[[Sequence[tuple[str, TaskState]], float], Awaitable[list[Activation]]]
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
        activation = (await activate([(agent, episode.state)], left))[0]
        episode.take(activation)
        episode.check_end(budget, time.monotonic() - began)
        final = episode.stop is not None
        content = (answer(episode.state) or "") if final else activation.text
        tokens = {"tokens": activation.tokens, "prompt_tokens": activation.prompt_tokens}
        yield Step(decision=decision, content=content, cost_usd=activation.cost, final=final, **tokens)


def in_fixed_order(agents: Sequence[str]) -> Choose:
    """Activate each agent once, in order."""
    return lambda state: (agents[len(state.history)], None) if len(state.history) < len(agents) else None


def by_policy(puppeteer: Team) -> Choose:
    """Activate the agents that the policy draws, or finds most probable, depending on the option ``sample``; the decisions are one episode."""
    episode, names, sample = new_ids(1)[0], (*puppeteer.pool.names, STOP), puppeteer.config.sample

    def choose(state: TaskState) -> tuple[str, Decision]:
        probabilities, decision_id = puppeteer.policy.probabilities([state]), new_ids(1)[0]
        uniforms = np.array([uniform(puppeteer.services.seed, decision_id)], np.float32)
        place = int((sampled if sample else greedy_actions)(probabilities, uniforms)[0])
        decision = Decision(
            id=decision_id,
            candidate=names[place],
            propensity=float(probabilities[0, place]) if sample else 1.0,
            preference=Preference(),
            probabilities=dict(zip(names, map(float, probabilities[0]), strict=True)),
            router="puppeteer",
            time=time.time(),
            episode=episode,
        )
        return decision.candidate, decision

    return choose


class PuppeteerOrchestration(Orchestration):
    """Works on a task along one path, whose agents ``choose`` chooses, or along several whose answers are joined."""

    def __init__(self, puppeteer: Team, task: Query, budget: Budget, choose: Choose) -> None:
        super().__init__(puppeteer, task, budget)
        self._puppeteer = puppeteer
        self._choose = choose
        self._paths: list[Running] = []
        self._described: set[int] = set()
        self._trajectories: Sequence[Trajectory] = ()
        self._decisions: list[Decision] = []
        self._join_usd = 0.0

    async def steps(self) -> AsyncIterator[Step]:
        """Work on the task and yield each step when it is done."""
        task, content, broken_off = as_task(self.task), "", Stop.INTERRUPTED
        with episode_span(TaskState(task=task, steps_left=self.budget.steps)) as end:
            if self._puppeteer.forks(self.budget):
                found = fork(self._puppeteer, task, self.budget, self._paths)
            else:
                self._paths.append(begin(0, task, self.budget.steps, 0))
                found = work_on(self._puppeteer.activate, self._choose, self._paths[0], self.budget)
            try:
                async for step in found:
                    content = step.content
                    if step.decision is not None:
                        self._decisions.append(step.decision)
                    if step.final and len(self._paths) > 1:
                        self._join_usd = step.cost_usd
                    yield step
            except Exception:
                self.stop, broken_off = Stop.FAILED.value, Stop.FAILED
                raise
            finally:
                for path in self._paths:
                    if path.stop is None:
                        path.break_off(broken_off)
                self._trajectories = [path.finished(None, self._puppeteer.config.rule) for path in self._paths]
            end(self._trajectories[0])
        first = self._trajectories[0]
        self.stop = first.stop.value
        self.answer = (content or None) if len(self._paths) > 1 else answer(first.state)

    @property
    def _turns(self) -> Sequence[Activation]:
        """The turns of all paths; a turn that paths share is listed once."""
        return list({id(turn): turn for path in self._paths for turn in path.state.history}.values())

    @property
    def cost_usd(self) -> float:
        """Cost of all turns, the judge's included."""
        return sum(turn.cost for turn in self._turns) + self._join_usd

    @property
    def count(self) -> int:
        """Number of turns."""
        return len(self._turns)

    def describe(self, step: Step) -> Sequence[Text]:
        """Return a line for each new turn."""
        new = [turn for turn in self._turns if id(turn) not in self._described]
        self._described.update(map(id, new))
        return [describe(turn) for turn in new]

    def overview(self) -> Tree | None:
        """Return the paths as a tree if there are several."""
        return tree(self._trajectories) if len(self._trajectories) > 1 else None

    def ending(self) -> str:
        """Return the reason for the end of the episode, or the number of paths."""
        return super().ending() if len(self._trajectories) == 1 else f"{len(self._trajectories)} paths"

    def document(self) -> dict[str, Any]:
        """Return ``stop`` and ``steps`` of the most probable path, and all paths if there are several."""
        paths = [{"stop": path.stop.value, "steps": to_document(path)["activations"]} for path in self._trajectories]
        return {**paths[0], **({"paths": paths, "join_cost_usd": self._join_usd} if len(paths) > 1 else {})}

    def log(self) -> tuple[Sequence[Record], Sequence[Attempt]]:
        """Return the decisions and turns of a single path that the policy chose; several paths are not a sample of the policy."""
        return logged(self._decisions, self._paths[0].state, self._puppeteer.pool.names)

    def check_file(self, path: Path) -> None:
        """Check that the file holds nothing but episodes, see :func:`aamc_puppeteer.episodes.trajectory.check_trajectories`."""
        check_trajectories(path)

    def keep(self, path: Path) -> None:
        """Append the episode of each path to a file."""
        append_trajectories(path, self._trajectories)

    def check_graph(self) -> None:
        """Raise ConfigError if a library of figures is missing."""
        check_extra("--graph", "aamc-puppeteer[figures]", *FIGURE_MODULES)

    def write_graph(self, path: Path) -> None:
        """Draw the order of the agents as PNG."""
        from aamc_puppeteer.analysis.figures import draw_graph, save_png

        save_png(draw_graph(self._trajectories, "Activations in order"), path)
