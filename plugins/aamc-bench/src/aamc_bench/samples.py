"""Metrics of a comparison on its rows and on resamples of them, saved so that several comparisons can be combined.

The measures of LLMRouterBench are accuracies averaged over datasets, which are the categories here, and gains over random choices and the best
single model. Its distance to the Pareto frontier is left out, since the published code does not define it.

Paper: Li et al. 2026, "LLMRouterBench: A Massive Benchmark and Unified Framework for LLM Routing" (arXiv:2601.07206).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_experiments.evaluation import (
    HEADLINE,
    SWEEP,
    Comparison,
    Integers,
    RealisedOutcomes,
    References,
    Resampling,
    known_interval,
    open_interval,
    ratio,
    share_interval,
    statistics,
    two_way,
)
from aamc_experiments.off_policy import student_quantile
from aamc_experiments.settings import Evaluation, Settings
from numpy.typing import NDArray

from aamc_sdk.interfaces import Reward
from aamc_sdk.storage import plain, read_arrays, write_arrays
from aamc_sdk.types import ROUNDING, Floats

SHARES = ("success_rate", "new_share")
"""The metrics that are shares of the queries."""


@attrs.frozen(eq=False)
class Sample:
    """The metrics of R routers on Q rows and on B resamples of them, the same resamples for all.

    Attributes:
        routers: Names, ``[R]``.
        figures: The values by metric: column 0 on the rows, the others on the resamples, ``[R, 1 + B]``. NaN where a
            metric does not apply.
        rewards: The reward of each row at the headline's preference, ``[R, Q]``.
        unit: The question of each row of a table, or its stream, ``[Q]``. Rows of one unit are not independent.
    """

    routers: NDArray[np.str_]
    figures: Mapping[str, Floats]
    rewards: Floats
    unit: NDArray[np.str_]

    @classmethod
    def of(cls, comparison: Comparison, reward: Reward, how: Evaluation, seed: int) -> Sample:
        """Return the sample of a comparison; the resamples follow from the seed."""
        references = References.of(comparison, Resampling.bootstrap(comparison.stream, how.resamples, seed).with_data())
        rows, rewards = [], []
        for position in range(len(comparison.routers)):
            router = RealisedOutcomes.of(comparison, position, reward, how.success_threshold)
            rows.append(_figures(comparison, position, router, references))
            rewards.append(router.reward[HEADLINE])
        stream = comparison.stream
        unit = question_names(comparison.queries, stream, seed) if comparison.is_table else np.array([f"{seed}/{number}" for number in stream])
        return cls(comparison.routers, {metric: np.stack([row[metric] for row in rows]) for metric in rows[0]}, np.stack(rewards), unit)

    def save(self, path: Path) -> None:
        """Write an npz."""
        figures = {f"figure {metric}": values for metric, values in self.figures.items()}
        write_arrays(path, figures | {"routers": self.routers, "rewards": self.rewards, "unit": self.unit})

    @classmethod
    def load(cls, path: Path) -> Sample:
        """Read the samples that :meth:`save` wrote.

        Raises:
            CheckpointError: The file is missing or damaged.
        """
        arrays = read_arrays(path)
        figures = {name.removeprefix("figure "): values for name, values in arrays.items() if name.startswith("figure ")}
        return cls(arrays["routers"], figures, arrays["rewards"], arrays["unit"])

    def of_routers(self, names: Sequence[str]) -> Sample:
        """Return the sample of some routers, in the order of the names."""
        rows = [self.routers.tolist().index(name) for name in names]
        figures = {metric: values[rows] for metric, values in self.figures.items()}
        return attrs.evolve(self, routers=self.routers[rows], figures=figures, rewards=self.rewards[rows])


def question_names(queries: NDArray[np.str_], units: Integers, seed: int) -> NDArray[np.str_]:
    """Return the name of the question of each row of a table, ``[Q]``: equal in the comparisons of all seeds, but for rows without text.

    The rows are given by the hashes of their texts and the numbers of their questions in this seed's comparison, ``[Q]`` each.
    """
    hashes, query = np.unique(queries, return_inverse=True)
    numbers, unit = np.unique(units, return_inverse=True)
    first = np.full(len(numbers), len(hashes))
    np.minimum.at(first, unit, query)  # spellings of one question differ in their hashes
    shared = np.bincount(first)[first] > 1  # rows without text have one hash and are a question each
    return np.where(shared, np.char.add(f"{seed}/", numbers.astype(np.str_)), hashes[first])[unit]


def of_shared_routers(samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples of the routers that all of them have, in the first one's order; a job may have left routers out."""
    shared = [name for name in samples[0].routers.tolist() if all(name in sample.routers for sample in samples)]
    return [sample.of_routers(shared) for sample in samples]


