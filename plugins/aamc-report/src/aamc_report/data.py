"""What a run measured, what it decided, and how its parts learned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import attrs
import numpy as np
from aamc_experiments.evaluation import HEADLINE, Comparison, Resampling

from aamc_experiments.run_folder import RunFolder
from aamc_sdk.errors import CheckpointError
from aamc_sdk.types import Floats

ORACLE = "oracle"
"""The router that knows what comes of every choice; regret is measured against it."""
MOST_CATEGORIES = 40
"""More categories than this are in ``metrics.json`` only."""


@attrs.frozen
class Paired:
    """Two routers on the same queries: the first one's mean reward minus the other's, and how likely chance alone is."""

    router: str
    other: str
    difference: float
    interval: tuple[float, float]
    p: float
    p_holm: float


@attrs.frozen
class Verdict:
    """What the promotion gate says of a router: whether it passes, and its figures, each with its interval."""

    router: str
    passed: bool
    figures: Mapping[str, tuple[float, tuple[float, float]]]


@attrs.frozen
class Gate:
    """What the promotion gate says of the router in question, in a sentence, and of every router."""

    why: str
    verdicts: Sequence[Verdict]


@attrs.frozen(eq=False, slots=False)  # what is cached needs room
class Results:
    """What a run measured.

    Attributes:
        run: Its folder.
        data: What ``metrics.json`` says of the data.
        routers: Each router's metrics, in the order of the comparison.
        headline: The router that the run is about.
        decisions: What ``decisions.npz`` holds.
        curves: Each part's learning curve, where it has one.
        configuration: The text of ``run.yaml``.
        paired: The tests of the comparison's first router against each other one.
        gate: The promotion gate's verdicts; None where it was not asked.
    """

    run: RunFolder
    data: Mapping[str, Any]
    routers: Mapping[str, Mapping[str, Any]]
    headline: str
    decisions: Comparison
    curves: Mapping[str, Sequence[Mapping[str, float]]]
    configuration: str
    paired: Sequence[Paired] = ()
    gate: Gate | None = None

    def value(self, router: str, metric: str) -> float:
        """Return a metric, NaN where it is null."""
        return number(self.routers[router].get(metric))

    def known(self, metric: str) -> bool:
        """Whether any router has a figure for a metric."""
        return any(math.isfinite(self.value(router, metric)) for router in self.routers)

    def interval(self, router: str, metric: str) -> tuple[float, float]:
        """Return a metric's 95% interval, NaN where there is none."""
        return bounds((self.routers[router].get("ci95") or {}).get(metric))

    @property
    def position(self) -> int:
        """Where the headline's router stands in the arrays of ``decisions``."""
        return self.position_of(self.headline)

    def position_of(self, router: str) -> int:
        """Return where a router stands in the arrays of ``decisions``."""
        return int(np.flatnonzero(self.decisions.routers == router)[0])

    def only_candidate(self, router: str) -> str | None:
        """Return the candidate that a router gave every query to at the preference; None where there are several."""
        chosen = np.unique(self.decisions.chosen[self.position_of(router), HEADLINE])
        return str(self.decisions.candidates[chosen[0]]) if len(chosen) == 1 else None

    @cached_property
    def resampling(self) -> Resampling:
        """The resamples that the run's own intervals came from."""
        return Resampling.bootstrap(self.decisions.stream, self.run.settings.evaluation.resamples, self.run.settings.seed)

    @property
    def categories(self) -> Mapping[str, int]:
        """The categories of the evaluated queries, and how many queries each has."""
        counts: dict[str, int] = {}
        for metrics in self.routers.values():
            counts.update({name: int(number(figures["n"])) for name, figures in (metrics.get("per_category") or {}).items()})
        return counts

    @property
    def shown_categories(self) -> Mapping[str, int]:
        """The most frequent categories, in the order of all: as many as a reader can take in."""
        counts = self.categories
        kept = sorted(counts, key=lambda name: -counts[name])[:MOST_CATEGORIES]
        return {name: n for name, n in counts.items() if name in kept}

    def category_value(self, router: str, category: str, metric: str) -> float:
        """Return a metric of one category's queries, NaN where it is null."""
        figures = (self.routers[router].get("per_category") or {}).get(category) or {}
        return number(figures.get(metric))

    def category_interval(self, router: str, category: str, metric: str) -> tuple[float, float]:
        """Return the interval of a metric of one category's queries, NaN where there is none."""
        figures = (self.routers[router].get("per_category") or {}).get(category) or {}
        return bounds((figures.get("ci95") or {}).get(metric))

    def model_share(self, router: str, model: str) -> float:
        """Return the share of queries that a router gave to a model."""
        return number((self.routers[router].get("model_share") or {}).get(model, 0.0))

    def model_share_interval(self, router: str, model: str) -> tuple[float, float]:
        """Return the interval of the share of queries that a router gave to a model, NaN where there is none."""
        return bounds((self.routers[router].get("model_share_ci95") or {}).get(model))

    def cost_at_quality(self, router: str) -> Mapping[str, tuple[float, tuple[float, float]]]:
        """Return what shares of the best single candidate's quality cost, as shares of that candidate's cost, each with its interval.

        NaN where the router does not reach the quality: an interval's upper bound, where not all resamples reach it.
        """
        metrics = self.routers[router]
        intervals = metrics.get("cost_at_quality_ci95") or {}
        return {target: (number(cost), bounds(intervals.get(target))) for target, cost in (metrics.get("cost_at_quality") or {}).items()}

    def frontier(self, router: str) -> Floats:
        """Return mean cost in USD and mean quality along the sweep of preferences, ``[points, 2]``."""
        points = self.routers[router].get("frontier") or []
        pairs = np.array([(number(point["mean_cost_usd"]), number(point["mean_quality"])) for point in points]).reshape(-1, 2)
        return np.asarray(pairs[np.isfinite(pairs).all(axis=1)])

    @property
    def candidate_points(self) -> Floats:
        """Each candidate's mean cost in USD and quality, ``[M, 2]``.

        They are means of the evaluated rows where there is a table, of the training data where
        a simulator answered only for the candidate that was chosen.
        """
        decisions = self.decisions
        if decisions.is_table:
            return np.column_stack((decisions.cost_usd.mean(axis=0), decisions.quality.mean(axis=0)))
        return decisions.candidate_means[:, [1, 0]]

    def latencies(self, router: str) -> Floats:
        """Return the latency in ms of each query at the headline's preference, without unknown ones."""
        latency = self.decisions.realised(self.position_of(router)).latency_ms[HEADLINE]
        return np.asarray(latency[np.isfinite(latency)])


def number(value: object) -> float:
    """Return a figure of ``metrics.json``; null is NaN.

    Raises:
        CheckpointError: It is not a number.
    """
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CheckpointError(f"metrics.json is damaged: {value!r} is not a number; evaluate the run again with: aamc evaluate")
    return float(value)


def bounds(interval: Sequence[object] | None) -> tuple[float, float]:
    """Return an interval of ``metrics.json``; null is two NaN."""
    low, high = interval or (None, None)
    return number(low), number(high)
