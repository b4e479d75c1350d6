"""The draw: from a router's scores to decisions.

The random number of a draw depends only on the seed and the decision's id, so draws are the same
in any order of requests and with any number of threads.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import time
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import PluginError
from aamc_sdk.messages import check_type, one_of, value_text
from aamc_sdk.types import Decision, Floats, NamedValues, Pool, Preference, RoutingRequest, Scores

_CACHED = "_distribution"
"""The attribute of scores that holds their distribution."""
EXPECTED_QUALITY = "expected_quality"
"""Key of the note with a router's own prediction of quality, by candidate's name."""
_UNKNOWN_CAUSE = "the router may need a trained estimator (--estimator tce), or compute NaN from figures that it knows"
"""The likely cause of NaN where no price or latency is missing."""


def uniform(seed: int, decision_id: str) -> float:
    """Return the random number of a decision, in [0, 1)."""
    digest = hashlib.blake2b(f"{seed}/{decision_id}".encode(errors="surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2.0**53


@attrs.frozen(eq=False)
class _Distribution:
    """The distribution that a draw samples from. It is computed once for scores that a router returns repeatedly as read-only arrays.

    Attributes:
        pool: The candidates.
        mask: The allowed candidates, as bytes.
        probabilities: Probabilities of the draw, ``[B, M]``.
        rows: The same as numbers.
        cumulative: Their running sums; infinite from the last candidate of positive probability on, as rounding may leave less than 1.
        by_name: Each row's probabilities by candidate's name.
    """

    pool: Pool
    mask: bytes
    probabilities: Floats
    rows: list[list[float]]
    cumulative: list[list[float]]
    by_name: Sequence[Mapping[str, float]]

    @classmethod
    def of(cls, scores: Scores, request: RoutingRequest) -> _Distribution:
        """Return the distribution of a router's scores among the allowed candidates; errors as of :func:`draw`."""
        probabilities = scores.probabilities
        assert probabilities is not None
        mask = request.mask.tobytes()
        cached: _Distribution | None = scores.__dict__.get(_CACHED)
        if cached is not None and cached.pool is request.pool and cached.mask == mask and len(cached.rows) == len(request):
            return cached
        _check_numbers(scores.utility, request, "utility")  # it is recorded
        array = _allowed_probabilities(scores, request)
        cumulative = array.cumsum(axis=1)
        cumulative[cumulative >= cumulative[:, -1:]] = np.inf
        by_name = [NamedValues(request.pool.names, row) for row in array]
        distribution = cls(request.pool, mask, array, array.tolist(), cumulative.tolist(), by_name)
        if not (probabilities.flags.writeable or scores.utility.flags.writeable):
            scores.__dict__[_CACHED] = distribution
        return distribution


class Drawn(NamedTuple):
    """The result of a draw for B rows.

    Attributes:
        chosen: Position of each chosen candidate, ``[B]``.
        propensities: Probability of each choice, ``[B]``: 1 for the maximum utility, NaN if the router does not know it.
        probabilities: Probabilities of the draw, ``[B, M]``; None for the maximum utility.
    """

    chosen: NDArray[np.intp]
    propensities: Floats
    probabilities: Floats | None


def draw(scores: Scores, request: RoutingRequest, sample: bool, seed: int, ids: Sequence[str]) -> Drawn:
    """Choose a candidate for each row.

    Args:
        scores: The router's scores of the B rows.
        request: The request that it scored.
        sample: Whether to draw from the scores' probabilities, if they have any; otherwise the maximum utility decides.
        seed: The seed of the draws.
        ids: The decisions' ids, B of them; with the seed they determine the draws.

    Raises:
        NoCandidateError: Every candidate of a row is masked.
        PluginError: The router's scores have the wrong shape or leave no candidate to choose.
        TypeError: The scores are something else.
    """
    chosen, propensities, distribution = _choose(scores, request, sample, seed, ids)
    probabilities = None if distribution is None else distribution.probabilities
    return Drawn(np.array(chosen, dtype=np.intp), np.array(propensities, dtype=np.float64), probabilities)


def _choose(
    scores: Scores, request: RoutingRequest, sample: bool, seed: int, ids: Sequence[str]
) -> tuple[list[int], list[float], _Distribution | None]:
    """Return :func:`draw`'s choices and propensities, and their distribution."""
    _check_scores(scores, request)
    if not sample or scores.probabilities is None:
        chosen = _maximum_utility(scores, request).tolist()
        return chosen, [1.0 if scores.propensity_known else math.nan] * len(chosen), None
    distribution = _Distribution.of(scores, request)
    chosen = [bisect_right(row, uniform(seed, decision_id)) for row, decision_id in zip(distribution.cumulative, ids, strict=True)]
    if not scores.propensity_known:
        return chosen, [math.nan] * len(chosen), distribution
    return chosen, [row[candidate] for row, candidate in zip(distribution.rows, chosen, strict=True)], distribution


