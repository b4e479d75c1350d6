"""Routers that want one candidate for everything: the largest, or a small one that is good enough.

Both order the pool, best choice first, and take the first that is allowed, so a masked or missing
choice is replaced by the next one that the same rule would make.
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_baselines.simple.means import MeansRouter, TrainingMeans
from aamc_sdk.batch import Floats, RoutingRequest, Scores
from aamc_sdk.config import option
from aamc_sdk.errors import EstimatesError
from aamc_sdk.types import Pool


def largest_first(pool: Pool, means: TrainingMeans, prefer: str) -> NDArray[np.intp]:
    """Return the candidates ``[M]`` from ``prefer`` on by falling price level; of equal ones the better comes first."""
    level, quality = means.price_level(pool), means.by_candidate(pool)[:, 0]
    return np.lexsort((-np.nan_to_num(quality), -np.nan_to_num(level, nan=-1.0), _is_not(prefer, pool)))


def cheapest_first(pool: Pool, means: TrainingMeans) -> NDArray[np.intp]:
    """Return the candidates ``[M]`` by rising price level; of equal ones the better comes first."""
    level, quality = means.price_level(pool), means.by_candidate(pool)[:, 0]
    return np.lexsort((-np.nan_to_num(quality), np.nan_to_num(level, nan=np.inf)))


def good_enough_first(pool: Pool, means: TrainingMeans, prefer: str, share: float) -> NDArray[np.intp]:
    """Return the candidates ``[M]`` from ``prefer`` on: those with ``share`` of the best's quality by price, then the rest by quality.

    Raises:
        EstimatesError: ``prefer`` is not in the pool, and the quality of no candidate is known.
    """
    level, quality = np.nan_to_num(means.price_level(pool), nan=np.inf), means.by_candidate(pool)[:, 0]
    if np.isnan(quality).all() and prefer not in pool.names:
        raise EstimatesError(f"the pool has no {prefer!r}, and without training nobody knows which small model is good enough; train first")
    known = np.nan_to_num(quality, nan=-1.0)
    enough = known >= share * known.max()
    return np.lexsort((level, np.where(enough, 0.0, -known), ~enough, _is_not(prefer, pool)))


def _is_not(name: str, pool: Pool) -> NDArray[np.bool_]:
    return np.asarray(np.array(pool.names) != name)


def falling_utility(order: NDArray[np.intp]) -> Floats:
    """Return a utility ``[M]`` that prefers candidates in this order."""
    utility = np.empty(len(order))
    utility[order] = np.linspace(1.0, 0.0, len(order))
    return utility


def _for_all(order: NDArray[np.intp], rows: int) -> Scores:
    return Scores(np.tile(falling_utility(order), (rows, 1)))


@attrs.frozen(kw_only=True)
class LargeOptions:
    """Options of ``llm-only``."""

    model: str = option("LLM-XLarge", "candidate that is taken where the pool has it")


class LlmOnly(MeansRouter):
    """Always the named large model, else the dearest at equal token counts; of equally dear ones the better."""

    Config = LargeOptions
    uses_preference = False

    def score(self, request: RoutingRequest) -> Scores:
        """Prefer the largest."""
        return _for_all(largest_first(request.pool, self.means, self.config.model), len(request))


@attrs.frozen(kw_only=True)
class SmallOptions:
    """Options of ``slm-only``."""

    model: str = option("SLM-Medium", "candidate that is taken where the pool has it")
    share: float = option(0.8, "else the cheapest with at least this share of the best candidate's mean training quality", at_least=0, at_most=1)


class SlmOnly(MeansRouter):
    """Always the named small model, else the cheapest whose mean training quality is near the best's."""

    Config = SmallOptions
    uses_preference = False

    def score(self, request: RoutingRequest) -> Scores:
        """Prefer the cheapest that is good enough.

        Raises:
            EstimatesError: The pool lacks the named model, and the router was not trained.
        """
        return _for_all(good_enough_first(request.pool, self.means, self.config.model, self.config.share), len(request))
