"""Target preferences: the preference at which a run's router meets a target on rows that are new to it, the validation rows.

The router decides those rows at preferences from quality alone to cost alone, or to latency alone for a target of latency. The best
preference that meets the target is kept under a name, which requests can use. The router decides twice: at preferences over the
whole range, then at those between the neighbours of the best.

A preference that just meets a target on some rows misses it on others half of the time. So the target must be met with
confidence: on that share of bootstrap resamples of the questions, and in a simulation of its streams too. A router without training
of its own, such as ``greedy``, decides training rows as well, by their out-of-fold quality: these are as new to it as validation
rows, and many more.

Validation rows that a checkpoint of the run was trained on are left out. Those on which the run's own training stopped early stay.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.data import check_unchanged
from aamc_experiments.evaluation import Comparison, Resampling, growing_waits_note, ratio
from aamc_experiments.evaluation.bootstrap import combined_intervals
from aamc_experiments.evaluation.comparison import from_quality_to_cost
from aamc_experiments.leak_guard import leave_out_trained_rows
from aamc_experiments.measurement import Measurement
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.setup import ExperimentSetup, make_setup
from aamc_experiments.training.out_of_fold import read_out_of_fold, split_requests
from aamc_sdk.errors import AamcError, ConfigError, DataError
from aamc_sdk.interfaces import Progress
from aamc_sdk.plugins import Plugins
from aamc_sdk.storage import path_inside, write_json
from aamc_sdk.types import ROUNDING, Floats, Preference

logger = logging.getLogger(__name__)
VALUES = {
    "quality-floor": "a share of the best single candidate's quality, at least 0 and at most 2 (0.97 for 97%)",
    "budget-usd-per-1k": "USD of at least 0",
    "strong-share": "a share from 0 to 1",
    "p95-ms": "milliseconds of at least 0",
}
"""The valid values of each kind of target."""
WITHOUT_LATENCY = "--p95-ms needs the latency of each call, which this run's data does not have; give another target"
"""The error of a service level on data without latencies."""
POINTS = 61
"""The number of weights of cost or latency between quality alone and cost or latency alone."""
BETWEEN = 16
"""The number of preferences between the neighbours of the best one."""
P95 = "p95-ms"
"""The kind of a target of latency."""
FIGURES = {"quality-floor": "relative_quality", "budget-usd-per-1k": "usd_per_1k", "strong-share": "strong_share", P95: "p95_ms"}
"""The figure that each kind of target limits."""
CONFIDENCE = 0.95
"""The default share of resamples on which a target must be met."""
MAXIMUM = {"quality-floor": 2.0, "strong-share": 1.0}
"""The maximum value of a kind of target; a router may do better than the best single candidate, but hardly twice as well."""


class TargetMissedError(AamcError):
    """Raised when the preference of a calibration meets its target on fewer resamples than were asked for."""


@attrs.frozen
class Target:
    """The target of a calibrated preference.

    Attributes:
        kind: ``"quality-floor"``: the minimum quality, as a share of the best single candidate's.
            ``"budget-usd-per-1k"``: the maximum cost in USD per 1,000 queries. ``"strong-share"``: the maximum share of
            calls to the candidate with the best mean training quality. ``"p95-ms"``: the maximum of the latency in milliseconds that 5% of
            the queries exceed.
        value: The minimum or maximum.
        confidence: The share of resamples on which the target must be met.

    Raises:
        ConfigError: The value or the confidence is out of range.
    """

    kind: str
    value: float
    confidence: float = CONFIDENCE

    def __attrs_post_init__(self) -> None:
        if not math.isfinite(self.value) or not 0 <= self.value <= MAXIMUM.get(self.kind, math.inf):
            raise ConfigError(f"--{self.kind} must be {VALUES[self.kind]}, not {self.value!r}")
        if not 0 <= self.confidence < 1:
            raise ConfigError(f"--confidence must be a share of at least 0 and below 1, not {self.confidence!r}")

    @property
    def name(self) -> str:
        """The default name of the calibrated preference."""
        return f"{self.kind}-{self.value:g}"

    def met(self, figures: Mapping[str, Floats]) -> NDArray[np.bool_]:
        """Return whether each of the figures ``[...]`` meets the target."""
        figure, slack = figures[FIGURES[self.kind]], ROUNDING * self.value
        return np.asarray(figure >= self.value - slack if self.kind == "quality-floor" else figure <= self.value + slack)

    @property
    def ray(self) -> Floats:
        """The preferences among which it is met, (1, x, 0) / (1 + x) from quality alone to cost alone, or (1, 0, x) / (1 + x), ``[63, 3]``."""
        ray = from_quality_to_cost(0.001, 100, POINTS)
        return ray[:, [0, 2, 1]] if self.kind == P95 else ray


@attrs.frozen(kw_only=True)
class Calibration:
    """The preference that comes closest to a target.

    Attributes:
        target: The target.
        router: The name of the router.
        preference: The preference.
        rows: The number of rows that it was measured on.
        questions: The number of different questions in these rows.
        confidence: The share of resamples on which it met the target, the minimum over the units of resampling.
        figures: ``relative_quality``, ``usd_per_1k`` and ``strong_share`` at the preference, and ``p95_ms`` for a target of latency.
        ci95: The interval of each figure; None if not known.
    """

    target: Target
    router: str
    preference: Preference
    rows: int
    questions: int
    confidence: float
    figures: Mapping[str, float]
    ci95: Mapping[str, list[float] | None]

    @property
    def met(self) -> bool:
        """Whether the target is met on as many resamples as it asks for."""
        return self.confidence >= self.target.confidence

    def to_dict(self) -> dict[str, Any]:
        """Return the entry in ``calibrations.json``."""
        return attrs.asdict(self) | {"preference": self.preference.array.tolist(), "met": self.met}


def calibrate(run: RunFolder, plugins: Plugins, progress: Progress, target: Target) -> Calibration:
    """Find the preference at which a run's router meets a target on rows that are new to it, or misses it by the least.

    Raises:
        DataError: No preference meets the target, every candidate's quality is 0, the rows changed since the run or have no latencies, or a
            checkpoint of the run was trained on all of them.
        CheckpointError: The run is damaged.
    """
    decide = _decider(run, plugins, progress, target)

    def measure(preferences: Floats) -> tuple[_DecidedRows, list[dict[str, Floats]]]:
        """Return the decided rows, and for each unit of resampling every figure on them and on B resamples, ``[1 + B, P]``."""
        rows, options = decide(preferences), run.settings.evaluation
        found = [rows.figures(Resampling.bootstrap(unit, options.resamples, run.settings.seed).with_data()) for unit in rows.units.T]
        if np.isnan(found[0]["relative_quality"][0]).any():
            raise DataError(f"every candidate's quality is 0 on the {len(rows.quality)} rows to calibrate on, so none is the best to compare with")
        return rows, found

    ray = target.ray
    rows, over = measure(ray)
    point = _best_point(target, over)
    between = np.linspace(ray[max(point - 1, 0)], ray[min(point + 1, len(ray) - 1)], BETWEEN + 2)[1:-1]
    ray, finer = np.concatenate((ray, between)), measure(between)[1]
    over = [{name: np.concatenate((values, more[name]), axis=1) for name, values in each.items()} for each, more in zip(over, finer, strict=True)]
    point = _best_point(target, over)
    at_point = [{name: values[:, point] for name, values in each.items()} for each in over]
    shares = ["strong_share"]
    return Calibration(
        target=target,
        router=run.router_name,
        preference=Preference(*ray[point]),
        rows=len(rows.quality),
        questions=rows.questions,
        confidence=float(_confidence(target, over)[point]),
        figures={name: float(values[0]) for name, values in at_point[0].items()},
        ci95=combined_intervals([Resampling.once(unit) for unit in rows.units.T], at_point, shares, shares),
    )


def check_name(name: str) -> None:
    """Check the name of a calibrated preference.

    Raises:
        ConfigError: It holds characters other than letters, digits and ``. _ + -``.
    """
    if not re.fullmatch(r"[\w.+-]+", name):
        raise ConfigError(f"the name of a calibrated preference must consist of letters, digits and . _ + -, not {name!r}")


def save_calibration(run: RunFolder, name: str, calibration: Calibration) -> None:
    """Write a calibration into its run, in place of one of the same name.

    Raises:
        ConfigError: The name is not valid.
        OutputError: The file cannot be written, or a link leads out of the run.
    """
    check_name(name)
    write_json(path_inside(run.folder, "calibrations.json"), run.calibrations | {name: calibration.to_dict()})


@attrs.frozen(eq=False)
class _DecidedRows:
    """The outcomes of a router's decisions on Q rows at P preferences.

    Attributes:
        quality: The qualities, ``[Q, P]``.
        cost_usd: The costs in USD, ``[Q, P]``.
        strong: 1 for a call of the strongest candidate, else 0, ``[Q, P]``.
        latency_ms: The latencies in ms, ``[Q, P]``; None unless the target is one of latency.
        singles: The quality of each constant policy, ``[Q, M]``.
        units: The units of resampling, those of the comparison, ``[Q, U]``.
        questions: The number of different questions.
    """

    quality: Floats
    cost_usd: Floats
    strong: Floats
    singles: Floats
    units: NDArray[np.integer[Any]]
    questions: int
    latency_ms: Floats | None = None

    @classmethod
    def read(cls, comparison: Comparison, target: Target) -> _DecidedRows:
        """Return the outcomes of a comparison of one router."""
        outcomes = comparison.realised(0)
        latency_ms = outcomes.latency_ms.T if target.kind == P95 else None
        if latency_ms is not None and np.isnan(latency_ms).any():
            raise DataError(WITHOUT_LATENCY)
        if latency_ms is not None and (growing := growing_waits_note(comparison.growing_waits())):
            logger.warning("%s", growing)
        strong = comparison.chosen[0] == int(np.nanargmax(comparison.candidate_means[:, 0]))
        if comparison.is_table:
            singles = comparison.constant_outcomes.known_quality
        else:
            singles = np.tile(comparison.candidate_means[:, 0], (len(comparison.queries), 1))
        units = np.stack(comparison.units, axis=1)
        return cls(outcomes.known_quality.T, outcomes.cost_usd.T, strong.T.astype(np.float64), singles, units, comparison.questions, latency_ms)

    def joined_with(self, other: _DecidedRows) -> _DecidedRows:
        """Return the rows of both, as separate units."""
        other = attrs.evolve(other, units=other.units + self.units.max(axis=0) + 1)
        columns = [name for name in attrs.asdict(self) if name != "questions" and getattr(self, name) is not None]
        joined: dict[str, Any] = {name: np.concatenate((getattr(self, name), getattr(other, name))) for name in columns}
        return attrs.evolve(self, **joined, questions=self.questions + other.questions)

    def figures(self, resampling: Resampling) -> dict[str, Floats]:
        """Return each figure on B resamples at P preferences, ``[B, P]``; relative quality is NaN if every candidate's quality is 0."""
        quality = resampling.means(self.quality)
        best = resampling.means(self.singles[:, [self.singles.mean(axis=0).argmax()]])  # as in CandidateMeans
        found = {
            "relative_quality": ratio(quality, best),
            "usd_per_1k": 1000 * resampling.means(self.cost_usd),
            "strong_share": resampling.means(self.strong),
        }
        if self.latency_ms is not None:
            p95_ms = np.stack([resampling.exact_percentile(column, 0.95) for column in self.latency_ms.T], axis=1)
            found["p95_ms"] = np.where(np.isnan(quality), np.nan, p95_ms)  # a single unit has no resamples
        return found


