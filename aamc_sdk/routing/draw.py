"""The draw: from a router's scores to decisions, replayable under threads.

The random number of a draw follows from the seed and the decision's id alone, so neither the
order of requests nor the number of threads changes it.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import ConfigError, PluginError, one_of
from aamc_sdk.types import ByName, Decision, Floats, Preference, RoutingRequest, Scores

_CERTAIN = np.ones(1)
"""The propensity of a candidate that was not drawn."""
_UNKNOWN = np.full(1, np.nan)
EXPECTED_QUALITY = "expected_quality"
"""The note that holds a router's own prediction of quality, by candidate's name."""


def uniform(seed: int, decision_id: str) -> float:
    """Return the number in [0, 1) that belongs to a decision."""
    digest = hashlib.blake2b(f"{seed}/{decision_id}".encode(errors="surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2.0**53


class Drawn(NamedTuple):
    """What was drawn for B rows.

    Attributes:
        chosen: The candidates, ``[B]``.
        propensities: 1 where the maximum utility was taken, NaN where the router does not know them, ``[B]``.
        probabilities: Those of the draw, ``[B, M]``; None where there was none.
    """

    chosen: NDArray[np.intp]
    propensities: Floats
    probabilities: Floats | None


def draw(scores: Scores, request: RoutingRequest, sample: bool, seed: int, ids: Sequence[str]) -> Drawn:
    """Choose a candidate for each row.

    Raises:
        NoCandidateError: Every candidate of a row is masked.
        PluginError: The router's scores have the wrong shape or leave nothing to choose.
    """
    if not sample or scores.probabilities is None:
        chosen = _maximum(scores, request)
        return Drawn(chosen, (_CERTAIN if scores.propensity_known else _UNKNOWN).repeat(len(chosen)), None)
    probabilities = allowed_probabilities(scores.probabilities, request)
    chosen = _sample(probabilities, np.array([uniform(seed, decision) for decision in ids]))
    propensities = probabilities[np.arange(len(chosen)), chosen] if scores.propensity_known else np.full(len(chosen), np.nan)
    return Drawn(chosen, propensities, probabilities)


def choice_probabilities(scores: Scores, request: RoutingRequest, sample: bool) -> Floats:
    """Return with which probability :func:`draw` chooses each candidate, ``[B, M]``: all on one where it takes the maximum utility.

    Raises:
        NoCandidateError: Every candidate of a row is masked.
        PluginError: The router's scores have the wrong shape or leave nothing to choose.
    """
    if sample and scores.probabilities is not None:
        return allowed_probabilities(scores.probabilities, request)
    chosen = _maximum(scores, request)
    return np.equal.outer(chosen, np.arange(len(request.pool))).astype(np.float64)


def _maximum(scores: Scores, request: RoutingRequest) -> NDArray[np.intp]:
    utility, mask = _checked(scores.utility, request, "utility"), request.mask
    if np.count_nonzero(mask) < mask.size:  # quicker than mask.all()
        request.check_mask()
        lowest = np.finfo(np.float64).min  # above a masked candidate even where an allowed utility is minus infinity
        utility = np.where(mask, np.maximum(utility, lowest), -np.inf)
    chosen: NDArray[np.intp] = utility.argmax(axis=1)
    return chosen


def allowed_probabilities(probabilities: Floats, request: RoutingRequest) -> Floats:
    """Return the probabilities ``[B, M]`` of the draw: masked candidates have none, the others share all.

    Raises:
        NoCandidateError: Every candidate of a row is masked.
        PluginError: The router's probabilities have the wrong shape or leave nothing to draw.
    """
    request.check_mask()
    allowed = np.where(request.mask, _checked(probabilities, request, "probabilities"), 0.0)
    totals = allowed.sum(axis=1, keepdims=True)
    if np.count_nonzero(allowed < 0) or np.count_nonzero((totals > 0) & (totals < np.inf)) < len(totals):  # quicker than any()
        raise PluginError("a router's probabilities must be finite, at least 0, and leave an allowed candidate possible")
    return np.asarray(allowed / totals)


def _sample(probabilities: Floats, uniforms: Floats) -> NDArray[np.intp]:
    below = probabilities.cumsum(axis=1) <= uniforms[:, None]
    last = probabilities.shape[1] - 1 - (probabilities[:, ::-1] > 0).argmax(axis=1)
    chosen: NDArray[np.intp] = np.minimum(below.sum(axis=1), last)
    return chosen


def _checked(array: Floats, request: RoutingRequest, name: str) -> Floats:
    mask = request.mask
    if getattr(array, "shape", None) != mask.shape:
        found = f"{type(array).__name__} of shape {np.shape(array)}"
        raise PluginError(f"a router's {name} must have shape {mask.shape}, one row a query and one column a candidate, not be {found}")
    unknown = np.isnan(array)
    if np.count_nonzero(unknown) and (unknown & mask).any():
        raise PluginError(f"a router's {name} must not be NaN where a candidate is allowed; {_what_is_missing(request)}")
    return array


def _what_is_missing(request: RoutingRequest) -> str:
    """Return in words why a router may not know what a candidate is worth, and what to do."""
    for column, figure, given in ((1, "cost_usd", "prices"), (2, "latency_ms", "a latency")):
        unknown = np.isnan(getattr(request.expected, figure)) & request.mask & (request.preferences[:, column, None] > 0)
        if unknown.any():
            names = one_of([name for name, missing in zip(request.pool.names, unknown.any(axis=0), strict=True) if missing])
            return f"{figure} counts in this preference and is unknown of {names}: give {given} in the pool, or a preference without it"
    return "does it need an estimator that was trained (--estimator tce)?"


def decide(
    request: RoutingRequest, scores: Scores, ids: Sequence[str], *, router: str, sample: bool, seed: int, episode: str | None = None
) -> list[Decision]:
    """Return a decision for each row of a request.

    Args:
        request: The request, B rows.
        scores: The router's scores.
        ids: The decisions' ids, B of them; with the seed they determine the draws.
        router: The router's name.
        sample: Whether to draw from the probabilities, or to take the maximum utility.
        seed: The seed of the draws.
        episode: The episode that the decisions belong to; None for none.

    Raises:
        NoCandidateError: Every candidate of a row is masked.
        PluginError: The scores cannot be used.
    """
    if len(ids) != (rows := len(request)):
        raise ConfigError(f"{rows} requests need as many ids, not {len(ids)}")
    drawn = draw(scores, request, sample, seed, ids)
    names, now = request.pool.names, time.time()
    chosen = ids, drawn.chosen.tolist(), drawn.propensities.tolist()
    recorded = _preferences(request), _by_name(drawn.probabilities, request), _notes(scores, request), _utilities(scores.utility, request)
    return [
        Decision(decision_id, names[candidate], propensity, preference, probabilities, router, now, notes, utilities=utilities, episode=episode)
        for decision_id, candidate, propensity, preference, probabilities, notes, utilities in zip(*chosen, *recorded, strict=True)
    ]


def _preferences(request: RoutingRequest) -> list[Preference]:
    """Return each row's preference; rows with the same one share the object."""
    if len(request) and request.preferences.strides[0] == 0:  # one for all
        return [_preference(*request.preferences[0].tolist())] * len(request)
    return list(map(_preference, *request.preferences.T.tolist()))


