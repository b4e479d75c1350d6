"""Queries for the simulator without a dataset, labelled by the world's own distribution."""

from __future__ import annotations

import numpy as np

from aamc_environments.queue.world import SimulatedWorld
from aamc_sdk import Dataset, Labels, Query

CONCENTRATION = 4.0
"""Concentration of the beta distribution of complexity around a category's mean."""
PROMPT_TOKENS = 60
"""Mean tokens of a prompt."""


def sample_queries(world: SimulatedWorld, size: int, seed: int) -> Dataset:
    """Return labelled queries: categories by their share, complexity from a beta distribution, tool use by its share."""
    generator = np.random.default_rng(seed)
    names = list(world.categories)
    specs = list(world.categories.values())
    shares = np.array(list(world.shares.values()))
    category = generator.choice(len(names), size, p=shares / shares.sum())
    mean = np.array([spec.complexity for spec in specs])[category]
    complexity = generator.beta(CONCENTRATION * mean, CONCENTRATION * (1 - mean))
    tool_use = (generator.random(size) < np.array([spec.tool_use for spec in specs])[category]).astype(np.float64)
    tokens = 1 + generator.poisson(PROMPT_TOKENS - 1, size)
    queries = [Query(f"{names[k]} query {i}", prompt_tokens=int(tokens[i])) for i, k in enumerate(category)]
    labels = Labels(complexity=complexity, category=np.array(names)[category], tool_use=tool_use)
    return Dataset(queries, labels=labels, source="the world's own distribution")
