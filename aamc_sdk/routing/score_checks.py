"""Checks of a router's scores; the errors name the array, and the likely cause of NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import PluginError, one_of
from aamc_sdk.types import Floats, RoutingRequest, Scores

_UNKNOWN_CAUSE = "the router may need a trained estimator (--estimator tce), or compute NaN from figures that it knows"
"""The likely cause of NaN where no price or latency is missing."""


def check_scores(scores: Scores, request: RoutingRequest) -> None:
    """Check a router's scores, except for utility and probabilities: the draw checks the one that it uses."""
    if not isinstance(scores, Scores):
        raise TypeError(f"a router's score must return aamc_sdk.Scores, not {type(scores).__name__}")
    if scores.expected_quality is not None:
        check_numbers(scores.expected_quality, request, "expected_quality")
    for name, spent in (("spent_usd", scores.spent_usd), ("spent_ms", scores.spent_ms)):
        if not isinstance(spent, float) or spent != 0:
            _check_spent(name, spent, len(request))


def check_numbers(array: Floats, request: RoutingRequest, name: str) -> None:
    """Check that an array of scores has one real number for each query and candidate, ``[B, M]``; ``name`` is its name in the error."""
    shape = request.mask.shape
    if getattr(array, "shape", None) != shape or array.dtype.kind not in "fiub":
        found = f"{type(array).__name__} of shape {np.shape(array)} and type {np.asarray(array).dtype}"
        raise PluginError(f"a router's {name} must be real numbers of shape {shape} (queries, candidates), not {found}")


def check_known_numbers(array: Floats, request: RoutingRequest, name: str) -> None:
    """Check an array of scores as :func:`check_numbers` does, and that it is not NaN for any allowed candidate."""
    check_numbers(array, request, name)
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
        found = f"{spent!r:.80}" if right_shape else f"an array of shape {amounts.shape}"
        raise PluginError(f"a router's {name} must be one number of at least 0, or {rows}, one for each query, not {found}")
