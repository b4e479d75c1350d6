"""Comparison in an environment whose outcomes depend on earlier decisions: routers play streams of queries.

Draws have the ids ``<seed>/<preference>/<position>``, so they are repeatable, and the same for all routers.
"""

from __future__ import annotations

import numpy as np

from aamc_experiments.evaluation.decisions.comparison import Comparison, Integers
from aamc_experiments.evaluation.decisions.preferences import QUALITY_ALONE
from aamc_experiments.evaluation.decisions.request import ComparisonRequest
from aamc_experiments.evaluation.decisions.router_decisions import RouterDecisions, comparison_of, decision_ids, visible
from aamc_experiments.router_errors import errors_of
from aamc_sdk.errors import PluginError
from aamc_sdk.interfaces import Environment, Progress, Router, RoutingStreams
from aamc_sdk.routing import draw
from aamc_sdk.types import Floats

UNPLAYED = -1


def compare_streams(compared: ComparisonRequest, env: Environment, split: str, *, streams: int, steps: int, warm_up: int) -> Comparison:
    """Compare routers in an environment whose outcomes depend on earlier decisions.

    Every router plays each preference in ``streams`` streams of ``steps`` queries. Streams of one number have the same
    queries and random numbers under every router and preference. Q is streams x steps, the streams of a step adjacent.

    Args:
        compared: The request of the comparison, with all rows of the split.
        env: The environment.
        split: The split whose queries are played.
        streams: The streams for each preference.
        steps: The queries in each stream that count.
        warm_up: The queries in each stream before them.

    Raises:
        PreferenceError: The headline preference weighs only latency, which is not known.
        PluginError: A router failed, its scores cannot be used, or the environment gave two routers different queries.
    """
    points, progress = compared.points(), compared.progress
    progress.start(compared.stage, len(compared.routers) * (warm_up + steps))
    played_rows = np.full((steps, streams), UNPLAYED, dtype=np.intp)
    decisions, found = {}, list[Floats]()
    for name, router in compared.routers.items():
        once = not router.uses_preference and not router.samples  # the same decisions, hence outcomes, at every preference
        played_points = points[:1] if once else points
        vector = env.vector(
            len(played_points) * streams,
            split,
            request=compared.request,
            seed=compared.seed,
            streams=np.tile(np.arange(streams), len(played_points)),
            preferences=np.repeat(played_points, streams, axis=0),
        )
        decided = RouterDecisions.empty(len(played_points), played_rows.size, len(compared.request.pool), streams=True)
        found = _play_streams(name, router, vector, decided, played_rows, compared.seed, warm_up, progress)
        decisions[name] = decided
        vector.close()
    # any router's will do: it depends on the queries and random numbers alone
    counterfactual = np.concatenate(found) if found else None
    return comparison_of(compared, points, decisions, played_rows.ravel(), np.tile(np.arange(streams), steps), counterfactual_quality=counterfactual)


def _play_streams(
    name: str, router: Router, vector: RoutingStreams, decided: RouterDecisions, played_rows: Integers, seed: int, warm_up: int, progress: Progress
) -> list[Floats]:
    """Play all streams to their end; after the warm-up, record decisions, and the row of each query in ``played_rows [steps, streams]``.

    Returns:
        The quality that each candidate would have had, ``[streams, M]`` a step; empty if the streams do not tell it.
    """
    steps, streams = played_rows.shape
    points = len(decided.chosen)
    assert decided.outcomes is not None
    assert decided.outcomes.quality is not None
    recorded = {"quality": decided.outcomes.quality, "cost_usd": decided.outcomes.cost_usd, "latency_ms": decided.outcomes.latency_ms}
    quality_alone = slice(QUALITY_ALONE * streams, (QUALITY_ALONE + 1) * streams) if points > 1 else slice(streams)
    point = np.repeat(np.arange(points), streams)
    counterfactual: list[Floats] = []
    counterfactual_quality = getattr(vector, "counterfactual_quality", None)
    vector.reset(seed=seed)
    for step in range(-warm_up, steps):
        now = slice(step * streams, (step + 1) * streams)
        request = vector.request()
        if counterfactual_quality is not None and step >= 0:
            counterfactual.append(counterfactual_quality()[:streams])
        request = visible(router, request, request.hindsight)
        ids = decision_ids(seed, point, np.tile(np.arange(now.start, now.stop), points)) if router.samples else ()
        with errors_of(name):
            scores = router.score(request)
            chosen = draw(scores, request, router.samples, seed, ids).chosen
        info = vector.step(chosen)[4]
        progress.advance(1)
        if step < 0:
            continue
        decided.record_scores(now, scores, request, quality_alone)
        decided.chosen[:, now] = chosen.reshape(points, streams)
        for array, spent in ((decided.spent_usd, scores.spent_usd), (decided.spent_ms, scores.spent_ms)):
            array[:, now] = np.broadcast_to(spent, len(chosen)).reshape(points, streams)
        for figure, array in recorded.items():
            array[:, now] = info[figure].reshape(points, streams)
        _record_rows(played_rows[step], info["row"][:streams])
    return counterfactual


def _record_rows(played: Integers, rows: Integers) -> None:
    """Record the rows that the streams of a step played.

    Raises:
        PluginError: An earlier router played other rows.
    """
    if (played != UNPLAYED).any() and (played != rows).any():
        raise PluginError("routers met different queries: an environment's streams of one number must not depend on actions or preferences")
    played[:] = rows
