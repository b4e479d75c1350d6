"""What is recorded while a router answers, and how the records of all become one comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from aamc_experiments.evaluation.decisions.comparison import Comparison, Integers, Names
from aamc_sdk.interfaces import Reward, Router
from aamc_sdk.routing import LinearReward
from aamc_sdk.types import Floats, Outcomes, RoutingRequest, Scores


@attrs.frozen(eq=False)
class Answers:
    """What one router decided: P preferences, Q queries, M candidates; outcomes only where it played streams."""

    chosen: Integers
    spent_usd: Floats
    spent_ms: Floats
    utility: Floats
    expected_quality: Floats
    outcomes: Outcomes | None = None

    @classmethod
    def empty(cls, points: int, queries: int, candidates: int, streams: bool = False) -> Answers:
        """Return room for the answers to each query at each point; with ``streams``, for what came of them too."""
        shape = (points, queries)
        outcomes = Outcomes(np.empty(shape), np.empty(shape), np.empty(shape)) if streams else None
        nothing = np.full((2, queries, candidates), np.nan, dtype=np.float32)
        return cls(np.empty(shape, dtype=np.int16), np.zeros(shape), np.zeros(shape, dtype=np.float32), nothing[0], nothing[1], outcomes)

    def record_scores(self, rows: Any, scores: Scores, request: RoutingRequest, part: slice = slice(None)) -> None:
        """Keep the scores of some of the request's rows: utilities, and the expected quality behind them."""
        own = scores.expected_quality
        self.utility[rows] = scores.utility[part]
        self.expected_quality[rows] = (request.expected.known_quality if own is None else own)[part]


def visible(router: Router, request: RoutingRequest, hindsight: Outcomes | None) -> RoutingRequest:
    """Return the request as the router may see it: with hindsight if it is privileged, else without."""
    return attrs.evolve(request, hindsight=hindsight if router.privileged else None)


def decision_ids(seed: int, points: Integers, positions: Integers) -> list[str]:
    """Return the ids of evaluation's draws: the preference's row and the query's position, under the seed."""
    return [f"{seed}/{point}/{position}" for point, position in zip(points.tolist(), positions.tolist(), strict=True)]


def comparison_of(
    played: Mapping[str, Answers],
    request: RoutingRequest,
    points: Floats,
    *,
    reward: Reward,
    candidate_means: Floats,
    queries: Names,
    category: Names,
    stream: Integers,
    outcomes: Outcomes | None = None,
    missing: int = 0,
) -> Comparison:
    """Put together what the routers did; outcomes are the table's, else what each router met in its streams."""
    shape = (len(points), len(queries))
    everyone = list(played.values())
    if outcomes is None:
        met = [one.outcomes for one in everyone if one.outcomes is not None]
        outcomes = Outcomes(*(_stacked([getattr(one, name) for one in met], shape) for name in ("quality", "cost_usd", "latency_ms")))
    return Comparison(
        routers=np.array(list(played)),
        preferences=points,
        queries=queries,
        category=category,
        candidates=np.array(request.pool.names),
        candidate_means=candidate_means,
        scales=_scales(reward),
        chosen=_stacked([one.chosen for one in everyone], shape),
        spent_usd=_stacked([one.spent_usd for one in everyone], shape),
        spent_ms=_stacked([one.spent_ms for one in everyone], shape),
        expected_quality=np.stack([one.expected_quality for one in everyone]),
        utility=np.stack([one.utility for one in everyone]),
        stream=stream,
        quality=outcomes.known_quality,
        cost_usd=outcomes.cost_usd,
        latency_ms=outcomes.latency_ms,
        missing=np.array(missing),
    )


def _stacked(arrays: Sequence[Any], shape: tuple[int, int]) -> Any:
    """Stack the routers' ``[P, Q]`` arrays; one of ``[1, Q]`` holds for every preference."""
    return np.stack([np.broadcast_to(array, shape) for array in arrays])


def _scales(reward: Reward) -> Floats:
    if not isinstance(reward, LinearReward):
        return np.full((2, 2), np.nan)
    return np.array([attrs.astuple(reward.cost), attrs.astuple(reward.latency)])