def _decider(run: RunFolder, plugins: Plugins, progress: Progress, target: Target) -> Callable[[Floats], _DecidedRows]:
    """Return a function that lets a run's router decide the rows that are new to it, at preferences ``[P, 3]``."""
    setup, services = make_setup(run.settings, plugins), run.services(plugins)
    check_unchanged({name: setup.splits[name] for name in ("train", "validation")}, run.splits, run.folder)
    setup = _without_trained_rows(setup, run)
    estimator, router, means = run.estimator(plugins, services), run.router(plugins, services), run.candidate_means
    routers = {run.router_name: router}
    out_of_fold = read_out_of_fold(run.folder / "estimator", setup)
    train = setup.splits["train"].outcomes
    if target.kind == P95 and train is not None and not train.latency_known:
        raise DataError(WITHOUT_LATENCY)
    known = train is not None and train.complete.any()
    only_estimates = router.requires.estimator and not router.requires.training
    train_is_new = only_estimates and setup.env.stationary and known and out_of_fold is not None
    new = ["validation", "train"] if train_is_new else ["validation"]
    requests = split_requests({name: setup.splits[name] for name in new}, run.pool, Preference().array, estimator, means, out_of_fold)

    def decide(preferences: Floats) -> _DecidedRows:
        measured = [
            Measurement(setup, routers, request, means, run.settings, split=split, preferences=preferences, progress=progress)
            for split, request in requests.items()
        ]
        first, *others = (_DecidedRows.read(measurement.compare(), target) for measurement in measured)
        return first.joined_with(others[0]) if others else first

    return decide


