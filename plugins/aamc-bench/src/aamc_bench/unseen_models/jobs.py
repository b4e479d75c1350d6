"""The job: train with few or no outcomes of some candidates, and measure with all candidates.

All data are tables. Simulated data becomes one first: each query with one sampled outcome for each candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_experiments.data import fit_to_pool
from aamc_experiments.evaluation import HEADLINE, Comparison, Resampling
from aamc_experiments.measurement import Measurement
from aamc_experiments.settings import Settings, read_settings
from aamc_experiments.setup import ExperimentSetup, make_setup
from aamc_experiments.training import OutOfFold, split_requests
from aamc_experiments.typical_outcomes import typical_outcomes

from aamc_bench.experiment_runs import train_each
from aamc_bench.samples import Sample, resampling_seed
from aamc_sdk.config import Choice
from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import Estimator, Progress, Router, Services, Training
from aamc_sdk.plugins import Plugins, get_plugin_manager
from aamc_sdk.routing import build_request, out_of_fold
from aamc_sdk.serving import make_services
from aamc_sdk.types import Dataset, Floats, Outcomes, Pool, RoutingRequest

MINIMUM_OTHERS = 2
"""The minimum number of other candidates, so that there is something to choose."""


def choose_newcomers(pool: Pool, count: int, seed: int) -> list[str]:
    """Return the names of the newcomers.

    Raises:
        DataError: Too few other candidates would be left.
    """
    if len(pool) < count + MINIMUM_OTHERS:
        needed = f"unseen-models takes {count} away and needs {MINIMUM_OTHERS} others"
        raise DataError(f"{needed}, and the data has {len(pool)} candidates; lower --newcomers, or use other data")
    drawn = np.random.default_rng((seed, len(pool))).choice(len(pool), count, replace=False)
    return [pool.names[m] for m in sorted(drawn)]


def with_few_outcomes(dataset: Dataset, newcomers: Sequence[str], count: int, seed: int) -> Dataset:
    """Return a table with ``count`` outcomes of each newcomer; a larger count includes those of a smaller one.

    Raises:
        DataError: A newcomer has fewer outcomes.
    """
    assert dataset.pool is not None
    assert dataset.outcomes is not None
    kept = np.ones(dataset.outcomes.cost_usd.shape, dtype=bool)
    for name in newcomers:
        column = dataset.pool.index(name)
        known = np.flatnonzero(np.isfinite(dataset.outcomes.known_quality[:, column]))
        if len(known) < count:
            raise DataError(f"{name} has {len(known)} outcomes in the training rows and not {count}; ask for fewer (--outcomes)")
        kept[:, column] = False
        kept[np.random.default_rng((seed, column)).permutation(known)[:count], column] = True
    columns = (dataset.outcomes.known_quality, dataset.outcomes.cost_usd, dataset.outcomes.latency_ms)
    return attrs.evolve(dataset, outcomes=Outcomes(*(np.where(kept, values, np.nan) for values in columns)))


def completed(dataset: Dataset, request: RoutingRequest) -> Dataset:
    """Return a table whose missing cells have a request's expectations, for routers that are trained on complete rows."""
    assert dataset.outcomes is not None
    pairs = ((getattr(dataset.outcomes, name), getattr(request.expected, name)) for name in ("known_quality", "cost_usd", "latency_ms"))
    return attrs.evolve(dataset, outcomes=Outcomes(*(np.where(np.isnan(known), expected, known) for known, expected in pairs)))


WITHOUT, DESCRIBED, FULL = "without", "description", "all"
"""The levels of knowledge of newcomers: they cannot be chosen; their specification; all outcomes. Numbers of outcomes lie between the last two."""
HELD_OUT = "held out"
"""The reason of the mask of newcomers that cannot be chosen."""


def measure(folder: Path, progress: Progress, settings: Mapping[str, Any], newcomers: int, level: str) -> list[dict[str, Any]]:
    """Train at one level of knowledge, measure on the test rows, and save a sample ``LEVEL.npz`` for each level with this training.

    A training with descriptions also measures the level without newcomers; further levels are numbers of outcomes, and all of them.

    Returns:
        For each level its name, the newcomers' names, and the number of measured test rows.
    """
    given, plugins = read_settings(settings), get_plugin_manager()
    full = make_setup(given, plugins)
    names = choose_newcomers(full.services.pool, newcomers, given.seed)
    experiment = NewcomerExperiment(given, plugins, progress, full, names, folder)
    estimator, routers = experiment.train(level)
    found = []
    for measured in (WITHOUT, DESCRIBED) if level == DESCRIBED else (level,):
        comparison = experiment.compare(estimator, routers, level, available=measured != WITHOUT)
        sample = sample_of(comparison, full, given, names, available=measured != WITHOUT)
        sample.save(folder / f"{measured}.npz")
        found.append({"level": measured, "newcomers": names, "queries": len(comparison.queries)})
    return found


