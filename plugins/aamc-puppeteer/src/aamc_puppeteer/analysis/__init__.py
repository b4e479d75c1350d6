"""Figures of episodes: success, cost, convergence, and the graph of activations. ``figures`` needs the extra of that name."""

from aamc_puppeteer.analysis.measures import episodes_to_learn, in_words, summarise, utilisation, windows
from aamc_puppeteer.analysis.terminal import tree
from aamc_puppeteer.analysis.topology import ActivationGraph, Topology, activation_graph, evolution

__all__ = [
    "ActivationGraph",
    "Topology",
    "activation_graph",
    "episodes_to_learn",
    "evolution",
    "in_words",
    "summarise",
    "tree",
    "utilisation",
    "windows",
]
