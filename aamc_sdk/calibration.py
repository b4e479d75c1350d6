"""Calibrating a run: the preference at which its router meets a target on the validation rows.

The router decides those rows at preferences from quality alone to cost alone. Of those that meet the
target the best is kept, under a name by which requests can ask for it.

The best of many preferences that just meet a target on some rows misses it on others half of the time,
so it must be met with confidence: on that share of bootstrap resamples of the rows.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.batch import Floats
from aamc_sdk.errors import ConfigError, DataError
from aamc_sdk.evaluation import Comparison
from aamc_sdk.evaluation.bootstrap import Resampling, interval
from aamc_sdk.evaluation.realised import Candidates
from aamc_sdk.files import write_json
from aamc_sdk.interfaces import Progress
from aamc_sdk.measure import describe, play
from aamc_sdk.plugins import Plugins
from aamc_sdk.requests import build_request
from aamc_sdk.runs import Run
from aamc_sdk.types import Preference
from aamc_sdk.world import make_world

logger = logging.getLogger(__name__)
KINDS = ("quality-floor", "budget-usd-per-1k", "strong-share")
POINTS = 61
CONFIDENCE = 0.8
"""Share of resamples on which a target must be met, unless the caller says otherwise."""


@attrs.frozen
class Target:
    """What a calibrated preference must meet.

    Attributes:
        kind: ``"quality-floor"``: the least quality, as a share of the best single candidate's.
            ``"budget-usd-per-1k"``: most USD per 1,000 queries. ``"strong-share"``: most calls, as a
            share, to the candidate with the greatest mean training quality.
        value: How much.
        confidence: On what share of resamples it must be met.

    Raises:
        ConfigError: The value cannot be met or missed by any router, or the confidence is no share below 1.
    """

    kind: str
    value: float
    confidence: float = CONFIDENCE

    def __attrs_post_init__(self) -> None:
        if not math.isfinite(self.value) or self.value < 0 or (self.kind == "strong-share" and self.value > 1):
            raise ConfigError(f"--{self.kind} must be a share from 0 to 1, or USD of at least 0, not {self.value!r}")
        if not 0 <= self.confidence < 1:
            raise ConfigError(f"--confidence must be a share of at least 0 and below 1, not {self.confidence!r}")

    @property
    def name(self) -> str:
        """The name of the calibrated preference, unless it is given another."""
        return f"{self.kind}-{self.value:g}"

    def met(self, figures: Mapping[str, Floats]) -> NDArray[np.bool_]:
        """Return where figures ``[...]`` meet it."""
        if self.kind == "quality-floor":
            return np.asarray(figures["relative_quality"] >= self.value)
        return np.asarray(figures["usd_per_1k" if self.kind == "budget-usd-per-1k" else "strong_share"] <= self.value)


@attrs.frozen(kw_only=True)
class Calibration:
    """A preference that meets a target.

    Attributes:
        target: What it meets.
        router: Whose decisions.
        preference: The weights.
        rows: Validation rows that it was measured on.
        confidence: On what share of resamples it met the target.
        figures: ``relative_quality``, ``usd_per_1k`` and ``strong_share`` there.
        ci95: The interval of each.
    """

    target: Target
    router: str
    preference: Preference
    rows: int
    confidence: float
    figures: Mapping[str, float]
    ci95: Mapping[str, list[float]]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``calibrations.json`` keeps."""
        return attrs.asdict(self) | {"preference": self.preference.array.tolist()}


def ray() -> Floats:
    """Return preferences (1, x, 0) / (1 + x) from quality alone to cost alone, ``[63, 3]``."""
    ratios = np.concatenate(([0.0], np.geomspace(0.001, 100, POINTS)))
    inner = np.column_stack((np.ones(POINTS + 1), ratios, np.zeros(POINTS + 1))) / (1 + ratios)[:, None]
    return np.vstack((inner, (0.0, 1.0, 0.0)))


def calibrate(run: Run, plugins: Plugins, progress: Progress, target: Target) -> Calibration:
    """Find the preference at which a run's router meets a target on the validation rows.

    Raises:
        DataError: No preference does.
        CheckpointError: The run is damaged.
    """
    world = make_world(run.settings, plugins)
    lent = run.services(plugins)
    validation = world.splits["validation"]
    estimates, quality = describe(run.estimator(plugins, lent), validation.queries, run.pool)
    means = run.candidate_means
    request = build_request(validation.queries, run.pool, Preference().array, estimates=estimates, quality=quality, typical=means)
    router = {run.router_name: run.router(plugins, lent)}
    comparison = play(world, "validation", router, request, means, run.settings, progress, points=ray())
    figures = _figures(comparison, Resampling.once(comparison.stream))
    spread = _figures(comparison, Resampling.bootstrap(comparison.stream, run.settings.evaluation.resamples, run.settings.seed))
    confidence = target.met(spread).mean(axis=0)
    point = _best(target, {name: values[0] for name, values in figures.items()}, confidence)
    return Calibration(
        target=target,
        router=run.router_name,
        preference=Preference(*comparison.preferences[point]),
        rows=len(comparison.queries),
        confidence=float(confidence[point]),
        figures={name: float(values[0, point]) for name, values in figures.items()},
        ci95={name: interval(values[:, point]) for name, values in spread.items()},
    )


def keep(run: Run, name: str, calibration: Calibration) -> None:
    """Keep a calibration in its run; one of the same name is replaced."""
    write_json(run.folder / "calibrations.json", run.calibrations | {name: calibration.to_dict()})


def _figures(comparison: Comparison, resampling: Resampling) -> dict[str, Floats]:
    """Return each figure on each resample and at each preference, ``[B, P]``."""
    outcomes = comparison.realised(0)
    best = Candidates.of(comparison, resampling).quality.max(axis=1, keepdims=True)
    strong = int(np.nanargmax(comparison.candidate_means[:, 0]))
    called = (comparison.chosen[0] == strong).astype(np.float64)
    return {
        "relative_quality": resampling.means(outcomes.known_quality.T) / best,
        "usd_per_1k": 1000 * resampling.means(outcomes.cost_usd.T),
        "strong_share": resampling.means(called.T),
    }


def _best(target: Target, figures: Mapping[str, Floats], confidence: Floats) -> int:
    """Return the point that meets the target: for a floor the cheapest one, otherwise the one of the best quality."""
    quality, cost = figures["relative_quality"], figures["usd_per_1k"]
    met = np.flatnonzero(target.met(figures))
    if not met.size:
        reached = f"relative quality is at most {quality.max():.3f}, cost at least {cost.min():.3g} USD per 1,000 queries"
        raise DataError(f"no preference meets --{target.kind} {target.value:g} on the validation rows: {reached}")
    points = met[confidence[met] >= target.confidence]
    if not points.size:
        logger.warning("no preference meets the target with confidence %g; the surest one is taken", target.confidence)
        points = met[[confidence[met].argmax()]]
    order = np.lexsort((-quality[points], cost[points])) if target.kind == "quality-floor" else np.lexsort((cost[points], -quality[points]))
    return int(points[order[0]])
