"""The command ``aamc orchestrate``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aamc_sdk.cli import plugins_of
from aamc_sdk.cli.options import JSON, Folder, split_names

if TYPE_CHECKING:
    from aamc_puppeteer.orchestrator import Puppeteer
    from aamc_puppeteer.pipeline import Pipeline
    from aamc_puppeteer.state import Trajectory
    from aamc_puppeteer.tasks import Task
    from aamc_sdk import Agent
    from aamc_sdk.interfaces import Budget
    from aamc_sdk.plugins import Plugins

TRAJECTORIES = "trajectories.jsonl"
EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("task")
@click.option("--run", type=Folder(path_type=Path), help="A trained orchestrator's folder; the one trained last under runs/ by default.")
@click.option("--agents", metavar="A,B,...", help="Only these may be activated, even newcomers; before any training, each once in this order.")
@click.option("--steps", type=click.IntRange(min=0), default=8, show_default=True, help="Most activations of agents.")
@click.option("--budget", "usd", type=click.FloatRange(min=0), default=float("inf"), metavar="USD", help="Stop when this is spent.")
@click.option("--seconds", type=click.FloatRange(min=0), default=float("inf"), help="Stop when these are over.")
@click.option("--file", "files", multiple=True, type=EXISTING, help="A text file that agents may read, such as a table.")
@click.option("--documents", type=EXISTING, help="A text file of documents that agents may search, one a line.")
@click.option("--trajectory", "kept", type=click.Path(path_type=Path), help=f"The file that the episode is added to; {TRAJECTORIES} of the run.")
@click.option("--graph", type=click.Path(path_type=Path), help="Draw who was activated after whom, as PNG.")
@JSON
@click.pass_context
def orchestrate(
    ctx: click.Context, /, task: str, run: Path | None, agents: str | None, kept: Path | None, graph: Path | None, as_json: bool, **given: Any
) -> None:
    """Let agents work on TASK, one after the other; tell each step as it is done, and print the answer.

    Example: aamc orchestrate "Ann has 3 boxes of 12 pens and gives 5 pens away. How many are left?"
    """
    from aamc_puppeteer.trajectories import append_trajectories
    from aamc_sdk.cli.output import console
    from aamc_sdk.interfaces import Budget

    work = _task(task, given["files"], given["documents"])
    names = None if agents is None else split_names(agents, "--agents", "calculator,python")
    team, folder = _team(run, names, plugins_of(ctx))
    budget = Budget(steps=given["steps"], cost_usd=given["usd"], seconds=given["seconds"])
    began = time.monotonic()
    with console(stderr=True).status("working") as status:
        trajectory = asyncio.run(_solve(team, work, budget, status.console.print))
    team.close()
    path = kept or (folder or Path()) / TRAJECTORIES
    append_trajectories(path, [trajectory])
    if graph is not None:
        from aamc_puppeteer.drawing import draw_graph, save_png

        save_png(draw_graph([trajectory], "Who was activated after whom"), graph)
    _show(trajectory, {"run": folder, "seconds": time.monotonic() - began, "trajectory": path}, as_json)
    ctx.exit(1 if _answer(trajectory) is None else 0)


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


def _team(run: Path | None, names: Sequence[str] | None, plugins: Plugins) -> tuple[Puppeteer | Pipeline, Path | None]:
    """Return who works, and the folder of their training; agents in the order given where nothing was ever trained.

    Raises:
        CheckpointError: There is no training, and no agents are named either.
    """
    from aamc_puppeteer.orchestrator import Puppeteer
    from aamc_puppeteer.pipeline import Pipeline
    from aamc_sdk.errors import CheckpointError
    from aamc_sdk.orchestrating import load_orchestrator, newest_orchestrator

    try:
        folder = newest_orchestrator() if run is None else run
    except CheckpointError as error:
        if names is None:
            raise CheckpointError(f"{error}; or name agents that work in a fixed order: --agents parser,calculator") from None
        return Pipeline(_untrained(names, plugins)), None
    puppeteer = load_orchestrator(folder, plugins)
    if not isinstance(puppeteer, Puppeteer):
        raise CheckpointError(f"{folder} holds an orchestrator of another kind, {type(puppeteer).__name__}; name a puppeteer's folder")
    if names is not None:
        options = puppeteer.config.agent_options
        puppeteer.use([puppeteer.services.make("agent", name, options.get(name, {})) for name in names])
    return puppeteer, folder


def _untrained(names: Sequence[str], plugins: Plugins) -> list[Agent]:
    from aamc_sdk.pools import find_pool
    from aamc_sdk.runs import bare_services
    from aamc_sdk.settings import read_settings

    services = bare_services(find_pool("default", plugins), plugins, read_settings({}))
    return [services.make("agent", name, {}) for name in names]


async def _solve(team: Puppeteer | Pipeline, task: Task, budget: Budget, say: Callable[[Any], None]) -> Trajectory:
    """Work on a task along one path, saying each step as it is done."""
    from aamc_puppeteer.episodes import begin
    from aamc_puppeteer.printing import describe
    from aamc_puppeteer.rewards import RewardRule
    from aamc_puppeteer.tracing import episode_span

    episode = begin(0, task, budget.steps, 0)
    told = 0
    with episode_span(episode.state) as tell:
        async for _ in team.steps(episode, budget):
            for activation in episode.state.history[told:]:
                told += 1
                say(describe(activation))
        trajectory = episode.finished(None, RewardRule())
        tell(trajectory)
    return trajectory


def _answer(trajectory: Trajectory) -> str | None:
    from aamc_puppeteer.state import answer

    return answer(trajectory.state)


def _show(trajectory: Trajectory, about: dict[str, Any], as_json: bool) -> None:
    """Print the answer, or one JSON document."""
    if as_json:
        from aamc_puppeteer.trajectories import to_document
        from aamc_sdk.cli.output import write_json_line

        told = {"task": trajectory.state.task.text, "answer": _answer(trajectory), "stop": trajectory.stop.value}
        steps = to_document(trajectory)["activations"]
        write_json_line({"schema": 1, **told, "cost_usd": trajectory.state.cost, **about, "steps": steps})
        return
    said = _answer(trajectory)
    taken = f"{trajectory.stop.value.replace('_', ' ')} after {len(trajectory.state.history)} steps, {trajectory.state.cost:.3g} USD"
    click.echo(f"{taken}; the episode is in {about['trajectory']}", err=True)
    if said is not None:
        click.echo(said)
