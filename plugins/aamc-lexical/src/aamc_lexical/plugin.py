"""The hooks of this package."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_estimators() -> list[Component]:
    """Announce the estimator ``lexical``."""
    return [
        Component(
            "lexical", "aamc_lexical.estimator:LexicalEstimator", "Words and letters of a text, without torch; predicts each candidate's quality."
        )
    ]
