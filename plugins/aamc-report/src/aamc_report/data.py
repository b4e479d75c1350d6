"""Reading a run's folder: what it measured, what it decided, and how its parts learned."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from aamc_sdk.batch import Floats
from aamc_sdk.errors import CheckpointError
from aamc_sdk.evaluation.comparison import Comparison
from aamc_sdk.files import read_json
from aamc_sdk.runs import Run


@attrs.frozen
class Paired:
    """Two routers on the same queries: the first one's mean reward minus the other's, and how likely chance alone is."""

    router: str
    other: str
    difference: float
    interval: tuple[float, float]
    p: float
    p_holm: float


@attrs.frozen(eq=False)
class Results:
    """What a run measured.

    Attributes:
        data: What ``metrics.json`` says of the data.
        routers: Each router's metrics, in the order of the comparison.
        headline: The router that the run is about.
        decisions: What ``decisions.npz`` holds.
        curves: Each part's learning curve, where it has one.
        seed: All of the run's randomness followed from it.
        configuration: The text of ``run.yaml``.
        paired: The tests of the comparison's first router against each other one.
    """

    data: Mapping[str, Any]
    routers: Mapping[str, Mapping[str, Any]]
    headline: str
    decisions: Comparison
    curves: Mapping[str, Sequence[Mapping[str, float]]]
    seed: int
    configuration: str
    paired: Sequence[Paired] = ()

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
    def categories(self) -> Mapping[str, int]:
        """The categories of the evaluated queries, and how many queries each has."""
        counts: dict[str, int] = {}
        for metrics in self.routers.values():
            counts.update({name: int(number(figures["n"])) for name, figures in (metrics.get("per_category") or {}).items()})
        return counts

    def category_value(self, router: str, category: str, metric: str) -> float:
        """Return a metric of one category's queries, NaN where it is null."""
        figures = (self.routers[router].get("per_category") or {}).get(category) or {}
        return number(figures.get(metric))

    def model_share(self, router: str, model: str) -> float:
        """Return the share of queries that a router gave to a model."""
        return number((self.routers[router].get("model_share") or {}).get(model, 0.0))

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
        latency = self.decisions.realised(self.decisions.routers.tolist().index(router)).latency_ms[0]
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


def read_results(folder: Path) -> Results:
    """Read a run's folder.

    Raises:
        CheckpointError: It is not a run, or one of its files is missing or damaged.
    """
    run = Run.open(folder)
    content = _read_metrics(run.folder / "metrics.json")
    routers = content["routers"]
    decisions = _read_decisions(run.folder / "decisions.npz", routers)
    headline = run.router_name
    return Results(
        data=content["data"],
        routers=routers,
        headline=headline if headline in routers else next(iter(routers)),
        decisions=decisions,
        curves=_read_curves(run.folder),
        seed=run.settings.seed,
        configuration=(run.folder / "run.yaml").read_text(encoding="utf-8"),
        paired=_read_paired(content.get("comparisons") or []),
    )


def _read_paired(tests: Sequence[Mapping[str, Any]]) -> Sequence[Paired]:
    try:
        return [Paired(str(t["a"]), str(t["b"]), number(t["difference"]), bounds(t["ci95"]), number(t["p"]), number(t["p_holm"])) for t in tests]
    except (KeyError, TypeError, ValueError) as error:
        why = f"its 'comparisons' cannot be used ({error!r})"
        raise CheckpointError(f"metrics.json is damaged: {why}; evaluate the run again with: aamc evaluate") from error


def _read_metrics(path: Path) -> Mapping[str, Any]:
    content = read_json(path)
    routers = content.get("routers") if isinstance(content, Mapping) else None
    usable = isinstance(routers, Mapping) and routers and all(isinstance(metrics, Mapping) for metrics in routers.values())
    if not usable or not isinstance(content.get("data"), Mapping):
        raise CheckpointError(f"{path} is damaged: it must hold 'data' and 'routers'; evaluate the run again with: aamc evaluate")
    found: Mapping[str, Any] = content
    return found


def _read_decisions(path: Path, routers: Collection[str]) -> Comparison:
    decisions = Comparison.load(path)
    if set(decisions.routers.tolist()) != set(routers):
        raise CheckpointError(f"{path} and metrics.json are about different routers; evaluate the run again with: aamc evaluate")
    played = (len(decisions.routers), len(decisions.preferences), len(decisions.queries))
    outcomes = (len(decisions.queries), len(decisions.candidates)) if decisions.is_table else played
    if decisions.chosen.shape != played or not decisions.quality.shape == decisions.cost_usd.shape == decisions.latency_ms.shape == outcomes:
        raise CheckpointError(f"{path} is damaged: its arrays do not fit together; evaluate the run again with: aamc evaluate")
    return decisions


def _read_curves(folder: Path) -> Mapping[str, Sequence[Mapping[str, float]]]:
    curves = {}
    for path in (folder / "estimator" / "training.json", *sorted(folder.glob("routers/*/training.json"))):
        if path.is_file():
            curve = _read_curve(path)
            if curve:
                curves[path.parent.name] = curve
    return curves


def _read_curve(path: Path) -> Sequence[Mapping[str, float]]:
    content = read_json(path)
    curve = content.get("curve") or [] if isinstance(content, Mapping) else None
    if not isinstance(curve, list) or not all(isinstance(point, Mapping) for point in curve):
        raise CheckpointError(f"{path} is damaged: its 'curve' must be a list of points; train again")
    return curve