def _figures(comparison: Comparison, position: int, router: RealisedOutcomes, references: References) -> dict[str, Floats]:
    """Return a router's metrics, ``[1 + B]``: the headline's, and those of its frontier relative to the best single candidate."""
    found = statistics(comparison, position, router, references)
    best = np.max([point["mean_quality"] for point in found.frontier], axis=0)
    return {
        **found.headline,
        "relative_quality": best / references.candidates.quality[:, references.candidates.best],
        **{f"cost_at_{share}": values for share, values in found.cost_at_quality.items()},
        **accuracy_gains(comparison, router, references.resampling),
    }


def resampling_seed(comparison: Comparison, settings: Settings) -> int:
    """Return the seed of a run's resamples: its own, or 0 if all seeds are measured on the same rows of a test dataset."""
    return 0 if comparison.is_table and settings.test_dataset is not None else settings.seed


def over_seeds(samples: Sequence[Sample], metric: str, seed: int = 0) -> Floats:
    """Return the mean of a metric over S seeds, and B resamples of it, ``[R, 1 + B]``.

    This is the hierarchical bootstrap: a resample draws S seeds with replacement, and for each a resample of its own rows. So an
    interval covers the variation of test rows and of seeds (splits, training). With one seed it is the interval of the rows alone.
    If all seeds have the same test rows, they share the resample of these: more seeds say no more about other rows. Values with the
    same ``seed`` of the resampling are paired.
    """
    figures = np.stack([sample.figures[metric] for sample in samples])  # [S, R, 1 + B]
    seeds, resamples = len(figures), figures.shape[-1] - 1
    rng = np.random.default_rng(seed)
    drawn = rng.integers(seeds, size=(seeds, resamples))
    which = 1 + rng.permuted(np.tile(np.arange(resamples), (seeds, 1)), axis=1)  # a seed drawn twice has two different resamples
    if seeds > 1 and all(np.array_equal(sample.unit, samples[0].unit) for sample in samples):
        which[:] = which[0]
    resampled = np.mean([figures[s, :, b].T for s, b in zip(drawn, which, strict=True)], axis=0)
    return np.column_stack((figures[..., 0].mean(axis=0), resampled))


def questions(samples: Sequence[Sample]) -> int:
    """Return the number of different questions of a table, or of streams, in all samples."""
    return len(np.unique(np.concatenate([sample.unit for sample in samples])))


def independent(samples: Sequence[Sample]) -> bool:
    """Return whether there is one sample, in which each unit is one row."""
    return len(samples) == 1 and len(samples[0].unit) == questions(samples)


def figure(values: Floats, units: int | None = None, exact: bool = False) -> dict[str, Any]:
    """Return ``{"value", "ci95"}`` of a value and its resamples ``[1 + B]``.

    The interval is None if the metric applies to too few resamples. A cost is infinite if a resample does not reach the quality,
    so the interval's upper bound may be infinite: null in JSON. For a share, ``units`` is the number of units. It has the exact interval if each
    of them is one value of 0 or 1 (``exact``), and if it is 0 or 1, which all resamples repeat.
    """
    if units is not None:
        bounds = share_interval(values[1:], float(values[0]), units, exact)
    else:
        bounds = open_interval(values[1:]) if np.isinf(values).any() else known_interval(values[1:])
    found: dict[str, Any] = plain({"value": values[0], "ci95": bounds})
    return found


def figure_over(resampled: Sequence[Floats]) -> dict[str, Any]:
    """Return ``{"value", "ci95"}`` of a value and its resamples of each of a comparison's units."""
    figures = [figure(values) for values in resampled]
    return figures[0] | {"ci95": two_way([each["ci95"] for each in figures])}


