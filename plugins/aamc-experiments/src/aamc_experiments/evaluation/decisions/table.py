"""The comparison on a table of outcomes: every router answers its queries at every preference.

Draws come from the ids ``<seed>/<preference>/<position>``, so they repeat, and routers share their luck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aamc_experiments.evaluation.decisions.router_decisions import Answers, comparison_of, decision_ids, visible
from aamc_experiments.evaluation.decisions.comparison import Comparison, Names
from aamc_experiments.evaluation.decisions.preferences import QUALITY_ALONE, evaluation_points, latency_counts
from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import Progress, Reward, Router, Silence
from aamc_sdk.routing import draw
from aamc_sdk.types import Floats, Outcomes, Preference, RoutingRequest, text_hash

CHUNK = 4096
"""Most rows that a router scores at a time, which bounds its memory."""


def compare_table(
    routers: Mapping[str, Router],
    request: RoutingRequest,
    outcomes: Outcomes,
    *,
    reward: Reward,
    headline: Preference,
    seed: int,
    categories: Sequence[str] | Names,
    candidate_means: Floats,
    progress: Progress | None = None,
    points: Floats | None = None,
) -> Comparison:
    """Compare routers on a table of outcomes.

    Args:
        routers: By name, R of them.
        request: The table's queries as a router sees them, Q rows.
        outcomes: What each candidate did, ``[Q, M]``. A row with a missing cell is left out for all routers.
        reward: The reward that the routers were trained for.
        headline: The preference of the headline columns.
        seed: Draws follow from it.
        categories: A name each, ``[Q]``.
        candidate_means: Training means of quality, cost and latency, ``[M, 3]``.
        progress: Where to report.
        points: The preferences to compare at, ``[P, 3]``, instead of a comparison's usual 43.

    Raises:
        DataError: No row is complete.
        PreferenceError: The preference weighs nothing but a latency that is not known.
    """
    known = outcomes.complete
    rows = np.flatnonzero(known)
    if not rows.size:
        wanted = "an outcome of every candidate (quality, cost, and latency where there is any)"
        raise DataError(f"no test query has {wanted}; fill the gaps, or take a smaller pool")
    request, outcomes = request.take(rows), outcomes.take(rows)
    points = evaluation_points(headline, latency_counts(reward, outcomes)) if points is None else points
    progress = progress or Silence()
    progress.start("Comparing", len(routers) * len(rows))
    played = {name: _answer_table(router, request, outcomes, points, seed, progress) for name, router in routers.items()}
    return comparison_of(
        played,
        request,
        points,
        reward=reward,
        candidate_means=candidate_means,
        queries=np.array([text_hash(query.text) for query in request.queries]),
        category=np.asarray(categories, dtype=np.str_)[rows],
        stream=np.arange(len(rows)),
        outcomes=outcomes,
        missing=int((~known).sum()),
    )


def _answer_table(router: Router, request: RoutingRequest, outcomes: Outcomes, points: Floats, seed: int, progress: Progress) -> Answers:
    played = Answers.empty(len(points), len(request), len(request.pool))
    for start in range(0, len(request), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(request)))
        part = visible(router, request.take(rows), outcomes.take(rows))
        groups = _alike(points, router)
        each = router.score_each(part, points[[alike[0] for alike in groups]])
        for alike, scores in zip(groups, each, strict=True):
            if QUALITY_ALONE in alike:
                played.record_scores(rows, scores, part)
            for point in alike:
                ids = decision_ids(seed, np.full(len(rows), point), rows) if router.samples else ()
                played.chosen[point, rows] = draw(scores, part, router.samples, seed, ids).chosen
                played.spent_usd[point, rows] = scores.spent_usd
                played.spent_ms[point, rows] = scores.spent_ms
        progress.advance(len(rows))
    return played


def _alike(points: Floats, router: Router) -> list[NDArray[np.intp]]:
    """Return groups of points that the router scores alike: equal ones, or all where it does not look at them."""
    if not router.uses_preference:
        return [np.arange(len(points))]
    _, group = np.unique(points, axis=0, return_inverse=True)
    return [np.flatnonzero(group.ravel() == g) for g in range(group.max() + 1)]
