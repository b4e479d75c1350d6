"""Figures of episodes: success, reward, steps and cost, the convergence speed of a training, and the graph of activations.

The paper (arXiv 2505.19591, section 4) reports that graphs become compact while a policy learns, that agents return to each other in short cycles,
and that few agents become hubs.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from aamc_experiments.evaluation import Figures, Resampling, known_interval, open_interval, share_interval
from numpy.typing import NDArray

from aamc_puppeteer.episodes.trajectory import Trajectory
from aamc_sdk.messages import quantity
from aamc_sdk.types import Floats, normalized_text

LEARNED = 0.9
"""Share of a figure's final value at which a training counts as converged."""
RESAMPLES = 1000


def summarise(trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    """Return the figures of episodes by name; means have a 95% interval under ``"ci95"``, by resamples of the ``questions``.

    ``success_rate`` and ``mean_reward`` are NaN if an episode has no verdict. ``cost_usd_per_success`` and ``tokens_per_success`` include failures,
    and are infinite without a success. ``utilisation`` is each agent's share of all activations, ``stops`` the number of
    episodes by reason of their end, ``faults`` the number of failed activations.
    """
    if not trajectories:
        return {"episodes": 0}
    columns = np.array([_columns(trajectory) for trajectory in trajectories])
    unit = _question_units(trajectories)
    questions = int(unit.max()) + 1
    figures = {name: float(values[0]) for name, values in _figures(Resampling.once(unit).means(columns)).items()}
    resampled = _figures(Resampling.bootstrap(unit, RESAMPLES, seed=0).means(columns))
    intervals = {name: (open_interval if name.endswith("per_success") else known_interval)(values) for name, values in resampled.items()}
    exact = questions == len(columns)
    intervals["success_rate"] = share_interval(resampled["success_rate"], figures["success_rate"], questions, exact)
    activations = [activation for trajectory in trajectories for activation in trajectory.state.history]
    return {
        "episodes": len(columns),
        "questions": questions,
        **figures,
        "utilisation": utilisation(trajectories),
        "stops": dict(Counter(trajectory.stop.value for trajectory in trajectories)),
        "faults": sum(activation.fault is not None for activation in activations),
        "ci95": intervals,
    }


def _question_units(trajectories: Sequence[Trajectory]) -> NDArray[np.intp]:
    """Return the unit of resampling of each episode, ``[Q]``: episodes of one question, with the same material, share a unit."""
    numbers: dict[Hashable, int] = {}
    tasks = [trajectory.state.task for trajectory in trajectories]
    keys = [(normalized_text(task.text), frozenset(task.files.items()), task.corpus) for task in tasks]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys])


def _columns(trajectory: Trajectory) -> tuple[float, ...]:
    state = trajectory.state
    success, reward = (np.nan, np.nan) if trajectory.verdict is None else (float(trajectory.succeeded), trajectory.total_reward)
    return success, reward, len(state.history), state.cost, sum(activation.tokens for activation in state.history)


def _figures(means: Floats) -> Figures:
    """Return the figures of resampled means ``[B, 5]``."""
    success, reward, steps, cost, used = means.T
    plain = {"success_rate": success, "mean_reward": reward, "mean_steps": steps, "mean_cost_usd": cost, "mean_tokens": used}
    per_success = np.divide((cost, used), success, out=np.full((2, len(success)), np.inf), where=success != 0)
    return plain | {"cost_usd_per_success": per_success[0], "tokens_per_success": per_success[1]}


def gain(policy: Sequence[Trajectory], other: Sequence[Trajectory]) -> dict[str, Any]:
    """Return the mean difference in reward of two policies on the same tasks, with its 95% interval."""
    differences = np.array([[one.total_reward - two.total_reward] for one, two in zip(policy, other, strict=True)])
    resampled = Resampling.bootstrap(_question_units(policy), RESAMPLES, seed=0).means(differences)[:, 0]
    return {"mean_reward": float(differences.mean()), "ci95": known_interval(resampled)}


def in_words(figures: Mapping[str, Any]) -> str:
    """Return the main figures of :func:`summarise` in one line; success with its interval if there are several episodes."""
    if not figures["episodes"]:
        return "no episode"
    bounds = figures["ci95"]["success_rate"]
    interval = "" if bounds is None else f" [{bounds[0]:.0%}, {bounds[1]:.0%}]"
    agent, share = next(iter(figures["utilisation"].items()), ("nobody", 0.0))
    repeated = f", {quantity(figures['questions'], 'question')}" if figures["questions"] < figures["episodes"] else ""
    tasks, steps, busiest = f"{figures['episodes']} tasks{repeated}", f"{figures['mean_steps']:.1f} steps", f"busiest {agent} ({share:.0%})"
    if math.isnan(figures["success_rate"]):
        return f"{tasks} without a verdict on each answer: {steps}, {figures['mean_cost_usd']:.4f} USD, {busiest}"
    earned = f"success {figures['success_rate']:.0%}{interval}, reward {figures['mean_reward']:.3f}"
    return f"{tasks}: {earned}, {steps}, {figures['cost_usd_per_success']:.4f} USD per success, {busiest}"


