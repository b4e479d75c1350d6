"""From a router's scores to decisions: the draw, its propensity, and what to remember of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from aamc_sdk.errors import ConfigError
from aamc_sdk.routing.draw import draw
from aamc_sdk.types import Decision, Floats, Preference, RoutingRequest, Scores


def decide(request: RoutingRequest, scores: Scores, ids: Sequence[str], *, router: str, sample: bool, seed: int) -> list[Decision]:
    """Return a decision for each row of a request.

    Args:
        request: What was asked, B rows.
        scores: What the router answered.
        ids: The decisions' ids, B of them; with the seed they fix the draws.
        router: The router's name.
        sample: Whether to draw from the probabilities, or to take the greatest utility.
        seed: Draws follow from it and the ids.

    Raises:
        NoCandidateError: Every candidate of a row is masked.
        PluginError: The scores cannot be used.
    """
    if len(ids) != (rows := len(request)):
        raise ConfigError(f"{rows} requests need as many ids, not {len(ids)}")
    drawn = draw(scores, request, sample, seed, ids)
    names, now = request.pool.names, time.time()
    chosen = ids, drawn.chosen.tolist(), drawn.propensities.tolist()
    remembered = _preferences(request), _by_name(drawn.probabilities, request), _notes(scores, rows)
    return [
        Decision(decision_id, names[candidate], propensity, preference, drawn_from, router, now, notes)  # keywords would take a fifth longer
        for decision_id, candidate, propensity, preference, drawn_from, notes in zip(*chosen, *remembered, strict=True)
    ]


def _preferences(request: RoutingRequest) -> list[Preference]:
    """Return each row's preference; rows with the same one share the object."""
    if len(request) and request.preferences.strides[0] == 0:  # one for all
        return [_preference(*request.preferences[0].tolist())] * len(request)
    return list(map(_preference, *request.preferences.T.tolist()))


@lru_cache(4096)  # most requests have one of few preferences, and checking one takes longer than finding it
def _preference(quality: float, cost: float, latency: float) -> Preference:
    return Preference(quality, cost, latency)


def _by_name(probabilities: Floats | None, request: RoutingRequest) -> list[dict[str, float]]:
    """Return what each row was drawn from, nothing where there was no draw."""
    if probabilities is None:
        return [{} for _ in request.queries]
    return [dict(zip(request.pool.names, row, strict=True)) for row in probabilities.tolist()]


def _notes(scores: Scores, rows: int) -> list[dict[str, Any]]:
    """Return what each decision should remember: the router's notes, and what deciding used up."""
    notes = [dict(note) for note in scores.notes] if scores.notes else [{} for _ in range(rows)]
    for name, spent in (("spent_usd", scores.spent_usd), ("spent_ms", scores.spent_ms)):
        if isinstance(spent, float) and spent == 0:
            continue
        for note, amount in zip(notes, np.broadcast_to(spent, rows).tolist(), strict=True):
            if amount:
                note[name] = amount
    return notes
