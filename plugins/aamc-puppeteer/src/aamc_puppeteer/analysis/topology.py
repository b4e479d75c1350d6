"""The graph of activations, and its change while a policy learns (arXiv 2505.19591, section 4).

The paper reports that graphs become compact, agents return to each other in short cycles, and few agents become hubs.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import attrs

from aamc_puppeteer.analysis.measures import windows
from aamc_puppeteer.episodes.trajectory import Trajectory


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


@attrs.frozen
class WindowTopology:
    """The topology of consecutive episodes of a training.

    Attributes:
        episode: Number of the last episode.
        density: Mean density of the episodes' graphs.
        two_cycles: Mean number of two-cycles of the episodes' graphs.
        hub_share: Maximum hub share in the graph of all these episodes.
    """

    episode: int
    density: float
    two_cycles: float
    hub_share: float


def evolution(trajectories: Sequence[Trajectory], count: int = 20) -> list[WindowTopology]:
    """Return the topology of a training in ``count`` consecutive windows."""
    found = []
    for episode, part in windows(trajectories, count):
        single = [Topology.of(activation_graph([trajectory])) for trajectory in part]
        found.append(
            WindowTopology(
                episode=episode,
                density=sum(shape.density for shape in single) / len(single),
                two_cycles=sum(shape.two_cycles for shape in single) / len(single),
                hub_share=Topology.of(activation_graph(part)).hub_share,
            )
        )
    return found
