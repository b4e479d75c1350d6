"""Figures of episodes and of a training, in the report's style. They need the extra ``figures``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from aamc_report.render import to_png
from aamc_report.style import HEADLINE, INK, MUTED, OTHERS, new_figure, short, styled
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from aamc_puppeteer.analysis.measures import ActivationGraph, activation_graph, evolution, summarise, utilisation, windows
from aamc_puppeteer.episodes.trajectory import Trajectory
from aamc_sdk.storage import write_bytes

COLOURS = (OTHERS[0], HEADLINE, *OTHERS[1:])
NODE_AREA = 2600
"""Area of the largest circle, in square points."""


def draw_graph(trajectories: Sequence[Trajectory], title: str = "") -> Figure:
    """Draw the graph of activations.

    A circle's area grows with the number of its agent's activations, an arrow's width with the number of its transitions. The
    label of an arrow is the number of the step that it leads to in a single episode, and the number of transitions otherwise.
    """
    graph = activation_graph(trajectories)
    labels = _step_numbers(trajectories[0]) if len(trajectories) == 1 else {edge: str(count) for edge, count in graph.transitions.items()}
    with styled():
        figure = new_figure(5.0, width=6.0)
        axes = figure.add_subplot()
        _draw_network(axes, graph, labels)
        axes.set_title(title)
        axes.set_axis_off()
        axes.margins(0.35, 0.3)
    return figure


def _step_numbers(trajectory: Trajectory) -> dict[tuple[str, str], str]:
    agents = [activation.agent for activation in trajectory.state.history]
    numbers: dict[tuple[str, str], list[str]] = {}
    for step, edge in enumerate(itertools.pairwise(agents), start=2):
        numbers.setdefault(edge, []).append(str(step))
    return {edge: ", ".join(steps) for edge, steps in numbers.items()}


def _draw_network(axes: Axes, shape: ActivationGraph, labels: Mapping[tuple[str, str], str]) -> None:
    if not shape.agents:
        axes.text(0.5, 0.5, "no agent ran", ha="center", transform=axes.transAxes)
        return
    graph = nx.DiGraph()
    graph.add_nodes_from(shape.agents)
    graph.add_edges_from(shape.transitions)
    # the first agent is on top, the others follow clockwise in the order of their first activations
    angles = np.pi / 2 - 2 * np.pi * np.arange(len(graph)) / len(graph)
    places = {agent: (np.cos(angle), np.sin(angle)) for agent, angle in zip(graph, angles, strict=True)}
    counts = np.array(list(shape.agents.values()))
    areas = NODE_AREA * (0.25 + 0.75 * counts / counts.max())
    edges = [edge for edge in graph.edges if edge[0] != edge[1]]
    taken = np.array([shape.transitions[edge] for edge in edges])
    widths = 0.8 + 2.7 * taken / taken.max() if edges else 1.0
    colours = [COLOURS[n % len(COLOURS)] for n in range(len(graph))]
    bent: dict[str, Any] = {"ax": axes, "edgelist": edges, "connectionstyle": "arc3,rad=0.18"}
    nx.draw_networkx_nodes(graph, places, ax=axes, node_size=areas, node_color=colours, alpha=0.85)
    nx.draw_networkx_edges(graph, places, node_size=areas, width=widths, edge_color=MUTED, arrowsize=14, **bent)
    bent["edge_labels"] = {edge: labels[edge] for edge in bent.pop("edgelist")}
    nx.draw_networkx_edge_labels(graph, places, font_size=8, font_color=INK, rotate=False, **bent)
    for (agent, place), count, area in zip(places.items(), counts, areas, strict=True):
        again = f"\nagain: {labels[agent, agent]}" if (agent, agent) in labels else ""
        _name(axes, f"{short(agent)} ({count}){again}", place, distance=np.sqrt(area / np.pi) + 6)


def _name(axes: Axes, text: str, place: tuple[float, float], distance: float) -> None:
    """Write a name ``distance`` points from a circle's centre, away from the figure's centre."""
    x, y = place
    across, along = ("center" if abs(x) < 0.3 else "left" if x > 0 else "right"), ("center" if abs(y) < 0.3 else "bottom" if y > 0 else "top")
    offset = (distance * x, distance * y)
    axes.annotate(text, place, offset, textcoords="offset points", ha=across, va=along, fontweight="bold")


def draw_training(trajectories: Sequence[Trajectory], count: int = 20) -> Figure:
    """Draw success, reward, steps, cost and topology over the episodes of a training, in ``count`` windows."""
    parts = list(windows(trajectories, count))
    summaries = [summarise(part) for _, part in parts]
    shapes = evolution(trajectories, count)
    episodes = [episode for episode, _ in parts]
    with styled():
        figure = new_figure(5.6, width=9.2)
        grid = figure.subplots(2, 4)
        for axes, (title, name) in zip(grid[0], _FIGURES.items(), strict=True):
            _line(axes, title, episodes, [summary[name] for summary in summaries], [summary["ci95"][name] for summary in summaries])
        for axes, (title, name) in zip(grid[1], _SHAPES.items(), strict=False):
            _line(axes, title, episodes, [shape[name] for shape in shapes])
        _draw_utilisation(grid[1][3], episodes, [utilisation(part) for _, part in parts])
        for axes in (grid[0][0], grid[1][3]):
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        figure.supxlabel("episode", fontsize=8.5, color=MUTED)
    return figure


_FIGURES = {"success": "success_rate", "reward": "mean_reward", "steps": "mean_steps", "cost, USD": "mean_cost_usd"}
_SHAPES = {"density": "density", "two-cycles an episode": "two_cycles", "maximum hub share": "hub_share"}


def _line(axes: Axes, title: str, episodes: Sequence[int], values: Sequence[float], bounds: Sequence[Sequence[float] | None] | None = None) -> None:
    axes.plot(episodes, values, color=COLOURS[0], linewidth=1.6)
    if bounds is not None:
        low, high = np.array([(np.nan, np.nan) if bound is None else bound for bound in bounds]).T
        axes.fill_between(episodes, low, high, color=COLOURS[0], alpha=0.18, linewidth=0)
    axes.set_title(title)
    axes.set_ylim(bottom=min(0.0, *axes.get_ylim()))
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _draw_utilisation(axes: Axes, episodes: Sequence[int], shares: Sequence[Mapping[str, float]]) -> None:
    agents = sorted({agent for share in shares for agent in share}, key=lambda agent: -sum(share.get(agent, 0.0) for share in shares))
    axes.set_title("activations")
    if not agents:
        axes.text(0.5, 0.5, "no agent", ha="center", transform=axes.transAxes)
        return
    heights = [[share.get(agent, 0.0) for share in shares] for agent in agents]
    axes.stackplot(episodes, heights, labels=[short(agent) for agent in agents], colors=[COLOURS[n % len(COLOURS)] for n in range(len(agents))])
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7, reverse=True)


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG atomically."""
    with styled():
        write_bytes(path, to_png(figure))
