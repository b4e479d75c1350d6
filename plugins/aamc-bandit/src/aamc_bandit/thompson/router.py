"""Routers ``thompson`` and ``epsilon-greedy``: Beta posteriors from feedback, by candidate, category, user and session.

Thompson sampling takes each candidate with the probability that it is the best, equation (1) of
:mod:`aamc_bandit.thompson.beta_quadrature`. Decisions are drawn from these probabilities, so propensities are exact.
Epsilon-greedy takes the maximum mean, and explores, preferably cheap candidates, with probability

    epsilon = max(min_exploration, exploration_rate x exploration_decay^(n / 100))                                    (3)

after n decisions.

Papers: Thompson 1933, "On the Likelihood that One Unknown Probability Exceeds Another"; Chapelle and Li
2011, "An Empirical Evaluation of Thompson Sampling".
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aamc_bandit.feedback_outcomes import CountedDelta, OutcomeLedger, OutcomeOptions
from aamc_bandit.linear_utility import NEAR_TIE, evidence_strength, linear_utility
from aamc_bandit.semantic_router.ratings import CandidateRating
from aamc_bandit.thompson.beta_evidence import GLOBAL_ENTITY, LEVELS, BetaEvidence, EvidenceDelta
from aamc_bandit.thompson.beta_quadrature import beta_best_probabilities
from aamc_bandit.thompson.drift_alarm import Drift, find_drift
from aamc_bandit.thompson.evidence_keys import EvidenceKeys, evidence_keys
from aamc_bandit.thompson.hierarchy import (
    QualityBelief,
    cost_bonus,
    level_strength,
    linear_posterior,
    mix_session,
    shrinkage_posterior,
    unscaled_belief,
)
from aamc_bandit.thompson.options import MIN_PRIOR, PUBLISHED, SHRINKAGE, EpsilonGreedyOptions, ThompsonOptions
from aamc_bandit.thompson.state_file import StateFile
from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces import OnlineRouter, Services, Store, Training
from aamc_sdk.messages import checkpoint_errors
from aamc_sdk.storage import read_bytes, write_bytes
from aamc_sdk.types import ROUNDING, Estimates, Experience, Floats, Pool, RoutingRequest, Scores, read_only

logger = logging.getLogger(__name__)

STATE_FILE, DRIFTING_FILE = "evidence.json", "drifting.json"
CACHED_SCORES = 1024
"""Maximum number of scores cached until the evidence changes."""
COST_STEPS = 100
"""Steps in which cost changes the utility of requests without a preference, where candidates are drawn."""
SCORE_OUTCOMES = 10
"""Number of outcomes in its category that a score known beforehand counts as."""
_NO_EVIDENCE: Any = ()
"""The cache key of every user or session without evidence."""


def epsilon(config: ThompsonOptions, decisions: int) -> float:
    """Return the share of decisions that explore, equation (3)."""
    return max(config.min_exploration, config.exploration_rate * float(config.exploration_decay ** (decisions / 100)))


def cheap_exploration(cost: Floats, mask: NDArray[np.bool_]) -> Floats:
    """Return the probabilities ``[M]`` with which epsilon-greedy explores, which prefer cheap candidates, as in vLLM Semantic Router.

    Half of the exploration goes to the cheapest third of the allowed candidates, the other half to all of them. With fewer than three, or
    without a known cost, all are explored alike. An unknown cost (NaN) never counts as cheap.
    """
    allowed = int(np.count_nonzero(mask))
    uniform, third = mask / max(allowed, 1), allowed // 3
    known = np.sort(cost[mask & np.isfinite(cost)])
    if not third or not len(known):
        return np.asarray(uniform)
    cheap = mask & (cost <= known[min(third, len(known)) - 1])
    return np.asarray((uniform + cheap / np.count_nonzero(cheap)) / 2)


class BanditDelta(msgspec.Struct):
    """The changes of a bandit, see :meth:`Thompson.delta`."""

    evidence: EvidenceDelta
    counted: CountedDelta
    drifting: list[tuple[str, str]]


class Thompson(OnlineRouter):
    """Draws each candidate with the probability that it is the best.

    Attributes:
        evidence: What was learned.
        drifting: The candidates whose recent quality is outside its interval, by category (``""`` without one) and name.
    """

    Config = ThompsonOptions
    snapshots = True
    state_schema = 5
    state_options = (*OutcomeOptions.names(), "blend", "enable_personalization", "shared_sessions", "discount", "window", "max_users", "max_sessions")

    def __init__(self, config: ThompsonOptions, services: Services) -> None:
        super().__init__(config, services)
        self.evidence = BetaEvidence(discount=config.kept, window=config.window, max_users=config.max_users, max_sessions=config.max_sessions)
        self._ledger = OutcomeLedger(config)
        self._prior = np.array((config.prior_alpha, config.prior_beta))
        user, session = (config.personalization_blend, config.personal_strength), (config.session_context_weight, config.session_strength)
        personal = ((level_strength(*each), config.max_personal_prior) for each in (user, session))
        self._strengths = ((config.category_strength, config.max_category_prior), *personal)
        self.drifting: dict[tuple[str, str], Drift] = {}
        self._scores: dict[tuple[Any, ...], Scores] = {}
        self._scores_version: int | tuple[int, int] = -1
        self._state: StateFile | None = None
        for category, scores in config.category_scores.items():
            ratings = {name: CandidateRating(SCORE_OUTCOMES * score, SCORE_OUTCOMES * (1 - score), 0) for name, score in scores.items()}
            self.evidence.add_ratings("category", category, ratings, 0.0)
        if config.router_model_path is not None:
            self.load(Path(config.router_model_path))

    def score(self, request: RoutingRequest) -> Scores:
        """Score by the posteriors; equal rows are computed once until the evidence changes."""
        cache, version = self._scores, self._evidence_version
        entities = evidence_keys(self.config, request.queries, request.estimates)
        keys = [(version, self._entities_key(each), *self._request_key(request, row)) for row, each in enumerate(entities)]
        scores = {key: found for key in keys if (found := cache.get(key)) is not None}
        if len(scores) < len(keys):
            weight, shift, strength = self._utility(request)
            for row, key in enumerate(keys):
                if key not in scores:
                    explored = np.empty(0) if self.config.use_thompson_sampling else self._exploration(request, row)
                    arrays = weight[row], shift[row], strength[row], request.mask[row], explored
                    utility_key = (*key[:-1], *(array.tobytes() for array in arrays))  # costs affect scores only through these arrays
                    scores[key] = cache.get(utility_key) or self._score_row(*self.belief(entities[row], request.pool), *arrays)
                    if len(cache) >= CACHED_SCORES or version != self._scores_version:  # scores by earlier evidence are never asked for again
                        cache.clear()
                        self._scores_version = version
                    cache[key] = cache[utility_key] = scores[key]
        return _concatenated([scores[key] for key in keys], request.mask.shape)

    def belief(self, keys: EvidenceKeys, pool: Pool) -> tuple[QualityBelief, Floats]:
        """Return the belief that :meth:`score` uses about each candidate's quality, and each candidate's number of outcomes ``[M]``.

        Candidates without feedback have the prior, or what the level above gives; without keys it is the belief about all requests. May be called
        while another thread learns.
        """
        tables = self._tables(keys, pool)
        everywhere, category, user, session = tables
        assert everywhere is not None
        config, prior, evidence = self.config, self._prior, everywhere[:, :2]
        if config.blend == SHRINKAGE:
            return unscaled_belief(self._shrunk(tables, self._strengths)), everywhere[:, 2]
        belief = unscaled_belief(linear_posterior(evidence, _wins_losses(category), _wins_losses(user), prior, config.personalization_blend))
        if config.blend == PUBLISHED:
            if not config.use_thompson_sampling:  # the original exploits the plain mean
                return belief, everywhere[:, 2]
            belief = belief._replace(scale=belief.scale * cost_bonus(self._prompt_prices(pool), self._cost_weight))
        if session is not None:
            belief = mix_session(belief, session[:, 3], session[:, 2], config.session_context_weight)
        return belief, everywhere[:, 2]

    def posterior(self, keys: EvidenceKeys, pool: Pool) -> Floats:
        """Return the Beta posterior of each candidate's quality, alpha and beta ``[M, 2]``, whose intervals hold; decisions use :meth:`belief`.

        It is that of the blend ``shrinkage`` in which every outcome of a level counts once, and all others as at most its strength.
        """
        strengths = [(strength, min(strength, limit)) for strength, limit in self._strengths]
        return self._shrunk(self._tables(keys, pool), strengths)

    def _tables(self, keys: EvidenceKeys, pool: Pool) -> list[Floats | None]:
        """Return the evidence of each level, ``[M, 4]``; None for a level without an entity."""
        levels = zip(LEVELS, (GLOBAL_ENTITY, *keys), strict=True)
        return [None if name is None else self.evidence.table(level, name, pool.names) for level, name in levels]

    def _shrunk(self, tables: Sequence[Floats | None], strengths: Sequence[tuple[float, float]]) -> Floats:
        nested = self.config.kept == 1 and not self.config.window
        posterior = shrinkage_posterior([_wins_losses(table) for table in tables], self._prior, strengths, nested)
        return np.maximum(posterior, MIN_PRIOR)  # below it the quadrature is wrong

    def train(self, training: Training) -> Mapping[str, Any]:
        """Count each known outcome of the training rows as one feedback, row by row; without outcomes, learn from the dataset's log.

        Returns:
            ``outcomes``, the number counted.
        """
        dataset = training.dataset
        if dataset.outcomes is None or dataset.pool is None:
            if dataset.experience is not None:
                self.learn(dataset.experience)
                self._ledger.clear()  # the log that is served is another one
            return {"outcomes": 0 if dataset.experience is None else len(dataset.experience.feedback)}
        estimates = Estimates.unknown(len(dataset)) if training.request is None else training.request.estimates
        names, counted = dataset.pool.names, 0
        for keys, qualities in zip(evidence_keys(self.config, dataset.queries, estimates), dataset.outcomes.known_quality.tolist(), strict=True):
            known = [(name, quality) for name, quality in zip(names, qualities, strict=True) if not math.isnan(quality)]
            self.evidence.add(keys, known, 1.0, implicit=False, time=0.0, ageing=False)
            counted += len(known)
        return {"outcomes": counted}

    def attach(self, log: Store, to_log_user: Callable[[str], str]) -> None:
        """Read the state file that ``storage_path`` names, and save it from now on."""
        if self.config.storage_path:
            self._state = StateFile(Path(self.config.storage_path), self.evidence, log, self.config.auto_save_interval, to_log_user)

    def origin(self) -> bytes | None:
        """Return an identifier of the evidence from the state file; None without a state file."""
        return None if self._state is None else self._state.origin.encode()

    def prepare_replay(self, log: Store) -> None:
        """Drop the users that the log has forgotten, and record the starting state."""
        self.evidence.drop_users(log.forgotten)
        self._ledger.drop_users(log.forgotten)
        if self._state is not None:
            self._state.record_start()

    def learn(self, experience: Experience) -> None:
        """Count feedback and failed calls, in log order."""
        self.evidence.selections += experience.made
        for outcome in self._ledger.outcomes(experience):
            (keys,) = evidence_keys(self.config, [experience.queries[outcome.row]], experience.estimates_of(outcome.row))
            given = (keys, outcome.qualities, outcome.weight)
            if outcome.added:
                self.evidence.add(*given, implicit=outcome.implicit, time=outcome.time, places=outcome.places)
                self._watch(keys.category, [name for name, _ in outcome.qualities])
            else:
                self.evidence.remove(*given, implicit=outcome.implicit, places=outcome.places)

    def _watch(self, category: str | None, names: Sequence[str]) -> None:
        """Raise an alarm where a candidate's recent quality leaves its interval, and end it where it is back."""
        entity = GLOBAL_ENTITY if category is None else category
        for name in names:
            drift, before = self._drift(entity, name), self.drifting.pop((entity, name), None)
            if drift is not None:
                self.drifting[entity, name] = drift
                if before is None:
                    logger.warning("%s", drift)
            elif before is not None:
                logger.info("the recent quality of %r is back in its interval", name)

    def _drifts(self, watched: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Drift]:
        return {(entity, name): drift for entity, name in watched if (drift := self._drift(entity, name)) is not None}

    def _drift(self, entity: str, name: str) -> Drift | None:
        known = self.evidence.entities("global" if entity == GLOBAL_ENTITY else "category").get(entity)
        return None if known is None or name not in known.candidates else find_drift(name, entity, known.candidates[name])

    def close(self) -> None:
        """Save the state once more."""
        if self._state is not None:
            self._state.close()

    def save(self, folder: Path) -> None:
        """Write the evidence, and which candidates drift if any do."""
        write_bytes(folder / STATE_FILE, self.evidence.encoded())
        if self.drifting:
            write_bytes(folder / DRIFTING_FILE, msgspec.json.encode(list(self.drifting)))
        self._ledger.save(folder)

    def load(self, folder: Path) -> None:
        """Read the evidence."""
        self._ledger.load(folder)
        self.evidence.restore(read_bytes(folder / STATE_FILE))
        self.evidence.mark_unchanged()
        path = folder / DRIFTING_FILE
        try:
            self.drifting = self._drifts(msgspec.json.decode(read_bytes(path), type=list[tuple[str, str]]) if path.exists() else ())
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{path} does not hold the candidates that drift ({error!r}); train again") from error

    def delta(self) -> bytes:
        """Return the changed entities of the evidence, the changed decisions and users of the counted feedback, and which candidates drift."""
        return msgspec.json.encode(BanditDelta(self.evidence.delta(), self._ledger.delta(), list(self.drifting)))

    def apply_delta(self, delta: bytes) -> None:
        """Apply the delta of another router in the same state."""
        with checkpoint_errors("the delta of a bandit", "load its whole state", msgspec.MsgspecError):
            decoded = msgspec.json.decode(delta, type=BanditDelta)
            self._ledger.apply_delta(decoded.counted)
            self.evidence.apply_delta(decoded.evidence)
            self.drifting = self._drifts(decoded.drifting)

    @property
    def _evidence_version(self) -> int | tuple[int, int]:
        """A value that changes whenever a request's scores may change; epsilon falls with every decision."""
        return self.evidence.changes if self.config.use_thompson_sampling else (self.evidence.changes, self.evidence.selections)

    @property
    def _cost_weight(self) -> float:
        return float(self.config.cost_weight) if self.config.cost_awareness else 0.0

    def _entities_key(self, keys: EvidenceKeys) -> tuple[object, ...]:
        """Return the entities as part of a cache key; all users without evidence share one, and so do all sessions."""
        category, user, session = keys
        if user is not None and not self.evidence.has("user", user):
            user = _NO_EVIDENCE
        if session is not None and not self.evidence.has("session", session):
            session = _NO_EVIDENCE
        return category, user, session

    def _prompt_prices(self, pool: Pool) -> Floats:
        """Return each candidate's price of a prompt in USD per token ``[M]``; NaN if unknown."""
        given = np.array([self.config.prompt_prices.get(name, np.nan) / 1e6 for name in pool.names])
        return np.where(np.isnan(given), pool.arrays.usd_per_token[0], given)

    def _request_key(self, request: RoutingRequest, row: int) -> tuple[Any, tuple[Any, ...]]:
        """Return the candidates of a row, and its other inputs to its scores, as parts of a cache key; costs only where they count."""
        expected, here, names = request.expected, slice(row, row + 1), request.pool.names
        mask, query = request.mask[here].tobytes(), request.queries[row]
        cache = () if query.cached_on is None else (query.cached_on, query.expected_cached_tokens)
        if self.config.blend == PUBLISHED:
            return (names, request.pool.arrays.usd_per_token.tobytes()), (mask,)
        if request.preference_given:
            costs = expected.cost_usd[here].tobytes(), expected.latency_ms[here].tobytes()
            return names, (mask, *costs, request.preferences[here].tobytes(), *cache)
        explores = self.config.cost_awareness and not self.config.use_thompson_sampling
        if not self._cost_weight and not explores:
            return names, (mask,)
        return names, (mask, expected.cost_usd[here].tobytes(), *cache)

    def _utility(self, request: RoutingRequest) -> tuple[Floats, Floats, Floats]:
        """Return weight and shift of the utility as a linear function of quality, ``[B, M]`` each, and how many times evidence counts, ``[B]``."""
        if self.config.blend == PUBLISHED:  # its cost bonus is in the belief, and it ignores preferences
            return np.ones(request.mask.shape), np.zeros(request.mask.shape), np.ones(len(request.queries))
        weight, shift = linear_utility(request, self.services.reward, self._cost_weight)
        if self._cost_weight and self.config.use_thompson_sampling and not request.preference_given:
            unit = self._cost_weight * NEAR_TIE / COST_STEPS
            shift = unit * np.rint(shift / unit)  # so that requests of similar lengths share their scores
        return weight, shift, evidence_strength(request, self._cost_weight)

    def _exploration(self, request: RoutingRequest, row: int) -> Floats:
        """Return the probabilities ``[M]`` of the candidates in decisions that explore."""
        if not self.config.cost_awareness:
            return cheap_exploration(np.full(len(request.pool), np.nan), request.mask[row])
        prices = self._prompt_prices(request.pool) if self.config.blend == PUBLISHED else request.expected.cost_usd[row]
        return cheap_exploration(prices, request.mask[row])

    def _score_row(
        self,
        belief: QualityBelief,
        samples: Floats,
        weight: Floats,
        shift: Floats,
        strength: Floats,
        mask: NDArray[np.bool_],
        explored: Floats,
    ) -> Scores:
        """Return the scores of one row ``[1, M]``; ``explored`` are the probabilities in decisions of epsilon-greedy that explore, else empty."""
        utility, probabilities, allowed = weight * belief.mean + shift, np.zeros(len(mask)), np.flatnonzero(mask)
        if np.count_nonzero(np.isnan(utility[allowed])):
            probabilities[allowed] = np.nan  # the draw reports the missing figure
        elif self.config.use_thompson_sampling and len(allowed):
            scale, shift = weight * belief.scale, weight * belief.shift + shift
            best = beta_best_probabilities(*(array[allowed] for array in (strength * belief.alpha, strength * belief.beta, scale, shift)))
            probabilities[allowed] = best if self.config.blend == PUBLISHED else self._with_exploration(best, samples[allowed])
        elif len(allowed):
            share = epsilon(self.config, self.evidence.selections)
            best = utility[allowed] >= utility[allowed].max() - ROUNDING
            probabilities[allowed] = (1 - share) * best / best.sum() + share * explored[allowed]
        quality = belief.alpha / (belief.alpha + belief.beta)
        for array in (utility, probabilities, quality):
            read_only(array)  # the cache shares it between equal rows
        return Scores(utility[None], probabilities[None], expected_quality=quality[None])

    def _with_exploration(self, probabilities: Floats, samples: Floats) -> Floats:
        """Return the probabilities with a minimum for candidates that have fewer than ``min_samples`` outcomes."""
        rare = samples < self.config.min_samples
        minimum = self.config.min_exploration / len(samples)
        return np.asarray(minimum * rare + (1 - minimum * np.count_nonzero(rare)) * probabilities)


class EpsilonGreedy(Thompson):
    """Takes the maximum expected utility, and with probability epsilon any candidate."""

    Config = EpsilonGreedyOptions


def _wins_losses(table: Floats | None) -> Floats | None:
    return None if table is None else table[:, :2]


def _concatenated(rows: Sequence[Scores], shape: tuple[int, ...]) -> Scores:
    if len(rows) == 1:
        return rows[0]
    columns = [(row.utility, row.probabilities, row.expected_quality) for row in rows]
    utility, probabilities, quality = (np.concatenate(column) for column in zip(*columns, strict=True)) if rows else np.empty((3, *shape))
    return Scores(utility, probabilities, expected_quality=quality)