def choice_probabilities(scores: Scores, request: RoutingRequest, sample: bool) -> Floats:
    """Return the probability with which :func:`draw` chooses each candidate, ``[B, M]``; one-hot for the maximum utility.

    Raises:
        NoCandidateError: Every candidate of a row is masked.
        PluginError: The router's scores have the wrong shape or leave no candidate to choose.
    """
    _check_scores(scores, request)
    if sample and scores.probabilities is not None:
        return _allowed_probabilities(scores, request)
    chosen = _maximum_utility(scores, request)
    return np.equal.outer(chosen, np.arange(len(request.pool))).astype(np.float64)


def _maximum_utility(scores: Scores, request: RoutingRequest) -> NDArray[np.intp]:
    utility, mask = scores.utility, request.mask
    _check_known_numbers(utility, request, "utility")
    finite = np.isfinite(utility) & mask
    if np.count_nonzero(finite) == mask.size:  # quicker than all()
        return np.asarray(utility.argmax(axis=1))
    if not finite.any(axis=1).all():
        request.check_mask()
        raise PluginError("a router's utility must be finite for at least one allowed candidate of each row")
    return np.asarray(np.where(mask, utility, -np.inf).argmax(axis=1))


def _allowed_probabilities(scores: Scores, request: RoutingRequest) -> Floats:
    """Return the probabilities ``[B, M]`` of the draw: 0 for masked candidates, the others rescaled to sum to 1.

    Where only candidates of probability 0 reach the minimum quality, the maximum utility decides.
    """
    probabilities = scores.probabilities
    assert probabilities is not None
    _check_known_numbers(probabilities, request, "probabilities")
    allowed = np.where(request.mask, probabilities, 0.0)
    if request.quality_floor is not None:
        empty = np.flatnonzero((probabilities > 0).any(axis=1) & ~allowed.any(axis=1))
        if len(empty):
            allowed[empty, _maximum_utility(scores, request)[empty]] = 1.0
    totals = allowed.sum(axis=1, keepdims=True)
    if np.count_nonzero(allowed < 0) or np.count_nonzero((totals > 0) & (totals < np.inf)) < len(totals):  # quicker than any()
        request.check_mask()
        raise PluginError("a router's probabilities must be finite, at least 0, and positive for at least one allowed candidate of each row")
    return np.asarray(allowed / totals)


def above_floor(scores: Scores, request: RoutingRequest, quality_floor: float) -> RoutingRequest:
    """Return a request where candidates below a minimum quality are masked, by the router's own prediction if it has one, else by the estimator's.

    Rows where no allowed candidate reaches it keep the best one. A candidate of unknown quality stays allowed: it is not known to be below.
    """
    _check_scores(scores, request)
    request = attrs.evolve(request, quality_floor=quality_floor)
    quality = request.expected.quality if scores.expected_quality is None else scores.expected_quality
    if quality is None:
        return request
    known = np.where(request.mask & ~np.isnan(quality), quality, -np.inf)
    best = known.max(axis=1, keepdims=True)
    low = request.mask & (quality < np.minimum(best, quality_floor))
    return attrs.evolve(request, mask=request.mask & ~low, masked_why={**request.masked_why, f"expected quality below {quality_floor:g}": low})


def decide(
    scores: Scores, request: RoutingRequest, ids: Sequence[str], *, router: str, sample: bool, seed: int, episode: str | None = None
) -> list[Decision]:
    """Draw as :func:`draw` does, with its arguments and errors, and return each row's decision, which names the router and the episode."""
    chosen, propensities, distribution = _choose(scores, request, sample, seed, ids)
    names = request.pool.names
    now = time.time()
    probabilities = itertools.repeat({}, len(request)) if distribution is None else distribution.by_name
    preferences = map(_preference, *request.preferences.T.tolist())
    recorded = preferences, probabilities, _notes(scores, request), _utilities(scores.utility, request)
    return [
        Decision(decision_id, names[candidate], propensity, preference, by_name, router, now, notes, utilities=utilities, episode=episode)
        for decision_id, candidate, propensity, preference, by_name, notes, utilities in zip(ids, chosen, propensities, *recorded, strict=True)
    ]


@lru_cache(4096)  # most requests share few preferences, and checking one takes longer than the lookup
def _preference(quality: float, cost: float, latency: float) -> Preference:
    return Preference(quality, cost, latency)


