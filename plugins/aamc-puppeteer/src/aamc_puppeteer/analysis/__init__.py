"""Figures of episodes: success, cost, convergence, and the graph of activations. ``figures`` needs the extra of that name."""

from aamc_puppeteer.analysis.measures import (
    Topology,
    activation_graph,
    episodes_to_learn,
    evolution,
    gain,
    in_words,
    summarise,
    utilisation,
    windows,
)
from aamc_puppeteer.analysis.terminal import tree

__all__ = [
    "Topology",
    "activation_graph",
    "episodes_to_learn",
    "evolution",
    "gain",
    "in_words",
    "summarise",
    "tree",
    "utilisation",
    "windows",
]
