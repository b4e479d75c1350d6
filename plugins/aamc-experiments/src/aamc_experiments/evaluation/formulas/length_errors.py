"""The errors of expected answer lengths, and of the expected costs and latencies that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aamc_experiments.evaluation.bootstrap import Resampling, known_interval, ratio
from aamc_experiments.evaluation.decisions import question_units
from aamc_sdk.storage import plain
from aamc_sdk.types import Dataset, Floats, RoutingRequest


def length_errors(request: RoutingRequest, rows: Dataset, resamples: int = 1000, seed: int = 0) -> Mapping[str, Any] | None:
    """Return the errors by candidate; None if no length is expected or known.

    ``mae_tokens``, ``mae_cost_usd`` and ``mae_latency_ms`` are mean absolute errors, ``mae_tokens_of_mean`` that of the candidate's mean length on
    the same rows. Intervals are by the bootstrap over questions.

    Args:
        request: Q rows as a router sees them.
        rows: The same rows with their outcomes, of the same candidates.
        resamples: The number of resamples.
        seed: The seed of the resamples.
    """
    expected, outcomes = request.expected, rows.outcomes
    if outcomes is None or outcomes.output_tokens is None or expected.output_tokens is None:
        return None
    tokens, guess = outcomes.output_tokens, expected.output_tokens
    known = np.isfinite(tokens)
    resampling = Resampling.bootstrap(question_units(rows.queries), resamples, seed).with_data()

    def means(values: Floats) -> Floats:
        """Return the mean of each candidate's known values ``[Q, M]``, in the data and in each resample, ``[1 + B, M]``."""
        counted = known & np.isfinite(values)
        return ratio(resampling.means(np.where(counted, values, 0.0)), resampling.means(counted.astype(np.float64)))

    lengths = {"mean_tokens": means(tokens), "expected_tokens": means(guess)}
    errors = {
        "mae_tokens": means(np.abs(guess - tokens)),
        "mae_tokens_of_mean": means(np.abs(lengths["mean_tokens"][0] - tokens)),
        "mae_cost_usd": means(np.abs(expected.cost_usd - outcomes.cost_usd)),
        "mae_latency_ms": means(np.abs(expected.latency_ms - outcomes.latency_ms)),
    }
    found: dict[str, Any] = {}
    for m in np.flatnonzero(known.any(axis=0)):
        values = {name: value[0, m] for name, value in (lengths | errors).items()}
        bounds = {f"{name}_ci95": known_interval(value[1:, m]) for name, value in errors.items()}
        found[request.pool.names[m]] = plain({"n": int(known[:, m].sum()), **values, **bounds})
    return found or None