def _utilities(utility: Floats, request: RoutingRequest) -> Iterable[Mapping[str, float]]:
    """Return each row's utilities by name, without masked candidates."""
    if request.all_allowed:
        return [NamedValues(request.pool.names, row) for row in utility]
    rows = zip(utility.tolist(), request.mask.tolist(), strict=True)
    return [{name: value for name, value, allowed in zip(request.pool.names, values, mask, strict=True) if allowed} for values, mask in rows]


def _notes(scores: Scores, request: RoutingRequest) -> list[dict[str, Any]]:
    """Return each decision's notes: the router's notes, its own expected quality, and the cost of the decision."""
    rows = len(request)
    notes = _own_notes(scores.notes, rows) if scores.notes else [{} for _ in range(rows)]
    if scores.expected_quality is not None and scores.expected_quality is not request.expected.quality:
        for note, quality in zip(notes, scores.expected_quality, strict=True):
            note[EXPECTED_QUALITY] = NamedValues(request.pool.names, quality)
    for name, spent in (("spent_usd", scores.spent_usd), ("spent_ms", scores.spent_ms)):
        if isinstance(spent, float) and spent == 0:
            continue
        for note, amount in zip(notes, np.broadcast_to(spent, rows).tolist(), strict=True):
            if amount:
                note[name] = amount
    return notes


def _own_notes(notes: Any, rows: int) -> list[dict[str, Any]]:
    """Return a copy of a router's notes."""
    is_one_each = isinstance(notes, Sequence) and len(notes) == rows
    if not is_one_each or not all(isinstance(note, Mapping) for note in notes):
        found = f"{notes!r:.80}" if is_one_each or not isinstance(notes, Sequence) else f"{len(notes)}"
        raise PluginError(f"a router's notes must be empty, or hold one mapping for each query, {rows} in all, not {found}")
    return [dict(note) for note in notes]


def _check_scores(scores: Scores, request: RoutingRequest) -> None:
    """Check a router's scores, except for utility and probabilities: the draw checks the one that it uses."""
    check_type(scores, Scores, "a router's score must return aamc_sdk.Scores")
    if scores.expected_quality is not None:
        _check_numbers(scores.expected_quality, request, "expected_quality")
    for name, spent in (("spent_usd", scores.spent_usd), ("spent_ms", scores.spent_ms)):
        if not isinstance(spent, float) or spent != 0:
            _check_spent(name, spent, len(request))


def _check_numbers(array: Floats, request: RoutingRequest, name: str) -> None:
    """Check that an array of scores has one real number for each query and candidate, ``[B, M]``; ``name`` is its name in the error."""
    shape = request.mask.shape
    if getattr(array, "shape", None) != shape or array.dtype.kind not in "fiub":
        raise PluginError(f"a router's {name} must be real numbers of shape {shape} (queries, candidates), not {value_text(array)}")


def _check_known_numbers(array: Floats, request: RoutingRequest, name: str) -> None:
    """Check an array of scores as :func:`_check_numbers` does, and that it is not NaN for any allowed candidate."""
    _check_numbers(array, request, name)
    unknown = np.isnan(array)
    if np.count_nonzero(unknown) and (unknown & request.mask).any():
        raise PluginError(f"a router's {name} must not be NaN for an allowed candidate; {_nan_hint(request, unknown & request.mask)}")


def _nan_hint(request: RoutingRequest, unknown: NDArray[np.bool_]) -> str:
    """Return the likely cause of NaN at the cells ``[B, M]``, and the remedy."""
    lacking = {}
    for figure, remedy, weight in (("cost_usd", "prices", 1), ("latency_ms", "a latency", 2)):
        cells = np.isnan(getattr(request.expected, figure)) & request.mask & (request.preferences[:, weight, None] > 0)
        if cells.any() and not (cells & ~unknown).any():  # else the router can do without it
            lacking[figure, remedy] = cells
    if not lacking or (unknown & ~np.any(list(lacking.values()), axis=0)).any():
        return _UNKNOWN_CAUSE
    (figure, remedy), cells = next(iter(lacking.items()))
    names = one_of([name for m, name in enumerate(request.pool.names) if cells[:, m].any()])
    advice = f"give {remedy} in the pool, or a preference without it, unless the router computes NaN itself"
    return f"the preference weighs {figure}, which is unknown for {names}: {advice}"


def _check_spent(name: str, spent: Any, rows: int) -> None:
    """Check the cost or time of each decision itself, which the scores state."""
    amounts = np.asarray(spent)
    right_shape = amounts.shape in ((), (rows,))
    if not right_shape or amounts.dtype.kind not in "fiu" or not ((amounts >= 0) & (amounts < np.inf)).all():
        found = f"{spent!r:.80}" if right_shape else value_text(amounts)
        raise PluginError(f"a router's {name} must be one number of at least 0, or {rows}, one for each query, not {found}")
