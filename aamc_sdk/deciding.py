"""From a router's scores to decisions: the draw, its propensity, and what to remember of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from aamc_sdk.batch import RoutingRequest, Scores
from aamc_sdk.draw import allowed_probabilities, draw
from aamc_sdk.errors import ConfigError
from aamc_sdk.types import Decision, Preference


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
    if len(ids) != len(request):
        raise ConfigError(f"{len(request)} requests need as many ids, not {len(ids)}")
    chosen, propensities = draw(scores, request, sample, seed, ids)
    probabilities = _probabilities(scores, request, sample)
    notes = _notes(scores, len(request))
    now = time.time()
    return [
        Decision(
            id=ids[row],
            candidate=request.pool.names[chosen[row]],
            propensity=float(propensities[row]),
            preference=Preference(*request.preferences[row]),
            probabilities=probabilities[row],
            router=router,
            time=now,
            notes=notes[row],
        )
        for row in range(len(request))
    ]


def _probabilities(scores: Scores, request: RoutingRequest, sample: bool) -> list[dict[str, float]]:
    """Return what each row was drawn from, nothing where there was no draw."""
    if scores.probabilities is None or not sample:
        return [{} for _ in request.queries]
    rows = allowed_probabilities(scores.probabilities, request.mask)
    return [dict(zip(request.pool.names, row.tolist(), strict=True)) for row in rows]


def _notes(scores: Scores, rows: int) -> list[dict[str, Any]]:
    """Return what each decision should remember: the router's notes, and what deciding used up."""
    notes = [dict(note) for note in scores.notes] or [{} for _ in range(rows)]
    for name in ("spent_usd", "spent_ms"):
        for note, spent in zip(notes, np.broadcast_to(getattr(scores, name), rows), strict=True):
            if spent:
                note[name] = float(spent)
    return notes
