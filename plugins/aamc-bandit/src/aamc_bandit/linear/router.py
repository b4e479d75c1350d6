"""``linear-thompson``: a bandit that learns how each candidate's quality depends on the query.

    quality of m = e_m(query) + theta_m x + noise                                                                     (1)

where e_m is the quality that the estimator expects (one half where it expects none), x the query's context (:mod:`aamc_bandit.linear.context`),
and theta_m a Bayesian linear regression (:mod:`aamc_bandit.linear.regression`) that starts where similar candidates are (:mod:`aamc_bandit.linear.similarity_prior`).
Where an estimator expects a quality, x is multiplied by ``residual``: less is left to learn.

Mode ``thompson`` draws a candidate with the probability that it is the best under the posterior, whose standard deviations are multiplied by
``posterior_scale``. Mode ``linucb`` takes the greatest mean plus ``exploration`` standard deviations (Li et al. 2010, "A Contextual-Bandit
Approach to Personalized News Article Recommendation", WWW).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_bandit.feedback_outcomes import judged, weight_of
from aamc_bandit.linear.best_candidate import best_probabilities
from aamc_bandit.linear.context import Context
from aamc_bandit.linear.regression import Evidence, Posterior
from aamc_bandit.linear.similarity_prior import likeness, starts
from aamc_bandit.quality_weight import quality_in_utility
from aamc_sdk.config import option
from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces import Router, Services, Training
from aamc_sdk.storage import read_arrays, write_arrays
from aamc_sdk.types import ROUNDING, Experience, Floats, Pool, RoutingRequest, Scores

UNKNOWN_QUALITY = 0.5
"""What is expected of a candidate where no estimator expects anything."""
STATE = "linear.npz"


@attrs.frozen(kw_only=True)
class Options:
    """Options of ``linear-thompson``."""

    mode: str = option("thompson", "how decisions explore: by drawing, or by the upper confidence bound", choices=("thompson", "linucb"))
    posterior_scale: float = option(0.3, "what multiplies the posterior's standard deviations in mode thompson", above=0)
    exploration: float = option(1.0, "standard deviations that mode linucb adds to the mean", at_least=0)
    epsilon: float = option(0.0, "share of mode linucb's decisions that are drawn at random", at_least=0, at_most=1)
    dimensions: int = option(4, "numbers that the embedding is reduced to", at_least=0, at_most=256)
    prior_sd: float = option(0.35, "prior standard deviation of a candidate's quality around that of similar ones", above=0)
    category_sd: float = option(0.2, "prior standard deviation of what a category adds to it", above=0)
    complexity_sd: float = option(0.2, "prior standard deviation of what complexity, or tool use, adds from 0 to 1", above=0)
    embedding_sd: float = option(0.05, "prior standard deviation of what one number of the reduced embedding adds", above=0)
    noise_sd: float = option(0.45, "standard deviation of an outcome's quality around its expectation", above=0)
    residual: float = option(0.3, "what multiplies the prior standard deviations where an estimator expects a quality", above=0, at_most=1)
    discount: float = option(0.995, "what each feedback on a candidate leaves of the weight of those before it", above=0, at_most=1)
    newcomer_outcomes: float = option(50.0, "most outcomes that each similar candidate counts as for where a candidate starts", at_least=0)
    implicit_feedback_weight: float = option(0.5, "what multiplies the weight of implicit feedback", at_least=0)
    cost_awareness: bool = option(True, "whether cost counts where nobody gave a preference")
    cost_weight: float = option(0.2, "how much it then counts; the whole range of cost is worth a fifth of this in quality", at_least=0)
    sample: bool = option(True, "whether decisions are drawn from the probabilities rather than taken by the greatest utility")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}


class LinearThompson(Router):
    """Linear contextual bandit; decides and learns from several threads at once."""

    Config = Options
    config: Options

    def __init__(self, config: Options, services: Services) -> None:
        super().__init__(config, services)
        self._lock = threading.Lock()
        self._context = Context(config.dimensions, services.seed)
        self._evidence: dict[str, Evidence] = {}
        self._latest: tuple[Pool, Context, Posterior] | None = None

    def score(self, request: RoutingRequest) -> Scores:
        """Score by the posterior; probabilities are exact up to :data:`aamc_bandit.linear.best_candidate.ERROR`."""
        context, posterior = self._posterior(request.pool)
        expected, share = self._expected(request.expected.known_quality)
        mean, variance = posterior.predict(context(request.estimates))
        quality, sd = expected + share * mean, self.config.noise_sd * share * np.sqrt(variance)
        weight, shift = quality_in_utility(request, self.services.reward, self.config.cost_weight if self.config.cost_awareness else 0.0)
        utility, spread = weight * quality + shift, np.abs(weight) * sd
        if self.config.mode == "linucb":
            utility = utility + self.config.exploration * spread
            probabilities = _mostly_the_greatest(utility, request.mask, self.config.epsilon)
        else:
            probabilities = best_probabilities(utility, self.config.posterior_scale * spread, request.mask)
        return Scores(utility, probabilities, expected_quality=quality.clip(0.0, 1.0))

    def train(self, training: Training) -> Mapping[str, Any]:
        """Take the embedding's directions from the training rows, and learn their outcomes where there are some.

        Returns:
            How many outcomes were learned.
        """
        request = training.request
        if request is None:
            return {"outcomes": 0}
        with self._lock:
            self._widen(self._context.fitted(request.estimates.embedding).hearing_of(request.estimates.category_names))
            outcomes = training.dataset.outcomes
            return {"outcomes": 0 if outcomes is None else self._learn_table(request, outcomes.known_quality)}

    def learn(self, experience: Experience) -> None:
        """Learn from feedback, in its order."""
        rows = {decision.id: row for row, decision in enumerate(experience.decisions)}
        with self._lock:
            self._widen(self._context.hearing_of(experience.estimates.category_names))
            if not experience.feedback:
                return
            contexts = self._context(experience.estimates)
            for feedback in experience.feedback:
                row = rows.get(feedback.decision_id)
                if row is None:
                    continue
                expected = experience.expected_quality[row] if experience.expected_quality else {}
                weight = weight_of(feedback, self.config.implicit_feedback_weight)
                for name, quality in judged(feedback, experience.decisions[row].candidate):
                    self._learn(name, contexts[row], expected.get(name, np.nan), quality, weight)
            self._latest = None

    def save(self, folder: Path) -> None:
        """Write all that was learned."""
        with self._lock:
            names, evidence = list(self._evidence), self._stacked(tuple(self._evidence))
            arrays = {"names": np.array(names, dtype=np.str_)} | attrs.asdict(evidence) | self._context.state()
        write_arrays(folder / STATE, arrays)

    def load(self, folder: Path) -> None:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: It is missing, damaged, or of another number of dimensions.
        """
        saved = read_arrays(folder / STATE)
        try:
            context = Context(self.config.dimensions, self.services.seed).restored(saved)
            names, shape = saved["names"].tolist(), saved["precision"].shape
            columns = [saved[field.name] for field in attrs.fields(Evidence)]
        except KeyError as error:
            raise CheckpointError(f"{folder / STATE} lacks {error}; train again") from error
        if shape != (len(names), context.width, context.width):
            raise CheckpointError(f"{folder / STATE} was learned with another number of dimensions than {self.config.dimensions}; train again")
        with self._lock:
            self._context, self._latest = context, None
            self._evidence = {name: Evidence(*(column[n].copy() for column in columns)) for n, name in enumerate(names)}

    def _posterior(self, pool: Pool) -> tuple[Context, Posterior]:
        """Return the posterior of a pool's candidates, and the context that it is about; computed anew after something was learned."""
        with self._lock:
            if self._latest is None or (self._latest[0] is not pool and self._latest[0] != pool):
                evidence, precision = self._stacked(pool.names), self._prior_precision()
                start = starts(evidence, likeness(pool), self.config.newcomer_outcomes, precision)
                self._latest = pool, self._context, Posterior.of(evidence, start, precision)
            return self._latest[1:]

    def _stacked(self, names: tuple[str, ...]) -> Evidence:
        width = self._context.width
        nothing = Evidence.none(width)
        return Evidence.stacked([self._evidence.get(name, nothing) for name in names], width)

    def _prior_precision(self) -> Floats:
        config = self.config
        kinds = {"one": config.prior_sd, "complexity": config.complexity_sd, "tool_use": config.complexity_sd}
        return np.asarray((config.noise_sd / self._context.each(kinds | {"embedding": config.embedding_sd, "category": config.category_sd})) ** 2)

    def _expected(self, quality: Floats) -> tuple[Floats, Floats]:
        """Return e of equation (1), and what multiplies x."""
        unknown = np.isnan(quality)
        return np.where(unknown, UNKNOWN_QUALITY, quality), np.where(unknown, 1.0, self.config.residual)

    def _learn(self, name: str, x: Floats, expected: float, quality: float, weight: float) -> None:
        before, share = (UNKNOWN_QUALITY, 1.0) if np.isnan(expected) else (expected, self.config.residual)
        if weight > 0:
            own = self._evidence.setdefault(name, Evidence.none(len(x)))
            own.add(share * x, quality - before, weight, self.config.discount)

    def _learn_table(self, request: RoutingRequest, quality: Floats) -> int:
        """Learn outcomes ``[B, M]`` as so many observations at one time, none older than another; return how many."""
        expected, share = self._expected(request.expected.known_quality)
        x = self._context(request.estimates)
        for m, name in enumerate(request.pool.names):
            known = np.flatnonzero(np.isfinite(quality[:, m]))
            rows = share[known, m, None] * x[known]
            own = self._evidence.setdefault(name, Evidence.none(x.shape[1]))
            own.precision += rows.T @ rows
            own.response += rows.T @ (quality[known, m] - expected[known, m])
            own.count = own.count + len(known)
        self._latest = None
        return int(np.isfinite(quality).sum())

    def _widen(self, context: Context) -> None:
        """Go on with another context, whose numbers are the present one's and more."""
        if context is self._context:
            return
        if context.width > self._context.width:
            self._evidence = {name: own.widened(context.width) for name, own in self._evidence.items()}
        self._context, self._latest = context, None


def _mostly_the_greatest(utility: Floats, mask: NDArray[np.bool_], epsilon: float) -> Floats:
    """Return the probabilities ``[B, M]`` of taking the greatest allowed utility, or with probability ``epsilon`` any; ties share."""
    allowed = np.where(mask, utility, -np.inf)
    best = allowed >= allowed.max(axis=1, keepdims=True, initial=-np.inf) - ROUNDING
    best &= mask
    shares = [where / where.sum(axis=1, keepdims=True) for where in (best, mask)]
    return np.asarray((1 - epsilon) * shares[0] + epsilon * shares[1])