def _without_trained_rows(setup: ExperimentSetup, run: RunFolder) -> ExperimentSetup:
    """Return the setup without the validation rows that a checkpoint of the run was trained on.

    Raises:
        DataError: None is left, or they hold comparisons without outcomes.
    """
    setup.check_outcomes("validation")
    kept = leave_out_trained_rows(setup.splits["validation"], run.fingerprints[1:], strict=False)
    if not kept.dropped:
        return setup
    splits = {**setup.splits, "validation": kept.rows}
    setup.env.prepare({name: rows for name, rows in splits.items() if not rows.only_compared})
    return attrs.evolve(setup, splits=splits)


def _confidence(target: Target, over: Sequence[Mapping[str, Floats]]) -> Floats:
    """Return the share of resamples on which each point meets the target, the minimum over the units of resampling, ``[P]``.

    A single stream has no resamples and does not count: its queries share waits, but neither quality nor cost. So it makes no latency certain.
    """
    counted = over if target.kind == P95 else [each for each in over if not np.isnan(each["usd_per_1k"][1:]).any()] or over
    shares = [target.met({name: values[1:] for name, values in each.items()}).mean(axis=0) for each in counted]
    return np.asarray(np.min(shares, axis=0))


def _best_point(target: Target, over: Sequence[Mapping[str, Floats]]) -> int:
    """Return the best point that meets the target: for a floor the cheapest one, otherwise the one with the best quality.

    If none is certain enough, the most certain one is returned.
    """
    figures, confidence = {name: values[0] for name, values in over[0].items()}, _confidence(target, over)
    quality, cost = figures["relative_quality"], figures["usd_per_1k"]
    met = np.flatnonzero(target.met(figures))
    if not met.size:
        reached = f"relative quality is at most {quality.max():.3f}, cost at least {cost.min():.3g} USD per 1,000 queries"
        reached += f", the 95th percentile of latency at least {figures['p95_ms'].min():.0f} ms" if target.kind == P95 else ""
        raise DataError(f"no preference meets --{target.kind} {target.value:g} on rows new to the router: {reached}; give a target within reach")
    points = met[confidence[met] >= target.confidence]
    if not points.size:
        points = met[[confidence[met].argmax()]]
    order = np.lexsort((-quality[points], cost[points])) if target.kind == "quality-floor" else np.lexsort((cost[points], -quality[points]))
    return int(points[order[0]])
