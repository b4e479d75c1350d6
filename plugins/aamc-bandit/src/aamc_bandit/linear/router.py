"""``linear-thompson``: a contextual bandit that learns how each candidate's quality depends on the query.

    quality of m = e_m(query) + theta_m x + noise                                                                     (1)

e_m is the quality that the estimator expects (0.5 without one). x is the context (:mod:`aamc_bandit.linear.context`). theta_m is
a Bayesian linear regression (:mod:`aamc_bandit.linear.regression`) whose prior mean comes from similar candidates
(:mod:`aamc_bandit.linear.similarity_prior`). Where an estimator expects a quality, x is multiplied by ``residual``, since less
remains to be learned.

Mode ``thompson`` draws a candidate with the probability that it is the best under the posterior, whose standard deviations are
multiplied by ``posterior_scale``. Mode ``linucb`` takes the maximum of mean plus ``exploration`` standard deviations (Li et al.
2010, "A Contextual-Bandit Approach to Personalized News Article Recommendation", WWW).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import msgspec
import numpy as np
from numpy.typing import NDArray

from aamc_bandit.feedback_outcomes import CountedDelta, Outcome, OutcomeLedger, OutcomeOptions
from aamc_bandit.linear.context import QueryContext
from aamc_bandit.linear.normal_quadrature import normal_best_probabilities
from aamc_bandit.linear.regression import CoefficientPosterior, SufficientStatistics
from aamc_bandit.linear.similarity_prior import prior_means, similarity
from aamc_bandit.linear_utility import DEFAULT_COST_WEIGHT, evidence_strength, linear_utility
from aamc_bandit.recent_entries import ALL, ALTERED, RecentEntries
from aamc_sdk.config import option
from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces import OnlineRouter, Services, Store, Training
from aamc_sdk.messages import checkpoint_errors
from aamc_sdk.serving import restore, state_of
from aamc_sdk.storage import read_arrays, write_arrays
from aamc_sdk.types import ROUNDING, Experience, Floats, Pool, RoutingRequest, Scores

UNKNOWN_QUALITY = 0.5
"""Expected quality of a candidate without an estimate."""
STATE = "linear.npz"
_WHOLE = b"PK"
"""The first bytes of a whole state, a ZIP archive; other deltas are JSON."""
_FLOAT64 = np.dtype("<f8")


@attrs.frozen(kw_only=True)
class LinearThompsonOptions(OutcomeOptions):
    """Options of ``linear-thompson``."""

    mode: str = option("thompson", "How decisions explore: by drawing, or by the upper confidence bound.", choices=("thompson", "linucb"))
    posterior_scale: float = option(0.6, "Factor on the posterior's standard deviations in mode thompson.", above=0)
    exploration: float = option(1.0, "Standard deviations that mode linucb adds to the mean.", at_least=0)
    epsilon: float = option(0.0, "Share of mode linucb's decisions that are drawn at random.", at_least=0, at_most=1)
    dimensions: int = option(4, "Width of the reduced embedding.", at_least=0, at_most=256)
    prior_sd: float = option(0.35, "Prior standard deviation of a candidate's quality around that of similar ones.", above=0)
    category_sd: float = option(0.2, "Prior standard deviation of a category's effect on quality.", above=0)
    complexity_sd: float = option(0.2, "Prior standard deviation of the effect of complexity, and of tool use, from 0 to 1.", above=0)
    embedding_sd: float = option(0.05, "Prior standard deviation of the effect of one number of the reduced embedding.", above=0)
    noise_sd: float = option(0.45, "Standard deviation of an outcome's quality around its expectation.", above=0)
    residual: float = option(0.3, "Factor on the prior standard deviations if an estimator predicts the quality.", above=0, at_most=1)
    discount: float = option(0.995, "Factor on a candidate's earlier evidence with each feedback of weight 1 on it.", above=0, at_most=1)
    newcomer_outcomes: float = option(50.0, "Maximum number of outcomes that a similar candidate counts as in the prior mean.", at_least=0)
    cost_awareness: bool = option(True, "Prefer cheap candidates among equals in requests without a preference.")
    cost_weight: float = option(
        DEFAULT_COST_WEIGHT, "Weight of cost in these requests; the whole range of cost is worth 0.2 times this weight in quality.", at_least=0
    )
    sample: bool = option(True, "Draw decisions from the probabilities; false takes the maximum utility.")

    def winner_and_loser(self, mean: float) -> tuple[float, float]:
        """Return the qualities of both candidates of a comparison; a regression may learn one above 1 or below 0."""
        return mean + 0.5, mean - 0.5


class LinearDelta(msgspec.Struct):
    """The delta of a linear bandit: the statistics of candidates as float64 numbers, and the counted feedback."""

    statistics: dict[str, bytes]
    counted: CountedDelta


class LinearThompson(OnlineRouter):
    """Linear contextual bandit. Thread-safe: several threads may score and learn at once."""

    Config = LinearThompsonOptions
    snapshots = True
    state_schema = 4
    state_options = (*OutcomeOptions.names(), "dimensions", "residual", "discount")
    config: LinearThompsonOptions

    def __init__(self, config: LinearThompsonOptions, services: Services) -> None:
        super().__init__(config, services)
        self._lock = threading.Lock()
        self._ledger = OutcomeLedger(config)
        self._context = QueryContext(config.dimensions, services.seed)
        self._statistics: RecentEntries[SufficientStatistics] = RecentEntries()
        self._latest: tuple[Pool, QueryContext, CoefficientPosterior] | None = None

    def score(self, request: RoutingRequest) -> Scores:
        """Score by the posterior; probabilities are exact up to :data:`aamc_bandit.linear.normal_quadrature.ERROR`."""
        context, posterior = self._posterior(request.pool)
        expected, share = self._expected(request.expected.known_quality)
        mean, variance = posterior.predict(context(request.estimates))
        quality, sd = expected + share * mean, self.config.noise_sd * share * np.sqrt(variance)
        cost_weight = self.config.cost_weight if self.config.cost_awareness else 0.0
        weight, shift = linear_utility(request, self.services.reward, cost_weight)
        utility, utility_sd = weight * quality + shift, np.abs(weight) * sd / np.sqrt(evidence_strength(request, cost_weight))[:, None]
        if self.config.mode == "linucb":
            utility = utility + self.config.exploration * utility_sd
            probabilities = _epsilon_greedy(utility, request.mask, self.config.epsilon)
        else:
            probabilities = normal_best_probabilities(utility, self.config.posterior_scale * utility_sd, request.mask)
        return Scores(utility, probabilities, expected_quality=quality.clip(0.0, 1.0))

    def train(self, training: Training) -> Mapping[str, Any]:
        """Fit the projection of embeddings to the training rows, and learn their outcomes if there are any.

        Returns:
            ``outcomes``, the number of outcomes learned.
        """
        request = training.request
        if request is None or not len(request):
            return {"outcomes": 0}
        with self._lock:
            self._widen(self._context.fitted(request.estimates.embedding).with_categories(request.estimates.category_names))
            outcomes = training.dataset.outcomes
            return {"outcomes": 0 if outcomes is None else self._learn_table(request, outcomes.known_quality)}

    def learn(self, experience: Experience) -> None:
        """Learn from feedback and failed calls, in log order; a revision counts where the first one was."""
        with self._lock:
            self._widen(self._context.with_categories(experience.estimates.category_names))
            if not experience.feedback and not experience.attempts:
                return
            contexts = self._context(experience.estimates)
            for outcome in self._ledger.outcomes(experience):
                expected = experience.expected_quality[outcome.row] if experience.expected_quality else {}
                new = not outcome.places
                for name, quality in outcome.qualities:
                    self._learn(name, contexts[outcome.row], expected.get(name, np.nan), quality, outcome, new)
            self._latest = None

    def save(self, folder: Path) -> None:
        """Write the statistics and the context."""
        with self._lock:
            names, statistics = list(self._statistics), self._stacked(tuple(self._statistics))
            arrays = {"names": np.array(names, dtype=np.str_)} | attrs.asdict(statistics) | self._context.to_arrays()
            self._ledger.save(folder)
        write_arrays(folder / STATE, arrays)

    def load(self, folder: Path) -> None:
        """Read a folder that :meth:`save` wrote.

        Raises:
            CheckpointError: The file is missing or damaged, or has another number of dimensions.
        """
        saved = read_arrays(folder / STATE)
        try:
            context = QueryContext(self.config.dimensions, self.services.seed).from_arrays(saved)
            names, shape = saved["names"].tolist(), saved["precision"].shape
            saved.setdefault("clock", np.zeros(len(names)))  # those before 0.2.0 have none
            columns = [saved[field.name] for field in attrs.fields(SufficientStatistics)]
        except KeyError as error:
            raise CheckpointError(f"{folder / STATE} lacks {error}; train again") from error
        if shape != (len(names), context.width, context.width):
            raise CheckpointError(f"{folder / STATE} was learned with a number of dimensions other than {self.config.dimensions}; train again")
        with self._lock:
            self._ledger.load(folder)
            self._context, self._latest = context, None
            kept = ((name, SufficientStatistics(*(column[n].copy() for column in columns))) for n, name in enumerate(names))
            self._statistics = RecentEntries(entries=kept)
            self._statistics.mark_unchanged()

    def delta(self) -> bytes:
        """Return the statistics of the candidates that were learned, and the changed decisions and users of the counted feedback.

        A wider context changes all statistics, and a fitted one their meaning: then the whole state is returned.
        """
        changed, counted = self._statistics.delta(), self._ledger.delta()
        if ALL in changed:
            return state_of(self)
        return msgspec.json.encode(LinearDelta({name: _packed(own) for name, own in changed[ALTERED].items()}, counted))

    def apply_delta(self, delta: bytes) -> None:
        """Apply the delta of another router in the same state."""
        if delta.startswith(_WHOLE):
            restore(self, delta)
            return
        with checkpoint_errors("the delta of a linear bandit", "load its whole state", msgspec.MsgspecError):
            decoded = msgspec.json.decode(delta, type=LinearDelta)
            learned = {name: _unpacked(own, self._context.width) for name, own in decoded.statistics.items()}
            with self._lock:
                self._ledger.apply_delta(decoded.counted)
                self._statistics.update(learned)
                self._statistics.mark_unchanged()
                self._latest = None

    def prepare_replay(self, log: Store) -> None:
        """Drop the users that the log has forgotten."""
        self._ledger.drop_users(log.forgotten)

    def _posterior(self, pool: Pool) -> tuple[QueryContext, CoefficientPosterior]:
        """Return the context and the posterior of a pool's candidates; cached until feedback is learned."""
        with self._lock:
            if self._latest is None or (self._latest[0] is not pool and self._latest[0] != pool):
                statistics, precision = self._stacked(pool.names), self._prior_precision()
                prior_mean = prior_means(statistics, similarity(pool), self.config.newcomer_outcomes, precision)
                self._latest = pool, self._context, CoefficientPosterior.of(statistics, prior_mean, precision)
            return self._latest[1:]

    def _stacked(self, names: tuple[str, ...]) -> SufficientStatistics:
        width = self._context.width
        zeros = SufficientStatistics.zeros(width)
        return SufficientStatistics.stacked([self._statistics.get(name, zeros) for name in names], width)

    def _prior_precision(self) -> Floats:
        config, context = self.config, self._context
        sds = (config.prior_sd, config.complexity_sd, config.complexity_sd, config.embedding_sd, config.category_sd)
        return np.asarray((config.noise_sd / np.repeat(sds, (1, 1, 1, context.dimensions, len(context.categories)))) ** 2)

    def _expected(self, quality: Floats) -> tuple[Floats, Floats]:
        """Return e of equation (1), and the factor on x."""
        unknown = np.isnan(quality)
        return np.where(unknown, UNKNOWN_QUALITY, quality), np.where(unknown, 1.0, self.config.residual)

    def _learn(self, name: str, x: Floats, expected: float, quality: float, outcome: Outcome, new: bool) -> None:
        """Add an outcome, or take one back; a revision counts at the candidate's clock of the first one, and discounts nothing.

        The age of a piece without places is unknown. Where evidence is discounted, it is not taken back.
        """
        offset, share = (UNKNOWN_QUALITY, 1.0) if np.isnan(expected) else (expected, self.config.residual)
        own = self._statistics.setdefault(name, SufficientStatistics.zeros(len(x)))
        self._statistics.altered(name)
        if new and outcome.added:
            own.add(share * x, quality - offset, outcome.weight, self.config.discount)
            outcome.places[name] = [float(own.clock)]
        elif not new or self.config.discount == 1:
            (clock,) = outcome.places.get(name, (float(own.clock),))
            weight = outcome.weight * self.config.discount ** (float(own.clock) - clock)
            own.revise(share * x, quality - offset, weight if outcome.added else -weight)
            if outcome.added:
                outcome.places[name] = [clock]

    def _learn_table(self, request: RoutingRequest, quality: Floats) -> int:
        """Learn outcomes ``[B, M]`` without discounting between them; return their number."""
        expected, share = self._expected(request.expected.known_quality)
        x = self._context(request.estimates)
        for m, name in enumerate(request.pool.names):
            known = np.flatnonzero(np.isfinite(quality[:, m]))
            rows = share[known, m, None] * x[known]
            own = self._statistics.setdefault(name, SufficientStatistics.zeros(x.shape[1]))
            own.precision += rows.T @ rows
            own.response += rows.T @ (quality[known, m] - expected[known, m])
            own.count = own.count + len(known)
        self._latest, self._statistics = None, RecentEntries(entries=self._statistics.items())
        return int(np.isfinite(quality).sum())

    def _widen(self, context: QueryContext) -> None:
        """Replace the context by one with the same numbers and perhaps more."""
        if context is self._context:
            return
        self._statistics = RecentEntries(entries=((name, own.widened(context.width)) for name, own in self._statistics.items()))
        self._context, self._latest = context, None


