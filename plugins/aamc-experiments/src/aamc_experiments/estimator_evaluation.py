"""Evaluation of an estimator on labelled rows and measured outcomes. This is the work of ``aamc evaluate --estimator``.

Each figure has a 95% interval by the bootstrap of its questions. A figure without labels or predictions is null.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.evaluation import (
    BINS,
    Figures,
    Integers,
    Resampling,
    area_under_roc,
    bin_of,
    forecast_errors,
    intervals,
    point_estimates,
    question_units,
    share_interval,
)
from aamc_experiments.leak_guard import checkpoint_fingerprints, leave_out_trained_rows
from aamc_experiments.measurement import EvaluationRequest, evaluation_rows, evaluation_settings, make_evaluation_setup, predicted_categories
from aamc_experiments.run_folder import RunFolder, estimator_checkpoint
from aamc_sdk.interfaces import Estimator
from aamc_sdk.plugins import Plugins
from aamc_sdk.storage import checkpoint_metadata, load_component, plain, write_json
from aamc_sdk.types import Dataset, Estimates, Floats, Pool

FILE = "estimator.json"
"""The file of an evaluation's folder with the figures."""
FIGURES = ("complexity_mae", "category_accuracy", "tool_use_auc", "brier", "ece")
"""The keys of the figures."""


@attrs.frozen(eq=False)
class EstimatedRows:
    """Rows with labels and outcomes, and an estimator's predictions of them; NaN or ``""`` where unknown.

    Attributes:
        complexity: True and predicted complexity, ``[Q, 2]``.
        tool_use: Whether tools are needed, and the predicted probability, ``[Q, 2]``.
        category: The true category, ``[Q]``.
        predicted: The most probable category, ``[Q]``.
        quality: The outcome of each candidate, ``[Q, M]``.
        expected: The expected quality of each candidate, ``[Q, M]``.
        unit: The number of each row's question, the unit of resampling, ``[Q]``.
    """

    complexity: Floats
    tool_use: Floats
    category: NDArray[np.str_]
    predicted: NDArray[np.str_]
    quality: Floats
    expected: Floats
    unit: Integers

    @classmethod
    def of(cls, rows: Dataset, estimates: Estimates, expected: Floats | None, pool: Pool) -> EstimatedRows:
        """Put rows and predictions side by side."""
        labels, unknown = rows.labels, np.full(len(rows), np.nan)
        quality = np.full((len(rows), len(pool)), np.nan) if rows.outcomes is None else rows.outcomes.known_quality
        return cls(
            complexity=np.column_stack((unknown if labels.complexity is None else labels.complexity, estimates.complexity)),
            tool_use=np.column_stack((unknown if labels.tool_use is None else labels.tool_use, estimates.tool_use)),
            category=np.full(len(rows), "") if labels.category is None else labels.category,
            predicted=predicted_categories(estimates),
            quality=quality,
            expected=np.full(quality.shape, np.nan) if expected is None else expected,
            unit=question_units(rows.queries),
        )

    def take(self, rows: NDArray[np.intp]) -> EstimatedRows:
        """Return some rows."""
        return EstimatedRows(*(values[rows] for values in attrs.astuple(self, recurse=False)))

    def figures(self, resamples: int, seed: int) -> dict[str, Any]:
        """Return ``n``, the figures and their intervals under ``ci95``."""
        rated, with_tools = (np.asarray(np.isfinite(pairs).all(axis=1)) for pairs in (self.complexity, self.tool_use))
        complexity, tools = self.complexity[rated], self.tool_use[with_tools]
        of_each = [len(np.unique(self.unit[with_tools][tools[:, 0] == needed])) for needed in (0, 1)]
        errors = np.abs(complexity[:, :1] - complexity[:, 1:])
        named = (self.category != "") & (self.predicted != "")
        hit = (self.category == self.predicted)[named].astype(np.float64)[:, None]
        cells = np.isfinite(self.quality) & np.isfinite(self.expected)
        both = np.asarray(cells.any(axis=1))
        expected, quality = (np.where(cells, values, np.nan)[both] for values in (self.expected, self.quality))
        parts: tuple[tuple[NDArray[np.bool_], Callable[[Resampling], Figures]], ...] = (
            (rated, lambda rows: {"complexity_mae": rows.means(errors)[:, 0]}),
            (named, lambda rows: {"category_accuracy": rows.means(hit)[:, 0]}),
            (with_tools, lambda rows: {"tool_use_auc": area_under_roc(tools[:, 1], tools[:, 0], rows)}),
            (both, lambda rows: forecast_errors(expected, quality, rows)),
        )
        values, ci95 = dict[str, Any].fromkeys(FIGURES), dict[str, Any].fromkeys(FIGURES)
        for known, part in parts:
            if known.any():
                resampling = Resampling.bootstrap(np.unique(self.unit[known], return_inverse=True)[1], resamples, seed).with_data()
                found = part(resampling)
                values |= point_estimates(found)
                ci95 |= intervals(found)
                for name, units, exact in (("category_accuracy", resampling.units, resampling.independent), ("tool_use_auc", min(of_each), False)):
                    if name in found:
                        ci95[name] = share_interval(found[name][1:], found[name][0], units, exact)
        return {"n": len(self.category), **values, "ci95": ci95}

    def confusion(self) -> dict[str, dict[str, int]]:
        """Return the number of rows by true and by predicted category."""
        names = np.unique([*self.category, *self.predicted])
        pairs = {true: self.predicted[self.category == true] for true in names.tolist() if true and (self.category == true).any()}
        return {true: {name: int((found == name).sum()) for name in names.tolist() if name} for true, found in pairs.items()}

    def calibration(self) -> list[dict[str, float]]:
        """Return mean expected and mean realised quality of each occupied bin of forecasts, with their number."""
        known = np.isfinite(self.quality) & np.isfinite(self.expected)
        expected, quality = self.expected[known], self.quality[known]
        bins = bin_of(expected)
        occupied = [bins == number for number in range(BINS) if (bins == number).any()]
        return [{"expected": expected[rows].mean(), "quality": quality[rows].mean(), "n": int(rows.sum())} for rows in occupied]


