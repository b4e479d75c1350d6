"""The decisions of routers at every preference: on a table of outcomes, or in an environment whose outcomes depend on earlier decisions.

Draws have the ids of :func:`decision_ids`, so they are repeatable, and the same for all routers and preferences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.evaluation.comparison import HEADLINE, QUALITY_ALONE, Comparison, Integers, Names, evaluation_points, latency_counts
from aamc_sdk.errors import DataError, PluginError
from aamc_sdk.interfaces import CounterfactualStreams, Environment, NoProgress, Progress, Reward, Router, RoutingStreams
from aamc_sdk.messages import component_errors, router_errors
from aamc_sdk.routing import LinearReward, draw
from aamc_sdk.types import Floats, Outcomes, Preference, Query, RoutingRequest, Scores, normalized_text, text_hash


@attrs.frozen(kw_only=True, eq=False)
class ComparisonRequest:
    """The request of a comparison of R routers on Q rows.

    Attributes:
        routers: The routers by name.
        request: The rows as a router sees them.
        reward: The reward that the routers were trained for.
        headline: The preference of the headline figures.
        seed: The seed of draws and streams.
        categories: The category of each row, ``[Q]``; ``""`` for none.
        candidate_means: The candidates' mean training quality, cost in USD and latency in ms, ``[M, 3]``.
        preferences: The preferences to compare at, ``[P, 3]``; None for the usual 43, see :func:`evaluation_points`.
        progress: Receives the progress.
        stage: The name of the comparison in the progress.
    """

    routers: Mapping[str, Router]
    request: RoutingRequest
    reward: Reward
    headline: Preference
    seed: int
    categories: Sequence[str] | Names
    candidate_means: Floats
    preferences: Floats | None = None
    progress: Progress = attrs.field(factory=NoProgress)
    stage: str = "Comparing"

    def points(self, outcomes: Outcomes | None = None) -> Floats:
        """Return the preferences to compare at, ``[P, 3]``.

        Args:
            outcomes: The outcomes of the rows, if known beforehand; they show whether latency is known.

        Raises:
            PreferenceError: The headline preference weighs only latency, which is not known.
        """
        if self.preferences is not None:
            return self.preferences
        return evaluation_points(self.headline, latency_counts(self.reward, outcomes))


def visible(router: Router, request: RoutingRequest, hindsight: Outcomes | None) -> RoutingRequest:
    """Return the request that the router may see: with hindsight only if it is privileged."""
    return attrs.evolve(request, hindsight=hindsight if router.privileged else None)


def decision_ids(seed: int, positions: Integers) -> list[str]:
    """Return the ids of draws, ``<seed>/0/<position>`` of the query, for every preference.

    These are common random numbers. With new draws at each preference, the hull over the sweep would measure a router that
    samples by the luckiest of 21 draws.
    """
    return [f"{seed}/{HEADLINE}/{position}" for position in positions.tolist()]


def _undecided(compared: ComparisonRequest, points: Floats, stream: Integers, outcomes: Outcomes | None = None) -> Comparison:
    """Return a comparison whose routers have yet to decide Q queries, which :func:`_of_rows` describes.

    Args:
        compared: The request of the comparison.
        points: The preferences, ``[P, 3]``.
        stream: The stream of each query, ``[Q]``.
        outcomes: The table's outcomes of the queries, ``[Q, M]``; None for those that each router will have in its streams.
    """
    pool, shape = compared.request.pool, (len(compared.routers), len(points), len(stream))
    if outcomes is None:
        outcomes = Outcomes(*(np.empty(shape) for _ in range(3)))
    unknown = np.full((2, len(compared.routers), len(stream), len(pool)), np.nan, dtype=np.float32)
    return Comparison(
        routers=np.array(list(compared.routers)),
        preferences=points,
        queries=np.full(len(stream), ""),
        category=np.full(len(stream), ""),
        candidates=np.array(pool.names),
        candidate_means=compared.candidate_means,
        scales=_scales(compared.reward),
        chosen=np.empty(shape, dtype=np.int16),
        spent_usd=np.zeros(shape),
        spent_ms=np.zeros(shape, dtype=np.float32),
        expected_quality=unknown[0],
        utility=unknown[1],
        stream=stream,
        quality=outcomes.known_quality,
        cost_usd=outcomes.cost_usd,
        latency_ms=outcomes.latency_ms,
        missing=np.array(0),
    )


def _of_rows(comparison: Comparison, compared: ComparisonRequest, rows: Integers, **further: Any) -> Comparison:
    """Return the comparison with the text and category of each query's requested row, ``[Q]``, and further arrays."""
    queries = np.array([text_hash(query.text) for query in compared.request.queries])
    return attrs.evolve(comparison, queries=queries[rows], category=np.asarray(compared.categories, dtype=np.str_)[rows], **further)