def student(units: Floats) -> dict[str, Any]:
    """Return ``{"value", "ci95"}`` of the mean of units ``[U]``, such as seeds, of which a bootstrap would be too narrow."""
    found: dict[str, Any] = plain({"value": units.mean(), "ci95": student_interval(units)})
    return found


def student_interval(units: Floats) -> list[float] | None:
    """Return Student's 95% interval of the mean of units ``[U]``; None for a single one."""
    if len(units) < 2:
        return None
    mean, error = units.mean(), student_quantile(len(units) - 1) * units.std(ddof=1) / np.sqrt(len(units))
    return [float(mean - error), float(mean + error)]


def clear_best(values: Floats, lower_is_better: bool = False) -> int | None:
    """Return the best of R rows ``[R, 1 + B]`` if the interval of its difference to each other one excludes zero, else None."""
    signed = -values if lower_is_better else values
    known = np.flatnonzero(np.isfinite(signed[:, 0]))
    if len(known) < 2:
        return None
    best = known[signed[known, 0].argmax()]
    with np.errstate(invalid="ignore"):  # the difference of two infinite costs is not a number
        lead = np.nan_to_num(signed[best] - signed[known[known != best]], nan=0.0)
    clear = np.quantile(lead[:, 1:], 0.025, axis=1, method="inverted_cdf") > 0
    return int(best) if clear.all() else None


MEASURES = ("average_accuracy", "gain_at_random", "gain_at_best", "gap_at_oracle", "performance_gain", "cost_saving")


def accuracy_gains(comparison: Comparison, router: RealisedOutcomes, resampling: Resampling) -> Mapping[str, Floats]:
    """Return the measures of one router on B resamples, ``[B]`` each; NaN without categories or in a simulation.

    ``average_accuracy`` is that of the router at (1, 0, 0). ``gain_at_random`` and ``gain_at_best`` are its relative gains over uniform choices
    and over the single candidate of the maximum average accuracy, and ``gap_at_oracle`` its relative gap to the best candidate of every query.
    ``performance_gain`` is the maximum gain over the best single candidate on the sweep, and ``cost_saving`` the maximum share of that
    candidate's cost that a point of the sweep saves without less accuracy; NaN if no point has that accuracy.
    """
    if not comparison.is_table or not (comparison.category != "").any():
        return {measure: np.full(len(resampling.weights), np.nan) for measure in MEASURES}
    constant = comparison.constant_outcomes
    quality, cost_usd = constant.known_quality, constant.cost_usd
    single = category_average(quality, comparison.category, resampling)
    sweep = category_average(router.outcomes.known_quality[SWEEP].T, comparison.category, resampling)
    oracle = category_average(quality.max(axis=1, keepdims=True), comparison.category, resampling)[:, 0]
    best = single[0].argmax()  # on the data, as in CandidateMeans
    best_accuracy, best_cost = single[:, best], resampling.means(cost_usd)[:, best]
    cost = np.where(sweep >= best_accuracy[:, None] * (1 - ROUNDING), resampling.means(router.outcomes.cost_usd[SWEEP].T), np.inf).min(axis=1)
    return {
        "average_accuracy": sweep[:, 0],
        "gain_at_random": ratio(sweep[:, 0], single.mean(axis=1)) - 1,
        "gain_at_best": ratio(sweep[:, 0], best_accuracy) - 1,
        "gap_at_oracle": 1 - ratio(sweep[:, 0], oracle),
        "performance_gain": ratio(sweep.max(axis=1), best_accuracy) - 1,
        "cost_saving": 1 - ratio(np.where(np.isfinite(cost), cost, np.nan), best_cost),
    }


def category_average(values: Floats, category: NDArray[np.str_], resampling: Resampling) -> Floats:
    """Return the unweighted mean over categories of the mean of ``[Q, K]`` values in each, ``[B, K]``; rows without a category do not count."""
    means = [resampling.means_of(category == name, values) for name in np.unique(category[category != ""])]
    return np.asarray(np.nanmean(means, axis=0))