def utilisation(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Return each agent's share of all activations, in descending order."""
    counts = Counter(activation.agent for trajectory in trajectories for activation in trajectory.state.history)
    return {agent: count / counts.total() for agent, count in counts.most_common()}


def episodes_to_learn(values: Sequence[float], window: int | None = None) -> int | None:
    """Return the number of episodes after which a figure reached 90% of its final value.

    Args:
        values: The figure of each episode, such as success, in the order of training.
        window: Number of episodes in a moving mean; the last mean is the final value (default: a tenth of all, at most 100).

    Returns:
        The number of episodes, or None if the final value is not positive.
    """
    if not len(values):
        return None
    width = min(window or min(max(len(values) // 10, 1), 100), len(values))
    means = np.convolve(values, np.full(width, 1 / width), mode="valid")
    if not means[-1] > 0:
        return None
    return int(np.argmax(means >= LEARNED * means[-1])) + width


def windows(trajectories: Sequence[Trajectory], count: int = 20) -> Iterator[tuple[int, Sequence[Trajectory]]]:
    """Yield the episodes of a training in ``count`` windows of similar length, each with the number of its last episode."""
    bounds = np.linspace(0, len(trajectories), min(count, len(trajectories)) + 1).astype(int)
    for start, end in itertools.pairwise(bounds):
        yield int(end), trajectories[start:end]


@attrs.frozen
class ActivationGraph:
    """The graph of one or more episodes.

    Attributes:
        agents: Number of activations by agent, in the order of their first ones.
        transitions: How often the second agent was activated right after the first, by pair; an agent may follow itself.
    """

    agents: Mapping[str, int]
    transitions: Mapping[tuple[str, str], int]


def activation_graph(trajectories: Iterable[Trajectory]) -> ActivationGraph:
    """Return the graph of episodes."""
    agents: Counter[str] = Counter()
    transitions: Counter[tuple[str, str]] = Counter()
    for trajectory in trajectories:
        names = [activation.agent for activation in trajectory.state.history]
        agents.update(names)
        transitions.update(itertools.pairwise(names))
    return ActivationGraph(agents, transitions)


@attrs.frozen
class Topology:
    """The shape of a graph of activations.

    Attributes:
        agents: Number of agents that ran.
        density: Edges between different agents over their possible number, in [0, 1]; 0 for fewer than two agents.
        two_cycles: Number of pairs of agents that followed each other in both directions.
        hubs: Share of the transitions to or from each agent; the shares sum to 2.
    """

    agents: int
    density: float
    two_cycles: int
    hubs: dict[str, float]

    @classmethod
    def of(cls, graph: ActivationGraph) -> Topology:
        """Measure a graph; transitions from an agent to itself do not count."""
        between = {edge: count for edge, count in graph.transitions.items() if edge[0] != edge[1]}
        size, total = len(graph.agents), sum(between.values())
        return cls(
            agents=size,
            density=len(between) / (size * (size - 1)) if size > 1 else 0.0,
            two_cycles=sum((end, start) in between for start, end in between) // 2,
            hubs={agent: sum(count for edge, count in between.items() if agent in edge) / total for agent in graph.agents} if total else {},
        )

    @property
    def hub_share(self) -> float:
        """The maximum hub share, 0 without transitions."""
        return max(self.hubs.values(), default=0.0)


def evolution(trajectories: Sequence[Trajectory], count: int = 20) -> list[dict[str, float]]:
    """Return the topology of a training in ``count`` consecutive windows.

    ``episode`` is the number of a window's last episode, ``density`` and ``two_cycles`` are means of its episodes' graphs, and ``hub_share`` is
    the maximum hub share in the graph of all of them.
    """
    found = []
    for episode, part in windows(trajectories, count):
        single = [Topology.of(activation_graph([trajectory])) for trajectory in part]
        means = {name: sum(getattr(shape, name) for shape in single) / len(single) for name in ("density", "two_cycles")}
        found.append({"episode": episode, **means, "hub_share": Topology.of(activation_graph(part)).hub_share})
    return found
