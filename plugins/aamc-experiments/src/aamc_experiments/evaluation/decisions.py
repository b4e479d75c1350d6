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
from aamc_sdk.errors import DataError, PluginError, component_errors, router_errors
from aamc_sdk.interfaces import CounterfactualStreams, Environment, NoProgress, Progress, Reward, Router, RoutingStreams
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


OUTCOMES = ("quality", "cost_usd", "latency_ms")
"""The outcomes that the streams report."""


@attrs.frozen(eq=False)
class RouterDecisions:
    """The decisions of one router on Q queries at P preferences, among M candidates.

    Attributes:
        chosen: The position of the chosen candidate, ``[P, Q]``.
        spent_usd: The cost of deciding in USD, ``[P, Q]``.
        spent_ms: The time of deciding in ms, beyond computing, ``[P, Q]``.
        utility: The scores at (1, 0, 0), ``[Q, M]``.
        expected_quality: The expected quality behind these scores, ``[Q, M]``.
        played: The ``OUTCOMES`` in the router's own streams, ``[P, Q]`` each; empty for tables.
    """

    chosen: Integers
    spent_usd: Floats
    spent_ms: Floats
    utility: Floats
    expected_quality: Floats
    played: Mapping[str, Floats]

    @classmethod
    def empty(cls, points: int, queries: int, candidates: int, streams: bool = False) -> RouterDecisions:
        """Allocate the arrays; those of outcomes only for streams."""
        shape = (points, queries)
        played = {figure: np.empty(shape) for figure in OUTCOMES if streams}
        unknown = np.full((2, queries, candidates), np.nan, dtype=np.float32)
        return cls(np.empty(shape, dtype=np.int16), np.zeros(shape), np.zeros(shape, dtype=np.float32), unknown[0], unknown[1], played)

    def record_scores(self, rows: Any, scores: Scores, request: RoutingRequest, part: slice = slice(None)) -> None:
        """Record utilities and expected quality of a part of a scored request as those of some rows."""
        own = scores.expected_quality
        self.utility[rows] = scores.utility[part]
        self.expected_quality[rows] = (request.expected.known_quality if own is None else own)[part]


def visible(router: Router, request: RoutingRequest, hindsight: Outcomes | None) -> RoutingRequest:
    """Return the request that the router may see: with hindsight only if it is privileged."""
    return attrs.evolve(request, hindsight=hindsight if router.privileged else None)


def decision_ids(seed: int, positions: Integers) -> list[str]:
    """Return the ids of draws, ``<seed>/0/<position>`` of the query, for every preference.

    These are common random numbers. With new draws at each preference, the hull over the sweep would measure a router that
    samples by the luckiest of 21 draws.
    """
    return [f"{seed}/{HEADLINE}/{position}" for position in positions.tolist()]


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
        outcomes = Outcomes(*(_stacked([one.played[figure] for one in recorded], shape) for figure in OUTCOMES))
    return Comparison(
        routers=np.array(list(decisions)),
        preferences=points,
        queries=np.array([text_hash(query.text) for query in compared.request.queries])[rows],
        category=np.asarray(compared.categories, dtype=np.str_)[rows],
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
    decisions = {name: _decide_table(compared, name, request, outcomes, points) for name in compared.routers}
    return comparison_of(compared, points, decisions, rows, question_units(request.queries), outcomes)


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


def _decide_table(compared: ComparisonRequest, name: str, request: RoutingRequest, outcomes: Outcomes, points: Floats) -> RouterDecisions:
    """Let a router decide the complete rows of a table at all points."""
    router, seed = compared.routers[name], compared.seed
    decided = RouterDecisions.empty(len(points), len(request), len(request.pool))
    groups = _scored_alike(points, router)
    for start in range(0, len(request), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(request)))
        part = visible(router, request.take(rows), outcomes.take(rows))
        ids = decision_ids(seed, rows) if router.samples else ()
        with router_errors(name):
            scored = router.score_each(part, points[[group[0] for group in groups]])
            for group, scores in zip(groups, scored, strict=True):
                cells = np.ix_(group, rows)
                decided.chosen[cells] = draw(scores, part, router.samples, seed, ids).chosen
                decided.spent_usd[cells] = scores.spent_usd
                decided.spent_ms[cells] = scores.spent_ms
                if QUALITY_ALONE in group:
                    decided.record_scores(rows, scores, part)
        compared.progress.advance(len(rows))
    return decided


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
    decisions, found = {}, list[Floats]()
    for name, router in compared.routers.items():
        played_points = points if router.uses_preference else points[:1]  # the same decisions, hence outcomes, at every preference
        decided = RouterDecisions.empty(len(played_points), played_rows.size, len(compared.request.pool), streams=True)
        with component_errors(f"{env.message_name} failed"):
            vector = env.vector(
                len(played_points) * streams,
                split,
                request=compared.request,
                seed=compared.seed,
                streams=np.tile(np.arange(streams), len(played_points)),
                preferences=np.repeat(played_points, streams, axis=0),
            )
            found = _play_streams(compared, name, vector, decided, played_rows, warm_up)
            vector.close()
        decisions[name] = decided
    # any router's will do: it depends on the queries and random numbers alone
    counterfactual = np.concatenate(found) if found else None
    return comparison_of(compared, points, decisions, played_rows.ravel(), np.tile(np.arange(streams), steps), counterfactual_quality=counterfactual)


def _play_streams(
    compared: ComparisonRequest, name: str, vector: RoutingStreams, decided: RouterDecisions, played_rows: Integers, warm_up: int
) -> list[Floats]:
    """Play all streams to their end; after the warm-up, record decisions, and the row of each query in ``played_rows [steps, streams]``.

    Returns:
        The quality that each candidate would have had, ``[streams, M]`` a step; empty if the streams do not tell it.
    """
    router, seed = compared.routers[name], compared.seed
    steps, streams = played_rows.shape
    points = len(decided.chosen)
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
            continue
        decided.record_scores(now, scores, request, quality_alone)
        decided.chosen[:, now] = chosen.reshape(points, streams)
        for array, spent in ((decided.spent_usd, scores.spent_usd), (decided.spent_ms, scores.spent_ms)):
            array[:, now] = np.broadcast_to(spent, len(chosen)).reshape(points, streams)
        for figure, array in decided.played.items():
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
