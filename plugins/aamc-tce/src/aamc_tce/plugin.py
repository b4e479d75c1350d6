"""The hooks of this package."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_estimators() -> list[Component]:
    """Announce the estimator ``tce``."""
    return [Component("tce", "aamc_tce.estimator:TaskComplexityEstimator", "A text encoder with heads; predicts each candidate's quality.")]


@hookimpl
def aamc_checks() -> list[Component]:
    """Announce the checks of encoders and their cache."""
    return [
        Component("encoders", "aamc_tce.checks:check_encoders", "Available text encoders."),
        Component("embedding-cache", "aamc_tce.checks:check_cache", "The cache of embeddings."),
    ]
