"""Metrics of the heads on validation rows."""

from __future__ import annotations

import numpy as np

from aamc_lexical.heads.targets import UNLABELLED, Targets
from aamc_sdk.types import Estimates, Floats


def scores(estimates: Estimates, quality: Floats | None, targets: Targets) -> dict[str, float]:
    """Return the metrics of each head with labels, from estimates of B rows and their expected quality, ``[B, M]`` or None."""
    return {
        **_complexity(estimates.complexity, targets.complexity),
        **_category(estimates.categories, targets),
        **_tool_use(estimates.tool_use, targets.tool_use),
        **_brier(quality, targets.quality),
    }


def _complexity(estimate: Floats, truth: Floats) -> dict[str, float]:
    error = (estimate - truth)[np.isfinite(estimate) & np.isfinite(truth)]
    if not len(error):
        return {}
    return {"complexity_mae": float(np.abs(error).mean()), "complexity_rmse": float(np.sqrt((error**2).mean()))}


def _category(probabilities: Floats, targets: Targets) -> dict[str, float]:
    from sklearn.metrics import f1_score  # type: ignore[import-untyped]  # scikit-learn ships no types

    rows = targets.category != UNLABELLED
    if not rows.any() or not probabilities.shape[1]:
        return {}
    truth, predicted = targets.category[rows], probabilities[rows].argmax(axis=1)
    return {
        "category_accuracy": float((truth == predicted).mean()),
        "category_f1": float(f1_score(truth, predicted, average="macro", zero_division=0)),
    }


def _tool_use(estimate: Floats, truth: Floats) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    rows = np.isfinite(estimate) & np.isfinite(truth)
    if not rows.any():
        return {}
    labels = truth[rows] >= 0.5
    figures = {"tool_use_accuracy": float((labels == (estimate[rows] >= 0.5)).mean())}
    if labels.any() and not labels.all():  # a single class has no ranking
        figures["tool_use_auc"] = float(roc_auc_score(labels, estimate[rows]))
    return figures


def _brier(estimate: Floats | None, truth: Floats) -> dict[str, float]:
    if estimate is None or not np.isfinite(truth).any():
        return {}
    return {"quality_brier": float(np.nanmean((estimate - truth) ** 2))}
