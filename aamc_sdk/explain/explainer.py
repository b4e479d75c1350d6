"""Explaining a decision from its record.

An explanation uses the scores that were recorded with the decision. The router scores again only to find the
preference at which the runner-up would have won, and only if it declares ``cheap_rescoring``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import AamcError, PreferenceError, StoreError
from aamc_sdk.explain.explanation import OBJECTIVES, CandidateView, Explanation, in_words
from aamc_sdk.interfaces import Reward, Router
from aamc_sdk.messages import one_of, router_error
from aamc_sdk.routing import EXPECTED_QUALITY
from aamc_sdk.types import Candidate, Floats, Outcomes, Pool, Preference, Record, RoutingRequest

logger = logging.getLogger(__name__)

BORDER = 20
"""Points on each side of the simplex; the search for a flip runs along the segments to them."""
GRID = 32
"""Points along each segment at which the runner-up is tried before bisection."""
BISECTIONS = 16
"""Halvings of the grid's step: a flip is found to within 1 / (32 * 2^16) of its segment."""
_ROUNDED_DIGITS = (3, 4)
Wins = Callable[[Floats], NDArray[np.bool_]]
"""Whether the runner-up wins at each of ``[n, 3]`` preferences."""


def explain(record: Record, router: Router | None = None, reward: Reward | None = None, pool: Pool | None = None) -> Explanation:
    """Explain a decision.

    Args:
        record: The record of the decision.
        router: The router of the decision. Without it, or if its utilities differ from the recorded ones (another router decided, or it was
            trained since), no preference is searched at which the runner-up would have won.
        reward: The reward; None: expected rewards are unknown.
        pool: Describes the candidates; a candidate that is not in it has only its name.

    Raises:
        StoreError: The pool has none of the decision's candidates.
    """
    if pool is not None and set(record.candidates).isdisjoint(pool.names):
        those = f"decision {record.decision.id!r} was made among other candidates ({one_of(record.candidates)})"
        raise StoreError(f"{those}; use the run that made it")
    request = recorded_request(record, pool or Pool(map(Candidate, record.candidates)))
    quality = record.decision.notes.get(EXPECTED_QUALITY)  # the router's own prediction
    expected = request.expected if quality is None else attrs.evolve(request.expected, quality=_recorded(record, quality)[None])
    contributions, rewards = _expected_rewards(reward, request, expected)
    utility = _recorded(record, record.decision.utilities)
    chosen = record.candidates.index(record.decision.candidate)
    runner_up = _runner_up(_ranking(record, utility, rewards), chosen, request.mask[0])
    flip, is_searched = None, False
    if router is not None and reward is not None and runner_up is not None and not utility[runner_up] > utility[chosen]:
        try:
            if router.uses_preference and router.requires.cheap_rescoring and _scores_the_same(router, request, utility):
                flip, is_searched = _flip(router, reward, request, runner_up), True
        except (Exception, SystemExit) as error:  # a plugin may raise anything; the decision is in the log, and can be explained without
            logger.warning("no preference is searched at which the runner-up would have won: %s", router_error(record.decision.router, error))
    views = [
        CandidateView(
            name=name,
            quality=float(expected.known_quality[0, m]),
            cost_usd=float(expected.cost_usd[0, m]),
            latency_ms=float(expected.latency_ms[0, m]),
            utility=float(utility[m]),
            expected_reward=float(rewards[m]),
            contributions=dict(zip(OBJECTIVES, contributions[m].tolist(), strict=True)),
            masked_why=record.masked_why.get(name),
        )
        for m, name in enumerate(record.candidates)
    ]
    explanation = Explanation(
        record=record,
        candidates=tuple(views),
        runner_up=None if runner_up is None else record.candidates[runner_up],
        lost_on=None if runner_up is None else _lost_on(np.nan_to_num(contributions[chosen] - contributions[runner_up])),
        flip_preference=flip,
        flip_searched=is_searched,
    )
    return attrs.evolve(explanation, why=in_words(explanation))


def recorded_request(record: Record, pool: Pool) -> RoutingRequest:
    """Return a record's request, with the mask that the draw used."""
    names = record.candidates
    masked_why = record.masked_why
    described = {candidate.name: candidate for candidate in pool}
    return RoutingRequest(
        queries=[record.query],
        estimates=record.estimates,
        pool=Pool(described.get(name, Candidate(name)) for name in names),
        preferences=record.decision.preference.array[None],
        expected=record.expected,
        wait_ms=record.wait_ms,
        mask=np.array([[name not in masked_why for name in names]]),
        masked_why={why: np.array([[masked_why.get(name) == why for name in names]]) for why in set(masked_why.values())},
        budget_usd=record.budget_usd,
        quality_floor=record.quality_floor,
        preference_given=record.preference_given,
        in_flight=record.in_flight,
        pressure=record.pressure,
    )


