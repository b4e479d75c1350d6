"""The record of one router's decisions, and the comparison that the records of all routers make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from aamc_experiments.evaluation.decisions.comparison import Comparison, Integers
from aamc_experiments.evaluation.decisions.request import ComparisonRequest
from aamc_sdk.interfaces import Reward, Router
from aamc_sdk.routing import LinearReward
from aamc_sdk.types import Floats, Outcomes, RoutingRequest, Scores, text_hash


@attrs.frozen(eq=False)
class RouterDecisions:
    """The decisions of one router on Q queries at P preferences, among M candidates.

    Attributes:
        chosen: The position of the chosen candidate, ``[P, Q]``.
        spent_usd: The cost of deciding in USD, ``[P, Q]``.
        spent_ms: The time of deciding in ms, beyond computing, ``[P, Q]``.
        utility: The scores at (1, 0, 0), ``[Q, M]``.
        expected_quality: The expected quality behind these scores, ``[Q, M]``.
        outcomes: The outcomes in the router's own streams, ``[P, Q]``; None for tables.
    """

    chosen: Integers
    spent_usd: Floats
    spent_ms: Floats
    utility: Floats
    expected_quality: Floats
    outcomes: Outcomes | None = None

    @classmethod
    def empty(cls, points: int, queries: int, candidates: int, streams: bool = False) -> RouterDecisions:
        """Allocate the arrays; those of outcomes only for streams."""
        shape = (points, queries)
        outcomes = Outcomes(np.empty(shape), np.empty(shape), np.empty(shape)) if streams else None
        unknown = np.full((2, queries, candidates), np.nan, dtype=np.float32)
        return cls(np.empty(shape, dtype=np.int16), np.zeros(shape), np.zeros(shape, dtype=np.float32), unknown[0], unknown[1], outcomes)

    def record_scores(self, rows: Any, scores: Scores, request: RoutingRequest, part: slice = slice(None)) -> None:
        """Record utilities and expected quality of a part of a scored request as those of some rows."""
        own = scores.expected_quality
        self.utility[rows] = scores.utility[part]
        self.expected_quality[rows] = (request.expected.known_quality if own is None else own)[part]


def visible(router: Router, request: RoutingRequest, hindsight: Outcomes | None) -> RoutingRequest:
    """Return the request that the router may see: with hindsight only if it is privileged."""
    return attrs.evolve(request, hindsight=hindsight if router.privileged else None)


def decision_ids(seed: int, points: Integers, positions: Integers) -> list[str]:
    """Return the ids of draws: ``seed/preference/position``, with the rows of the preference and of the query."""
    return [f"{seed}/{point}/{position}" for point, position in zip(points.tolist(), positions.tolist(), strict=True)]


def comparison_of(
    compared: ComparisonRequest,
    points: Floats,
    decisions: Mapping[str, RouterDecisions],
    rows: Integers,
    stream: Integers,
    outcomes: Outcomes | None = None,
    counterfactual_quality: Floats | None = None,
) -> Comparison:
    """Return the comparison of all routers' decisions.

    Args:
        compared: The request of the comparison.
        points: The preferences, ``[P, 3]``.
        decisions: The decisions by router.
        rows: The requested row of each decided query, ``[Q]``.
        stream: The stream of each decided query, ``[Q]``.
        outcomes: The table's outcomes of these rows, ``[Q, M]``; None to take those that each router had in its streams.
        counterfactual_quality: In streams the quality that each candidate would have had, ``[Q, M]``; None if unknown.
    """
    shape, missing = (len(points), len(rows)), 0 if outcomes is None else len(compared.request) - len(rows)
    recorded = list(decisions.values())
    if outcomes is None:
        played = [one.outcomes for one in recorded if one.outcomes is not None]
        outcomes = Outcomes(*(_stacked([getattr(one, name) for one in played], shape) for name in ("quality", "cost_usd", "latency_ms")))
    return Comparison(
        routers=np.array(list(decisions)),
        preferences=points,
        queries=np.array([text_hash(query.text) for query in compared.request.queries])[rows],
        category=compared.categories_of(rows),
        candidates=np.array(compared.request.pool.names),
        candidate_means=compared.candidate_means,
        scales=_scales(compared.reward),
        chosen=_stacked([one.chosen for one in recorded], shape),
        spent_usd=_stacked([one.spent_usd for one in recorded], shape),
        spent_ms=_stacked([one.spent_ms for one in recorded], shape),
        expected_quality=np.stack([one.expected_quality for one in recorded]),
        utility=np.stack([one.utility for one in recorded]),
        stream=stream,
        quality=outcomes.known_quality,
        cost_usd=outcomes.cost_usd,
        latency_ms=outcomes.latency_ms,
        missing=np.array(missing),
        **({} if counterfactual_quality is None else {"counterfactual_quality": counterfactual_quality}),
    )


def _stacked(arrays: Sequence[Any], shape: tuple[int, int]) -> Any:
    """Stack the routers' ``[P, Q]`` arrays; one of ``[1, Q]`` holds for every preference."""
    return np.stack([np.broadcast_to(array, shape) for array in arrays])


def _scales(reward: Reward) -> Floats:
    if not isinstance(reward, LinearReward):
        return np.full((2, 2), np.nan)
    return np.array([attrs.astuple(reward.cost), attrs.astuple(reward.latency)])
