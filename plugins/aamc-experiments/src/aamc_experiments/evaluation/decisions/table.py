"""Comparison on a table of outcomes: every router decides its queries at every preference.

Draws have the ids ``<seed>/<preference>/<position>``, so they are repeatable, and the same for all routers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aamc_experiments.evaluation.decisions.comparison import Comparison, Integers
from aamc_experiments.evaluation.decisions.preferences import QUALITY_ALONE
from aamc_experiments.evaluation.decisions.request import ComparisonRequest
from aamc_experiments.evaluation.decisions.router_decisions import RouterDecisions, comparison_of, decision_ids, visible
from aamc_experiments.router_errors import errors_of
from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import Progress, Router
from aamc_sdk.routing import draw
from aamc_sdk.types import Floats, Outcomes, Query, RoutingRequest, question

CHUNK = 4096
"""The maximum number of rows that a router scores at a time, which bounds its memory."""


def compare_table(compared: ComparisonRequest, outcomes: Outcomes) -> Comparison:
    """Compare routers on a table of outcomes.

    Args:
        compared: The request of the comparison.
        outcomes: The outcomes of every candidate, ``[Q, M]``. Rows with a missing cell are left out for all routers.

    Raises:
        DataError: No row is complete.
        PluginError: A router failed, or its scores cannot be used.
        PreferenceError: The headline preference weighs only latency, which is not known.
    """
    rows = np.flatnonzero(outcomes.complete)
    if not rows.size:
        raise DataError(_no_complete_row(outcomes, compared.request.pool.names))
    request, outcomes = compared.request.take(rows), outcomes.take(rows)
    points, progress = compared.points(outcomes), compared.progress
    progress.start(compared.stage, len(compared.routers) * len(rows))
    decisions = {}
    for name, router in compared.routers.items():
        decisions[name] = _decide_table(name, router, request, outcomes, points, compared.seed, progress)
    return comparison_of(compared, points, decisions, rows, question_units(request.queries), outcomes)


def question_units(queries: Sequence[Query]) -> Integers:
    """Return the unit of resampling of each query, ``[Q]``: rows of one question are not independent, so they share a unit."""
    units: dict[str | int, int] = {}
    return np.array([units.setdefault(question(query) or row, len(units)) for row, query in enumerate(queries)], dtype=np.intp)


def _no_complete_row(outcomes: Outcomes, names: Sequence[str]) -> str:
    gaps = (~outcomes.known).sum(axis=0)
    most = ", ".join(f"{names[m]} ({gaps[m]} of {len(outcomes.known)})" for m in np.argsort(-gaps, kind="stable")[:3] if gaps[m])
    needed = "an outcome of every candidate (quality, cost, and latency where there is any)"
    return f"no test query has {needed}; most gaps: {most}; fill the gaps, or take a smaller pool"


def _decide_table(
    name: str, router: Router, request: RoutingRequest, outcomes: Outcomes, points: Floats, seed: int, progress: Progress
) -> RouterDecisions:
    decided = RouterDecisions.empty(len(points), len(request), len(request.pool))
    for start in range(0, len(request), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(request)))
        part = visible(router, request.take(rows), outcomes.take(rows))
        groups = _scored_alike(points, router)
        with errors_of(name):
            scored = router.score_each(part, points[[group[0] for group in groups]])
            for group, scores in zip(groups, scored, strict=True):
                for point in group:
                    ids = decision_ids(seed, np.full(len(rows), point), rows) if router.samples else ()
                    decided.chosen[point, rows] = draw(scores, part, router.samples, seed, ids).chosen
                    decided.spent_usd[point, rows] = scores.spent_usd
                    decided.spent_ms[point, rows] = scores.spent_ms
                if QUALITY_ALONE in group:
                    decided.record_scores(rows, scores, part)
        progress.advance(len(rows))
    return decided


def _scored_alike(points: Floats, router: Router) -> list[NDArray[np.intp]]:
    """Return groups of points with equal scores: equal preferences, or all points for a router that ignores preferences."""
    if not router.uses_preference:
        return [np.arange(len(points))]
    _, group = np.unique(points, axis=0, return_inverse=True)
    return [np.flatnonzero(group.ravel() == g) for g in range(group.max() + 1)]
