"""A run's measurements, decisions and learning curves, as a report uses them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

import attrs
import numpy as np
from aamc_experiments.evaluation import HEADLINE, MEASURE_AGAIN, Comparison, Resampling
from aamc_experiments.run_folder import RunFolder

from aamc_sdk.errors import CheckpointError
from aamc_sdk.types import Floats

ORACLE = "oracle"
"""The router that knows every outcome; regret is measured against it."""
MAXIMUM_CATEGORIES = 40
"""Further categories are in ``metrics.json`` only."""


Estimate = tuple[float, tuple[float, float]]
"""A figure with its 95% interval, NaN where unknown."""


@attrs.frozen
class Difference:
    """The mean of one router minus that of another on the same queries, with its 95% interval and p values."""

    difference: float
    ci95: tuple[float, float]
    p: float
    p_holm: float

    @classmethod
    def of(cls, test: Mapping[str, Any]) -> Difference:
        """Return the result of a test, as :func:`aamc_experiments.evaluation.paired_comparisons` gives it."""
        return cls(number(test["difference"]), bounds(test["ci95"]), number(test["p"]), number(test["p_holm"]))


@attrs.frozen
class Gate:
    """The promotion gate's sentence on the headline's router, and by router whether it passes, and its gaps."""

    why: str
    passed: Mapping[str, bool]
    gaps: Mapping[str, Mapping[str, Estimate]]


@attrs.frozen(eq=False, slots=False)  # cached properties need a __dict__
class Results:
    """A run's results.

    Attributes:
        run: The run's folder.
        data: The description of the data in ``metrics.json``.
        routers: Each router's metrics, in the order of the comparison.
        headline: The router that the run is about.
        decisions: The content of ``decisions.npz``.
        curves: The learning curve of each component that has one.
        limits: The limits that routers keep, by router and name, each with ``limit``, ``multiplier`` and ``target``.
        configuration: The text of ``run.yaml``.
        paired: The differences of mean rewards that were tested, by the names of both routers.
        gate: The promotion gate's results; None if the run has none.
    """

    run: RunFolder
    data: Mapping[str, Any]
    routers: Mapping[str, Mapping[str, Any]]
    headline: str
    decisions: Comparison
    curves: Mapping[str, Sequence[Mapping[str, float]]]
    limits: Mapping[str, Mapping[str, Mapping[str, float]]] = attrs.field(factory=dict, kw_only=True)
    configuration: str
    paired: Mapping[tuple[str, str], Difference] = attrs.field(factory=dict)
    gate: Gate | None = None

    @property
    def date(self) -> str:
        """The day of the run; of its measurement for runs of earlier versions."""
        measured = datetime.fromtimestamp((self.run.folder / "metrics.json").stat().st_mtime, timezone.utc).isoformat()
        return str(self.run.content.get("date", measured))[:10]

    @property
    def queries(self) -> int:
        """The number of evaluated queries."""
        return len(self.decisions.queries)

    def value(self, router: str, metric: str) -> float:
        """Return a metric, NaN if it is null."""
        return number(self.routers[router].get(metric))

    def known(self, metric: str) -> bool:
        """Whether any router has a value of a metric."""
        return any(math.isfinite(self.value(router, metric)) for router in self.routers)

    def interval(self, router: str, metric: str) -> tuple[float, float]:
        """Return a metric's 95% interval, NaN if it has none."""
        return bounds((self.routers[router].get("ci95") or {}).get(metric))

    @property
    def position(self) -> int:
        """The position of the headline's router in the arrays of ``decisions``."""
        return self.position_of(self.headline)

    def position_of(self, router: str) -> int:
        """Return a router's position in the arrays of ``decisions``."""
        return int(np.flatnonzero(self.decisions.routers == router)[0])

    def only_candidate(self, router: str) -> str | None:
        """Return the only candidate that a router chose at the preference; None if it chose several."""
        return next((candidate for candidate, routers in self.decisions.constant_choices().items() if router in routers), None)

    @cached_property
    def resamplings(self) -> list[Resampling]:
        """The resamples behind the run's own intervals, of each of its units."""
        return self.decisions.resamplings(self.run.settings.evaluation.resamples, self.run.settings.seed)

    @property
    def categories(self) -> Mapping[str, int]:
        """The categories of the evaluated queries, each with its number of queries."""
        counts: dict[str, int] = {}
        for metrics in self.routers.values():
            counts.update({name: int(number(figures["n"])) for name, figures in (metrics.get("per_category") or {}).items()})
        return counts

    @property
    def shown_categories(self) -> Mapping[str, int]:
        """The ``MAXIMUM_CATEGORIES`` most frequent categories, in the order of ``categories``."""
        counts = self.categories
        kept = sorted(counts, key=lambda name: -counts[name])[:MAXIMUM_CATEGORIES]
        return {name: n for name, n in counts.items() if name in kept}

    def success_in(self, router: str, category: str) -> Estimate:
        """Return a router's success rate on the queries of a category."""
        figures = (self.routers[router].get("per_category") or {}).get(category) or {}
        return number(figures.get("success_rate")), bounds((figures.get("ci95") or {}).get("success_rate"))

    def model_share(self, router: str, model: str) -> Estimate:
        """Return the share of queries for which a router chose a model."""
        shares, intervals = (self.routers[router].get(key) or {} for key in ("model_share", "model_share_ci95"))
        return number(shares.get(model, 0.0)), bounds(intervals.get(model))

    def cost_at_quality(self, router: str) -> Mapping[str, Estimate]:
        """Return the cost of each share of the best single candidate's quality, with its interval, as a share of that candidate's cost.

        A cost is NaN if the router does not reach the quality; an upper bound is NaN if some resamples do not reach it.
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

        On a table they are means of the evaluated rows. In a simulator, which answers only for the chosen candidate, they are means
        of the training data.
        """
        decisions = self.decisions
        if decisions.is_table:
            constant = decisions.constant_outcomes
            return np.column_stack((constant.cost_usd.mean(axis=0), constant.known_quality.mean(axis=0)))
        return decisions.candidate_means[:, [1, 0]]

    def latencies(self, router: str) -> Floats:
        """Return the latency in ms of each query at the headline's preference, NaN where unknown."""
        return np.asarray(self.decisions.realised(self.position_of(router)).latency_ms[HEADLINE])


def number(value: object) -> float:
    """Return a number of ``metrics.json``; null is NaN.

    Raises:
        CheckpointError: ``value`` is not a number.
    """
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CheckpointError(f"metrics.json is damaged: {value!r} is not a number; {MEASURE_AGAIN}")
    return float(value)


@contextmanager
def entry_errors(name: str) -> Iterator[None]:
    """Turn errors of using a damaged entry of ``metrics.json`` into one that names it."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"metrics.json is damaged: its {name!r} cannot be used ({error!r}); {MEASURE_AGAIN}") from error


def bounds(interval: Sequence[object] | None) -> tuple[float, float]:
    """Return an interval of ``metrics.json``; null is two NaN."""
    low, high = interval or (None, None)
    return number(low), number(high)