def _expected_rewards(reward: Reward | None, request: RoutingRequest, expected: Outcomes) -> tuple[Floats, Floats]:
    """Return the contributions of the objectives ``[M, 3]``, and their sums ``[M]``, NaN where one with weight is unknown."""
    if reward is None or not _weighable(reward, request.preferences):
        unknown = np.full((len(request.pool), 3), np.nan)
        return unknown, unknown[:, 0]
    weights = reward.weights(request.preferences)[0]
    contributions = np.where(weights == 0, 0.0, weights * reward.vector(expected)[0])
    return contributions, contributions.sum(axis=1)


def _recorded(record: Record, figures: Mapping[str, float | None]) -> Floats:
    """Return recorded values as an array ``[M]``, NaN for a candidate without one."""
    return np.array([figures.get(name) for name in record.candidates], dtype=np.float64)  # None becomes NaN


def _ranking(record: Record, utility: Floats, rewards: Floats) -> Floats:
    """Return the values that rank the candidates: utilities, else probabilities, else expected rewards."""
    if not np.isnan(utility).all():
        return utility
    return _recorded(record, record.decision.probabilities) if record.decision.probabilities else rewards


def _runner_up(ranking: Floats, chosen: int, allowed: NDArray[np.bool_]) -> int | None:
    others = np.where(allowed & ~np.isnan(ranking), ranking, -np.inf)
    others[chosen] = -np.inf
    best = int(others.argmax())
    return best if np.isfinite(others[best]) else None


def _lost_on(differences: Floats) -> str | None:
    """Return the objective on which the chosen candidate is furthest ahead, from differences ``[3]``."""
    most = int(differences.argmax())
    return OBJECTIVES[most] if differences[most] > 0 else None


def _scores_the_same(router: Router, request: RoutingRequest, utility: Floats) -> bool:
    """Whether the router has the recorded utilities ``[M]``; False where none is recorded, or it cannot score the request."""
    known = ~np.isnan(utility)
    try:
        scored = router.score(request).utility[0]
    except AamcError:  # another router decided
        return False
    return bool(known.any() and np.allclose(scored[known], utility[known], rtol=1e-3, atol=1e-6))


def _flip(router: Router, reward: Reward, request: RoutingRequest, runner_up: int) -> Preference | None:
    """Return the preference nearest in L1 to the given one at which the runner-up wins, or None.

    The search follows segments from the given preference to points all around the simplex's border: on
    a grid first, then by bisection between the last loss and the first win.
    """

    def wins(preferences: Floats) -> NDArray[np.bool_]:
        rows = request.take(np.zeros(len(preferences), dtype=np.intp)).with_preference(preferences)
        utility = router.score(rows).utility
        return np.asarray(np.where(rows.mask & ~np.isnan(utility), utility, -np.inf).argmax(axis=1) == runner_up)

    start = request.preferences[0]
    segments = np.array([point - start for point in _border() if _weighable(reward, point) and np.abs(point - start).sum() > 0])
    steps = np.arange(1, GRID + 1) / GRID
    points = start + steps[None, :, None] * segments[:, None, :]
    won = wins(points.reshape(-1, 3)).reshape(len(segments), GRID)
    if not won.any():
        return None
    first = np.where(won.any(axis=1), steps[won.argmax(axis=1)], np.inf)
    nearest = int((first * np.abs(segments).sum(axis=1)).argmin())
    return _rounded(start, _first_win(start, segments[nearest], float(first[nearest]), wins), wins)


def _border() -> Floats:
    """Return evenly spaced points of the simplex's border, ``[3 BORDER, 3]``, its corners among them."""
    along = np.arange(BORDER) / BORDER
    side = np.stack((1 - along, along, np.zeros(BORDER)), axis=1)
    return np.concatenate([np.roll(side, turn, axis=1) for turn in range(3)])


def _first_win(start: Floats, segment: Floats, won: float, wins: Wins) -> Floats:
    """Return the first point on a segment, up to the grid's winning step, at which the runner-up wins."""
    low, high = won - 1 / GRID, won
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if wins(start + middle * segment[None])[0] else (middle, high)
    return np.asarray(start + high * segment)


def _rounded(start: Floats, point: Floats, wins: Wins) -> Preference | None:
    """Return a preference of few digits just beyond the point, if the runner-up wins there too; else the point."""
    direction = (point - start) / np.abs(point - start).max()
    beyond = [np.round(np.maximum(point + direction * 10.0**-digits, 0), digits) for digits in _ROUNDED_DIGITS]
    preferences = [Preference(*weights) for weights in (*beyond, point)]
    won = wins(np.stack([preference.array for preference in preferences]))
    return preferences[int(won.argmax())] if won.any() else None


def _weighable(reward: Reward, weights: Floats) -> bool:
    """Whether the reward accepts the weights: they must not be on an unknown objective alone."""
    try:
        reward.weights(weights)
    except PreferenceError:
        return False
    return True
