"""The choice of newcomers, and tables with few of their outcomes."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from aamc_sdk.errors import DataError
from aamc_sdk.types import Dataset, Outcomes, Pool, RoutingRequest

MINIMUM_OTHERS = 2
"""The minimum number of other candidates, so that there is something to choose."""


def choose_newcomers(pool: Pool, count: int, seed: int) -> list[str]:
    """Return the names of the newcomers.

    Raises:
        DataError: Too few other candidates would be left.
    """
    if len(pool) < count + MINIMUM_OTHERS:
        needed = f"unseen-models takes {count} away and needs {MINIMUM_OTHERS} others"
        raise DataError(f"{needed}, and the data has {len(pool)} candidates; lower --newcomers, or use other data")
    drawn = np.random.default_rng((seed, len(pool))).choice(len(pool), count, replace=False)
    return [pool.names[m] for m in sorted(drawn)]


def with_few_outcomes(dataset: Dataset, newcomers: Sequence[str], count: int, seed: int) -> Dataset:
    """Return a table with ``count`` outcomes of each newcomer; a larger count includes those of a smaller one.

    Raises:
        DataError: A newcomer has fewer outcomes.
    """
    assert dataset.pool is not None
    assert dataset.outcomes is not None
    kept = np.ones(dataset.outcomes.cost_usd.shape, dtype=bool)
    for name in newcomers:
        column = dataset.pool.index(name)
        known = np.flatnonzero(np.isfinite(dataset.outcomes.known_quality[:, column]))
        if len(known) < count:
            raise DataError(f"{name} has {len(known)} outcomes in the training rows and not {count}; ask for fewer (--outcomes)")
        kept[:, column] = False
        kept[np.random.default_rng((seed, column)).permutation(known)[:count], column] = True
    columns = (dataset.outcomes.known_quality, dataset.outcomes.cost_usd, dataset.outcomes.latency_ms)
    return attrs.evolve(dataset, outcomes=Outcomes(*(np.where(kept, values, np.nan) for values in columns)))


def completed(dataset: Dataset, request: RoutingRequest) -> Dataset:
    """Return a table whose missing cells have a request's expectations, for routers that are trained on complete rows."""
    assert dataset.outcomes is not None
    pairs = (
        (dataset.outcomes.known_quality, request.expected.known_quality),
        (dataset.outcomes.cost_usd, request.expected.cost_usd),
        (dataset.outcomes.latency_ms, request.expected.latency_ms),
    )
    return attrs.evolve(dataset, outcomes=Outcomes(*(np.where(np.isnan(known), expected, known) for known, expected in pairs)))
