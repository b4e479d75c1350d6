"""Routers without a model of quality: fixed choices, rules, the greedy rule and the oracle.

``llm-only``, ``slm-only`` and ``rule`` order the pool, best choice first, and choose the first allowed candidate, so a masked or missing
candidate is replaced by the next in that order.
"""

from __future__ import annotations

import abc

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_baselines.training_means import MeansRouter, TrainingMeans
from aamc_sdk.config import option
from aamc_sdk.errors import ConfigError, EstimatesError
from aamc_sdk.interfaces import Requirements, Router, Services
from aamc_sdk.types import Floats, Outcomes, Pool, RoutingRequest, Scores


def largest_first(pool: Pool, means: TrainingMeans, prefer: str) -> NDArray[np.intp]:
    """Return the candidates ``[M]``: ``prefer`` first, then by descending price level and descending quality."""
    level, quality = means.price_level(pool), means.by_candidate(pool)[:, 0]
    return np.lexsort((-np.nan_to_num(quality), -np.nan_to_num(level, nan=-1.0), np.array(pool.names) != prefer))


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
    return np.lexsort((level, np.where(enough, 0.0, -known), ~enough, np.array(pool.names) != prefer))


def descending_utility(order: NDArray[np.intp]) -> Floats:
    """Return utilities ``[M]`` that descend in the given order."""
    utility = np.empty(len(order))
    utility[order] = np.linspace(1.0, 0.0, len(order))
    return utility


class _OrderedRouter(MeansRouter):
    """A router that takes the first allowed candidate of an order, which is computed once a pool."""

    uses_preference = False
    uses_estimates = False
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

    def order(self, pool: Pool) -> NDArray[np.intp]:
        """Return the largest first."""
        return largest_first(pool, self.means, self.config.model)


@attrs.frozen(kw_only=True)
class SmallOptions:
    """Options of ``slm-only``."""

    model: str = option("SLM-Medium", "Candidate to choose if the pool has it.")
    share: float = option(
        0.8, "Without that candidate: the cheapest one with at least this share of the best mean training quality.", at_least=0, at_most=1
    )


class SlmOnly(_OrderedRouter):
    """Always the named small model, else the cheapest with a mean training quality near the best."""

    Config = SmallOptions

    def __init__(self, config: SmallOptions, services: Services) -> None:
        super().__init__(config, services)
        lacks = config.model not in services.pool.names
        why = f"the pool has no {config.model!r}; name another small model with the option model" if lacks else ""
        self.requires = Requirements(training=lacks, training_reason=why)

    def order(self, pool: Pool) -> NDArray[np.intp]:
        """Return the cheapest candidate of sufficient quality first.

        Raises:
            EstimatesError: The pool lacks the named model, and the router was not trained.
        """
        return sufficient_first(pool, self.means, self.config.model, self.config.share)


@attrs.frozen(kw_only=True)
class RuleOptions:
    """Options of ``rule``."""

    easy: float = option(1 / 3, "Queries below this estimated complexity go to the cheapest candidate.", at_least=0, at_most=1)
    hard: float = option(2 / 3, "Queries of at least this estimated complexity go to the largest candidate.", at_least=0, at_most=1)

    def __attrs_post_init__(self) -> None:
        if self.easy > self.hard:
            raise ConfigError(f"easy must be at most hard, not {self.easy!r} and {self.hard!r}")


class Rule(MeansRouter):
    """Three tiers by complexity: the cheapest candidate, the choice of ``slm-only`` and the choice of ``llm-only``."""

    Config = RuleOptions
    uses_preference = False
    requires = Requirements(estimator=True, outcomes=True, training=True, cheap_rescoring=True)

    def score(self, request: RoutingRequest) -> Scores:
        """Prefer the tier of each query; a masked candidate is replaced by the next in the tier's order.

        Raises:
            EstimatesError: There is no estimated complexity.
        """
        complexity = request.estimates.complexity
        if np.isnan(complexity).any():
            raise EstimatesError("rule needs the estimated complexity of each query, and there is none; use an estimator of complexity, such as tce")
        small, large = SmallOptions(), LargeOptions()
        tiers = (
            cheapest_first(request.pool, self.means),
            sufficient_first(request.pool, self.means, small.model, small.share),
            largest_first(request.pool, self.means, large.model),
        )
        tier = (complexity >= self.config.easy).astype(int) + (complexity >= self.config.hard)
        return Scores(np.stack([descending_utility(order) for order in tiers])[tier])


class BestSingle(MeansRouter):
    """The candidate with the maximum mean training reward under each request's preference.

    A candidate without training outcomes ranks below all others.
    """

    requires = Requirements(training=True, cheap_rescoring=True)
    uses_estimates = False

    def score(self, request: RoutingRequest) -> Scores:
        """Return each candidate's mean reward under the preferences.

        Raises:
            EstimatesError: The router has no training outcomes of these candidates.
        """
        quality, cost, latency = self.means.by_candidate(request.pool).T
        known = np.isfinite(quality)
        if not known.any():
            raise EstimatesError("best-single has no mean reward of any candidate in this pool; train it on outcomes of these candidates")
        mean_outcomes = Outcomes(*(np.tile(values[known], (len(request), 1)) for values in (quality, cost, latency)))
        utility = np.empty((len(request), len(request.pool)))
        utility[:, known] = self.services.reward.scalar(mean_outcomes, request.preferences)
        utility[:, ~known] = utility[:, known].min(axis=1, keepdims=True) - 1.0
        return Scores(utility)


@attrs.frozen(kw_only=True)
class RandomOptions:
    """Options of ``random``."""

    sample: bool = option(True, "Sample from the allowed candidates; false: choose the first one.")


class Random(Router):
    """Any allowed candidate, with equal and known probability."""

    Config = RandomOptions
    uses_preference = False
    uses_estimates = False

    def score(self, request: RoutingRequest) -> Scores:
        """Give all candidates the same score."""
        allowed = np.maximum(request.mask.sum(axis=1, keepdims=True), 1)
        return Scores(np.zeros(request.mask.shape), probabilities=request.mask / allowed)


class Greedy(Router):
    """The maximum expected utility, with the estimator's quality in the reward; learns nothing itself."""

    requires = Requirements(estimator=True, outcomes=True, cheap_rescoring=True)

    def score(self, request: RoutingRequest) -> Scores:
        """Return the expected utility.

        Raises:
            EstimatesError: There is no expected quality.
        """
        if np.isnan(request.expected.known_quality).any():
            raise EstimatesError(
                "greedy needs each candidate's expected quality, and there is none; use an estimator trained on outcomes, such as that of a run: "
                "aamc run --router greedy --estimator tce"
            )
        return Scores(self.services.reward.scalar(request.expected, request.preferences))


class Oracle(Router):
    """The maximum utility in hindsight. Under load it is myopic: it ignores the requests that wait behind one."""

    privileged = True

    def score(self, request: RoutingRequest) -> Scores:
        """Return the utility of the true outcomes.

        Raises:
            EstimatesError: The true outcomes are unknown, as in production.
        """
        if request.hindsight is None:
            raise EstimatesError("oracle needs the outcomes in advance, which only an evaluation knows; choose another router")
        utility = self.services.reward.scalar(request.hindsight, request.preferences)
        return Scores(utility, expected_quality=request.hindsight.known_quality)
