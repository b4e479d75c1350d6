"""Calibrating a run: the preference at which its router meets a target on the validation rows.

The router decides those rows at preferences from quality alone to cost alone. Of those that meet the
target the best is kept, under a name by which requests can ask for it.

The best of many preferences that just meet a target on some rows misses it on others half of the time,
so it must be met with confidence: on that share of bootstrap resamples of the rows. A router that has
learned nothing of its own, such as ``greedy``, decides training rows as well: by what the estimator expected of
them before it saw their outcomes, they are as new to it as validation rows, and there are many more.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.data import check_unchanged
from aamc_experiments.evaluation import Comparison, Resampling, known_interval
from aamc_experiments.experiment import kept_out_of_fold
from aamc_experiments.measurement import describe, play
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.setup import make_world
from aamc_sdk.errors import ConfigError, DataError
from aamc_sdk.interfaces import Progress
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import build_request
from aamc_sdk.storage import write_json
from aamc_sdk.types import Floats, Preference

logger = logging.getLogger(__name__)
VALUES = {
    "quality-floor": "a share of the best single candidate's quality, at least 0",
    "budget-usd-per-1k": "USD of at least 0",
    "strong-share": "a share from 0 to 1",
}
"""What the value of each kind of target must be."""
POINTS = 61
"""Preferences that a search for a target evaluates."""
CONFIDENCE = 0.95
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
            raise ConfigError(f"--{self.kind} must be {VALUES[self.kind]}, not {self.value!r}")
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
        rows: Validation rows, and perhaps training rows, that it was measured on.
        confidence: On what share of resamples it met the target.
        figures: ``relative_quality``, ``usd_per_1k`` and ``strong_share`` there.
        ci95: The interval of each, None where it is not known.
    """

    target: Target
    router: str
    preference: Preference
    rows: int
    confidence: float
    figures: Mapping[str, float]
    ci95: Mapping[str, list[float] | None]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``calibrations.json`` keeps."""
        return attrs.asdict(self) | {"preference": self.preference.array.tolist()}


def ray() -> Floats:
    """Return preferences (1, x, 0) / (1 + x) from quality alone to cost alone, ``[63, 3]``."""
    ratios = np.concatenate(([0.0], np.geomspace(0.001, 100, POINTS)))
    inner = np.column_stack((np.ones(POINTS + 1), ratios, np.zeros(POINTS + 1))) / (1 + ratios)[:, None]
    return np.vstack((inner, (0.0, 1.0, 0.0)))


def calibrate(run: RunFolder, plugins: Plugins, progress: Progress, target: Target) -> Calibration:
    """Find the preference at which a run's router meets a target on the validation rows.

    Raises:
        DataError: No preference does, every candidate's quality is 0 on those rows, or they are not those that the run was made with.
        CheckpointError: The run is damaged.
    """
    rows = _Decided.of(run, plugins, progress)
    figures = rows.figures(Resampling.once(rows.unit))
    if np.isnan(figures["relative_quality"]).any():
        raise DataError(f"every candidate's quality is 0 on the {len(rows.quality)} rows to calibrate on; none is the best to compare with")
    spread = rows.figures(Resampling.bootstrap(rows.unit, run.settings.evaluation.resamples, run.settings.seed))
    confidence = target.met(spread).mean(axis=0)
    point = _best(target, {name: values[0] for name, values in figures.items()}, confidence)
    return Calibration(
        target=target,
        router=run.router_name,
        preference=Preference(*ray()[point]),
        rows=len(rows.quality),
        confidence=float(confidence[point]),
        figures={name: float(values[0, point]) for name, values in figures.items()},
        ci95={name: known_interval(values[:, point]) for name, values in spread.items()},
    )


def check_name(name: str) -> None:
    """Refuse a name that could be taken for a preference, or is hard to give.

    Raises:
        ConfigError: It is not of letters, digits and the characters ``. _ + -``.
    """
    if not re.fullmatch(r"[\w.+-]+", name):
        raise ConfigError(f"a calibrated preference's name is of letters, digits and . _ + - alone, not {name!r}")


def keep(run: RunFolder, name: str, calibration: Calibration) -> None:
    """Keep a calibration in its run; one of the same name is replaced.

    Raises:
        ConfigError: The name is none.
    """
    check_name(name)
    write_json(run.folder / "calibrations.json", run.calibrations | {name: calibration.to_dict()})


@attrs.frozen(eq=False)
class _Decided:
    """What came of deciding Q rows at P preferences.

    Attributes:
        quality: ``[Q, P]``.
        cost_usd: ``[Q, P]``.
        strong: Whether the strongest candidate was called, ``[Q, P]``.
        singles: The quality of always choosing each candidate, ``[Q, M]``.
        unit: What is resampled together, ``[Q]``.
    """

    quality: Floats
    cost_usd: Floats
    strong: Floats
    singles: Floats
    unit: NDArray[np.integer[Any]]

    @classmethod
    def of(cls, run: RunFolder, plugins: Plugins, progress: Progress) -> _Decided:
        """Let a run's router decide the rows that are new to it."""
        world, lent = make_world(run.settings, plugins), run.services(plugins)
        check_unchanged({name: world.splits[name] for name in ("train", "validation")}, run.content["splits"], run.folder)
        estimator, router = run.estimator(plugins, lent), run.router(plugins, lent)
        unseen = kept_out_of_fold(run.folder, world)
        train = world.splits["train"].outcomes
        as_new = (
            unseen is not None
            and router.requires.estimator
            and not router.requires.training
            and world.env.stationary
            and train is not None
            and train.complete.any()
        )

        def decided(split: str, expected: Floats | None) -> _Decided:
            queries, means = world.splits[split].queries, run.candidate_means
            estimates, quality = describe(estimator, queries, run.pool)
            known = quality if expected is None else expected
            request = build_request(queries, run.pool, Preference().array, estimates=estimates, quality=known, typical=means)
            return cls._read(play(world, split, {run.router_name: router}, request, means, run.settings, progress, points=ray()))

        validation = decided("validation", None)
        return validation.and_(decided("train", unseen)) if as_new else validation

    @classmethod
    def _read(cls, comparison: Comparison) -> _Decided:
        outcomes = comparison.realised(0)
        strong = comparison.chosen[0] == int(np.nanargmax(comparison.candidate_means[:, 0]))
        table = comparison.quality if comparison.is_table else np.tile(comparison.candidate_means[:, 0], (len(comparison.queries), 1))
        return cls(outcomes.known_quality.T, outcomes.cost_usd.T, strong.T.astype(np.float64), table, comparison.stream)

    def and_(self, other: _Decided) -> _Decided:
        """Return the rows of both."""
        return _Decided(
            quality=np.concatenate((self.quality, other.quality)),
            cost_usd=np.concatenate((self.cost_usd, other.cost_usd)),
            strong=np.concatenate((self.strong, other.strong)),
            singles=np.concatenate((self.singles, other.singles)),
            unit=np.concatenate((self.unit, other.unit + self.unit.max() + 1)),
        )

    def figures(self, resampling: Resampling) -> dict[str, Floats]:
        """Return each figure on each resample and at each preference, ``[B, P]``; relative quality is NaN where every candidate's quality is 0."""
        quality, best = resampling.means(self.quality), resampling.means(self.singles).max(axis=1, keepdims=True)
        return {
            "relative_quality": np.divide(quality, best, out=np.full_like(quality, np.nan), where=best > 0),
            "usd_per_1k": 1000 * resampling.means(self.cost_usd),
            "strong_share": resampling.means(self.strong),
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
