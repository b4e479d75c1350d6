"""The errors of expected answer lengths, and of the expected costs and latencies that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aamc_sdk.types import Dataset, Floats, RoutingRequest

STANDARD_ERRORS = 1.96
"""Standard errors between a mean and the bounds of its 95% interval."""


def length_errors(request: RoutingRequest, rows: Dataset) -> Mapping[str, Any] | None:
    """Return the errors by candidate; None if no length is expected or known.

    ``mae_tokens``, ``mae_cost_usd`` and ``mae_latency_ms`` are mean absolute errors, ``mae_tokens_of_mean`` that of the candidate's mean length on
    the same rows.

    Args:
        request: Q rows as a router sees them.
        rows: The same rows with their outcomes, of the same candidates.
    """
    expected, outcomes = request.expected, rows.outcomes
    if outcomes is None or outcomes.output_tokens is None or expected.output_tokens is None:
        return None
    found = {}
    for m, name in enumerate(request.pool.names):
        tokens, guess = outcomes.output_tokens[:, m], expected.output_tokens[:, m]
        known = np.isfinite(tokens)
        if known.any():
            mean = float(tokens[known].mean())
            cost = np.abs(expected.cost_usd - outcomes.cost_usd)[known, m]
            latency = np.abs(expected.latency_ms - outcomes.latency_ms)[known, m]
            found[name] = {
                "n": int(known.sum()),
                "mean_tokens": mean,
                "expected_tokens": float(guess[known].mean()),
                **_mean("mae_tokens", np.abs(guess - tokens)[known]),
                **_mean("mae_tokens_of_mean", np.abs(mean - tokens)[known]),
                **_mean("mae_cost_usd", cost[np.isfinite(cost)]),
                **_mean("mae_latency_ms", latency[np.isfinite(latency)]),
            }
    return found or None


def _mean(name: str, errors: Floats) -> dict[str, Any]:
    """Return the mean of N errors and its 95% interval; null without errors."""
    if not len(errors):
        return {name: None, f"{name}_ci95": None}
    mean, half_width = float(errors.mean()), STANDARD_ERRORS * float(errors.std(ddof=1) / np.sqrt(len(errors))) if len(errors) > 1 else np.nan
    return {name: mean, f"{name}_ci95": None if np.isnan(half_width) else [mean - half_width, mean + half_width]}