def _record_scores(comparison: Comparison, place: int, rows: Any, scores: Scores, request: RoutingRequest, part: slice = slice(None)) -> None:
    """Record a router's utilities and expected quality in a part of a scored request as those of some rows."""
    own = scores.expected_quality
    comparison.utility[place, rows] = scores.utility[part]
    comparison.expected_quality[place, rows] = (request.expected.known_quality if own is None else own)[part]


def _scales(reward: Reward) -> Floats:
    if not isinstance(reward, LinearReward):
        return np.full((2, 2), np.nan)
    return np.array([attrs.astuple(reward.cost), attrs.astuple(reward.latency)])


CHUNK = 4096
"""The maximum number of rows that a router scores at a time, which bounds its memory."""


def compare_table(compared: ComparisonRequest, outcomes: Outcomes) -> Comparison:
    """Compare routers on a table of outcomes.

    Args:
        compared: The request of the comparison.
        outcomes: The outcomes of every candidate, ``[Q, M]``. Rows with a missing cell of an allowed candidate are left out for all routers.

    Raises:
        DataError: No row is complete.
        PluginError: A router failed, or its scores cannot be used.
        PreferenceError: The headline preference weighs only latency, which is not known.
    """
    rows = complete_rows(outcomes, compared.request.mask, compared.request.pool.names)
    request, outcomes = compared.request.take(rows), outcomes.take(rows)
    outcomes = outcomes.where(request.mask | outcomes.complete[:, None])
    points = compared.points(outcomes.with_substitutes(outcomes.known))
    compared.progress.start(compared.stage, len(compared.routers) * len(rows))
    comparison = _undecided(compared, points, question_units(request.queries), outcomes)
    for place in range(len(compared.routers)):
        _decide_table(compared, comparison, place, request, outcomes)
    return _of_rows(comparison, compared, rows, missing=np.array(len(compared.request) - len(rows)))


def question_units(queries: Sequence[Query]) -> Integers:
    """Return the unit of resampling of each query, ``[Q]``: rows of one question are not independent, so they share a unit."""
    units: dict[str | int, int] = {}
    return np.array([units.setdefault(normalized_text(query.text) or row, len(units)) for row, query in enumerate(queries)], dtype=np.intp)


def complete_rows(outcomes: Outcomes, allowed: NDArray[np.bool_], names: Sequence[str]) -> NDArray[np.intp]:
    """Return the numbers of the rows that have an outcome of every allowed candidate; ``allowed`` is ``[Q, M]``.

    Raises:
        DataError: No row has.
    """
    rows = np.flatnonzero(outcomes.complete_among(allowed))
    if rows.size:
        return rows
    gaps = (allowed & ~outcomes.known).sum(axis=0)
    most = ", ".join(f"{names[m]} ({gaps[m]} of {len(outcomes.known)})" for m in np.argsort(-gaps, kind="stable")[:3] if gaps[m])
    needed = "an outcome of every candidate that is allowed (quality, cost, and latency where there is any)"
    advice = "fill the gaps, or take a smaller pool"
    if (outcomes.known.sum(axis=1) <= 1).all():
        advice += "; for a log, which has the outcomes of chosen candidates alone: aamc evaluate RUN --logs URL"
    raise DataError(f"no test query has {needed}; most gaps: {most}; {advice}")


def most_missing(outcomes: Outcomes, allowed: NDArray[np.bool_], names: Sequence[str]) -> dict[str, Any] | None:
    """Return the candidate without which most rows would be complete: its name, its missing cells, and that number of rows.

    Returns:
        None if that adds fewer than half of the rows that are left out: then no single candidate is the cause.
    """
    gaps = allowed & ~outcomes.known
    complete = np.count_nonzero(~gaps.any(axis=1))
    added = (gaps & (gaps.sum(axis=1, keepdims=True) == 1)).sum(axis=0)
    worst = int(added.argmax())
    if not 0 < len(gaps) - complete <= 2 * added[worst]:
        return None
    return {"candidate": names[worst], "missing": int(gaps[:, worst].sum()), "queries_without": int(complete + added[worst])}


