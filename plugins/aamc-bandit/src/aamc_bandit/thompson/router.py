"""Routers ``thompson`` and ``epsilon-greedy``: Beta posteriors of what feedback says, by candidate, category, user and session.

Thompson sampling takes each candidate with the probability that it is the best (equation (1) of :mod:`aamc_bandit.thompson.best_candidate`);
that is what is drawn from, so propensities are exact. Epsilon-greedy takes the greatest mean, and explores with

    epsilon = max(min_exploration, exploration_rate x exploration_decay^(n / 100))                                    (3)

after n decisions. Papers: Thompson 1933, "On the Likelihood that One Unknown Probability Exceeds Another"; Chapelle and Li
2011, "An Empirical Evaluation of Thompson Sampling".
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aamc_bandit.feedback_outcomes import judged, verdict, weight_of
from aamc_bandit.quality_weight import quality_in_utility
from aamc_bandit.thompson.best_candidate import probability_best
from aamc_bandit.thompson.evidence import EVERYWHERE, LEVELS, Evidence, Place
from aamc_bandit.thompson.hierarchy import Belief, certain, cost_bonus, linear, mixed_with_session, shrinkage, strength_of
from aamc_bandit.thompson.options import PUBLISHED, SHRINKAGE, EpsilonGreedyOptions, Options
from aamc_bandit.thompson.state_file import JsonState
from aamc_sdk.interfaces import Router, Services, Store, Training
from aamc_sdk.types import ROUNDING, Decision, Estimates, Experience, Feedback, Floats, Pool, Query, RoutingRequest, Scores, read_only

logger = logging.getLogger(__name__)

STATE_FILE = "evidence.json"
REMEMBERED = 4096
"""Scores that are kept until something is learned."""
_NOTHING_HEARD: Any = ()
"""What stands for any user or session of whom nothing was heard."""


def epsilon(config: Options, decisions: int) -> float:
    """Return the share of decisions that explore after so many, equation (3)."""
    return max(config.min_exploration, config.exploration_rate * float(config.exploration_decay ** (decisions / 100)))


class Thompson(Router):
    """Draws each candidate with the probability that it is the best."""

    Config = Options

    def __init__(self, config: Options, services: Services) -> None:
        super().__init__(config, services)
        self.evidence = Evidence(discount=config.discount, window=config.window, max_users=config.max_users, max_sessions=config.max_sessions)
        self._prior = np.array((config.prior_alpha, config.prior_beta))
        personal = (strength_of(weight, config.personal_strength) for weight in (config.personalization_blend, config.session_context_weight))
        self._strengths = ((config.category_strength, config.category_most), *((strength, config.personal_most) for strength in personal))
        self._scores: dict[tuple[Any, ...], Scores] = {}
        self._state: JsonState | None = None
        for name, why in config.without_effect().items():
            logger.warning("option %s has no effect: %s", name, why)
        if config.router_model_path is not None:
            self.load(Path(config.router_model_path))

    def score(self, request: RoutingRequest) -> Scores:
        """Score by the posteriors; equal rows are computed once until something is learned."""
        known = self._scores
        places = self._places(request.queries, request.estimates)
        keys = [(self._lesson, *self._heard_of(place), *self._seen(request, row)) for row, place in enumerate(places)]
        scores = {key: found for key in keys if (found := known.get(key)) is not None}
        if len(scores) < len(keys):
            weight, shift = self._quality_in_utility(request)
            for row, key in enumerate(keys):
                if key not in scores:
                    belief, samples = self.belief(places[row], request.pool)
                    scores[key] = self._score_row(belief, samples, weight[row], shift[row], request.mask[row])
                    if len(known) >= REMEMBERED:
                        known.clear()
                    known[key] = scores[key]
        return _joined([scores[key] for key in keys], request.mask.shape)

    def belief(self, place: Place, pool: Pool) -> tuple[Belief, Floats]:
        """Return what is believed of each candidate's quality at a place, and how many outcomes it has, ``[M]``."""
        tables = [self._table(level, name, pool) for level, name in zip(LEVELS, (EVERYWHERE, *place), strict=True)]
        everywhere, category, user, session = tables
        assert everywhere is not None
        config, prior, evidence = self.config, self._prior, everywhere[:, :2]
        if config.blend == SHRINKAGE:
            nested = config.discount == 1 and not config.window
            posterior = shrinkage([_outcomes(table) for table in tables], prior, self._strengths, nested)
            return certain(posterior), everywhere[:, 2]
        belief = certain(linear(evidence, _outcomes(category), _outcomes(user), prior, config.personalization_blend))
        if config.blend == PUBLISHED:
            belief = belief._replace(scale=belief.scale * cost_bonus(pool.arrays.usd_per_token[0], self._cost_weight))
        if session is not None:
            belief = mixed_with_session(belief, session[:, 3], session[:, 2], config.session_context_weight)
        return belief, everywhere[:, 2]

    def train(self, training: Training) -> Mapping[str, Any]:
        """Count every known outcome of the training rows as one of feedback, row by row; without outcomes, learn from the log that is there."""
        dataset = training.dataset
        if dataset.outcomes is None or dataset.pool is None:
            if dataset.experience is not None:
                self.learn(dataset.experience)
            return {"outcomes": 0 if dataset.experience is None else len(dataset.experience.feedback)}
        estimates = Estimates.unknown(len(dataset)) if training.request is None else training.request.estimates
        names, counted = dataset.pool.names, 0
        for place, qualities in zip(self._places(dataset.queries, estimates), dataset.outcomes.known_quality.tolist(), strict=True):
            verdicts = [verdict(name, quality, 1.0) for name, quality in zip(names, qualities, strict=True) if not math.isnan(quality)]
            self.evidence.hear(place, verdicts, implicit=False, time=0.0)
            counted += len(verdicts)
        return {"outcomes": counted}

    def serve(self, log: Store, known_as: Callable[[str], str]) -> None:
        """Take up the state that ``storage_path`` names, and save it from now on."""
        if self.config.storage_path:
            self._state = JsonState(Path(self.config.storage_path), self.evidence, log, self.config.auto_save_interval, known_as)

    def begin(self, log: Store) -> None:
        """Forget whom the log has forgotten."""
        self.evidence.forget(log.forgotten)
        if self._state is not None:
            self._state.begin()

    def learn(self, experience: Experience) -> None:
        """Count the feedback, in its order."""
        rows = {decision.id: row for row, decision in enumerate(experience.decisions)}
        places = self._places(experience.queries, experience.estimates)
        self.evidence.selections += experience.made
        for feedback in experience.feedback:
            row = rows.get(feedback.decision_id)
            if row is not None:
                self._hear(feedback, experience.decisions[row], places[row])

    def close(self) -> None:
        """Save the state once more."""
        if self._state is not None:
            self._state.close()

    def save(self, folder: Path) -> None:
        """Write the evidence."""
        self.evidence.save(folder / STATE_FILE)

    def load(self, folder: Path) -> None:
        """Read the evidence."""
        self.evidence.load(folder / STATE_FILE)

    @property
    def _lesson(self) -> int | tuple[int, int]:
        """Another value whenever the same request may have other scores; epsilon falls with every decision."""
        return self.evidence.changes if self.config.use_thompson_sampling else (self.evidence.changes, self.evidence.selections)

    @property
    def _cost_weight(self) -> float:
        return float(self.config.cost_weight) if self.config.cost_awareness else 0.0

    def _table(self, level: str, name: str | None, pool: Pool) -> Floats | None:
        return None if name is None else self.evidence.table(level, name, pool.names)

    def _places(self, queries: Sequence[Query], estimates: Estimates) -> list[Place]:
        """Return what each query's evidence is kept by: its likeliest category, its user, its session."""
        personal = self.config.enable_personalization
        if not estimates.category_names:
            return [Place(None, query.user if personal else None, query.session) for query in queries]
        categories = _likeliest(estimates)
        return [Place(category, query.user if personal else None, query.session) for category, query in zip(categories, queries, strict=True)]

    def _heard_of(self, place: Place) -> tuple[object, ...]:
        """Return what a place's evidence depends on: users, and sessions, of whom nothing was heard are alike."""
        category, user, session = place
        if user is not None and not self.evidence.knows("user", user):
            user = _NOTHING_HEARD
        if session is not None and not self.evidence.knows("session", session):
            session = _NOTHING_HEARD
        return category, user, session

    def _seen(self, request: RoutingRequest, row: int) -> tuple[Any, ...]:
        """Return what a row's scores depend on beside its place and what was learned; costs only where they count."""
        expected, here = request.expected, slice(row, row + 1)
        seen = (request.mask[here].tobytes(), request.pool.names)
        if self.config.blend == PUBLISHED:
            return (*seen, request.pool.arrays.usd_per_token.tobytes())
        if request.preference_given:
            return (*seen, expected.cost_usd[here].tobytes(), expected.latency_ms[here].tobytes(), request.preferences[here].tobytes())
        return (*seen, expected.cost_usd[here].tobytes()) if self._cost_weight else seen

    def _hear(self, feedback: Feedback, decision: Decision, place: Place) -> None:
        weight = weight_of(feedback, self.config.implicit_feedback_weight)
        verdicts = [verdict(name, quality, weight) for name, quality in judged(feedback, decision.candidate)]
        self.evidence.hear(place, verdicts, implicit=feedback.implicit, time=feedback.time)

    def _quality_in_utility(self, request: RoutingRequest) -> tuple[Floats, Floats]:
        if self.config.blend == PUBLISHED:  # its cost bonus is in the belief, and it knows no preferences
            return np.ones(request.mask.shape), np.zeros(request.mask.shape)
        return quality_in_utility(request, self.services.reward, self._cost_weight)

    def _score_row(self, belief: Belief, samples: Floats, weight: Floats, shift: Floats, mask: NDArray[np.bool_]) -> Scores:
        """Return the scores of one row ``[1, M]``."""
        utility, probabilities, allowed = weight * belief.mean + shift, np.zeros(len(mask)), np.flatnonzero(mask)
        if np.count_nonzero(np.isnan(utility[allowed])):
            probabilities[allowed] = np.nan  # the draw says what is missing
        elif self.config.use_thompson_sampling and len(allowed):
            scale, shift = weight * belief.scale, weight * belief.shift + shift
            best = probability_best(*(array[allowed] for array in (belief.alpha, belief.beta, scale, shift)))
            probabilities[allowed] = best if self.config.blend == PUBLISHED else self._explored(best, samples[allowed])
        elif len(allowed):
            share = epsilon(self.config, self.evidence.selections)
            best = utility[allowed] >= utility[allowed].max() - ROUNDING
            probabilities[allowed] = (1 - share) * best / best.sum() + share / len(allowed)
        return _one_row(utility, probabilities, belief.alpha / (belief.alpha + belief.beta))

    def _explored(self, probabilities: Floats, samples: Floats) -> Floats:
        """Return the probabilities, raised where a candidate has too few outcomes to be left unexplored."""
        rare = samples < self.config.min_samples
        least = self.config.min_exploration / len(samples)
        return np.asarray(least * rare + (1 - least * np.count_nonzero(rare)) * probabilities)


