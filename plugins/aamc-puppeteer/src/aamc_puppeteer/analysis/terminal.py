"""Episodes as text on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from aamc_agents.state import Activation, answer
from rich.text import Text
from rich.tree import Tree

from aamc_puppeteer.episodes.trajectory import Trajectory
from aamc_sdk.cli import one_line

SHOWN = 100
"""Maximum characters of a text in one line."""


def tree(trajectories: Sequence[Trajectory]) -> Tree:
    """Return a task's episode, or its parallel paths, as a tree; common beginnings are shown once."""
    root = Tree(Text(one_line(trajectories[0].state.task.text, SHOWN), style="bold"), guide_style="dim")
    branches: dict[tuple[str, ...], Tree] = {(): root}
    for trajectory in trajectories:
        path: tuple[str, ...] = ()
        for activation in trajectory.state.history:
            parent, line = branches[path], describe(activation)
            path = (*path, line.plain)
            if path not in branches:
                branches[path] = parent.add(line)
        branches[path].add(ending(trajectory))
    return root


def describe(activation: Activation) -> Text:
    """Return an agent's turn in one line: agent, output, cost and duration."""
    output = activation.output
    line = Text(activation.agent, style="bold cyan").append("  ")
    line.append(one_line(activation.error or "failed" if output is None else output.content, SHOWN), style="red" if output is None else "default")
    return line.append(f"  {activation.cost:.3g} USD, {1000 * activation.seconds:,.0f} ms", style="dim")


def ending(trajectory: Trajectory) -> Text:
    """Return in one line why an episode ended, its answer, and the verdict."""
    said = answer(trajectory.state)
    line = Text(trajectory.stop.value.replace("_", " "), style="dim").append("  ")
    line.append("no answer" if said is None else one_line(said, SHOWN), style="bold")
    if trajectory.verdict is not None:
        word, style = ("right", "green") if trajectory.succeeded else ("wrong", "red")
        line.append(f"  {word}", style=style)
    return line
