"""Who follows whom: the graph of activations, and how it changes while a policy learns (arXiv 2505.19591, section 4).

The paper sees graphs become compact, agents returning to each other in short cycles, and few of them hubs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import attrs
import networkx as nx

from aamc_puppeteer.measures import windows
from aamc_puppeteer.state import Trajectory


def activation_graph(trajectories: Iterable[Trajectory]) -> nx.DiGraph:
    """Return the graph of one or more episodes.

    Its nodes are the agents that ran, with ``count``, how often. An edge leads from an agent to the one that was activated
    next, with ``count``; an agent that follows itself has an edge to itself.
    """
    graph = nx.DiGraph()
    for trajectory in trajectories:
        agents = [activation.agent for activation in trajectory.state.history]
        for agent in agents:
            graph.add_node(agent, count=graph.nodes.get(agent, {}).get("count", 0) + 1)
        for edge in itertools.pairwise(agents):
            graph.add_edge(*edge, count=graph.edges.get(edge, {}).get("count", 0) + 1)
    return graph


@attrs.frozen
class Topology:
    """The shape of a graph of activations.

    Attributes:
        agents: How many ran.
        density: Edges between different agents over how many there could be, from 0 to 1; 0 for fewer than two agents.
        two_cycles: Pairs of agents of which each has followed the other.
        hubs: Each agent's share of the transitions, those to or from it over all; they add up to 2.
    """

    agents: int
    density: float
    two_cycles: int
    hubs: dict[str, float]

    @classmethod
    def of(cls, graph: nx.DiGraph) -> Topology:
        """Measure a graph; an agent's edge to itself does not count."""
        between = [(start, end, count) for start, end, count in graph.edges(data="count") if start != end]
        size, total = len(graph), sum(count for *_, count in between)
        return cls(
            agents=size,
            density=len(between) / (size * (size - 1)) if size > 1 else 0.0,
            two_cycles=sum(graph.has_edge(end, start) for start, end, _ in between) // 2,
            hubs={agent: sum(count for *edge, count in between if agent in edge) / total for agent in graph} if total else {},
        )

    @property
    def hub_share(self) -> float:
        """The share of the transitions that the greatest hub takes part in, 0 where there are none."""
        return max(self.hubs.values(), default=0.0)


@attrs.frozen
class Stretch:
    """A stretch of training.

    Attributes:
        episode: The number of its last episode.
        density: The mean density of its episodes' graphs.
        two_cycles: The mean number of two-cycles of its episodes' graphs.
        hub_share: The share of all its transitions that the greatest hub takes part in.
    """

    episode: int
    density: float
    two_cycles: float
    hub_share: float


def evolution(trajectories: Sequence[Trajectory], stretches: int = 20) -> list[Stretch]:
    """Return the shape of the activations in each stretch of a training, in its order."""
    found = []
    for episode, part in windows(trajectories, stretches):
        single = [Topology.of(activation_graph([trajectory])) for trajectory in part]
        found.append(
            Stretch(
                episode=episode,
                density=sum(shape.density for shape in single) / len(single),
                two_cycles=sum(shape.two_cycles for shape in single) / len(single),
                hub_share=Topology.of(activation_graph(part)).hub_share,
            )
        )
    return found