def evaluate_estimator(run: RunFolder, name: str, request: EvaluationRequest, plugins: Plugins) -> dict[str, Any]:
    """Score an estimator on the rows of a run or on other data; return the document of ``aamc evaluate --estimator --json``.

    Args:
        run: The run, whose settings, candidates and training rows count.
        name: The estimator, as for :func:`aamc_experiments.run_folder.estimator_checkpoint`; rows that it was trained on are left out.
        request: The rows; its names and gate do not count.
        plugins: The plugins that offer components.

    Raises:
        CheckpointError: There is no such estimator, or the run or the checkpoint is damaged.
        DataError: The data cannot be used, or consists of training rows.
        OutputError: ``out`` holds something already.
    """
    if request.out is not None:
        RunFolder(request.out).refuse_to_overwrite(resumes=False)
    settings, folder = evaluation_settings(run, request), estimator_checkpoint(name, run)
    setup = make_evaluation_setup(run, settings, plugins, evaluation_rows(run, settings, plugins, request))
    estimator: Estimator = load_component(folder, "estimator", plugins, setup.services)
    strict, own = settings.evaluation.strict, run.fingerprints[0]
    others = [] if folder.resolve() == run.folder / "estimator" else checkpoint_fingerprints([folder], strict)
    kept = leave_out_trained_rows(setup.splits["test"], [each for each in others if not np.array_equal(each.questions, own.questions)], strict)
    rows, pool = kept.rows, setup.services.pool
    estimates = estimator.estimate(rows.queries)
    estimated = EstimatedRows.of(rows, estimates, estimator.quality(estimates, pool), pool)
    resamples, seed = settings.evaluation.resamples, settings.seed
    categories = [each for each in np.unique(estimated.category).tolist() if each]
    document: dict[str, Any] = plain(
        {
            "schema": 1,
            "data": {
                "source": rows.source,
                "queries": len(rows),
                "questions": len(np.unique(estimated.unit)),
                "models": pool.names,
                "split": setup.tested,
                "dropped": setup.dropped + kept.dropped,
            },
            "estimator": {
                "name": checkpoint_metadata(folder, "estimator")["name"],
                **estimated.figures(resamples, seed),
                "per_category": {each: estimated.take(np.flatnonzero(estimated.category == each)).figures(resamples, seed) for each in categories},
                "confusion": estimated.confusion(),
                "calibration": estimated.calibration(),
            },
        }
    )
    if request.out is not None:
        write_json(request.out / FILE, document)
    return document
