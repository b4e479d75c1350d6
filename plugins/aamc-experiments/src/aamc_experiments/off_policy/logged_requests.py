"""Requests rebuilt from the columns of a log, in the form that routers scored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aamc_experiments.off_policy.logged_decisions import LoggedDecisions
from aamc_sdk.types import Candidate, Estimates, Floats, Outcomes, Pool, RoutingRequest


def logged_request(log: LoggedDecisions, rows: NDArray[np.intp], pool: Pool) -> RoutingRequest:
    """Return some decisions of a log as a request.

    Args:
        log: The decisions.
        rows: Rows of one of :meth:`LoggedDecisions.batches`.
        pool: Describes the candidates; a candidate that is not in it has only its name.
    """
    names, columns = log.pools[log.pool[rows[0]]], log.columns
    known, cells = {candidate.name: candidate for candidate in pool}, np.ix_(rows, log.places(names))
    reasons = [columns["masked_why"][row] for row in rows]
    quality, in_flight = columns["expected_quality"][cells], columns["in_flight"][cells]
    return RoutingRequest(
        queries=columns["query"].take(rows),
        estimates=_estimates(log, rows),
        pool=Pool(known.get(name, Candidate(name)) for name in names),
        preferences=columns["preference"][rows],
        expected=Outcomes(
            quality=None if np.isnan(quality).all() else quality,
            cost_usd=columns["expected_cost_usd"][cells],
            latency_ms=columns["expected_latency_ms"][cells],
        ),
        wait_ms=columns["wait_ms"][cells],
        mask=columns["mask"][cells],
        masked_why={
            why: np.array([[row.get(name) == why for name in names] for row in reasons]) for why in {why for row in reasons for why in row.values()}
        },
        preference_given=bool(columns["preference_given"][rows[0]]),
        in_flight=None if np.isnan(in_flight).all() else np.nan_to_num(in_flight),
    )


def _estimates(log: LoggedDecisions, rows: NDArray[np.intp]) -> Estimates:
    """Return the estimates of some decisions; embeddings of several estimators cannot be compared and are left out."""
    columns = log.columns
    fingerprints = {columns["estimator"][row] for row in rows}
    categories = columns["categories"][rows]
    given = np.flatnonzero(~np.isnan(categories).all(axis=0))
    fingerprint = fingerprints.pop() if len(fingerprints) == 1 else ""
    return Estimates(
        complexity=columns["complexity"][rows],
        categories=np.nan_to_num(categories[:, given]),
        category_names=tuple(log.category_names[place] for place in given),
        tool_use=columns["tool_use"][rows],
        embedding=_without_padding(columns["embedding"][rows]) if fingerprint and columns["embedding"] is not None else None,
        fingerprint=fingerprint,
    )


def _without_padding(embedding: Floats) -> Floats | None:
    """Return embeddings without the columns in which none of them has a number."""
    known = np.flatnonzero(~np.isnan(embedding).all(axis=0))
    return embedding[:, : known[-1] + 1] if len(known) else None
