"""Routers with one candidate for every query: the largest, or a small one of sufficient quality.

Both order the pool, best choice first, and choose the first allowed candidate, so a masked or missing candidate is replaced by the
next in that order.
"""

from __future__ import annotations

import abc

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_baselines.simple.means import MeansRouter, TrainingMeans
from aamc_sdk.config import option
from aamc_sdk.errors import EstimatesError
from aamc_sdk.interfaces import Requirements, Services
from aamc_sdk.types import Floats, Pool, RoutingRequest, Scores


def largest_first(pool: Pool, means: TrainingMeans, prefer: str) -> NDArray[np.intp]:
    """Return the candidates ``[M]``: ``prefer`` first, then by descending price level and descending quality."""
    level, quality = means.price_level(pool), means.by_candidate(pool)[:, 0]
    return np.lexsort((-np.nan_to_num(quality), -np.nan_to_num(level, nan=-1.0), _is_not(prefer, pool)))


def cheapest_first(pool: Pool, means: TrainingMeans) -> NDArray[np.intp]:
    """Return the candidates ``[M]`` by ascending price level and descending quality."""
    level, quality = means.price_level(pool), means.by_candidate(pool)[:, 0]
    return np.lexsort((-np.nan_to_num(quality), np.nan_to_num(level, nan=np.inf)))


def sufficient_first(pool: Pool, means: TrainingMeans, prefer: str, share: float) -> NDArray[np.intp]:
    """Return the candidates ``[M]``: ``prefer`` first, those with ``share`` of the best quality by price, then the rest by quality.

    Raises:
        EstimatesError: ``prefer`` is not in the pool, and no candidate's quality is known.
    """
    level, quality = np.nan_to_num(means.price_level(pool), nan=np.inf), means.by_candidate(pool)[:, 0]
    if np.isnan(quality).all() and prefer not in pool.names:
        raise EstimatesError(f"the pool has no {prefer!r}, and without training the quality of small models is unknown; train first")
    known = np.nan_to_num(quality, nan=-1.0)
    enough = known >= share * known.max()
    return np.lexsort((level, np.where(enough, 0.0, -known), ~enough, _is_not(prefer, pool)))


def _is_not(name: str, pool: Pool) -> NDArray[np.bool_]:
    return np.asarray(np.array(pool.names) != name)


def descending_utility(order: NDArray[np.intp]) -> Floats:
    """Return utilities ``[M]`` that descend in the given order."""
    utility = np.empty(len(order))
    utility[order] = np.linspace(1.0, 0.0, len(order))
    return utility


class _OrderedRouter(MeansRouter):
    """A router that takes the first allowed candidate of an order, which is computed once a pool."""

    _ordered: tuple[Pool, TrainingMeans, Floats] | None = None

    @abc.abstractmethod
    def order(self, pool: Pool) -> NDArray[np.intp]:
        """Return the candidates ``[M]``, the best choice first."""

    def score(self, request: RoutingRequest) -> Scores:
        """Prefer the first of the order."""
        known, pool = self._ordered, request.pool
        if known is None or known[0] is not pool or known[1] is not self.means:
            known = self._ordered = pool, self.means, descending_utility(self.order(pool))
        return Scores(np.tile(known[2], (len(request), 1)))


@attrs.frozen(kw_only=True)
class LargeOptions:
    """Options of ``llm-only``."""

    model: str = option("LLM-XLarge", "Candidate to choose if the pool has it.")


class LlmOnly(_OrderedRouter):
    """Always the named large model, else the most expensive at equal token counts; the better one among equals."""

    Config = LargeOptions
    uses_preference = False
    uses_estimates = False

    def order(self, pool: Pool) -> NDArray[np.intp]:
        """Return the largest first."""
        return largest_first(pool, self.means, self.config.model)


@attrs.frozen(kw_only=True)
class SmallOptions:
    """Options of ``slm-only``."""

    model: str = option("SLM-Medium", "Candidate to choose if the pool has it.")
    share: float = option(0.8, "Otherwise the cheapest candidate with at least this share of the best mean training quality.", at_least=0, at_most=1)


class SlmOnly(_OrderedRouter):
    """Always the named small model, else the cheapest with a mean training quality near the best."""

    Config = SmallOptions
    uses_preference = False
    uses_estimates = False

    def __init__(self, config: SmallOptions, services: Services) -> None:
        super().__init__(config, services)
        self.requires = Requirements(training=config.model not in services.pool.names)

    def order(self, pool: Pool) -> NDArray[np.intp]:
        """Return the cheapest candidate of sufficient quality first.

        Raises:
            EstimatesError: The pool lacks the named model, and the router was not trained.
        """
        return sufficient_first(pool, self.means, self.config.model, self.config.share)
