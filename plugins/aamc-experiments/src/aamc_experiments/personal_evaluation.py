"""Measurement of routers on users' comparisons, for datasets whose rows are grouped by user.

A user's first turns are support, their later turns are predicted. An online router learns the support of all users as it would learn feedback
in service, starting from its trained state, separately for each number of support turns; then it scores the later turns' candidates. The
predicted turns are the same for every number: those after the tenth, or after half of a history of at most ten. So where every user has more
than ten turns, a turn's scores do not depend on later turns, nor on whether there are any.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.evaluation.formulas.roc import choice_figures
from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import Estimator, OnlineRouter, Router
from aamc_sdk.routing import build_request
from aamc_sdk.serving import restore, state_of
from aamc_sdk.storage import write_arrays, write_json
from aamc_sdk.types import Dataset, Estimates, Experience, Floats, Pool, Query

SUPPORT = (0, 1, 3, 10)
"""Numbers of a user's first turns that routers learn from."""
PERSONAL_BASELINES = ("random", "bradley-terry", "user-elo", "user-ridge", "thompson")
"""The routers that a personal router is compared with, where installed."""
MEASURED = ("success_rate", "mean_quality", "mean_cost_usd", "mean_latency_ms", "p95_latency_ms", "efficiency", "mean_reward", "decision_cost_usd")
"""Metrics of measured outcomes, which comparisons do not have."""
MAX_RATED_PAIRS = 100
"""Maximum number of pairs of a user's ratings of single answers."""
_QUALITY_ALONE = np.array([1.0, 0.0, 0.0])


@attrs.frozen(eq=False)
class PredictedPairs:
    """Pairs of answers of which the user preferred the first.

    Attributes:
        user: The number of the user, ``[N]``.
        rows: The rows of the better and the worse answer's query, ``[N, 2]``.
        models: Positions of both in the pool, ``[N, 2]``.
        largest: The most support turns that the user has, ``[N]``.
    """

    user: NDArray[np.intp]
    rows: NDArray[np.intp]
    models: NDArray[np.intp]
    largest: NDArray[np.intp]


