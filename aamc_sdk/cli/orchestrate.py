"""The command ``aamc orchestrate``."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from aamc_sdk.cli import plugins_of
from aamc_sdk.cli.options import JSON, Folder, split_names

if TYPE_CHECKING:
    from aamc_puppeteer.forking import Path as Branch
    from aamc_puppeteer.orchestrator import Puppeteer
    from aamc_puppeteer.pipeline import Pipeline
    from aamc_puppeteer.state import Activation, Trajectory
    from aamc_puppeteer.tasks import Task
    from aamc_sdk.interfaces import Budget, Step

TRAJECTORIES = "trajectories.jsonl"


class Amount(click.FloatRange):
    """A number from 0, which may be infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse what is no number: nothing is ever more than it."""
        amount = super().convert(value, param, ctx)
        if math.isnan(amount):
            self.fail(f"{value!r} is no number", param, ctx)
        return amount


AMOUNT = Amount(min=0)
EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("task")
@click.option("--run", type=Folder(path_type=Path), help="A trained orchestrator's folder; the one trained last under runs/ by default.")
@click.option("--agents", metavar="A,B,...", help="Only these may be activated, even newcomers; before any training, each once in this order.")
@click.option("--steps", type=click.IntRange(min=0), help="Most activations of agents; as trained by default.")
@click.option("--paths", type=click.IntRange(min=1), help="Most paths side by side, whose answers are joined; as trained by default.")
@click.option("--budget", "usd", type=AMOUNT, default=float("inf"), metavar="USD", help="Stop when this is spent.")
@click.option("--seconds", type=AMOUNT, default=float("inf"), help="Stop when these are over.")
@click.option("--file", "files", multiple=True, type=EXISTING, help="A text file that agents may read, such as a table.")
@click.option("--documents", type=EXISTING, help="A text file of documents that agents may search, one a line.")
@click.option("--config", "configs", multiple=True, type=EXISTING, help="A YAML file with agent_options, by agent; of several, later ones win.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One option, such as agent_options.reasoner.model=large-1.")
@click.option("--trajectory", "kept", type=click.Path(path_type=Path), help=f"The file that the episode is added to; {TRAJECTORIES} of the run.")
@click.option("--graph", type=click.Path(path_type=Path), help="Draw who was activated after whom, as PNG.")
@JSON
@click.pass_context
def orchestrate(
    ctx: click.Context, /, task: str, run: Path | None, agents: str | None, kept: Path | None, graph: Path | None, as_json: bool, **given: Any
) -> None:
    """Let agents work on TASK, one after the other; tell each step as it is done, and print the answer.

    Example: aamc orchestrate "What is 12 * (3 + 4)?" --steps 4
    """
    from aamc_puppeteer.engaging import agent_options, find_team, usual_steps
    from aamc_sdk.cli.output import console
    from aamc_sdk.interfaces import Budget

    work = _task(task, given["files"], given["documents"])
    names = None if agents is None else split_names(agents, "--agents", "calculator,python")
    team, folder = find_team(run, names, given["paths"], agent_options(given["configs"], given["assignments"]), plugins_of(ctx))
    path = kept or (folder or Path()) / TRAJECTORIES
    _check_places(path, graph)
    steps = usual_steps(team) if given["steps"] is None else given["steps"]
    budget = Budget(steps=steps, cost_usd=given["usd"], seconds=given["seconds"])
    began = time.monotonic()
    with console(stderr=True).status("working") as status:
        solved = asyncio.run(_solve(team, work, budget, status.console.print))
    team.close()
    _show(solved, {"run": folder, "seconds": time.monotonic() - began, "trajectory": path}, as_json)
    _keep(solved, path, graph)
    ctx.exit(1 if solved.answer is None else 0)


def _check_places(kept: Path, graph: Path | None) -> None:
    """Raise, before an agent is paid, where what happened cannot be written.

    Raises:
        click.UsageError: The figure's name does not end in .png.
        OutputError: A place is a folder, lies in none, or may not be written.
    """
    from aamc_sdk.errors import OutputError

    if graph is not None and graph.suffix.lower() != ".png":
        raise click.UsageError(f"--graph draws a PNG; name a file that ends in .png, not {str(graph)!r}")
    for place in (kept, *([] if graph is None else [graph])):
        if place.is_dir():
            raise OutputError(f"cannot write {place}: it is a folder; name a file in it")
        if not place.parent.is_dir():
            raise OutputError(f"cannot write {place}: there is no folder {place.parent}; make it, or choose another one")
        if not os.access(place if place.exists() else place.parent, os.W_OK):
            raise OutputError(f"cannot write {place}: it may not be written; choose another place with --trajectory or --graph")


def _keep(solved: Solved, path: Path, graph: Path | None) -> None:
    """Write what happened. It comes last: an answer that was paid for is told whatever becomes of its record."""
    from aamc_puppeteer.trajectories import append_trajectories

    append_trajectories(path, solved.paths)
    if graph is not None:
        from aamc_puppeteer.drawing import draw_graph, save_png

        save_png(draw_graph(solved.paths, "Who was activated after whom"), graph)
    click.echo(f"The episode is in {path}", err=True)


def _task(text: str, files: Sequence[Path], documents: Path | None) -> Task:
    from aamc_puppeteer.tasks import Task

    if not text.strip():
        raise click.UsageError(f"TASK must not be empty, as {text!r} is")
    corpus = [] if documents is None else [line for line in _read(documents).splitlines() if line.strip()]
    return Task(id="command-line", text=text, files={path.name: _read(path) for path in files}, corpus=corpus)


def _read(path: Path) -> str:
    from aamc_sdk.errors import DataError

    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}; give a text file in UTF-8") from error


@attrs.frozen
class Solved:
    """What came of a task: the answer, if any, and the episode of each path, the most probable first."""

    answer: str | None
    paths: Sequence[Trajectory]

    @property
    def turns(self) -> Sequence[Activation]:
        """The turns of all paths; those that paths have in common stand once."""
        return list({id(turn): turn for path in self.paths for turn in path.state.history}.values())

    @property
    def cost(self) -> float:
        """What they cost together."""
        return sum(turn.cost for turn in self.turns)


async def _solve(team: Puppeteer | Pipeline, task: Task, budget: Budget, say: Callable[[Any], None]) -> Solved:
    """Work on a task, saying each step as it is done."""
    from aamc_puppeteer.engaging import rule_of
    from aamc_puppeteer.printing import describe
    from aamc_puppeteer.state import TaskState, answer
    from aamc_puppeteer.tracing import episode_span

    paths: list[Branch] = []
    told: set[int] = set()
    content = ""
    with episode_span(TaskState(task=task, steps_left=budget.steps)) as tell:
        async for step in _steps(team, task, budget, paths):
            content = step.content
            for turn in (turn for path in paths for turn in path.episode.state.history if id(turn) not in told):
                told.add(id(turn))
                say(describe(turn))
        trajectories = [path.episode.finished(None, rule_of(team)) for path in paths]
        tell(trajectories[0])
    return Solved((content or None) if len(paths) > 1 else answer(trajectories[0].state), trajectories)


def _steps(team: Puppeteer | Pipeline, task: Task, budget: Budget, paths: list[Branch]) -> AsyncIterator[Step]:
    """Return the steps of the work, which adds its paths to a list as they come up."""
    from aamc_puppeteer.episodes import begin
    from aamc_puppeteer.forking import Path as Branch
    from aamc_puppeteer.forking import fork
    from aamc_puppeteer.orchestrator import Puppeteer

    if isinstance(team, Puppeteer) and team.config.paths > 1 and budget.steps > 1:
        return fork(team, task, budget, paths)
    paths.append(Branch(begin(0, task, budget.steps, 0)))
    return team.steps(paths[0].episode, budget)


def _show(solved: Solved, about: dict[str, Any], as_json: bool) -> None:
    """Print the answer, or one JSON document."""
    first = solved.paths[0]
    if as_json:
        from aamc_sdk.cli.output import write_json_line

        document = {"schema": 1, "task": first.state.task.text, "answer": solved.answer, "cost_usd": solved.cost, **about, **_path(first)}
        write_json_line(document | ({"paths": [_path(path) for path in solved.paths]} if len(solved.paths) > 1 else {}))
        return
    from aamc_puppeteer.printing import harmless, tree

    if len(solved.paths) > 1:
        from aamc_sdk.cli.output import console

        console(stderr=True).print(tree(solved.paths))
    end = first.stop.value.replace("_", " ") if len(solved.paths) == 1 else f"{len(solved.paths)} paths"
    steps = len(solved.turns)
    click.echo(f"{end} after {steps} {'step' if steps == 1 else 'steps'}, {solved.cost:.3g} USD", err=True)
    if solved.answer is not None:
        click.echo(harmless(solved.answer))


def _path(trajectory: Trajectory) -> dict[str, Any]:
    from aamc_puppeteer.trajectories import to_document

    return {"stop": trajectory.stop.value, "steps": to_document(trajectory)["activations"]}