@attrs.frozen(eq=False)
class NewcomerExperiment:
    """Training and comparison with one choice of newcomers.

    ``full`` is the data with all outcomes; its reward measures all levels, so that their utilities are in one unit.
    """

    settings: Settings
    plugins: Plugins
    progress: Progress
    full: ExperimentSetup
    newcomers: Sequence[str]
    folder: Path

    def known(self, level: str) -> dict[str, Dataset]:
        """Return the training and validation rows of a level; without outcomes of newcomers they have no column of them."""
        pool, splits = self.full.services.pool, {name: self.full.splits[name] for name in ("train", "validation")}
        if level == FULL:
            return splits
        if level == DESCRIBED:
            others = pool.subset([name for name in pool.names if name not in self.newcomers])
            return {name: fit_to_pool(split, others) for name, split in splits.items()}
        counts = {"train": int(level), "validation": 0}
        return {name: with_few_outcomes(split, self.newcomers, counts[name], self.settings.seed) for name, split in splits.items()}

    def train(self, level: str) -> tuple[Estimator | None, dict[str, Router]]:
        """Train the estimator, if there is one, and the routers on a level's rows; a router that fails is left out."""
        rows = self.known(level)
        services = make_services(rows["train"].pool or self.full.services.pool, self.plugins, self.settings, self.full.services.reward)
        estimator: Estimator | None = None
        if (choice := self.settings.estimator) is not None:
            estimator = self.plugins.make("estimator", choice.name, services, choice.options, self.settings.preset)
            estimator.train(Training(dataset=rows["train"], validation=rows["validation"], progress=self.progress))
        means = typical_outcomes(rows["train"], services.pool).means
        held_out = None if estimator is None else OutOfFold(*out_of_fold(estimator, len(rows["train"]), services.pool))
        requests = split_requests(rows, services.pool, self.settings.preference.array, estimator, means, held_out)
        env = self.plugins.make("environment", "replay", services, {}, self.settings.preset)
        env.prepare({name: completed(split, requests[name]) for name, split in rows.items()})
        training = Training(
            dataset=rows["train"],
            validation=rows["validation"],
            request=requests["train"],
            validation_request=requests["validation"],
            env=env,
            progress=self.progress,
        )
        choices = self.settings.routers or {}
        return estimator, train_each(choices, lambda name: self._router(choices[name], services, training), self.folder, self.progress)

    def _router(self, choice: Choice, services: Services, training: Training) -> Router:
        router: Router = self.plugins.make("router", choice.name, services, choice.options, self.settings.preset)
        router.train(training)
        return router

    def compare(self, estimator: Estimator | None, routers: Mapping[str, Router], level: str, *, available: bool) -> Comparison:
        """Compare routers on the test rows with all candidates, or without newcomers if these are not available."""
        pool, test = self.full.services.pool, self.full.splits["test"]
        request = build_request(
            test.queries, pool, self.settings.preference.array, estimator=estimator, candidate_means=self._means(self.known(level)["train"])
        )
        if not available:
            new = np.broadcast_to(np.isin(pool.names, self.newcomers), request.mask.shape)
            request = attrs.evolve(request, mask=request.mask & ~new, masked_why={**request.masked_why, HELD_OUT: new})
        means = typical_outcomes(self.full.splits["train"], pool).means
        table = ExperimentSetup(
            env=self.plugins.make("environment", "replay", self.full.services, {}), splits={"test": test}, services=self.full.services
        )
        return Measurement(table, routers, request, means, self.settings, progress=self.progress).compare()

    def _means(self, train: Dataset) -> Floats:
        """Return each candidate's mean quality, cost and latency in a level's training rows, ``[M, 3]``; NaN without rows."""
        pool, own = self.full.services.pool, train.pool or self.full.services.pool
        means = np.full((len(pool), 3), np.nan)
        means[[pool.index(name) for name in own.names]] = typical_outcomes(train, own).means
        return means


def sample_of(comparison: Comparison, setup: ExperimentSetup, settings: Settings, newcomers: Sequence[str], *, available: bool) -> Sample:
    """Return the sample of a comparison of the available candidates, with three further metrics of the newcomers.

    ``new_brier`` and ``new_mae`` are the mean squared and mean absolute errors of their expected quality, ``new_share`` is the share
    of queries for which they are chosen at the headline's preference.
    """
    seed = resampling_seed(comparison, settings)
    sample = Sample.of(comparison if available else of_others(comparison, newcomers), setup.services.reward, settings.evaluation, seed)
    columns = [comparison.candidates.tolist().index(name) for name in newcomers]
    error = comparison.expected_quality[:, :, columns] - comparison.quality[:, columns]
    chosen = np.isin(comparison.chosen[:, HEADLINE], columns).astype(np.float64)
    per_query = {"new_brier": (error**2).mean(axis=2), "new_mae": np.abs(error).mean(axis=2), "new_share": chosen}  # [R, Q] each
    resampling = Resampling.bootstrap(comparison.stream, settings.evaluation.resamples, seed).with_data()
    own = {name: resampling.means(values.T).T for name, values in per_query.items()}
    return attrs.evolve(sample, figures={**sample.figures, **own})


def of_others(comparison: Comparison, newcomers: Sequence[str]) -> Comparison:
    """Return a table's comparison without the newcomers' columns, which no router chose, so that none of them begins the frontier."""
    kept = np.flatnonzero(~np.isin(comparison.candidates, newcomers))
    place = np.full(len(comparison.candidates), -1, dtype=comparison.chosen.dtype)
    place[kept] = np.arange(len(kept))
    columns = ("expected_quality", "utility", "quality", "cost_usd", "latency_ms")
    return attrs.evolve(
        comparison,
        candidates=comparison.candidates[kept],
        candidate_means=comparison.candidate_means[kept],
        chosen=place[comparison.chosen],
        **{name: getattr(comparison, name)[..., kept] for name in columns},
    )