def _decide_table(compared: ComparisonRequest, comparison: Comparison, place: int, request: RoutingRequest, outcomes: Outcomes) -> None:
    """Let the router at a place of the comparison decide the complete rows of a table at all points."""
    name, seed, points = str(comparison.routers[place]), compared.seed, comparison.preferences
    router = compared.routers[name]
    groups = _scored_alike(points, router)
    for start in range(0, len(request), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(request)))
        part = visible(router, request.take(rows), outcomes.take(rows))
        ids = decision_ids(seed, rows) if router.samples else ()
        with router_errors(name):
            scored = router.score_each(part, points[[group[0] for group in groups]])
            for group, scores in zip(groups, scored, strict=True):
                cells = np.ix_(group, rows)
                comparison.chosen[place][cells] = draw(scores, part, router.samples, seed, ids).chosen
                comparison.spent_usd[place][cells] = scores.spent_usd
                comparison.spent_ms[place][cells] = scores.spent_ms
                if QUALITY_ALONE in group:
                    _record_scores(comparison, place, rows, scores, part)
        compared.progress.advance(len(rows))


def _scored_alike(points: Floats, router: Router) -> list[NDArray[np.intp]]:
    """Return groups of points with equal scores: equal preferences, or all points for a router that ignores preferences."""
    if not router.uses_preference:
        return [np.arange(len(points))]
    _, group = np.unique(points, axis=0, return_inverse=True)
    return [np.flatnonzero(group.ravel() == g) for g in range(group.max() + 1)]


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
        PluginError: A router or the environment failed, scores cannot be used, or the environment gave two routers different queries.
    """
    points = compared.points()
    compared.progress.start(compared.stage, len(compared.routers) * (warm_up + steps))
    played_rows = np.full((steps, streams), UNPLAYED, dtype=np.intp)
    comparison, found = _undecided(compared, points, np.tile(np.arange(streams), steps)), list[Floats]()
    comparison = attrs.evolve(comparison, warm_up_latency_ms=np.zeros((len(compared.routers), streams if warm_up else 0)))
    for place, router in enumerate(compared.routers.values()):
        played_points = points if router.uses_preference else points[:1]  # the same decisions, hence outcomes, at every preference
        with component_errors(f"{env.message_name} failed"):
            vector = env.vector(
                len(played_points) * streams,
                split,
                request=compared.request,
                seed=compared.seed,
                streams=np.tile(np.arange(streams), len(played_points)),
                preferences=np.repeat(played_points, streams, axis=0),
            )
            found = _play_streams(compared, comparison, place, vector, played_rows, warm_up)
            vector.close()
    # any router's will do: it depends on the queries and random numbers alone
    counterfactual = {"counterfactual_quality": np.concatenate(found)} if found else {}
    return _of_rows(comparison, compared, played_rows.ravel(), **counterfactual)


def _play_streams(
    compared: ComparisonRequest, comparison: Comparison, place: int, vector: RoutingStreams, played_rows: Integers, warm_up: int
) -> list[Floats]:
    """Play all streams to their end; after the warm-up, record decisions, and the row of each query in ``played_rows [steps, streams]``.

    Those of a single point hold for every preference.

    Returns:
        The quality that each candidate would have had, ``[streams, M]`` a step; empty if the streams do not tell it.
    """
    name, seed = str(comparison.routers[place]), compared.seed
    router = compared.routers[name]
    steps, streams = played_rows.shape
    settling = (warm_up + 1) // 2
    points = vector.num_envs // streams
    quality_alone = slice(QUALITY_ALONE * streams, (QUALITY_ALONE + 1) * streams) if points > 1 else slice(streams)
    counterfactual: list[Floats] = []
    vector.reset(seed=seed)
    for step in range(-warm_up, steps):
        now = slice(step * streams, (step + 1) * streams)
        request = vector.request()
        if isinstance(vector, CounterfactualStreams) and step >= 0:
            counterfactual.append(vector.counterfactual_quality()[:streams])
        request = visible(router, request, request.hindsight)
        ids = decision_ids(seed, np.tile(np.arange(now.start, now.stop), points)) if router.samples else ()
        with router_errors(name):
            scores = router.score(request)
            chosen = draw(scores, request, router.samples, seed, ids).chosen
        info = vector.step(chosen)[4]
        compared.progress.advance(1)
        if step < 0:
            if step >= -settling:
                comparison.warm_up_latency_ms[place] += info["latency_ms"][:streams] / settling
            continue
        _record_scores(comparison, place, now, scores, request, quality_alone)
        comparison.chosen[place, :, now] = chosen.reshape(points, streams)
        for array, spent in ((comparison.spent_usd, scores.spent_usd), (comparison.spent_ms, scores.spent_ms)):
            array[place, :, now] = np.broadcast_to(spent, len(chosen)).reshape(points, streams)
        for array, figure in ((comparison.quality, "quality"), (comparison.cost_usd, "cost_usd"), (comparison.latency_ms, "latency_ms")):
            array[place, :, now] = info[figure].reshape(points, streams)
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