@lru_cache(4096)  # most requests have one of few preferences, and checking one takes longer than finding it
def _preference(quality: float, cost: float, latency: float) -> Preference:
    return Preference(quality, cost, latency)


def _by_name(figures: Floats | None, request: RoutingRequest) -> Iterable[Mapping[str, float]]:
    """Return each row's figures by candidate's name; nothing where there are none."""
    return itertools.repeat({}, len(request)) if figures is None else [ByName(request.pool.names, row) for row in figures]


def _utilities(utility: Floats, request: RoutingRequest) -> Iterable[Mapping[str, float]]:
    """Return each row's utilities by name, without masked candidates."""
    if np.count_nonzero(request.mask) == request.mask.size:
        return _by_name(utility, request)
    rows = zip(utility.tolist(), request.mask.tolist(), strict=True)
    return [{name: value for name, value, allowed in zip(request.pool.names, values, mask, strict=True) if allowed} for values, mask in rows]


def _notes(scores: Scores, request: RoutingRequest) -> list[dict[str, Any]]:
    """Return each decision's notes: the router's own, its own expected quality, and what deciding cost."""
    rows = len(request)
    notes = [dict(note) for note in scores.notes] if scores.notes else [{} for _ in range(rows)]
    if scores.expected_quality is not None and scores.expected_quality is not request.expected.quality:
        for note, quality in zip(notes, _by_name(scores.expected_quality, request), strict=True):
            note[EXPECTED_QUALITY] = quality
    for name, spent in (("spent_usd", scores.spent_usd), ("spent_ms", scores.spent_ms)):
        if isinstance(spent, float) and spent == 0:
            continue
        for note, amount in zip(notes, np.broadcast_to(spent, rows).tolist(), strict=True):
            if amount:
                note[name] = amount
    return notes