@attrs.frozen(eq=False)
class UserTurns:
    """The turns of a dataset's users.

    Attributes:
        users: Names of the users.
        rows: For each user, the rows of each turn, in order.
        first: For each user, the number of turns before the predicted ones.
    """

    users: list[str]
    rows: list[list[list[int]]]
    first: list[int]

    @classmethod
    def of(cls, dataset: Dataset) -> UserTurns:
        """Collect the turns: decisions of one episode."""
        assert dataset.experience is not None
        assert dataset.groups is not None
        turns: dict[str, dict[str, list[int]]] = {}
        for row, (user, decision) in enumerate(zip(dataset.groups, dataset.experience.decisions, strict=True)):
            if user:
                turns.setdefault(user, {}).setdefault(decision.episode or decision.id, []).append(row)
        rows = [list(own.values()) for own in turns.values()]
        most = max(SUPPORT)
        return cls(list(turns), rows, [most if len(own) > most else len(own) // 2 for own in rows])

    def support_rows(self, size: int) -> NDArray[np.intp]:
        """Return the rows of each user's first ``size`` turns; a shorter history gives all its turns before the predicted ones."""
        found = [row for own, first in zip(self.rows, self.first, strict=True) for turn in own[: min(size, first)] for row in turn]
        return np.array(sorted(found), dtype=np.intp)

    def predicted_rows(self) -> set[int]:
        """Return the rows of the predicted turns."""
        return {row for own, first in zip(self.rows, self.first, strict=True) for turn in own[first:] for row in turn}


def predicted_pairs(dataset: Dataset, turns: UserTurns, pool: Pool) -> PredictedPairs:
    """Return the comparisons of the predicted turns; for a user who only rated single answers, pairs of a good and a bad one.

    Raises:
        DataError: There is no pair.
    """
    assert dataset.experience is not None
    assert dataset.groups is not None
    experience, number = dataset.experience, {name: place for place, name in enumerate(turns.users)}
    row_of, wanted = experience.rows, turns.predicted_rows()
    compared: list[tuple[int, int, int, str, str]] = []
    rated: dict[int, tuple[list[tuple[int, str]], list[tuple[int, str]]]] = {}
    for feedback in experience.feedback:
        row = row_of.get(feedback.decision_id, -1)
        if row not in wanted or feedback.tie:
            continue
        user, name = number[dataset.groups[row]], feedback.candidate or experience.decisions[row].candidate
        if not {name, feedback.over or name} <= set(pool.names):  # a log may have decisions on models that are gone
            continue
        if feedback.over is not None:
            compared.append((user, row, row, name, feedback.over))
        elif feedback.quality != 0.5:
            rated.setdefault(user, ([], []))[(feedback.quality or 0.0) < 0.5].append((row, name))
    alone = set(rated) - {pair[0] for pair in compared}
    for user in sorted(alone):
        both = list(product(*rated[user]))[:MAX_RATED_PAIRS]
        compared += [(user, good[0], bad[0], good[1], bad[1]) for good, bad in both]
    if not compared:
        advice = "give longer histories, or estimate from a log what routers would have earned, with --logs URL"
        raise DataError(f"no user of {dataset.source} preferred one answer to another in their later turns; {advice}")
    users = np.array([pair[0] for pair in compared], dtype=np.intp)
    return PredictedPairs(
        user=users,
        rows=np.array([pair[1:3] for pair in compared], dtype=np.intp),
        models=np.array([[pool.index(pair[3]), pool.index(pair[4])] for pair in compared], dtype=np.intp),
        largest=np.array(turns.first, dtype=np.intp)[users],
    )


@attrs.frozen(kw_only=True, eq=False)
class PersonalMeasurement:
    """The measurement of routers on one dataset of users.

    Attributes:
        routers: The trained routers by name.
        dataset: The users' rows.
        pool: The candidates.
        estimator: The estimator; None for none.
        split: The name of the run's own split that the rows are; None for other data.
        dropped: Number of rows left out because a component was trained on their users.
    """

    routers: Mapping[str, Router]
    dataset: Dataset
    pool: Pool
    estimator: Estimator | None = None
    split: str | None = None
    dropped: int = 0

    def write_metrics(self, folder: Path | None) -> dict[str, Any]:
        """Measure the routers, write ``metrics.json`` and ``choices.npz`` (every number is computed from it), and return the metrics."""
        turns = UserTurns.of(self.dataset)
        pairs = predicted_pairs(self.dataset, turns, self.pool)
        margins = {name: self._margins(router, turns, pairs) for name, router in self.routers.items()}
        metrics = {
            "schema": 1,
            "data": {
                "source": self.dataset.source,
                "queries": len(self.dataset),
                "models": list(self.pool.names),
                "preference": _QUALITY_ALONE.tolist(),
                "cost_note": self.dataset.cost_note,
                "users": len(turns.users),
                "pairs": len(pairs.user),
                "split": self.split,
                "dropped": self.dropped,
            },
            "routers": {name: _row(found, pairs) for name, found in margins.items()},
        }
        if folder is not None:
            names = np.array(list(margins), dtype=np.str_)
            stacked = np.stack(list(margins.values()))
            write_arrays(folder / "choices.npz", {"routers": names, "support": np.array(SUPPORT), "margin": stacked, **attrs.asdict(pairs)})
            write_json(folder / "metrics.json", metrics)
        return metrics

    def _margins(self, router: Router, turns: UserTurns, pairs: PredictedPairs) -> Floats:
        """Return the better minus the worse answer's score for each number of support turns, ``[4, N]``."""
        asked, place = np.unique(pairs.rows, return_inverse=True)
        place = place.reshape(pairs.rows.shape)
        assert self.dataset.experience is not None
        estimates = self._logged(self.dataset.experience.take(asked))
        queries = [self.dataset.queries[row] for row in asked]
        request = build_request(queries, self.pool, _QUALITY_ALONE, estimates=estimates, estimator=self.estimator)
        found, state = [], state_of(router) if isinstance(router, OnlineRouter) else b""
        for size in SUPPORT:
            if isinstance(router, OnlineRouter) and size:
                router.learn(self._support(turns.support_rows(size)))
            utility = router.score(request).utility
            found.append(utility[place[:, 0], pairs.models[:, 0]] - utility[place[:, 1], pairs.models[:, 1]])
            if isinstance(router, OnlineRouter) and size:
                restore(router, state)
        return np.stack(found)

    def _support(self, rows: NDArray[np.intp]) -> Experience:
        """Return the decisions and feedback of rows as a log would hand them to a router."""
        assert self.dataset.experience is not None
        taken = self.dataset.experience.take(rows)
        row_of = taken.rows
        in_turn_order = sorted(taken.feedback, key=lambda feedback: row_of[feedback.decision_id])
        estimates = taken.estimates
        if self.estimator is not None:
            estimates = self._logged(taken) or self.estimator.estimate(taken.queries)
            if estimates.embedding is None:
                estimates = attrs.evolve(estimates, embedding=self.estimator.embed([query.text for query in taken.queries]))
        return attrs.evolve(taken, estimates=estimates, made=len(taken.decisions), entries=[*taken.attempts, *in_turn_order])

    def _logged(self, experience: Experience) -> Estimates | None:
        """Return the logged estimates of decisions without texts, if the estimator made them: it cannot repeat them."""
        if self.estimator is None or any(query.text for query in experience.queries):
            return None
        logged = experience.estimates
        return logged if logged.fingerprint == self.estimator.estimate([Query("")]).fingerprint else None


def _row(margins: Floats, pairs: PredictedPairs) -> dict[str, Any]:
    """Return a router's figures: overall with the most support that each user has, and by number of support turns."""
    sizes = np.array(SUPPORT)
    most = np.searchsorted(sizes, pairs.largest, side="right") - 1
    overall = choice_figures(margins[most, np.arange(len(pairs.user))], pairs.user)
    by_support = {}
    for place, size in enumerate(SUPPORT):
        enough = pairs.largest >= size
        by_support[str(size)] = choice_figures(margins[place, enough], pairs.user[enough])
    return {**dict.fromkeys(MEASURED), **overall, "by_support": by_support}
