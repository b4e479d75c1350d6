"""What this package offers."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_estimators() -> list[Component]:
    """Offer the task-complexity estimator."""
    return [Component("tce", "aamc_tce.estimator:TaskComplexityEstimator", "A text encoder with heads; expects each candidate's quality.")]
