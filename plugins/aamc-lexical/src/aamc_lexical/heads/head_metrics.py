"""Metrics of the heads on validation rows."""

from __future__ import annotations

import numpy as np

from aamc_lexical.heads.targets import UNLABELLED, Targets
from aamc_sdk.types import Estimates, Floats


def scores(estimates: Estimates, quality: Floats | None, targets: Targets) -> dict[str, float]:
    """Return the metrics of each head with labels, from estimates of B rows and their expected quality, ``[B, M]`` or None."""
    from sklearn.metrics import f1_score, roc_auc_score  # type: ignore[import-untyped]  # scikit-learn ships no types

    figures: dict[str, float] = {}
    error = estimates.complexity - targets.complexity
    error = error[np.isfinite(error)]
    if len(error):
        figures |= {"complexity_mae": float(np.abs(error).mean()), "complexity_rmse": float(np.sqrt((error**2).mean()))}

    rows = targets.category != UNLABELLED
    if rows.any() and estimates.categories.shape[1]:
        truth, predicted = targets.category[rows], estimates.categories[rows].argmax(axis=1)
        figures["category_accuracy"] = float((truth == predicted).mean())
        figures["category_f1"] = float(f1_score(truth, predicted, average="macro", zero_division=0))

    rows = np.isfinite(estimates.tool_use) & np.isfinite(targets.tool_use)
    if rows.any():
        uses_tool, probability = targets.tool_use[rows] >= 0.5, estimates.tool_use[rows]
        figures["tool_use_accuracy"] = float((uses_tool == (probability >= 0.5)).mean())
        if uses_tool.any() and not uses_tool.all():  # a single class has no ranking
            figures["tool_use_auc"] = float(roc_auc_score(uses_tool, probability))

    if quality is not None and np.isfinite(targets.quality).any():
        figures["quality_brier"] = float(np.nanmean((quality - targets.quality) ** 2))
    return figures