class EpsilonGreedy(Thompson):
    """Takes the greatest expected utility, and any candidate now and then."""

    Config = EpsilonGreedyOptions


def _likeliest(estimates: Estimates) -> list[str | None]:
    """Return each query's likeliest category, of equals the first by name; None where nothing is known of any."""
    return [_likeliest_of(row, estimates.category_names) for row in estimates.categories.tolist()]


def _likeliest_of(probabilities: list[float], names: Sequence[str]) -> str | None:
    greatest = max(probabilities)
    if not greatest > 0:
        return None
    if probabilities.count(greatest) == 1:  # nearly always, and quicker
        return names[probabilities.index(greatest)]
    return min(name for name, probability in zip(names, probabilities, strict=True) if probability == greatest)


def _outcomes(table: Floats | None) -> Floats | None:
    return None if table is None else table[:, :2]


def _one_row(*arrays: Floats) -> Scores:
    for array in arrays:
        read_only(array)  # it is shared by all rows that are alike
    utility, probabilities, quality = (array[None] for array in arrays)
    return Scores(utility, probabilities, expected_quality=quality)


def _joined(rows: Sequence[Scores], shape: tuple[int, ...]) -> Scores:
    """Return the scores of a batch from those of its rows."""
    if len(rows) == 1:
        return rows[0]
    columns = [(row.utility, row.probabilities, row.expected_quality) for row in rows]
    utility, probabilities, quality = (np.concatenate(column) for column in zip(*columns, strict=True)) if rows else np.empty((3, *shape))
    return Scores(utility, probabilities, expected_quality=quality)