def _packed(statistics: SufficientStatistics) -> bytes:
    numbers = np.concatenate((statistics.precision.ravel(), statistics.response, statistics.count.reshape(1), statistics.clock.reshape(1)))
    return numbers.astype(_FLOAT64).tobytes()


def _unpacked(content: bytes, width: int) -> SufficientStatistics:
    """Return the statistics of :func:`_packed` for contexts of ``width`` numbers; raises ValueError where they are others."""
    numbers = np.frombuffer(content, _FLOAT64).astype(np.float64)
    precision, response, count, clock = np.split(numbers, (width * width, width * (width + 1), width * (width + 1) + 1))
    return SufficientStatistics(precision.reshape(width, width), response, count.reshape(()), clock.reshape(()))


def _epsilon_greedy(utility: Floats, mask: NDArray[np.bool_], epsilon: float) -> Floats:
    """Return probabilities ``[B, M]``: the maximum allowed utility, or with probability ``epsilon`` any candidate. Ties share evenly."""
    allowed = np.where(mask, utility, -np.inf)
    best = allowed >= allowed.max(axis=1, keepdims=True, initial=-np.inf) - ROUNDING
    best &= mask
    shares = [where / where.sum(axis=1, keepdims=True) for where in (best, mask)]
    return np.asarray((1 - epsilon) * shares[0] + epsilon * shares[1])
