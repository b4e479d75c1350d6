"""Texts about three topics, whose labels and outcomes follow from the topic."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aamc_lexical.config import LexicalConfig
from aamc_lexical.estimator import LexicalEstimator

from aamc_sdk import Dataset, Labels, ModelSpec, Outcomes, Pool, Prices, Query
from aamc_sdk.interfaces import Services
from aamc_sdk.routing import LinearReward

TOPICS = {
    "code": ("sort", "list", "python", "function"),
    "maths": ("sum", "number", "add", "multiply"),
    "writing": ("poem", "story", "river", "love"),
}
STRENGTHS = {"coder": (0.9, 0.3, 0.2), "sage": (0.3, 0.9, 0.4), "poet": (0.2, 0.3, 0.9)}
"""How often each candidate succeeds at each topic."""


@pytest.fixture(scope="session")
def pool() -> Pool:
    descriptions = ("writes a python function", "adds and multiplies", "writes a poem or a story")
    return Pool(
        ModelSpec(name, text, prices=Prices(price, price)) for name, text, price in zip(STRENGTHS, descriptions, (1.0, 2.0, 4.0), strict=True)
    )


@pytest.fixture(scope="session")
def make_dataset(pool: Pool) -> Callable[..., Dataset]:
    """Return a maker of datasets."""

    def make(rows: int, seed: int = 0, labels: bool = True, outcomes: bool = True) -> Dataset:
        generator = np.random.default_rng(seed)
        topic = generator.integers(3, size=rows)
        names = np.array(list(TOPICS))[topic]
        texts = [
            " ".join((*generator.choice(TOPICS[name], 4), *generator.choice(("please", "now", "the"), 2), str(n))) for n, name in enumerate(names)
        ]
        quality = (generator.random((rows, 3)) < np.array(list(STRENGTHS.values())).T[topic]).astype(float)
        return Dataset(
            queries=[Query(text) for text in texts],
            pool=pool,
            outcomes=Outcomes(quality, np.ones_like(quality), np.ones_like(quality)) if outcomes else None,
            labels=Labels(complexity=np.array((0.9, 0.5, 0.1))[topic], category=names, tool_use=(topic == 0).astype(float)) if labels else Labels(),
        )

    return make


@pytest.fixture(scope="session")
def make_estimator(pool: Pool) -> Callable[..., LexicalEstimator]:
    """Return a maker of untrained estimators."""

    def make(seed: int = 0, **options: Any) -> LexicalEstimator:
        services = Services(pool=pool, reward=LinearReward(), make=lambda *_: None, seed=seed, device="cpu")
        return LexicalEstimator(LexicalConfig(**options), services)

    return make
