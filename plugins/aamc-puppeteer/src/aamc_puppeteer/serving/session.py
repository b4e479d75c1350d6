"""The work of a puppeteer on one task, for ``aamc orchestrate``: its steps, its episodes, and their record."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aamc_agents.state import Activation, TaskState, answer
from rich.text import Text
from rich.tree import Tree

from aamc_puppeteer.analysis.requirements import check_figures
from aamc_puppeteer.analysis.terminal import describe, tree
from aamc_puppeteer.episodes.player import begin
from aamc_puppeteer.episodes.spans import episode_span
from aamc_puppeteer.episodes.trajectory import Trajectory
from aamc_puppeteer.episodes.trajectory_file import append_trajectories, to_document
from aamc_puppeteer.serving.decision_log import logged
from aamc_puppeteer.serving.parallel_paths import Branch, fork
from aamc_puppeteer.serving.single_path import Choose, work_on
from aamc_puppeteer.tasks.sources import as_task
from aamc_sdk import Decision, Query
from aamc_sdk.interfaces import Budget, Step
from aamc_sdk.serving import Session
from aamc_sdk.types import Attempt, Record

if TYPE_CHECKING:
    from aamc_puppeteer.serving.team import Team


class PuppeteerSession(Session):
    """Works on a task along one path, or along several whose answers are joined.

    Args:
        puppeteer: Works on the task.
        task: The task.
        budget: Limits of all paths together.
        choose: Chooses the agents of a single path.
    """

    def __init__(self, puppeteer: Team, task: Query, budget: Budget, choose: Choose) -> None:
        super().__init__(puppeteer, task, budget)
        self._puppeteer = puppeteer
        self._choose = choose
        self._paths: list[Branch] = []
        self._described: set[int] = set()
        self._trajectories: Sequence[Trajectory] = ()
        self._decisions: list[Decision] = []
        self._join_usd = 0.0

    async def steps(self) -> AsyncIterator[Step]:
        """Work on the task, yielding each step as it is done."""
        task, content = as_task(self.task), ""
        with episode_span(TaskState(task=task, steps_left=self.budget.steps)) as end:
            if self._puppeteer.forks(self.budget):
                found = fork(self._puppeteer, task, self.budget, self._paths)
            else:
                self._paths.append(Branch(begin(0, task, self.budget.steps, 0)))
                found = work_on(self._puppeteer.activate, self._choose, self._paths[0].episode, self.budget)
            try:
                async for step in found:
                    content = step.content
                    if step.decision is not None:
                        self._decisions.append(step.decision)
                    if step.final and len(self._paths) > 1:
                        self._join_usd = step.cost_usd
                    yield step
            finally:
                for path in self._paths:
                    if path.episode.stop is None:
                        path.episode.break_off()
                self._trajectories = [path.episode.finished(None, self._puppeteer.config.rule) for path in self._paths]
            end(self._trajectories[0])
        first = self._trajectories[0]
        self.stop = first.stop.value
        self.answer = (content or None) if len(self._paths) > 1 else answer(first.state)

    @property
    def _turns(self) -> Sequence[Activation]:
        """The turns of all paths; a turn that paths share is listed once."""
        return list({id(turn): turn for path in self._paths for turn in path.episode.state.history}.values())

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
        """Return the decisions and turns of a single path that the policy chose; several paths are no sample of the policy."""
        return logged(self._decisions, self._trajectories[0].state, self._puppeteer.pool.names)

    def keep(self, path: Path) -> None:
        """Append the episode of each path to a file."""
        append_trajectories(path, self._trajectories)

    def check_drawing(self) -> None:
        """Check that the libraries of figures are installed.

        Raises:
            ConfigError: One is missing.
        """
        check_figures("--graph")

    def draw(self, path: Path) -> None:
        """Draw the order of the agents as PNG."""
        from aamc_puppeteer.analysis.figures import draw_graph, save_png

        save_png(draw_graph(self._trajectories, "Activations in order"), path)
