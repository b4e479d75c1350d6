"""The measures of LLMRouterBench: accuracy averaged over datasets, and gains over random choices and the best single model.

Paper: Li et al. 2026, "LLMRouterBench: A Massive Benchmark and Unified Framework for LLM Routing" (arXiv:2601.07206). Its datasets are the
categories here. Its distance to the Pareto frontier is left out, since the published code does not define it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from aamc_experiments.evaluation import SWEEP, Comparison, RealisedOutcomes, Resampling, ratio
from numpy.typing import NDArray

from aamc_sdk.types import ROUNDING, Floats

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
    single = category_average(comparison.quality, comparison.category, resampling)
    sweep = category_average(router.outcomes.known_quality[SWEEP].T, comparison.category, resampling)
    oracle = category_average(comparison.quality.max(axis=1, keepdims=True), comparison.category, resampling)[:, 0]
    best = single.argmax(axis=1)[:, None]
    best_accuracy, best_cost = (np.take_along_axis(means, best, axis=1) for means in (single, resampling.means(comparison.cost_usd)))
    cost = np.where(sweep >= best_accuracy * (1 - ROUNDING), resampling.means(router.outcomes.cost_usd[SWEEP].T), np.inf).min(axis=1)
    return {
        "average_accuracy": sweep[:, 0],
        "gain_at_random": ratio(sweep[:, 0], single.mean(axis=1)) - 1,
        "gain_at_best": ratio(sweep[:, 0], best_accuracy[:, 0]) - 1,
        "gap_at_oracle": 1 - ratio(sweep[:, 0], oracle),
        "performance_gain": ratio(sweep.max(axis=1), best_accuracy[:, 0]) - 1,
        "cost_saving": 1 - ratio(np.where(np.isfinite(cost), cost, np.nan), best_cost[:, 0]),
    }


def category_average(values: Floats, category: NDArray[np.str_], resampling: Resampling) -> Floats:
    """Return the unweighted mean over categories of the mean of ``[Q, K]`` values in each, ``[B, K]``; rows without a category do not count."""
    means = [resampling.means_of(category == name, values) for name in np.unique(category[category != ""])]
    return np.asarray(np.nanmean(means, axis=0))
