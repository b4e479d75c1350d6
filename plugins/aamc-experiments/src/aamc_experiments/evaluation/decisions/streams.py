"""The comparison in an environment where a decision changes what comes after it: routers play streams of queries.

Draws come from the ids ``<seed>/<preference>/<position>``, so they repeat, and routers share their luck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aamc_experiments.evaluation.decisions.router_decisions import Answers, comparison_of, decision_ids, visible
from aamc_experiments.evaluation.decisions.comparison import Comparison, Integers, Names
from aamc_experiments.evaluation.decisions.preferences import QUALITY_ALONE, evaluation_points, latency_counts
from aamc_sdk.errors import PluginError
from aamc_sdk.interfaces import Environment, Progress, Reward, Router, RoutingStreams, Silence
from aamc_sdk.routing import draw
from aamc_sdk.types import Floats, Preference, RoutingRequest, text_hash

UNPLAYED = -1


def compare_streams(
    routers: Mapping[str, Router],
    env: Environment,
    split: str,
    request: RoutingRequest,
    *,
    reward: Reward,
    headline: Preference,
    seed: int,
    categories: Sequence[str] | Names,
    candidate_means: Floats,
    progress: Progress | None = None,
    points: Floats | None = None,
    streams: int = 64,
    steps: int = 48,
) -> Comparison:
    """Compare routers in an environment where a decision changes what comes after it.

    Every router plays each preference in ``streams`` streams of ``steps`` queries. Streams of one
    number meet the same queries and luck under every router and preference; Q is streams x steps,
    the streams of a step beside each other.

    Args:
        routers: By name, R of them.
        env: Where they play.
        split: Whose queries.
        request: All rows of the split as a router sees them.
        reward: The reward that the routers were trained for.
        headline: The preference of the headline columns.
        seed: The streams and the draws follow from it.
        categories: A name for each row of the split.
        candidate_means: Training means of quality, cost and latency, ``[M, 3]``.
        progress: Where to report.
        points: The preferences to compare at, ``[P, 3]``, instead of a comparison's usual 43.
        streams: Streams for each preference.
        steps: Queries in each stream.

    Raises:
        PreferenceError: The preference weighs nothing but a latency that is not known.
    """
    points = evaluation_points(headline, latency_counts(reward)) if points is None else points
    progress = progress or Silence()
    progress.start("Comparing", len(routers) * steps)
    served = np.full((steps, streams), UNPLAYED, dtype=np.intp)
    played = {}
    for name, router in routers.items():
        alone = not router.uses_preference and not router.samples  # the same decisions, hence outcomes, at every preference
        asked = points[:1] if alone else points
        vector = env.vector(
            len(asked) * streams,
            split,
            request=request,
            seed=seed,
            streams=np.tile(np.arange(streams), len(asked)),
            preferences=np.repeat(asked, streams, axis=0),
        )
        played[name] = _play_streams(router, vector, len(asked), len(request.pool), served, seed, progress)
        vector.close()
    texts = np.array([text_hash(query.text) for query in request.queries])
    return comparison_of(
        played,
        request,
        points,
        reward=reward,
        candidate_means=candidate_means,
        queries=texts[served.ravel()],
        category=np.asarray(categories, dtype=np.str_)[served.ravel()],
        stream=np.tile(np.arange(streams), steps),
    )


def _play_streams(router: Router, vector: RoutingStreams, points: int, candidates: int, served: Integers, seed: int, progress: Progress) -> Answers:
    """Play all streams to their end; note in ``served [steps, streams]`` which row each query was."""
    steps, streams = served.shape
    played = Answers.empty(points, served.size, candidates, streams=True)
    assert played.outcomes is not None
    assert played.outcomes.quality is not None
    quality_alone = slice(QUALITY_ALONE * streams, (QUALITY_ALONE + 1) * streams) if points > 1 else slice(streams)
    point = np.repeat(np.arange(points), streams)
    vector.reset(seed=seed)
    for step in range(steps):
        now = slice(step * streams, (step + 1) * streams)
        request = vector.request()
        request = visible(router, request, request.hindsight)
        scores = router.score(request)
        ids = decision_ids(seed, point, np.tile(np.arange(now.start, now.stop), points)) if router.samples else ()
        chosen = draw(scores, request, router.samples, seed, ids).chosen
        info = vector.step(chosen)[4]
        played.record_scores(now, scores, request, quality_alone)
        played.chosen[:, now] = chosen.reshape(points, streams)
        for kept, spent in ((played.spent_usd, scores.spent_usd), (played.spent_ms, scores.spent_ms)):
            kept[:, now] = np.broadcast_to(spent, len(chosen)).reshape(points, streams)
        for kept, name in ((played.outcomes.quality, "quality"), (played.outcomes.cost_usd, "cost_usd"), (played.outcomes.latency_ms, "latency_ms")):
            kept[:, now] = info[name].reshape(points, streams)
        _note_rows(served[step], info["row"][:streams])
        progress.advance(1)
    return played


def _note_rows(served: Integers, rows: Integers) -> None:
    """Note which rows the streams played; every router must have met the same.

    Raises:
        PluginError: This one met others than those before it.
    """
    if (served != UNPLAYED).any() and (served != rows).any():
        raise PluginError("routers met different queries: an environment's streams of one number must not depend on actions or preferences")
    served[:] = rows
